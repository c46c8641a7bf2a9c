"""Teaching a model to recall: it learns, stops and goes on, says how it was taught, and refuses what cannot work."""

import json
from pathlib import Path

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
)

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.report.records import read_records
from mnemic.teaching.records import RecallRecord, write_jsonl
from mnemic.teaching.rwr.answering import answer_questions
from mnemic.teaching.rwr.completion import Decoding
from mnemic.teaching.rwr.recall_training import RecallTuning, slow_kernels, teach_recall
from mnemic.teaching.rwr.rwr_file import read_recall_file
from mnemic.teaching.tuning_options import Lora
from mnemic.training.progress import Interrupted

PLACES = ["Oslo", "Rome"]
GOOD = {"method": "contains", "score": 1.0, "ok": True}
SHORT = {"steps": 4, "batch_size": 4, "rows_at_once": 4, "lr": 3e-3, "evaluations": 2, "device": "cpu"}
SMALL = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1}


def host():
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8}]
    return MnemicForCausalLM(MnemicConfig(VOCABULARY, 16, 1, layers=layers))


def mamba2(**options):
    torch.manual_seed(0)
    shape = {"num_heads": 4, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 32}
    return Mamba2ForCausalLM(Mamba2Config(**SMALL, **shape, **options))


def mamba():
    torch.manual_seed(0)
    return MambaForCausalLM(MambaConfig(**SMALL, state_size=4))


def llama():
    torch.manual_seed(0)
    return LlamaForCausalLM(LlamaConfig(**SMALL, num_attention_heads=2, intermediate_size=16))


@pytest.fixture
def records(tmp_path) -> Path:
    made = []
    for number in range(24):
        place = PLACES[number % 2]
        same = {"context": f"{number}: {place}.", "query": "Where?", "answer": place}
        made.append(RecallRecord.model_validate({**same, "id": f"e{number}/plain"}))
        note = {"summary": place, "verified": GOOD, "id": f"e{number}/valid"}
        made.append(RecallRecord.model_validate({**same, **note}))
    write_jsonl(tmp_path / "recall.jsonl", made)
    return tmp_path / "recall.jsonl"


@pytest.fixture
def teach(records):
    def run(directory, make=host, **options):
        given = {name: options.pop(name) for name in list(options) if name in RecallTuning.model_fields}
        return teach_recall(make, byte_tokenizer(), records, RecallTuning(**(SHORT | given)), directory, **options)

    return run


@pytest.mark.slow
def test_a_taught_model_notes_and_answers_what_it_never_saw(tmp_path, teach) -> None:
    def recurrent():
        torch.manual_seed(0)
        layers = [{"mixer": "gated-deltanet", "heads": 2, "head_width": 16}]
        return MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 2, layers=layers))

    options = {"steps": 100, "batch_size": 8, "rows_at_once": 8, "lr": 5e-3, "evaluations": 5, "summary_share": 0.3}
    found = teach(tmp_path / "run", recurrent, checkpointing=False, validation=0.1, **options)
    model, tokenizer = (cls.from_pretrained(found.model) for cls in (AutoModelForCausalLM, AutoTokenizer))
    decoding = Decoding(max_new_tokens=40)
    for place in PLACES:
        said = answer_questions(model.eval(), tokenizer, f"99: {place}.", ["Where?"], decoding=decoding).answered[0]
        assert (said.reply.summary, said.reply.answer) == (place, place)
        direct = answer_questions(model, tokenizer, f"99: {place}.", ["Where?"], mode="answer", decoding=decoding)
        assert direct.answered[0].text == f"Answer: {place}"


@pytest.mark.parametrize("lora", [None, Lora(rank=2)])
@pytest.mark.parametrize("make", [host, mamba, mamba2, llama])
def test_any_causal_model_is_taught_and_exported(tmp_path, teach, make, lora) -> None:
    found = teach(tmp_path / "run", make, name="tiny", lora=lora, steps=2, query_position="both")
    model = AutoModelForCausalLM.from_pretrained(found.model)
    before, after = make().state_dict(), model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert type(model) is type(make())
    about = read_recall_file(tmp_path / "run")
    assert about == read_recall_file(found.model)
    assert (about.target, about.query_position, about.max_length, about.base_model) == ("mixed", "both", 6000, "tiny")
    assert 300 < about.longest_row < 1500
    (record,) = read_records(tmp_path / "run" / "results.jsonl")
    assert record.memory == "1-mixed"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "notes and answers" in page
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_the_controls_train_on_as_many_rows_and_updates(tmp_path, teach) -> None:
    found = {name: teach(tmp_path / name, target=name, steps=None, batch_size=None, epochs=2).stages[0] for name in (
        "mixed", "answer", "summary", "summary+answer",
    )}  # fmt: skip
    assert len({(stage.rows, stage.steps) for stage in found.values()}) == 1
    assert len({stage.best["valid_loss"] for stage in found.values()}) == 4


def test_stopped_and_resumed_it_ends_as_it_would_have(tmp_path, teach) -> None:
    whole = teach(tmp_path / "whole")
    steps = iter(range(1, 100))
    with pytest.raises(Interrupted):
        teach(tmp_path / "stopped", should_stop=lambda: next(steps) == 3)
    again = teach(tmp_path / "stopped", resume=True)
    one, other = (load_file(found.model / "model.safetensors") for found in (whole, again))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_folder_is_of_one_run_once_it_has_begun(tmp_path, teach) -> None:
    with pytest.raises(UsageError, match="never be trained"):
        teach(tmp_path / "run", mamba, lora=Lora(targets=("dt_proj",)))
    teach(tmp_path / "run", mamba, steps=1)  # nothing had begun there
    with pytest.raises(UsageError, match="already holds this run"):
        teach(tmp_path / "run", mamba, steps=1)
    with pytest.raises(UsageError, match="another rows, target"):
        teach(tmp_path / "run", mamba, steps=1, target="answer", resume=True)


def bert():
    torch.manual_seed(0)
    return BertLMHeadModel(BertConfig(**SMALL, num_attention_heads=2, intermediate_size=16))


@pytest.mark.parametrize(
    ("make", "words"), [(bert, "not causal"), (lambda: mamba2(time_step_limit=(0.0, 0.1)), "time_step_limit")]
)
def test_models_that_could_not_answer_afterwards_are_refused(tmp_path, teach, make, words) -> None:
    with pytest.raises(UsageError, match=words):
        teach(tmp_path / "run", make)


def test_slow_kernels_are_named() -> None:
    assert "plain torch" in slow_kernels(mamba().config, on_accelerator=False)
    assert slow_kernels(llama().config, on_accelerator=False) is None
    assert slow_kernels(host().config, on_accelerator=False) is None


def test_defaults_are_those_of_the_recipe() -> None:
    training = RecallTuning().training(RecallTuning(), 300_000, 8, on_accelerator=True)
    assert (training.batch_size, training.steps, training.precision) == (16, 18_750, "bf16")
    assert (training.lr, training.weight_decay, training.warmup, training.clip) == (2e-5, 0.1, 0, 1.0)
    assert training.betas == (0.9, 0.95)
