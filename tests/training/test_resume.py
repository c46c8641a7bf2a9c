"""Killed with -9 at random steps and resumed, a run ends bit for bit as one that was not."""

import os
import random
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

STEPS = 24


def spec(memory: str, task: str) -> RunSpec:
    training = TrainConfig(
        steps=STEPS, batch_size=8, accumulation=2, eval_every=7, eval_rows=16, checkpoint_every=3, seed=1, device="cpu"
    )
    shell = Shell(width=16, depth=1)
    return RunSpec(parse_task(task), memory, shell, training, test_rows=32)


def run_and_die(memory: str, task: str, folder: str, at_call: int) -> None:
    """In a process of its own: SIGKILL itself after `at_call` steps, in the middle of whatever comes next."""
    import torch

    torch.set_num_threads(1)
    calls = 0

    def count() -> bool:
        nonlocal calls
        calls += 1
        if calls == at_call:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    run(spec(memory, task), Path(folder), should_stop=count)


def in_a_process(*arguments) -> int:
    process = context().Process(target=run_and_die, args=arguments)
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize(
    ("memory", "task"),
    [("mamba2", "mqar:pairs=2,length=16,vocab=32"), ("attention", "text:python-reference,length=16")],
)
def test_killed_at_random_steps_it_ends_bit_identical(tmp_path, memory, task):
    assert in_a_process(memory, task, str(tmp_path / "whole"), 0) == 0
    rng, killed = random.Random(memory), 0
    while True:
        code = in_a_process(memory, task, str(tmp_path / "killed"), rng.randint(2, 9) if killed < 5 else 0)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
    assert killed >= 3
    whole, resumed = (read_records(tmp_path / name / "results.jsonl") for name in ("whole", "killed"))
    assert len(whole) == len(resumed) == 1
    assert whole[0].metrics == resumed[0].metrics
    assert whole[0].slices == resumed[0].slices
    curves = [[point.model_copy(update={"seconds": None}) for point in r[0].curve] for r in (whole, resumed)]
    assert curves[0] == curves[1]
    weights = [load_file(tmp_path / name / "model" / "model.safetensors") for name in ("whole", "killed")]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert tensor.numpy().tobytes() == weights[1][name].numpy().tobytes(), name


def test_a_finished_run_is_not_repeated(tmp_path):
    what = spec("attention", "mqar:pairs=2,length=16,vocab=32")
    first = run(what, tmp_path)
    assert not (tmp_path / "checkpoints").exists()
    again = run(what, tmp_path, should_stop=lambda: pytest.fail("it trains again"))
    assert again.finished == first.finished
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 1
