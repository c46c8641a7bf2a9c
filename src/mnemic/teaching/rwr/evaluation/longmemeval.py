"""LongMemEval (arXiv 2410.10813): questions about dated chat histories; its oracle, S and M files have one schema.

Session ids of the files give evidence away ("answer_…"), so passages get ids of their own; oracle files are not in
order of time, so sessions are sorted by date.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Judging, Passage, Turn
from mnemic.teaching.rwr.evaluation.reading import Entry, read_entries

__all__ = ["KNOWN_BAD", "QuestionType", "read_longmemeval"]

KNOWN_BAD: Final = frozenset({"370a8ff4", "gpt4_88806d6e", "eac54add", "9aaed6a3", "gpt4_f420262d"})
"""Questions whose labels its issue tracker reports as wrong. They are kept unless they are excluded."""

QuestionType = Literal[
    "single-session-user", "single-session-assistant", "single-session-preference", "multi-session",
    "knowledge-update", "temporal-reasoning",
]  # fmt: skip

_ABSTENTION = "_abs"
_DATE = re.compile(r"(\d{4})/(\d\d?)/(\d\d?)(?: \(\w+\))?(?: (\d\d?):(\d\d))?")
_JUDGING: Final[dict[str, Judging]] = {
    "temporal-reasoning": "temporal",
    "knowledge-update": "update",
    "single-session-preference": "rubric",
}


class _Turn(Entry):
    role: Literal["user", "assistant", "system"]
    content: str
    has_answer: bool | None = None


def _written(answer: object) -> object:
    """Answers that are counts stand there as numbers."""
    return str(answer) if isinstance(answer, int | float) and not isinstance(answer, bool) else answer


class _Question(Entry):
    question_id: str = Field(min_length=1)
    question_type: QuestionType
    question: str = Field(min_length=1)
    answer: Annotated[str, BeforeValidator(_written)] = Field(min_length=1)
    question_date: str
    haystack_session_ids: tuple[str, ...]
    haystack_dates: tuple[str, ...]
    haystack_sessions: tuple[tuple[_Turn, ...], ...]
    answer_session_ids: tuple[str, ...]

    @model_validator(mode="after")
    def _sessions_match(self) -> _Question:
        counts = len(self.haystack_session_ids), len(self.haystack_dates), len(self.haystack_sessions)
        if len(set(counts)) > 1:
            said = f"{counts[0]} haystack_session_ids, {counts[1]} haystack_dates, {counts[2]} haystack_sessions"
            raise PydanticCustomError("lengths", f"there must be as many of each: {said}")
        return self


def read_longmemeval(source: str, exclude: Collection[str] = ()) -> Iterator[EvaluationItem]:
    """The questions of a file.

    Args:
        source: longmemeval_oracle.json, longmemeval_s_cleaned.json or longmemeval_m_cleaned.json.
        exclude: ids to leave out, such as `KNOWN_BAD`.

    Raises:
        UsageError: a field is missing or wrong; the message names file, line and field.
    """
    for place, question in read_entries(source, _Question):
        if question.question_id not in exclude:
            yield _item(place, question)


def _item(place: str, question: _Question) -> EvaluationItem:
    moments = [_moment(place, f"haystack_dates[{n}]", date) for n, date in enumerate(question.haystack_dates)]
    _moment(place, "question_date", question.question_date)
    order = sorted(range(len(moments)), key=moments.__getitem__)
    evidence = set(question.answer_session_ids)
    if lost := sorted(evidence - set(question.haystack_session_ids)):
        raise UsageError(f"{place}: field 'answer_session_ids' names '{lost[0]}', which is no session of the haystack")
    passages, found = [], []
    for position, number in enumerate(order):
        turns = tuple(Turn(t.role, t.content, bool(t.has_answer)) for t in question.haystack_sessions[number])
        passages.append(Passage(f"session {position + 1}", turns, date=question.haystack_dates[number]))
        if question.haystack_session_ids[number] in evidence:
            found.append(passages[-1].id)
    is_abstention = question.question_id.endswith(_ABSTENTION)
    return EvaluationItem(
        id=question.question_id,
        context=tuple(passages),
        question=question.question,
        answers=(question.answer,),
        question_type=question.question_type,
        category="longmemeval",
        is_abstention=is_abstention,
        evidence=tuple(found),
        question_date=question.question_date,
        judging="abstention" if is_abstention else _JUDGING.get(question.question_type, "fact"),
    )


def _moment(place: str, field: str, date: str) -> datetime:
    try:
        if found := _DATE.fullmatch(date.strip()):
            return datetime(*(int(part) for part in found.groups("0")))  # type: ignore[arg-type]
    except ValueError:
        pass
    raise UsageError(f"{place}: field '{field}' is '{date}'; a date is written 2023/05/20 (Sat) 02:21")
