"""A view of passages that are in no database, and the tables of a view out of what was extracted from each passage.

N passages, E entities, F facts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mnemic.errors import UsageError
from mnemic.storage.encoder import Encoder
from mnemic.storage.extracted import Extracted
from mnemic.storage.keywords import KeywordIndex
from mnemic.storage.phrases import cleaned
from mnemic.storage.rows import Rows
from mnemic.storage.synonyms import synonym_links
from mnemic.storage.view import Entity, Fact, Links, Passage, View

__all__ = ["Tables", "corpus_view", "tables"]


@dataclass(frozen=True)
class Tables:
    """As in `View`."""

    entities: tuple[Entity, ...]
    mentions: Rows
    cooccurrences: Links
    facts: tuple[Fact, ...]
    support: Rows


def corpus_view(
    passages: Sequence[Passage],
    *,
    encoder: Encoder,
    extracted: Sequence[Extracted] | None = None,
    synonym_threshold: float | None = None,
) -> View:
    """A view of a corpus.

    Args:
        extracted: of each passage; None: nothing was.
        synonym_threshold: the cosine from which two phrases of facts mean the same; None: no synonyms.

    Raises:
        UsageError: not one extraction for each passage.
    """
    if extracted is not None and len(extracted) != len(passages):
        raise UsageError(f"extracted has {len(extracted)} items for {len(passages)} passages; give one for each")
    found = tables(extracted if extracted is not None else [Extracted("none")] * len(passages))
    texts = [passage.indexed for passage in passages]
    vectors = None
    synonyms = Links.none()
    if synonym_threshold is not None:
        vectors = encoder.encode([entity.norm_name for entity in found.entities])
        synonyms = synonym_links(
            [entity.norm_name if entity.type != "span" else "" for entity in found.entities], vectors, synonym_threshold
        )
    return View(
        passages=tuple(passages),
        encoder=encoder,
        vectors=encoder.encode(texts),
        keywords=KeywordIndex(texts),
        entities=found.entities,
        mentions=found.mentions,
        cooccurrences=found.cooccurrences,
        facts=found.facts,
        support=found.support,
        synonyms=synonyms,
        entity_vectors=vectors,
    )


def tables(extracted: Sequence[Extracted]) -> Tables:
    """The tables of a view. A fact's phrases are entities; two facts with the same cleaned words are one."""
    entities: dict[tuple[str, str], Entity] = {}
    places: dict[tuple[str, str], int] = {}

    def place(entity: Entity) -> int:
        key = (entity.norm_name, entity.type)
        entities.setdefault(key, entity)
        return places.setdefault(key, len(places))

    facts: dict[Fact, int] = {}
    mentions, pairs, support = [], [], []
    for index, one in enumerate(extracted):
        mentions += [(index, place(entity), float(count)) for entity, count in one.mentions.items()]
        pairs += [(place(first), place(second), float(count)) for (first, second), count in one.pairs.items()]
        for new in one.facts:
            subject, predicate, object_ = cleaned(new.subject), cleaned(new.predicate), cleaned(new.object)
            ends = [place(Entity(new.subject.strip(), subject))]
            ends += [] if new.literal else [place(Entity(new.object.strip(), object_))]
            fact = Fact(ends[0], predicate, -1 if new.literal else ends[1], object_)
            support.append((facts.setdefault(fact, len(facts)), index, 1.0))
    shape = (len(extracted), len(entities))
    together = _rows([(min(i, j), max(i, j), count) for i, j, count in pairs], (len(entities), len(entities)))
    once = _rows(set(support), (len(facts), len(extracted)))
    links = Links(together.row_of_entry, together.columns, together.values)
    return Tables(tuple(entities.values()), _rows(mentions, shape), links, tuple(facts), once)


def _rows(entries: Iterable[tuple[int, int, float]], shape: tuple[int, int]) -> Rows:
    table = np.array(list(entries), np.float64).reshape(-1, 3)
    return Rows.of(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], shape)
