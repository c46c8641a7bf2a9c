"""transformers' Trainer on a task's rows: the loss that ours computes, the steps that ours takes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_hosts import FAMILIES, tiny_host
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import MambaConfig, MambaForCausalLM, Trainer, TrainingArguments

from mnemic.errors import UsageError
from mnemic.integrations.transformers import TaskRows, TaskStream, model_inputs, trainer
from mnemic.models import MnemicForCausalLM
from mnemic.modules.mixer import Mixer
from mnemic.tasks import UNASKED, Examples, parse_task
from mnemic.training.config import TrainConfig
from mnemic.training.evaluation import evaluate
from mnemic.training.loop import train
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.optimizer import build_optimizer, learning_rate

pytestmark = pytest.mark.usefixtures("one_thread")
SPECS = [
    "mqar:pairs=2,length=16,vocab=32",
    "associative-recall:pairs=4",  # asks behind the last token
    "mqar:pairs=2,length=16,vocab=32,train_on=all",
    "key-facts:length=16-32,form=mixed",  # padded
    "text:python-reference,length=16",
]


def arguments(folder, **options) -> TrainingArguments:
    given = {"max_steps": 6, "per_device_train_batch_size": 8, "learning_rate": 1e-2, "logging_steps": 1, **options}
    return TrainingArguments(
        output_dir=str(folder), report_to=[], use_cpu=True, disable_tqdm=True, **{"save_strategy": "no", **given}
    )


def our_loss(model, examples: Examples) -> float:
    batch = training_batch(examples)
    with torch.no_grad():
        return float(AskedLoss(model)(batch)) / len(batch.targets)


def logged(trained: Trainer) -> list[float]:
    return [entry["loss"] for entry in trained.state.log_history if "loss" in entry]


@pytest.mark.parametrize("spec", SPECS)
def test_the_model_s_own_loss_on_these_inputs_is_ours(spec):
    task = parse_task(spec)
    examples, host = task.sample("train", 6), tiny_host("mamba2+attention", task.vocab_size).eval()
    inputs = model_inputs(examples)
    assert inputs["labels"].shape == (6, task.max_length + 1)
    with torch.no_grad():
        assert float(host(**inputs).loss) == pytest.approx(our_loss(host, examples), rel=1e-5)


def test_so_it_is_with_a_model_that_is_not_ours():
    task = parse_task(SPECS[1])
    torch.manual_seed(0)
    theirs = MambaForCausalLM(MambaConfig(vocab_size=task.vocab_size, hidden_size=16, num_hidden_layers=1)).eval()
    examples = task.sample("train", 6)
    with torch.no_grad():
        assert float(theirs(**model_inputs(examples)).loss) == pytest.approx(our_loss(theirs, examples), rel=1e-5)


def test_what_hides_keys_hides_them_in_the_trainer(tmp_path):
    task = parse_task("running-sum:blocks=3,digits=2,hide=true")
    host, examples = tiny_host("attention", task.vocab_size), task.sample("train", 8)
    wanted = our_loss(host, examples)
    trained = trainer(host, task, arguments(tmp_path, max_steps=1), valid_rows=8)
    trained.train()
    assert logged(trained)[0] == pytest.approx(wanted, abs=1e-4)
    seen = replace(examples, visible_until=None)
    assert wanted != pytest.approx(our_loss(tiny_host("attention", task.vocab_size), seen), abs=1e-3)


@pytest.mark.parametrize("accumulation", [1, 4])
@pytest.mark.parametrize("spec", [SPECS[0], SPECS[3]])
def test_step_by_step_it_trains_as_our_loop_does(tmp_path, spec, accumulation):
    task = parse_task(spec)
    config = TrainConfig(
        steps=6, batch_size=8, lr=1e-2, accumulation=accumulation, eval_every=6, eval_rows=8, device="cpu"
    )
    ours, theirs, untrained = (tiny_host("gated-deltanet", task.vocab_size).double() for _ in range(3))
    train(ours, task, config, tmp_path / "ours")
    optimizer = build_optimizer(theirs, config)
    schedule = LambdaLR(optimizer, lambda step: learning_rate(step, config) / config.lr)
    cut = {"per_device_train_batch_size": 8 // accumulation, "gradient_accumulation_steps": accumulation}
    trainer(theirs, task, arguments(tmp_path, **cut), optimizers=(optimizer, schedule), valid_rows=8).train()
    for name, wanted in ours.state_dict().items():
        torch.testing.assert_close(theirs.state_dict()[name], wanted, rtol=0, atol=1e-5)
    moved = [(p - q).abs().max() for p, q in zip(ours.parameters(), untrained.parameters(), strict=True)]
    assert min(moved) > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_from_few_rows(tmp_path, family):
    task = parse_task(SPECS[0])
    trained = trainer(
        tiny_host(family, task.vocab_size), task, arguments(tmp_path, max_steps=12), train_rows=8, valid_rows=8
    )
    trained.train()
    losses = logged(trained)
    assert len(losses) == 12
    assert losses[-1] < 0.9 * losses[0]


def test_its_evaluation_is_ours(tmp_path):
    task = parse_task("mqar:pairs=2,length=8,vocab=12")
    host = tiny_host("attention", task.vocab_size)
    found = trainer(host, task, arguments(tmp_path, per_device_eval_batch_size=7), valid_rows=40).evaluate()
    wanted = evaluate(host, task, "valid", 40).metrics
    assert found["eval_accuracy"] == pytest.approx(wanted["accuracy"])
    assert found["eval_loss"] == pytest.approx(wanted["loss"], rel=1e-4)
    assert 0 < found["eval_accuracy"] < 1


def test_from_a_checkpoint_it_ends_as_if_it_had_not_been_stopped(tmp_path):
    task = parse_task(SPECS[0])
    options = {"save_strategy": "steps", "save_steps": 3, "per_device_train_batch_size": 4}
    whole = tiny_host("mamba2", task.vocab_size)
    trainer(whole, task, arguments(tmp_path / "whole", **options), valid_rows=8).train()
    again = tiny_host("mamba2", task.vocab_size, seed=5)
    resumed = trainer(again, task, arguments(tmp_path / "again", **options), valid_rows=8)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))
    assert resumed.state.global_step == 6
    for name, wanted in whole.state_dict().items():
        assert torch.equal(again.state_dict()[name], wanted), name
    loaded = MnemicForCausalLM.from_pretrained(tmp_path / "whole" / "checkpoint-6")
    ids = torch.arange(1, 9)[None]
    torch.testing.assert_close(loaded(ids).logits, whole.eval()(ids).logits)


class _Ballast(Mixer):
    """Adds a loss that depends on what it reads."""

    def forward(self, x, step):
        step.losses[f"ballast {self.layer_index}"] = x.square().mean()
        return x


@pytest.mark.parametrize("accumulation", [1, 2])
def test_auxiliary_losses_are_weighted_as_in_our_loop(tmp_path, accumulation):
    task = parse_task("key-facts:length=16-32,form=mixed")  # pieces ask for unequal numbers of tokens
    host = tiny_host("attention", task.vocab_size)
    for index, block in enumerate(host.model.layers):
        block.mixer = _Ballast(block.mixer.config, index)
    examples = task.sample("train", 8)
    size = 8 // accumulation
    pieces = [training_batch(examples[start : start + size]) for start in range(0, 8, size)]
    assert accumulation == 1 or len(pieces[0].targets) != len(pieces[1].targets)
    with torch.no_grad():
        wanted = sum(float(AskedLoss(host)(piece)) for piece in pieces) / sum(len(piece.targets) for piece in pieces)
        inputs = model_inputs(examples)
        bare = float(host(**inputs).loss) - sum(float(loss) for loss in host(**inputs).losses.values())
    assert wanted > bare + 0.1
    cut = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation, "max_steps": 1}
    trained = trainer(host, task, arguments(tmp_path, **cut), valid_rows=8)
    trained.train()
    assert logged(trained)[0] == pytest.approx(wanted, abs=1e-4)


def test_a_stream_is_the_task_s_rows_in_order_however_many_readers_there_are():
    task = parse_task(SPECS[0])
    wanted = model_inputs(task.sample("train", 600, seed=2))["input_ids"]
    rows = TaskStream(task, seed=2)
    got = [next(iter(DataLoader(rows, batch_size=600)))["input_ids"]]
    readers = iter(DataLoader(rows, batch_size=256, num_workers=2))
    got.append(torch.cat([next(readers)["input_ids"] for _ in range(3)])[:600])
    for ids in got:
        assert torch.equal(ids, wanted)


def test_rows_have_a_length_a_start_and_an_end():
    task = parse_task("text:python-reference,length=64,second_half=true")
    rows = TaskRows(task, "test", 10**6)
    assert len(rows) == task.windows("test")
    assert torch.equal(TaskRows(task, "test", 3, start=2)[0]["labels"], rows[2]["labels"])
    assert (rows[0]["labels"] != UNASKED).sum() == 32
    with pytest.raises(UsageError, match="no rows from row 1000000 on in its test split"):
        TaskRows(task, "test", 3, start=10**6)


def test_what_cannot_be_trained_so_is_refused(tmp_path):
    task = parse_task(SPECS[0])
    host = tiny_host("attention", task.vocab_size)
    with pytest.raises(UsageError, match="max_steps=-1: a task's rows have no end"):
        trainer(host, task, arguments(tmp_path, max_steps=-1))
    with pytest.raises(UsageError, match="train_dataset is made from the task"):
        trainer(host, task, arguments(tmp_path), train_dataset=[])
    with pytest.raises(UsageError, match="32 ids, the model 8"):
        trainer(tiny_host("attention", 8), task, arguments(tmp_path))
    examples = task.sample("train", 2)
    with pytest.raises(UsageError, match="vectors"):
        model_inputs(replace(examples, inputs=np.zeros((2, 16, 3), np.float32)))
    with pytest.raises(UsageError, match="pack=false"):
        model_inputs(replace(examples, documents=np.zeros((2, 16), np.int64)))
