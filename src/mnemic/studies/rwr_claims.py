"""What the study of Recall with Reasoning asks of its measurements."""

import math
from collections.abc import Mapping
from statistics import fmean

from mnemic.report.claims import Claim
from mnemic.report.records import Record
from mnemic.studies.base import judge
from mnemic.studies.rwr_answers import Answered, Way
from mnemic.studies.rwr_runs import SEEDS, SHORTEST, ArmName, Question

__all__ = ["CASES", "Case", "Measured", "accuracy", "claims"]

Case = tuple[ArmName, Way]
Measured = Mapping[tuple[Case, Question], list[Answered]]
"""What was answered, an entry per seed, by who was asked in which way and what."""

CASES: tuple[Case, ...] = (
    ("plain", "direct"), ("plain x2", "direct"), ("plain", "decimated"), ("ReMamba", "direct"),
    ("query first", "direct"), ("RwR", "direct"), ("RwR", "note"), ("RwR", "segments"),
    ("RwR, empty 0.15", "note"), ("RwR, empty 0.15", "segments"),
    ("RwR, empty 0", "note"), ("RwR, empty 0", "segments"),
)  # fmt: skip
"""Who is asked, and how."""

_PAPER = "no figure of the paper is confirmed; in words: "
_SSA: Case = ("RwR", "segments")


def claims(measured: Measured, records: Mapping[int, Mapping[ArmName, Record]], failed: list[Record]) -> list[Claim]:
    """The verdicts, each on means over the seeds.

    Args:
        records: the runs, by seed and arm.
        failed: runs without a result; claims are not measured then.
    """

    def at(arm: ArmName, way: Way, multiple: int) -> float:
        return accuracy(measured, (arm, way), multiple)

    def more(text: str, said: str, by: float, one: float, other: float) -> Claim:
        asked = f"accuracy higher by at least {by:g}" if by > 0 else f"accuracy lower by at most {abs(by):g}"
        return judge(text, _PAPER + said, asked, one - other, one - other >= by, failed)

    found = [
        more("A. 1x: not worse than plain fine-tuning", "slightly better on short tasks", 0.0, at("RwR", "note", 1),
             at("plain", "direct", 1))
    ]  # fmt: skip
    for multiple in (2, 4):
        note = at("RwR", "note", multiple)
        found += [
            more(f"B. {multiple}x: far better than plain fine-tuning on the same contexts and updates",
                 "better at 10K and 100K tokens", 0.3, note, at("plain", "direct", multiple)),
            more(f"B. {multiple}x: writing the note first helps the very same model",
                 "a note moves old information next to the answer", 0.08, note, at("RwR", "direct", multiple)),
        ]  # fmt: skip
    for multiple, by in ((4, 0.15), (8, 0.4)):
        ssa = at(*_SSA, multiple)
        found += [
            judge(f"C. {multiple}x: notes on segments keep accuracy", _PAPER + "best at 100K tokens",
                  "accuracy at least 0.85", ssa, ssa >= 0.85, failed),
            more(f"C. {multiple}x: notes on segments beat a single pass", "the same", by, ssa,
                 at("RwR", "note", multiple)),
        ]  # fmt: skip
    best, who = _best_rival(measured, 16)
    ssa = at(*_SSA, 16)
    found += [
        judge("C. 16x: notes on segments are the best of all arms", _PAPER + "at 100K DeciMamba and ReMamba fall",
              "accuracy higher than every other arm's", f"{ssa:.2f}, {who} {best:.2f}", ssa > best, failed),
        more("D. 4x: without empty notes in training, notes on segments lose", "empty notes stop over-confident recall",
             0.2, at(*_SSA, 4), at("RwR, empty 0", "segments", 4)),
        more("E. The shortest contexts, asked directly: not worse than plain fine-tuning", "slightly better", -0.05,
             at("RwR", "direct", SHORTEST), at("plain", "direct", SHORTEST)),
        _same_state(records, failed),
    ]  # fmt: skip
    return found


def accuracy(measured: Measured, case: Case, multiple: int) -> float:
    """Mean over the seeds; nan where one is missing, and no threshold holds for nan."""
    found = measured.get((case, Question(multiple)), [])
    return fmean(one.accuracy for one in found) if len(found) == SEEDS else math.nan


def _best_rival(measured: Measured, multiple: int) -> tuple[float, str]:
    """The best accuracy of all others, and whose it is; nan where one of them is missing."""
    rivals = {case: accuracy(measured, case, multiple) for case in CASES if case != _SSA}
    missing = [case for case, value in rivals.items() if math.isnan(value)]
    best = missing[0] if missing else max(rivals, key=lambda case: rivals[case])
    return rivals[best], f"{best[0]}, {best[1]}"


def _same_state(records: Mapping[int, Mapping[ArmName, Record]], failed: list[Record]) -> Claim:
    sizes = {record.cost.memory_bytes for of_seed in records.values() for record in of_seed.values()}
    held = ", ".join(f"{size:,} bytes" for size in sorted(size for size in sizes if size is not None))
    holds = len(sizes) == 1 and None not in sizes
    return judge("F. Every arm carries the same state", "no change of architecture", "one size in all arms",
                 held or "not measured", holds, failed)  # fmt: skip
