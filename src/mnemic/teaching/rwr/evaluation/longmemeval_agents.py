"""LongMemEval-V2 (arXiv 2605.12493): questions about what an agent has met in its earlier trajectories.

A folder holds questions.jsonl, trajectories.jsonl and haystacks/lme_v2_<tier>.json, which names the trajectories of
each question. Screenshots are left out: what is read is the text of every state. Questions that show an image of
their own cannot be asked so, and are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from pydantic import AliasChoices, Field

from mnemic.errors import UsageError, nearest
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Judging, Metric, Passage, Turn
from mnemic.teaching.rwr.evaluation.reading import Entry, read_entries

__all__ = ["Tier", "read_longmemeval_agents"]

Tier = Literal["small", "medium"]

_PREMISE = "llm_abstention_checker"
_SCORING: Final[dict[str, tuple[Metric, Judging]]] = {
    "norm_phrase_set_match": ("phrases", "fact"),
    "norm_phrase_set_match_ordered": ("phrases", "fact"),
    "mc_choice_match": ("exact", "fact"),
    "mc_choice_set_match": ("exact", "fact"),
    _PREMISE: ("substring", "premise"),
    "llm_gotchas_checker": ("f1", "insight"),
}


class _Question(Entry):
    id: str = Field(min_length=1)
    domain: Literal["web", "enterprise"]
    question: str = Field(min_length=1)
    question_type: str
    answer: str
    image: str | None = None
    eval_function: str = ""


class _State(Entry):
    url: str
    text: str = Field(validation_alias=AliasChoices("accessibility_tree", "text"))
    action: str | None = None
    thought: str | None = Field(None, validation_alias=AliasChoices("thought", "thoughts"))


class _Trajectory(Entry):
    id: str = Field(min_length=1)
    goal: str
    start_url: str
    states: tuple[_State, ...] = Field(min_length=1)
    outcome: str | None = None


def read_longmemeval_agents(folder: str, tier: Tier = "small") -> Iterator[EvaluationItem]:
    """The questions of a tier, each with all its trajectories.

    Raises:
        UsageError: a file is missing, a field is missing or wrong, or a haystack names what is not there.
    """
    if tier not in get_args(Tier):
        raise UsageError(f"tier is '{tier}'{nearest(tier, get_args(Tier))}")
    root = Path(folder).expanduser()
    where = root / "haystacks" / f"lme_v2_{tier}.json"
    haystacks = _haystacks(where)
    wanted = {name for names in haystacks.values() for name in names}
    trajectories = {
        found.id: _passage(found)
        for _, found in read_entries(str(root / "trajectories.jsonl"), _Trajectory)
        if found.id in wanted
    }
    for place, question in read_entries(str(root / "questions.jsonl"), _Question):
        if question.image is not None:
            continue
        if question.id not in haystacks:
            raise UsageError(f"{place}: '{where}' has no haystack for question '{question.id}'")
        names = haystacks[question.id]
        if lost := [name for name in names if name not in trajectories]:
            raise UsageError(f"'{where}': question '{question.id}' has trajectory '{lost[0]}', which is in no file")
        yield _item(question, tuple(trajectories[name] for name in names))


def _item(question: _Question, context: tuple[Passage, ...]) -> EvaluationItem:
    checker = question.eval_function.partition("|")[0].strip()
    metric, judging = _SCORING.get(checker, ("substring", "fact"))
    return EvaluationItem(
        id=question.id,
        context=context,
        question=question.question,
        answers=(question.answer,),
        question_type=question.question_type,
        category=question.domain,
        is_abstention=checker == _PREMISE,
        metric=metric,
        judging=judging,
    )


def _passage(trajectory: _Trajectory) -> Passage:
    turns = [Turn("goal", trajectory.goal)]
    for state in trajectory.states:
        turns.append(Turn("page", f"{state.url}\n{state.text}"))
        turns += [Turn("thought", state.thought)] if state.thought else []
        turns += [Turn("action", state.action)] if state.action else []
    turns += [Turn("outcome", trajectory.outcome)] if trajectory.outcome else []
    return Passage(trajectory.id, tuple(turns))


def _haystacks(path: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"there is no file '{path}'") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from None
    if not isinstance(found, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in found.values()
    ):
        raise UsageError(f"'{path}' is no object of lists of trajectory ids")
    return found
