"""What is said when memory runs out, and that it is true."""

import resource
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import MnemicError
from mnemic.tasks import parse_task
from mnemic.training import room
from mnemic.training.config import TrainConfig
from mnemic.training.loop import train
from mnemic.training.meter import PeakMemory
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.processes import context
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell


@given(fixed=st.integers(0, 10**9), per_row=st.integers(1, 10**8), free=st.integers(0, 10**11))
def test_the_named_batch_fits_and_twice_as_many_rows_do_not(fixed, per_row, free):
    need = room.Need(fixed, per_row)
    rows = need.rows_in(free)
    if rows:
        assert rows & (rows - 1) == 0, "a power of two"
        assert need.of(rows) <= free
    assert need.of(max(1, 2 * rows)) > free - 1


def test_what_a_row_keeps_grows_with_its_length(make_model):
    def per_row(length):
        row = training_batch(parse_task(f"mqar:pairs=2,length={length},vocab=512").sample("train", 1))
        return room.measure(AskedLoss(make_model(vocab_size=512)), row).per_row

    short, long = per_row(64), per_row(256)
    assert 3 * short < long < 20 * short


def test_fixed_part_counts_gradients_and_both_averages(make_model, task):
    model = make_model()
    need = room.measure(AskedLoss(model), training_batch(task.sample("train", 1)))
    assert need.fixed == 3 * sum(p.nbytes for p in model.parameters())


def test_batch_larger_than_memory_is_refused_before_the_first_step(make_model, task, monkeypatch, tmp_path):
    need = room.measure(AskedLoss(make_model()), training_batch(task.sample("train", 1)))
    monkeypatch.setattr(room, "available_bytes", lambda device: need.of(20))
    with pytest.raises(MnemicError, match=r"64 rows at once need about .* are free; batch_size=16 would fit"):
        train(make_model(), task, TrainConfig(batch_size=64, device="cpu"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train(make_model(), task, TrainConfig(batch_size=16, steps=1, eval_rows=4, device="cpu"))
    train(make_model(), task, TrainConfig(batch_size=64, accumulation=4, steps=1, eval_rows=4, device="cpu"))


def _train_with_little_memory(path: str) -> None:
    torch.set_num_threads(1)
    spec = RunSpec(
        parse_task("mqar:pairs=2,length=512,vocab=1024"),
        "attention",
        Shell(width=64, depth=2),
        TrainConfig(batch_size=2048, steps=1, eval_rows=1, device="cpu"),
    )
    model = spec.new_model()
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 2**29,) * 2)
    room.refuse_if_too_large = lambda *_: None  # psutil knows nothing of this limit
    try:
        train(model, spec.task, spec.training)
    except MnemicError as error:
        Path(path).write_text(str(error))


def test_out_of_memory_in_a_step_says_which_batch_would_fit(tmp_path):
    process = context().Process(target=_train_with_little_memory, args=(str(tmp_path / "said"),))
    process.start()
    process.join()
    said = (tmp_path / "said").read_text()
    assert said.startswith("out of memory at step 1 with 2048 rows at once; batch_size=")
    assert int(said.partition("batch_size=")[2].split()[0]) <= 1024


def test_peak_memory_sees_what_was_held_for_a_moment():
    with PeakMemory(torch.device("cpu")) as peak:
        block = torch.ones(64 * 2**20 // 4)
        time.sleep(0.1)
        del block
    assert 60 * 2**20 < peak.bytes < 200 * 2**20
