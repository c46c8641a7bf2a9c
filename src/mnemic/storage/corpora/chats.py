"""A chat as JSON lines, as `mnemic remember` takes it, with questions about it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError
from mnemic.storage.corpora.base import Corpus, Question
from mnemic.storage.corpora.files import read_lines, take
from mnemic.storage.reading.chats import chat_event
from mnemic.storage.times import microseconds
from mnemic.storage.view import Passage

__all__ = ["read_chat_corpus"]

Where = tuple[str, dict[str, Any]]


def read_chat_corpus(path: Path, questions: Path | None) -> Corpus:
    """A chat and its questions.

    A turn is a line {"session", "actor", "time", "text"}, perhaps with an "id"; without one it is "SESSION:N", the
    N-th turn of its session, from 1. A question is a line {"question", "evidence": [ids of turns, or of sessions]},
    perhaps with "id", "answer", "kind", "time" and "answerable"; it stands in the chat or in a file of its own.

    Raises:
        UsageError: a line is neither, an id stands twice, or evidence is not in the chat.
    """
    turns, asked = _apart(read_lines(path))
    if questions is not None:
        more, also = _apart(read_lines(questions))
        if more:
            raise UsageError(f"{more[0][0]} is no question; a line is {{'question': …, 'evidence': [ids]}}")
        asked += also
    passages = _passages(turns)
    if not passages:
        raise UsageError(f"{path} holds no turns")
    found = [_question(item, where, str(number), passages) for number, (where, item) in enumerate(asked, 1)]
    twice = [identity for identity, count in Counter(question.id for question in found).items() if count > 1]
    if twice:
        raise UsageError(f"{path}: two questions have the id '{twice[0]}'")
    return Corpus(path.name, tuple(passages.values()), tuple(found))


def _apart(lines: Iterable[Where]) -> tuple[list[Where], list[Where]]:
    """Lines that are turns, and lines that are questions."""
    turns: list[Where] = []
    asked: list[Where] = []
    for where, item in lines:
        (asked if "question" in item and "text" not in item else turns).append((where, item))
    return turns, asked


def _passages(turns: Iterable[Where]) -> dict[str, Passage]:
    passages: dict[str, Passage] = {}
    counted: Counter[str] = Counter()
    for where, item in turns:
        try:
            event = chat_event(item, where)
        except UsageError as wrong:
            raise UsageError(f"{where}: {wrong}") from None
        if not event.session:
            raise UsageError(f"{where}: 'session' is missing; a chat that is asked about needs it on every line")
        counted[event.session] += 1
        identity = take(item, "id", str, where, f"{event.session}:{counted[event.session]}")
        if identity in passages:
            raise UsageError(f"{where}: two turns have the id '{identity}'")
        text = f"{event.actor}: {event.text}" if event.actor else event.text
        time = microseconds(event.time)
        passages[identity] = Passage(identity, text, level="turn", session=event.session, time=time)
    return passages


def _question(item: Mapping[str, Any], where: str, number: str, passages: Mapping[str, Passage]) -> Question:
    sessions = {passage.session for passage in passages.values()}
    named = list(map(str, take(item, "evidence", list, where)))
    for name in named:
        if name not in passages and name not in sessions:
            raise UsageError(f"{where}: evidence '{name}' is neither the id of a turn nor a session")
    turns = frozenset(name for name in named if name in passages)
    return Question(
        take(item, "id", str, where, number),
        take(item, "question", str, where),
        take(item, "answer", str, where, ""),
        turns,
        frozenset(passages[name].session if name in passages else name for name in named),
        answerable=take(item, "answerable", bool, where, True),
        time=microseconds(item.get("time")),
        kind=take(item, "kind", str, where, ""),
    )
