"""The models of the MEMENTO study: which run trains what, and from whose weights it starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnemic.report.records import Record
from mnemic.studies.base import Scale
from mnemic.studies.chains import train_chains
from mnemic.tasks.rounds import Rounds
from mnemic.tasks.running_sum import RunningSum
from mnemic.training.config import TrainConfig
from mnemic.training.grid import OnEvent
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell

__all__ = ["PROBE", "SEEDS", "Key", "SizeOf", "sizes", "specs", "train_all"]

SEEDS = 3
Stage = Literal["stage 1", "stage 2", "control"]
Memento = Literal["lossy", "full", "none"]
Key = tuple[int, Memento, Stage]
"""(rounds, what a memento says, stage); the control sees the same traces without blocks and mementos."""

PROBE: Key = (0, "none", "stage 2")
"""The model that is probed; it learns running sums."""

_ATTENTION: tuple[dict[str, Any], ...] = ({"mixer": "attention", "heads": 4, "qk_norm": True},)  # as Qwen3


@dataclass(frozen=True)
class SizeOf:
    """How large a scale is. Rates and steps of the laptop's were chosen on seed 7000.

    Attributes:
        rounds: of the traces; a longer one starts from the weights that learned the one before it.
        ops: operations of a round.
        steps, batches, rates: per entry of `rounds`, those of stage 1.
        second_steps, second_rate: those of stage 2, at the same batches.
        probe: of the probed model.
    """

    rounds: tuple[int, ...]
    ops: int
    steps: tuple[int, ...]
    batches: tuple[int, ...]
    rates: tuple[float, ...]
    second_steps: tuple[int, ...]
    second_rate: float
    shell: Shell
    probe: tuple[RunningSum, Shell, TrainConfig]
    test_rows: int = 200
    problems: int = 200


def sizes(scale: Scale) -> SizeOf:
    """The models of a scale; both shells are Qwen3's, without the short convolution of comparisons."""
    if scale == "gpu":
        shell = Shell(width=512, depth=8, feed_forward=1536, conv=0)
        training = TrainConfig(steps=3000, batch_size=128, lr=1e-3, warmup=300, weight_decay=0.0, precision="bf16")
        return SizeOf(
            (8, 16, 32), 16, (2000, 1000, 1000), (64, 32, 16), (1e-3, 5e-4, 5e-4), (2000, 2000, 2000), 5e-4, shell,
            (RunningSum(hide=True), Shell(width=128, depth=4, conv=0), training), test_rows=500, problems=500,
        )  # fmt: skip
    training = TrainConfig(steps=800, batch_size=32, lr=3e-3, warmup=100, weight_decay=0.0, eval_every=200)
    return SizeOf(
        (4, 8, 16), 4, (320, 200, 200), (32, 16, 8), (3e-3, 2e-3, 2e-3), (320, 200, 400), 2e-3,
        Shell(width=64, depth=3, feed_forward=192, conv=0),
        (RunningSum(hide=True), Shell(width=64, depth=4, feed_forward=192, conv=0), training),
    )  # fmt: skip


def specs(size: SizeOf, seed: int, command: str = "") -> dict[Key, RunSpec]:
    """Every run of one seed, those that others start from first.

    Stage 1 sees everything, stage 2 starts from it and loses each block when its memento ends. The control takes as
    many updates as both together.
    """
    runs: dict[Key, RunSpec] = {}

    def add(key: Key, task: Rounds, index: int, steps: int, rate: float, after: Key | None) -> None:
        batch = size.batches[index]
        training = TrainConfig(
            steps=steps, batch_size=batch, lr=rate, warmup=100, weight_decay=0.0, seed=seed,
            eval_every=max(1, steps // 4), eval_rows=128, checkpoint_every=steps,
        )  # fmt: skip
        runs[key] = RunSpec(
            task, key[2], size.shell, training, "final", size.test_rows, _ATTENTION, (rate,), False, command,
            runs[after] if after is not None else None,
        )  # fmt: skip

    for memento in ("lossy", "full", "none"):
        before: Key | None = None
        for index, rounds in enumerate(size.rounds if memento != "full" else size.rounds[:1]):
            task = Rounds(rounds=rounds, ops=size.ops, memento=memento)
            first: Key = (rounds, memento, "stage 1")
            second: Key = (rounds, memento, "control" if memento == "none" else "stage 2")
            hidden = task if memento == "none" else task.replace(hide=True)
            add(first, task, index, size.steps[index], size.rates[index], before)
            add(second, hidden, index, size.second_steps[index], size.second_rate, first)
            before = first
    sums, shell, training = size.probe
    probed = training.model_copy(update={"seed": seed})
    runs[PROBE] = RunSpec(
        sums, "running sum", shell, probed, "final", size.test_rows, _ATTENTION, (probed.lr,), False, command
    )
    return runs


def train_all(
    runs: Mapping[int, Mapping[Key, RunSpec]], directory: Path, on_event: OnEvent | None, jobs: int | None
) -> dict[int, dict[Key, Record]]:
    """Train every run, each after the one that it starts from, and return the records by seed and key.

    Where a run failed, those that start from it are not there.
    """
    every = [spec for of_seed in runs.values() for spec in of_seed.values()]
    found = train_chains(every, directory, on_event, jobs)
    return {
        seed: {key: found[spec.id] for key, spec in of_seed.items() if spec.id in found}
        for seed, of_seed in runs.items()
    }
