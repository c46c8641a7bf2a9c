"""The models of the study of Recall with Reasoning: which arm learns which form of the task."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args

from mnemic.studies.base import Scale
from mnemic.tasks.key_facts import KEYS, TOKENS_PER_FACT, KeyFacts
from mnemic.training.config import TrainConfig
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell

__all__ = ["ARMS", "MULTIPLES", "SEEDS", "SHORTEST", "ArmName", "Question", "SizeOf", "questions", "sizes", "specs"]

SEEDS = 3
MULTIPLES = (1, 2, 4, 8, 16)
"""Lengths of the contexts that are asked about, as multiples of the longest that was trained on."""

ArmName = Literal["plain", "plain x2", "query first", "ReMamba", "RwR", "RwR, empty 0.15", "RwR, empty 0"]
ARMS: tuple[ArmName, ...] = get_args(ArmName)
SHORTEST = 0
"""Instead of a multiple: the shortest contexts that were trained on."""
_WITH_ABSENT = (1, 2, 4)  # beyond, all keys are told at the laptop's scale
_EMPTY = MappingProxyType({"RwR, empty 0.15": 0.15, "RwR, empty 0": 0.0})
_NOTES = 0.7  # of the rows of an arm with notes; the others are answered directly
_ABSENT = 0.3
_REMAMBA = "mnemic.teaching.rwr.compression:around_key_facts"


class Question(NamedTuple):
    """Contexts of how many times the training length, and whether keys may be asked that were never told."""

    multiple: int
    absent: bool = False


@dataclass(frozen=True)
class SizeOf:
    """How large a scale is. Rates and steps of the laptop's were chosen on seeds 7001 and 7002.

    Attributes:
        length: tokens of the longest context that is trained on, and of a segment.
        shortest: tokens of the shortest, with which every arm begins.
        first_steps: updates on those, before contexts of all lengths.
        mixer: of every layer.
        questions: asked at each length.
        rows_at_once: contexts that are read at once, at the training length.
    """

    length: int
    shortest: int
    first_steps: int
    training: TrainConfig
    shell: Shell
    mixer: Mapping[str, Any]
    questions: int
    rows_at_once: int


def sizes(scale: Scale) -> SizeOf:
    """The models of a scale, all of Mamba-2 layers without feed-forward, as Mamba itself is built."""
    if scale == "gpu":
        training = TrainConfig(steps=8000, batch_size=128, lr=1e-3, warmup=400, precision="bf16", eval_every=1000)
        shell, mixer = Shell(width=512, depth=12, feed_forward=0), {"mixer": "mamba2", "head_width": 64, "state": 128}
        return SizeOf(512, 64, 2000, training, shell, MappingProxyType(mixer), questions=1000, rows_at_once=64)
    training = TrainConfig(steps=2000, batch_size=64, lr=5e-3, warmup=100, eval_every=500, checkpoint_every=500)
    mixer = {"mixer": "mamba2", "head_width": 32, "state": 64}
    shell = Shell(width=64, depth=2, feed_forward=0)
    return SizeOf(64, 16, 1000, training, shell, MappingProxyType(mixer), questions=500, rows_at_once=256)


def specs(size: SizeOf, seed: int, command: str = "") -> dict[ArmName, RunSpec]:
    """Every run of one seed, the longest first, each after a run on the shortest contexts.

    All arms read the same contexts in the same order.
    """
    runs: dict[ArmName, RunSpec] = {}
    for arm in sorted(ARMS, key=lambda name: name not in ("plain x2", "ReMamba")):
        notes = arm.startswith("RwR")
        task = KeyFacts(
            length=(size.shortest, size.length),
            form="mixed" if notes else "direct",
            notes=_NOTES,
            absent=_EMPTY.get(arm, _ABSENT) if notes else 0.0,
            absent_direct=0.0,  # plain rows have answers, as plain data has
            query="before" if arm == "query first" else "after",
        )
        times = 2 if arm == "plain x2" else 1
        around = _REMAMBA if arm == "ReMamba" else None
        before: RunSpec | None = None
        for label, form, steps in (
            (f"{arm}, shortest contexts", task.replace(length=size.shortest), size.first_steps),
            (arm, task, size.training.steps),
        ):
            training = size.training.model_copy(update={"steps": times * steps, "seed": seed})
            before = RunSpec(
                form, label, size.shell, training, "final", size.questions, (dict(size.mixer),), (training.lr,), False,
                command, before, around,
            )  # fmt: skip
        assert before is not None
        runs[arm] = before
    return runs


def questions(size: SizeOf, arm: ArmName) -> dict[Question, KeyFacts]:
    """The test questions that an arm is asked. Facts grow with the length up to the number of keys; at 16 times there
    are half as many, so that tokens grow where facts do not."""
    found = {}
    for question in [*map(Question, (SHORTEST, *MULTIPLES)), *(Question(m, absent=True) for m in _WITH_ABSENT)]:
        length = size.length * question.multiple or size.shortest
        found[question] = KeyFacts(
            length=length,
            facts=KEYS // 2 if question.multiple == MULTIPLES[-1] else min(KEYS, length // TOKENS_PER_FACT),
            absent=_ABSENT if question.absent else 0.0,
            query="before" if arm == "query first" else "after",
        )
    return found
