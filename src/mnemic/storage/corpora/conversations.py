"""Conversations with questions: LoCoMo (arXiv 2402.17753) and LongMemEval (arXiv 2410.10813)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from mnemic.errors import UsageError
from mnemic.storage.corpora.base import Corpus, Question
from mnemic.storage.corpora.files import take
from mnemic.storage.view import Passage

__all__ = ["is_locomo", "is_longmemeval", "locomo", "longmemeval"]

_ADVERSARIAL = 5  # LoCoMo's category of questions that have no answer
_EVIDENCE = re.compile(r"D:?0*(\d+):0*(\d+)")
_SESSION = re.compile(r"session_(\d+)")


def is_locomo(item: Any) -> bool:
    return isinstance(item, dict) and "qa" in item and ("conversation" in item or "sessions" in item)


def is_longmemeval(item: Any) -> bool:
    return isinstance(item, dict) and "haystack_sessions" in item


def locomo(item: Mapping[str, Any], where: str) -> Corpus:
    """One conversation; what a picture shows is part of its turn, summaries are passages of their own.

    Evidence that names no turn is left out, and a question without any evidence too.
    """
    passages: list[Passage] = []
    places: dict[tuple[int, int], Passage] = {}
    for number, said_at, turns in _locomo_sessions(item, where):
        time = _time(said_at, "%I:%M %p on %d %B, %Y")
        for turn in turns:
            caption = turn.get("blip_caption")
            text = f"{take(turn, 'speaker', str, where)}: {take(turn, 'text', str, where)}"
            identity = take(turn, "dia_id", str, where)
            text += f" [shares {caption}]" if caption else ""
            passage = Passage(identity, text, level="turn", session=f"session_{number}", time=time)
            passages.append(passage)
            if place := _EVIDENCE.fullmatch(identity):
                places[int(place[1]), int(place[2])] = passage
    for key, text in take(item, "session_summary", dict, where, {}).items():
        match = _SESSION.match(key)
        if match and text:
            passages.append(Passage(f"{key}", str(text), level="summary", session=match[0]))
    questions = []
    for number, asked in enumerate(take(item, "qa", list, where), 1):
        named = _EVIDENCE.findall(" ".join(map(str, asked.get("evidence") or ())))
        held = [places[int(s), int(t)] for s, t in named if (int(s), int(t)) in places]
        if held:
            questions.append(_locomo_question(asked, f"{where}: qa {number}", str(number), held))
    name = str(item.get("sample_id") or item.get("id") or where)
    absent = len(item["qa"]) - len(questions)
    notes = (f"{name}: {absent} questions without evidence among the turns are not asked",) if absent else ()
    return Corpus(name, tuple(passages), tuple(questions), notes=notes)


def _locomo_question(asked: Mapping[str, Any], where: str, identity: str, turns: list[Passage]) -> Question:
    category = asked.get("category")
    return Question(
        identity,
        take(asked, "question", str, where),
        take(asked, "answer", str, where, str(asked.get("adversarial_answer", ""))),
        frozenset(turn.id for turn in turns),
        frozenset(turn.session for turn in turns),
        answerable=category != _ADVERSARIAL,
        kind=str(category),
    )


def _locomo_sessions(item: Mapping[str, Any], where: str) -> list[tuple[int, str, list[dict[str, Any]]]]:
    if "sessions" in item:
        sessions = take(item, "sessions", list, where)
        return [(take(s, "index", int, where), str(s.get("date", "")), take(s, "turns", list, where)) for s in sessions]
    conversation = take(item, "conversation", dict, where)
    numbers = sorted(int(match[1]) for key in conversation if (match := _SESSION.fullmatch(key)))
    return [
        (n, str(conversation.get(f"session_{n}_date_time", "")), take(conversation, f"session_{n}", list, where))
        for n in numbers
    ]


def longmemeval(item: Mapping[str, Any], where: str) -> Corpus:
    """One question with its own history. Session ids are numbered anew: the published ones tell the answer."""
    identity = take(item, "question_id", str, where)
    ids = [str(each) for each in take(item, "haystack_session_ids", list, where)]
    dates, sessions = take(item, "haystack_dates", list, where), take(item, "haystack_sessions", list, where)
    if not len(ids) == len(dates) == len(sessions):
        raise UsageError(f"{where}: {len(ids)} haystack_session_ids, {len(dates)} dates, {len(sessions)} sessions")
    order = sorted(range(len(ids)), key=lambda i: (_lme_time(dates[i]) or 0, i))
    passages, evidence = [], set()
    for number, i in enumerate(order):
        for place, turn in enumerate(sessions[i]):
            text = f"{take(turn, 'role', str, where)}: {take(turn, 'content', str, where)}"
            passage = Passage(f"{number}:{place}", text, level="turn", session=str(number), time=_lme_time(dates[i]))
            passages.append(passage)
            if turn.get("has_answer"):
                evidence.add(passage.id)
    told = set(map(str, take(item, "answer_session_ids", list, where)))
    question = Question(
        identity,
        take(item, "question", str, where),
        take(item, "answer", str, where),
        frozenset(evidence),
        frozenset(str(number) for number, i in enumerate(order) if ids[i] in told),
        answerable=not identity.endswith("_abs"),
        time=_lme_time(item.get("question_date")),
        kind=take(item, "question_type", str, where),
    )
    return Corpus(identity, tuple(passages), (question,))


def _lme_time(date: Any) -> int | None:
    return _time(re.sub(r"\s*\([A-Za-z]+\)", "", str(date)), "%Y/%m/%d %H:%M")


def _time(text: str, form: str) -> int | None:
    """UTC in microseconds; None for what is no such date."""
    try:
        return int(datetime.strptime(text.strip(), form).replace(tzinfo=UTC).timestamp()) * 1_000_000
    except ValueError:
        return None
