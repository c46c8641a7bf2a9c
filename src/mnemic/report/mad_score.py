"""The MAD score: how well a memory does on each of six skills, and on average (Poli et al. 2024, arXiv 2403.17844)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from mnemic.report.records import Record
from mnemic.report.sheets import Sheet
from mnemic.report.summary import group_runs
from mnemic.report.units import score_text
from mnemic.tasks.mad import SKILLS

__all__ = ["MadScore", "mad_scores", "mad_sheet"]

_HEADS = dict(zip(SKILLS, ("in context", "noisy", "fuzzy", "copying", "compress", "memorise"), strict=True))


@dataclass(frozen=True)
class MadScore:
    """A memory's accuracy by skill.

    Attributes:
        skills: name -> mean over the settings that every memory was asked, each a mean over seeds.
        settings: how many those are.
    """

    memory: str
    skills: dict[str, float]
    settings: int

    @property
    def score(self) -> float:
        """The mean over skills."""
        return fmean(self.skills.values())

    @property
    def is_whole(self) -> bool:
        return len(self.skills) == len(SKILLS)


def mad_scores(records: Sequence[Record]) -> list[MadScore]:
    """The best first; [] where the runs are of fewer than two of the skills. A setting that one memory lacks counts for
    none."""
    found: dict[str, dict[str, float]] = {}
    for task in dict.fromkeys(record.task for record in records if _skill(record.task) in SKILLS):
        for group in group_runs([record for record in records if record.task == task]):
            if group.score is not None and group.first.asks_for_answers:
                found.setdefault(group.label, {})[task] = group.score.mean
    shared = set.intersection(*(set(settings) for settings in found.values())) if found else set()
    asked = [skill for skill in SKILLS if any(_skill(task) == skill for task in shared)]
    if len(asked) < 2:
        return []
    scores = [
        MadScore(
            memory,
            {skill: fmean(value for task, value in of.items() if task in shared and _skill(task) == skill)
             for skill in asked},
            len(shared),
        )
        for memory, of in found.items()
    ]  # fmt: skip
    return sorted(scores, key=lambda one: -one.score)


def mad_sheet(records: Sequence[Record]) -> Sheet | None:
    """The scores as a table; None where there are none."""
    scores = mad_scores(records)
    if not scores:
        return None
    skills = list(scores[0].skills)
    which = "" if scores[0].is_whole else f" Only {len(skills)} of the {len(SKILLS)} skills were asked."
    return Sheet(
        title="MAD score",
        head=("memory", "score", *(_HEADS[skill] for skill in skills)),
        rows=tuple(
            (one.memory, score_text(one.score), *(score_text(one.skills[skill]) for skill in skills)) for one in scores
        ),
        note=f"Accuracy over {scores[0].settings} settings in all; the score is the mean over skills.{which}",
    )


def _skill(task: str) -> str:
    return task.partition(":")[0]
