"""Killed with -9 and resumed, training on a stream ends bit for bit as one that was not: no row is lost or repeated."""

import os
import signal
from pathlib import Path

import pytest
from safetensors.torch import load_file

from mnemic.report.records import read_records
from mnemic.tasks import parse_task
from mnemic.training.config import TrainConfig
from mnemic.training.processes import context
from mnemic.training.runs import RunSpec, run
from mnemic.training.shell import Shell

pyarrow = pytest.importorskip("pyarrow")


def train(task: str, folder: str, at_call: int) -> None:
    import torch

    torch.set_num_threads(1)
    calls = 0

    def count() -> bool:
        nonlocal calls
        calls += 1
        if calls == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    training = TrainConfig(steps=14, batch_size=6, eval_every=7, eval_rows=8, checkpoint_every=3, device="cpu")
    run(
        RunSpec(parse_task(task), "attention", Shell(width=16, depth=1), training, test_rows=8),
        Path(folder),
        should_stop=count,
    )


def in_a_process(*arguments) -> int:
    process = context().Process(target=train, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("kind", ["parquet", "hub"])
def test_killed_it_ends_bit_identical(tmp_path, kind):
    from pyarrow import parquet

    texts = [f"line {n} says {n * n} and {n * 7919 % 1000} " * (1 + n % 3) for n in range(300)]
    data = tmp_path / "data"
    data.mkdir()
    for part in range(3):
        table = pyarrow.table({"text": texts[part::3]})
        parquet.write_table(table, data / f"part-{part}.parquet", row_group_size=25)
    task = f"text:{'hf:' * (kind == 'hub')}{data},length=24"
    assert in_a_process(task, str(tmp_path / "whole"), 0) == 0
    for at_call in (5, 2, 4):
        assert in_a_process(task, str(tmp_path / "killed"), at_call) == -signal.SIGKILL
    assert in_a_process(task, str(tmp_path / "killed"), 0) == 0
    whole, resumed = (read_records(tmp_path / name / "results.jsonl")[0] for name in ("whole", "killed"))
    assert whole.metrics == resumed.metrics
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")]
    for name, tensor in weights[0].items():
        assert tensor.numpy().tobytes() == weights[1][name].numpy().tobytes(), name
