"""A tenant's passages in memory: read once, then only what was added since, less what is gone; a view of them for
recall methods."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MnemicError
from mnemic.storage.backend import Row, Transaction, batches, marks
from mnemic.storage.encoder import Encoder
from mnemic.storage.growing import Growing, Grown
from mnemic.storage.keywords import Matches
from mnemic.storage.postings import Find, Postings
from mnemic.storage.preparing import shortened
from mnemic.storage.terms import query_terms
from mnemic.storage.view import Passage, View

__all__ = ["Image", "StoredKeywords", "load_passages", "reread"]

Ints = NDArray[np.int64]


@dataclass
class Image:
    """Passages of one tenant in the order in which they were added. It grows at its end; what was shown of it stays.

    A passage takes its text, its vector of 4 D bytes, as much again where it is a turn of a conversation, and some
    300 bytes; what is held of keywords takes at most 32 MB.

    Attributes:
        version, rewrites: of the tenant, when this was read.
        passages: N of them.
        seqs: `[N]`, their numbers in the database, ascending.
        words: `[N]`, words in each.
        ingested: `[N]`, when each was added.
        vectors: `[N, D]`.
        sources: the source and the actor of each.
        postings: where terms stand.
        grown: what recall methods derive from the passages.
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
    postings: Postings = field(default_factory=Postings)
    grown: Grown = field(default_factory=Grown)

    def __post_init__(self) -> None:
        self.vectors = Growing(np.float32, (self.encoder.dim,))

    @property
    def last(self) -> int:
        """The highest number that was read."""
        return int(self.seqs.rows[-1]) if len(self.seqs) else 0

    def without(self, kept: NDArray[np.bool_]) -> "Image":
        """Another image, of the passages with a True in `[N]`."""
        image = Image(self.encoder, self.version, self.rewrites)
        image.passages = [self.passages[index] for index in np.flatnonzero(kept)]
        image.sources = [self.sources[index] for index in np.flatnonzero(kept)]
        image.seqs.extend(self.seqs.rows[kept])
        image.words.extend(self.words.rows[kept])
        image.ingested.extend(self.ingested.rows[kept])
        image.vectors.extend(self.vectors.rows[kept])
        image.postings = Postings(len(image.passages))
        return image

    def view(self, find: Find, chosen: Ints | None = None, **graph: Any) -> View:
        """What a method sees.

        Args:
            find: `Transaction.find_words` of this tenant.
            chosen: the passages that count, ascending indices; None: all.
            graph: the parts of the view that `graphs.Graph` makes.
        """
        seqs, words, vectors = self.seqs.rows, self.words.rows, self.vectors.rows
        keywords = StoredKeywords(find, self.postings, seqs, words, chosen)
        if chosen is None:
            return View(tuple(self.passages), self.encoder, vectors, keywords, grown=self.grown, **graph)
        return View(tuple(self.passages[index] for index in chosen), self.encoder, vectors[chosen], keywords, **graph)


@dataclass(frozen=True, eq=False)
class StoredKeywords:
    """The database's keyword index, as a view sees it.

    Attributes:
        seqs: numbers in the database of all passages of the image, ascending.
        words: how many each has.
        chosen: `[N]`, ascending indices of those that are seen; None: all.
    """

    find: Find
    postings: Postings
    seqs: Ints
    words: NDArray[np.float64]
    chosen: Ints | None = None

    @property
    def lengths(self) -> NDArray[np.float64]:
        return self.words if self.chosen is None else self.words[self.chosen]

    def matches(self, query: str) -> Matches:
        asked = list(dict.fromkeys(shortened(term) for term in query_terms(query)))
        found = self.postings.matches(asked, self.seqs, self.find)
        places = found[:, 1]
        if self.chosen is not None:
            places = np.searchsorted(self.chosen, places)
            seen = places < len(self.chosen)
            seen[seen] = self.chosen[places[seen]] == found[seen, 1]
            places, found = places[seen], found[seen]
        return Matches(places, found[:, 0], found[:, 2].astype(np.float64), len(asked))


_SELECT = (
    "SELECT p.seq, e.id, p.ordinal, p.text, e.title, p.level, e.session, e.occurred_at, p.words, e.ingested_at, "
    "e.source, e.actor, v.data FROM passage p JOIN event e ON e.seq = p.event "
    "LEFT JOIN encoder n ON n.name = ? AND n.revision = ? "
    "LEFT JOIN vector v ON v.tenant = p.tenant AND v.kind = 'passage' AND v.encoder = n.seq AND v.owner = p.seq "
    "WHERE p.tenant = ? AND e.forgotten_at IS NULL AND "
)


def load_passages(tx: Transaction, tenant: int, image: Image) -> None:
    """Add to `image` what came after its last passage.

    Raises:
        MnemicError: a passage has no vector of the image's encoder.
    """
    made = (image.encoder.name, image.encoder.revision, tenant)
    _append(image, tx.rows(f"{_SELECT}p.seq > ? ORDER BY p.seq", (*made, image.last)))


def reread(tx: Transaction, tenant: int, image: Image) -> Image:
    """The image without what is recalled no more, and with what is recalled again; the same where none is.

    Raises:
        MnemicError: as `load_passages`.
    """
    rows = tx.rows(
        "SELECT p.seq FROM passage p JOIN event e ON e.seq = p.event "
        "WHERE p.tenant = ? AND p.seq <= ? AND e.forgotten_at IS NULL ORDER BY p.seq",
        (tenant, image.last),
    )
    live = np.fromiter((row[0] for row in rows), np.int64, len(rows))
    seqs = image.seqs.rows
    back = np.setdiff1d(live, seqs, assume_unique=True)
    if not len(back):
        return image if len(live) == len(seqs) else image.without(np.isin(seqs, live, assume_unique=True))
    head = image.without(np.isin(seqs, live) & (seqs < back[0]))
    made = (image.encoder.name, image.encoder.revision, tenant)
    for batch in batches(live[live >= back[0]].tolist()):
        _append(head, tx.rows(f"{_SELECT}p.seq IN ({marks(batch)}) ORDER BY p.seq", (*made, *batch)))
    return head


def _append(image: Image, rows: Sequence[Row]) -> None:
    if not rows:
        return
    size = 4 * image.encoder.dim
    for row in rows:
        if row[-1] is None or len(row[-1]) != size:
            raise MnemicError(
                f"passage {row[1]}/{row[2]} has no vector of '{image.encoder.name}'; reembed() makes them"
            )
    image.vectors.extend(
        np.frombuffer(b"".join(row[-1] for row in rows), "<f4")
        .reshape(len(rows), image.encoder.dim)
        .astype(np.float32, copy=False)
    )
    passages = [
        Passage(f"{event}/{ordinal}", text, title, level, -1, session, time)
        for _, event, ordinal, text, title, level, session, time, *_ in rows
    ]
    image.passages += passages
    image.sources += [(row[10], row[11]) for row in rows]
    image.words.extend(np.array([row[8] for row in rows], np.float64))
    image.ingested.extend(np.array([row[9] for row in rows], np.int64))
    image.seqs.extend(np.array([row[0] for row in rows], np.int64))
    image.postings.extend(passages)
