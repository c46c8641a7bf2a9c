"""Checkpoints are whole or not there, hold everything, and need no pickle."""

import errno
import json
import logging
import random

import numpy as np
import pytest
import torch

from mnemic.errors import MnemicError, UsageError
from mnemic.training import checkpoint
from mnemic.training.config import TrainConfig
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.optimizer import build_optimizer


@pytest.fixture
def trained(make_model, task):
    """A model and an optimiser that have taken a step, so that both averages are there."""

    def make(seed=0):
        model = make_model(seed)
        optimizer = build_optimizer(model, TrainConfig())
        batch = training_batch(task.sample("train", 4, seed))
        AskedLoss(model)(batch).backward()
        optimizer.step()
        return model, optimizer

    return make


def everything(model, optimizer):
    """All numbers of a model and an optimiser, in one order."""
    state = optimizer.state_dict()["state"]
    averages = [values[name] for _, values in sorted(state.items()) for name in sorted(values)]
    return [*model.state_dict().values(), *averages]


def test_all_comes_back_as_it_was(tmp_path, trained):
    model, optimizer = trained()
    state = {"step": 7, "curve": [{"loss": 0.1}], "loss_sum": 1 / 3}
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)  # noqa: NPY002
    checkpoint.save(tmp_path, 7, model, optimizer, state, keep=2)
    drawn = torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    other, its_optimizer = trained(seed=1)
    assert checkpoint.load_newest(tmp_path, other, its_optimizer) == state
    for a, b in zip(everything(model, optimizer), everything(other, its_optimizer), strict=True):
        assert torch.equal(a, b)
    assert its_optimizer.param_groups[0]["weight_decay"] == 0.1
    again = torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
    assert torch.equal(drawn[0], again[0])
    assert drawn[1:] == again[1:]


def test_nothing_is_pickled(tmp_path, trained):
    path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=1)
    kinds = {file.suffix for file in path.iterdir()}
    assert kinds == {".safetensors", ".json"}
    for file in path.glob("*.json"):
        json.loads(file.read_text())


def test_only_the_newest_are_kept(tmp_path, trained):
    model, optimizer = trained()
    (tmp_path / ".step-00000001.999").mkdir()  # of a writer that was killed
    for step in (1, 2, 3, 12):
        checkpoint.save(tmp_path, step, model, optimizer, {}, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000012"]


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "rng.safetensors", "state.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_damaged_checkpoint_is_named_and_the_one_before_is_taken(tmp_path, trained, caplog, name, damage):
    model, optimizer = trained()
    checkpoint.save(tmp_path, 1, model, optimizer, {"step": 1}, keep=2)
    file = checkpoint.save(tmp_path, 2, model, optimizer, {"step": 2}, keep=2) / name
    harm(file, damage)
    with caplog.at_level(logging.WARNING):
        assert checkpoint.load_newest(tmp_path, *trained(1)) == {"step": 1}
    assert "step-00000002 is damaged" in caplog.text
    assert name in caplog.text


def test_damaged_manifest_counts_as_damage(tmp_path, trained):
    for content in ("", "[]", '{"model.safetensors": {}}', "{"):
        path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=2)
        (path / "manifest.json").write_text(content)
        with pytest.raises(MnemicError, match=r"manifest\.json cannot be read") as said:
            checkpoint.load_newest(tmp_path, *trained(1))
        assert "\n" not in str(said.value)


def test_without_a_whole_checkpoint_there_is_one_clear_message(tmp_path, trained):
    path = checkpoint.save(tmp_path, 1, *trained(), {}, keep=2)
    harm(path / "model.safetensors", "flipped")
    with pytest.raises(MnemicError, match="no whole checkpoint is left") as said:
        checkpoint.load_newest(tmp_path, *trained(1))
    assert str(path) in str(said.value)


def test_none_when_there_is_none(tmp_path, trained):
    assert checkpoint.load_newest(tmp_path / "nothing", *trained()) is None


def test_checkpoint_of_another_model_is_refused(tmp_path, trained, make_model):
    checkpoint.save(tmp_path, 1, *trained(), {}, keep=2)
    wider = make_model(hidden_size=32)
    with pytest.raises(UsageError, match="belongs to another model"):
        checkpoint.load_newest(tmp_path, wider, build_optimizer(wider, TrainConfig()))


def test_full_disk_keeps_what_was_there(tmp_path, trained, monkeypatch):
    model, optimizer = trained()
    checkpoint.save(tmp_path, 1, model, optimizer, {"step": 1}, keep=1)

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    with pytest.raises(MnemicError, match=r"the disk is full; the checkpoint of step-00000001 is kept"):
        checkpoint.save(tmp_path, 2, model, optimizer, {"step": 2}, keep=1)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]
    assert checkpoint.load_newest(tmp_path, *trained(1)) == {"step": 1}


def test_folder_that_cannot_be_written_is_named(tmp_path, trained):
    (tmp_path / "file").write_text("")
    with pytest.raises(MnemicError, match=r"cannot write checkpoint .*file/checkpoints/step-00000001"):
        checkpoint.save(tmp_path / "file" / "checkpoints", 1, *trained(), {}, keep=1)


def harm(file, damage):
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "truncated":
        file.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        file.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
