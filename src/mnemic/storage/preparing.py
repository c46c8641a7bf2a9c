"""Events made ready to be written, before any transaction opens: checked, hashed and cut into passages."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from mnemic.errors import UsageError
from mnemic.storage.chunking import chunks
from mnemic.storage.records import Event, NewFact
from mnemic.storage.terms import terms
from mnemic.storage.times import microseconds
from mnemic.storage.view import Level

__all__ = [
    "Prepared",
    "PreparedPassage",
    "check_key",
    "checked_fact",
    "index_terms",
    "indexed_text",
    "metadata_text",
    "prepared",
    "shortened",
]

_LONGEST_NAME = 1_000
_LONGEST_TERM = 400  # characters; a longer "word" is told from others by its beginning
_LONGEST_METADATA = 1_000_000


@dataclass(frozen=True)
class PreparedPassage:
    """Attributes:
    indexed: what is embedded and searched for words.
    """

    level: str
    text: str
    indexed: str
    terms: list[str]


@dataclass(frozen=True)
class Prepared:
    """An event that can be written. `time` is in microseconds."""

    event: Event
    time: int | None
    content_hash: str
    metadata: str
    passages: tuple[PreparedPassage, ...]
    facts: tuple[NewFact, ...]


def prepared(event: Event) -> Prepared:
    """Raises:
    UsageError: what is wrong with it, naming the field.
    """
    _refuse_unprintable("text", event.text)
    if not event.text.strip():
        raise UsageError("text is empty; there is nothing to remember")
    for name in ("source", "session", "actor", "title"):
        value = getattr(event, name)
        _refuse_unprintable(name, value)
        if len(value) > _LONGEST_NAME:
            raise UsageError(f"{name} has {len(value):,} characters; at most {_LONGEST_NAME:,} are kept")
    level = event.level or ("turn" if event.session else "chunk")
    if level not in get_args(Level):
        raise UsageError(f"level is '{level}'; must be one of {', '.join(get_args(Level))}")
    event = replace(event, level=level)
    identity = json.dumps([event.text, event.session, event.actor, event.title, level], ensure_ascii=False)
    return Prepared(
        event,
        microseconds(event.time),
        hashlib.sha256(identity.encode()).hexdigest(),
        metadata_text(event.metadata),
        tuple(_passages(event)),
        tuple(checked_fact(fact) for fact in event.facts or ()),
    )


def check_key(key: str) -> None:
    """Refuses an idempotency key that cannot be kept."""
    _refuse_unprintable("idempotency_key", key)
    if not 0 < len(key) <= _LONGEST_NAME:
        raise UsageError(f"idempotency_key has {len(key):,} characters; must have 1 to {_LONGEST_NAME:,}")


def _refuse_unprintable(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise UsageError(f"{name} is {type(value).__name__}; must be text")
    if (place := value.find("\0")) >= 0:
        raise UsageError(f"{name} has a NUL at character {place}; binary data is not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{name} has half a character at {error.start}; decode it with the right encoding"
            ) from None


def metadata_text(metadata: Mapping[str, Any]) -> str:
    """As it is stored, or why it cannot be."""
    try:
        text = json.dumps(dict(metadata), ensure_ascii=False, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(f"metadata cannot be kept as JSON: {error}") from None
    _refuse_unprintable("metadata", text)
    if "\\u0000" in text:
        raise UsageError("metadata has a NUL; binary data is not text")
    if len(text) > _LONGEST_METADATA:
        raise UsageError(f"metadata has {len(text):,} characters as JSON; at most {_LONGEST_METADATA:,} are kept")
    return text


def _passages(event: Event) -> list[PreparedPassage]:
    spoken = f"{event.actor}: " if event.actor else ""
    return [_passage(event, spoken + event.text[begin:end]) for begin, end in chunks(event.text)]


def _passage(event: Event, text: str) -> PreparedPassage:
    indexed = indexed_text(event.title, text)
    return PreparedPassage(event.level, text, indexed, index_terms(indexed))


def indexed_text(title: str, text: str) -> str:
    """As `view.Passage.indexed`."""
    return f"{title}\n{text}" if title else text


def index_terms(indexed: str) -> list[str]:
    """What the keyword index holds of a passage."""
    return [shortened(term) for term in terms(indexed)]


def shortened(term: str) -> str:
    """As much of a term as the index keeps."""
    return term[:_LONGEST_TERM]


def checked_fact(fact: NewFact | Sequence[str]) -> NewFact:
    """A fact as it is kept, or why it cannot be."""
    if not isinstance(fact, NewFact):
        if isinstance(fact, str) or len(fact) != 3:
            raise UsageError(f"fact {fact!r:.80} is not (subject, predicate, object)")
        subject, predicate, object_ = fact
        fact = NewFact(subject, predicate, object_)
    for name in ("subject", "predicate", "object"):
        value = getattr(fact, name)
        _refuse_unprintable(f"{name} of a fact", value)
        if not value.strip() or len(value) > _LONGEST_NAME:
            raise UsageError(f"{name} of a fact has {len(value):,} characters; must have 1 to {_LONGEST_NAME:,}")
    begin, end = microseconds(fact.valid_from, "valid_from"), microseconds(fact.valid_to, "valid_to")
    if begin is not None and end is not None and end <= begin:
        raise UsageError(f"valid_to {fact.valid_to!r} of a fact is not after valid_from {fact.valid_from!r}")
    if fact.confidence is not None and not 0 <= fact.confidence <= 1:
        raise UsageError(f"confidence {fact.confidence!r} of a fact is not between 0 and 1")
    return replace(fact, valid_from=begin, valid_to=end)
