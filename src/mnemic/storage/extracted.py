"""What was found in one passage, whoever found it, as it is written to the store."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from mnemic.storage.phrases import cleaned
from mnemic.storage.records import NewFact
from mnemic.storage.view import Entity

__all__ = ["Extracted", "given"]


@dataclass(frozen=True)
class Extracted:
    """Attributes:
    extractor: who found it, such as "rules/1".
    mentions: how often each entity is named.
    pairs: in how many sentences two entities stand together; not a fact.
    facts: what the passage states.
    """

    extractor: str
    mentions: dict[Entity, int] = field(default_factory=dict)
    pairs: dict[tuple[Entity, Entity], int] = field(default_factory=dict)
    facts: tuple[NewFact, ...] = ()


def given(entities: Iterable[str], facts: Iterable[NewFact], text: str) -> Extracted:
    """The caller's own extraction: an entity counts as often as the text has its name, and at least once."""
    lower = cleaned(text)
    mentions = {}
    for name in entities:
        norm = cleaned(name)
        if norm:
            mentions[Entity(name.strip(), norm)] = max(lower.count(norm), 1)
    return Extracted("given", mentions, {}, tuple(facts))
