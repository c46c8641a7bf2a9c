"""Stages follow each other, killed runs go on as they would have, adapters move the markers, no folder is mixed."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.errors import UsageError
from mnemic.report.records import read_records
from mnemic.teaching.adapters import merged, with_adapters
from mnemic.teaching.fine_tuning import fine_tune
from mnemic.teaching.fine_tuning_config import FineTuneConfig, Lora, Stage
from mnemic.teaching.memento.memento_file import read_memento_file
from mnemic.teaching.records import write_jsonl
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.progress import Interrupted

STAGES = tuple(Stage(attention=a, steps=6, batch_size=4, lr=3e-3, evaluations=3) for a in ("full", "memento"))
OPTIONS = {"stages": STAGES, "max_length": 64, "validation": 0.2, "device": "cpu", "checkpoint_every": 2}


@pytest.fixture
def traces(tmp_path, make_trace) -> Path:
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [make_trace(n, blocks=((3 + n % 4, 2),) * (1 + n % 2)) for n in range(12)])
    return path


@pytest.fixture
def tune(traces, make_tokenizer, make_model):
    def run(directory, config=None, **options):
        config = config or FineTuneConfig(**OPTIONS)
        return fine_tune(
            lambda: make_model(vocab=53), make_tokenizer(markers=False), traces, config, directory, **options
        )

    return run


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_two_stages_leave_a_model_with_all_that_serving_needs(tmp_path, tune):
    found = tune(tmp_path / "run", name="tiny")
    assert [stage.name for stage in found.stages] == ["1-full", "2-memento"]
    assert all([point["step"] for point in stage.curve] == [2, 4, 6] for stage in found.stages)
    model, tokenizer = (cls.from_pretrained(found.model) for cls in (AutoModelForCausalLM, AutoTokenizer))
    about = read_memento_file(found.model)
    assert about.trained_with == "memento"
    assert tokenizer.convert_tokens_to_ids(list(about.markers)) == list(about.marker_ids)
    assert model.get_input_embeddings().num_embeddings == len(tokenizer)
    records = read_records(tmp_path / "run" / "results.jsonl")
    assert [record.memory for record in records] == ["1-full", "2-memento"]
    page = (tmp_path / "run" / "report.html").read_text()
    assert all(f"{record.metrics['loss']:.4f}" in page and record.memory in page for record in records)
    assert "<svg" in page
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        (s, n) for s in ("1-full", "2-memento") for n in (2, 4, 6)
    ]


def test_the_best_evaluation_is_what_the_next_stage_starts_from(tmp_path, tune):
    scores = iter([0.1, 0.3, 0.2, 0.5, 0.4, 0.45])
    seen = []

    def judge(model):
        seen.append({name: p.detach().clone() for name, p in model.named_parameters()})
        return next(scores)

    hardly = STAGES[1].model_copy(update={"lr": 1e-9})
    found = tune(tmp_path / "run", FineTuneConfig(**{**OPTIONS, "stages": (STAGES[0], hardly)}), judge=judge)
    assert [stage.best["step"] for stage in found.stages] == [4, 2]
    best = weights(tmp_path / "run" / "1-full" / "best")
    assert all(torch.equal(best[name], seen[1][name]) for name in best)
    exported = weights(found.model)
    assert all(torch.equal(exported[name], seen[3][name]) for name in exported)
    # the second stage learns next to nothing, so it ends where it started: not where the first one ended
    assert all(torch.allclose(exported[name], seen[1][name], atol=1e-7) for name in exported)
    assert not all(torch.allclose(exported[name], seen[2][name], atol=1e-5) for name in exported)


def test_asked_to_stop_in_any_stage_it_goes_on_as_it_would_have(tmp_path, tune):
    whole = tune(tmp_path / "whole")
    stops = [3, 5, 2, 3, 1]
    folder = tmp_path / "stopped"
    for number, stop in enumerate(stops):
        calls = 0

        def should_stop(stop=stop):
            nonlocal calls
            calls += 1
            return calls == stop

        try:
            again = tune(folder, resume=number > 0, should_stop=should_stop)
            break
        except Interrupted:
            continue
    else:
        again = tune(folder, resume=True)
    for one, other in zip(whole.stages, again.stages, strict=True):
        assert [{**p, "seconds": 0} for p in one.curve] == [{**p, "seconds": 0} for p in other.curve]
    one, other = weights(whole.model), weights(again.model)
    assert all(torch.equal(one[name], other[name]) for name in one)
    names = ("whole", "stopped")
    lines = [
        [(line["stage"], line["step"]) for line in map(json.loads, (tmp_path / n / "metrics.jsonl").open())]
        for n in names
    ]
    assert lines[0] == lines[1]


def test_killed_with_9_it_goes_on_as_it_would_have(tmp_path, tune):
    whole = tune(tmp_path / "whole")
    child = os.fork()
    if child == 0:
        calls = 0

        def die():
            nonlocal calls
            calls += 1
            if calls == 9:
                os.kill(os.getpid(), signal.SIGKILL)
            return False

        tune(tmp_path / "killed", should_stop=die)
        os._exit(0)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1])
    again = tune(tmp_path / "killed", resume=True)
    one, other = weights(whole.model), weights(again.model)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_is_not_mixed_with_another_run(tmp_path, tune):
    tune(tmp_path / "run")
    with pytest.raises(UsageError, match="already holds this run"):
        tune(tmp_path / "run")
    with pytest.raises(UsageError, match="another max_length"):
        tune(tmp_path / "run", FineTuneConfig(**{**OPTIONS, "max_length": 60}), resume=True)
    assert tune(tmp_path / "run", resume=True).stages[1].steps == 6


@pytest.mark.parametrize("tied", [True, False])
def test_adapters_move_the_markers_and_leave_other_words(tmp_path, tune, traces, make_tokenizer, make_model, tied):
    def base():
        return tied_model(make_model) if tied else make_model(vocab=60)

    before = base().get_input_embeddings().weight.detach().clone()
    config = FineTuneConfig(**{**OPTIONS, "lora": Lora(rank=2), "stages": STAGES[:1]})
    found = fine_tune(base, make_tokenizer(), traces, config, tmp_path / "run")
    model = AutoModelForCausalLM.from_pretrained(found.model)
    moved = (model.get_input_embeddings().weight - before).abs().amax(1) > 0
    about = read_memento_file(found.model)
    assert set(torch.nonzero(moved).flatten().tolist()) == set(about.marker_ids)
    kept = load_file(tmp_path / "run" / "1-full" / "best" / "model.safetensors")
    assert all("lora" in name or "token" in name for name in kept)


def tied_model(make_model):
    model = make_model(vocab=60)
    model.config.tie_word_embeddings = True
    model.tie_weights()
    return model


def test_an_adapted_model_has_the_loss_of_its_merged_one(traces, tokenizer, make_model):
    from mnemic.teaching.packing import joined
    from mnemic.teaching.tokenised_traces import tokenise_traces
    from mnemic.teaching.trace_rows import RowOptions, TraceRows

    rows = TraceRows(tokenise_traces(traces, tokenizer), RowOptions())
    batch = training_batch(joined([[row] for row in rows], 0))
    torch.manual_seed(1)
    model = with_adapters(make_model(vocab=60), Lora(rank=2), [50, 51, 52, 53])
    for name, p in model.named_parameters():
        if p.requires_grad:
            torch.nn.init.normal_(p, std=0.1)
            assert "lora" in name or "token" in name
    loss = AskedLoss(model)(batch)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters() if p.requires_grad)
    torch.testing.assert_close(AskedLoss(merged(model))(batch), loss)


def test_the_control_learns_raw_traces_by_itself(tmp_path, tune):
    plain = Stage(attention="plain", steps=2, batch_size=4)
    found = tune(tmp_path / "run", FineTuneConfig(**{**OPTIONS, "stages": (plain,)}))
    assert read_memento_file(found.model).trained_with == "plain"
    with pytest.raises(ValueError, match="control"):
        FineTuneConfig(stages=(plain, STAGES[0]))


def test_defaults_are_the_papers_where_there_is_enough_data():
    training = FineTuneConfig().training(Stage(attention="full"), 31_000, 8, on_accelerator=True)
    assert (training.batch_size, training.accumulation, training.steps) == (512, 64, 303)
    assert (training.lr, training.betas, training.weight_decay, training.warmup) == (8e-5, (0.9, 0.999), 0.0, 15)
    small = FineTuneConfig().training(Stage(attention="full"), 100, 1, on_accelerator=False)
    assert (small.batch_size, small.steps, small.precision) == (5, 100, "fp32")
