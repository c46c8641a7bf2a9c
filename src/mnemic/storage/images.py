"""A tenant's passages in memory: read once, then only what was added since; a view of them for recall methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MnemicError
from mnemic.storage.backend import Transaction
from mnemic.storage.encoder import Encoder
from mnemic.storage.growing import Growing
from mnemic.storage.keywords import Matches
from mnemic.storage.preparing import shortened
from mnemic.storage.terms import query_terms
from mnemic.storage.view import Passage, View

__all__ = ["Image", "StoredKeywords", "load_passages"]

Find = Callable[[Sequence[str]], NDArray[np.int64]]


@dataclass
class Image:
    """Passages of one tenant in the order in which they were added.

    Attributes:
        version, rewrites: of the tenant, when this was read.
        passages: N of them.
        seqs: `[N]`, their numbers in the database, ascending.
        words: `[N]`, words in each.
        ingested: `[N]`, when each was added.
        vectors: `[N, D]`.
        sources: the source and the actor of each.
    """

    encoder: Encoder
    version: int
    rewrites: int
    passages: list[Passage] = field(default_factory=list)
    sources: list[tuple[str, str]] = field(default_factory=list)
    seqs: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    words: Growing[np.float64] = field(default_factory=lambda: Growing(np.float64))
    ingested: Growing[np.int64] = field(default_factory=lambda: Growing(np.int64))
    vectors: Growing[np.float32] = field(init=False)

    def __post_init__(self) -> None:
        self.vectors = Growing(np.float32, (self.encoder.dim,))

    @property
    def last(self) -> int:
        """The highest number that was read."""
        return int(self.seqs.rows[-1]) if len(self.seqs) else 0

    def view(self, find: Find, chosen: NDArray[np.int64] | None = None, **graph: Any) -> View:
        """What a method sees.

        Args:
            find: `Transaction.find_words` of this tenant.
            chosen: the passages that count, ascending indices; None: all.
            graph: the parts of the view that `graphs.Graph` makes.
        """
        seqs, words, vectors = self.seqs.rows, self.words.rows, self.vectors.rows
        if chosen is None:
            passages = tuple(self.passages)
        else:
            passages = tuple(self.passages[index] for index in chosen)
            seqs, words, vectors = seqs[chosen], words[chosen], vectors[chosen]
        return View(passages, self.encoder, vectors, StoredKeywords(find, seqs, words), **graph)


@dataclass(frozen=True, eq=False)
class StoredKeywords:
    """The database's keyword index, as a view sees it.

    Attributes:
        seqs: `[N]`, the passages' numbers in the database, ascending; others are not seen.
    """

    find: Find
    seqs: NDArray[np.int64]
    lengths: NDArray[np.float64]

    def matches(self, query: str) -> Matches:
        asked = list(dict.fromkeys(shortened(term) for term in query_terms(query)))
        found = self.find(asked) if asked else np.zeros((0, 3), np.int64)
        places = np.searchsorted(self.seqs, found[:, 1])
        known = places < len(self.seqs)
        known[known] = self.seqs[places[known]] == found[known, 1]
        return Matches(places[known], found[known, 0], found[known, 2].astype(np.float64), len(asked))


def load_passages(tx: Transaction, tenant: int, image: Image) -> None:
    """Add to `image` what came after its last passage.

    Raises:
        MnemicError: a passage has no vector of the image's encoder.
    """
    rows = tx.rows(
        "SELECT p.seq, e.id, p.ordinal, p.text, e.title, p.level, e.session, e.occurred_at, p.words, e.ingested_at, "
        "e.source, e.actor, v.data FROM passage p JOIN event e ON e.seq = p.event "
        "LEFT JOIN encoder n ON n.name = ? AND n.revision = ? "
        "LEFT JOIN vector v ON v.tenant = p.tenant AND v.kind = 'passage' AND v.encoder = n.seq AND v.owner = p.seq "
        "WHERE p.tenant = ? AND p.seq > ? AND e.forgotten_at IS NULL ORDER BY p.seq",
        (image.encoder.name, image.encoder.revision, tenant, image.last),
    )
    if not rows:
        return
    size = 4 * image.encoder.dim
    for row in rows:
        if row[-1] is None or len(row[-1]) != size:
            raise MnemicError(
                f"passage {row[1]}/{row[2]} has no vector of '{image.encoder.name}'; reembed() makes them"
            )
    image.vectors.extend(
        np.frombuffer(b"".join(row[-1] for row in rows), "<f4").reshape(len(rows), image.encoder.dim).astype(np.float32)
    )
    image.passages += [
        Passage(f"{event}/{ordinal}", text, title, level, -1, session, time)
        for _, event, ordinal, text, title, level, session, time, *_ in rows
    ]
    image.sources += [(row[10], row[11]) for row in rows]
    image.words.extend(np.array([row[8] for row in rows], np.float64))
    image.ingested.extend(np.array([row[9] for row in rows], np.int64))
    image.seqs.extend(np.array([row[0] for row in rows], np.int64))
