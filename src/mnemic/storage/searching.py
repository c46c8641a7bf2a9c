"""Questions put to the store: the tenant's passages in memory, kept in step with the database, and a method on them."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError, nearest
from mnemic.storage.approximate import ApproximateIndex
from mnemic.storage.backend import Backend, Transaction, batches, marks
from mnemic.storage.encoder import Encoder
from mnemic.storage.graphs import NameGraph, load_facts
from mnemic.storage.images import Image, load_passages, reread
from mnemic.storage.linking import fact_vectors, link
from mnemic.storage.postings import Find
from mnemic.storage.recall import open_method
from mnemic.storage.recall.auto import mostly_titled
from mnemic.storage.records import Hit
from mnemic.storage.tenants import other_encoder, tenant_state
from mnemic.storage.times import iso
from mnemic.storage.view import Method, Query, Scored, View

__all__ = ["FILTERS", "WHOLE", "Recalled", "Searcher", "check_filters"]

WHOLE = "view"  # in the place of a method: everything that methods see
EXACT_UP_TO = 50_000  # passages of a tenant among which a question looks at every vector
_ON_NAMES, _ON_FACTS = frozenset({"rule-graph"}), frozenset({"hipporag", "hipporag2", WHOLE})
FILTERS = ("session", "source", "actor", "level", "title")


@dataclass(frozen=True)
class Recalled:
    """A view, and the database's numbers of its tenant and its passages `[N]`."""

    tenant: int
    view: View
    seqs: NDArray[np.int64]


class Searcher:
    """Views of one tenant. Safe to use from threads; an image is read by one of them and used by all."""

    def __init__(self, backend: Backend, tenant: Callable[[], int | None]) -> None:
        self._backend, self._tenant = backend, tenant
        self._lock = threading.Lock()
        self._image: Image | None = None
        self._approximate: ApproximateIndex | None = None
        self._state = (-1, -1)  # version and rewrites of what `_views` shows
        self._names = NameGraph()
        self._views: dict[str, View] = {}  # by `_depth`; a view keeps what methods derive from it

    def search(
        self,
        encoder: Encoder,
        question: str,
        *,
        k: int,
        method: str | Method,
        at: int | None,
        known_at: int | None,
        filters: Mapping[str, str],
    ) -> list[Hit]:
        """See `MemoryStore.search`."""
        if not isinstance(question, str):
            raise UsageError(f"query is {type(question).__name__}; must be text")
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UsageError(f"k is {k!r}; must be a whole number of at least 1")
        way = open_method(method) if isinstance(method, str) else method
        if not question.strip():
            return []
        recalled = (
            self._nearest(encoder, question, k)
            if way.name == "dense" and not filters and at is known_at is None
            else None
        )
        if recalled is None:
            recalled = self.recalled(encoder, method=way.name, filters=filters, at=at, known_at=known_at)
        if not recalled.view.passages:
            return []
        return self._hits(recalled, way.recall(recalled.view, Query(question, at), k))

    def _nearest(self, encoder: Encoder, question: str, k: int) -> Recalled | None:
        """The passages among which the nearest are, where there are too many to look at all; None: look at all."""
        with self._lock:
            image, tenant = self._current(encoder)
            if len(image.seqs) <= EXACT_UP_TO:
                return None
            query, count = encoder.encode([question])[0], max(4 * k, 100)
            if (path := self._backend.cache(tenant)) is None:
                chosen = self._from_database(image, tenant, query, count)
            else:
                self._approximate = self._approximate or ApproximateIndex(path)
                chosen = self._approximate.candidates(image, query, count)
            if chosen is None:
                return None
            return Recalled(tenant, image.view(self._finder(tenant), chosen), image.seqs.rows[chosen])

    def _from_database(
        self, image: Image, tenant: int, query: NDArray[np.float32], count: int
    ) -> NDArray[np.int64] | None:
        def work(tx: Transaction) -> list[int] | None:
            [(encoder,)] = tx.rows("SELECT encoder FROM tenant WHERE seq = ?", (tenant,))
            return tx.find_nearest(tenant, encoder, query, count)

        found = self._backend.read(work, tenant)
        if found is None:
            return None
        seqs = image.seqs.rows
        places = np.searchsorted(seqs, np.array(found, np.int64))
        places = places[places < len(seqs)]
        return np.unique(places[np.isin(seqs[places], found)])

    def scrub(self) -> None:
        """Delete what lies beside the database."""
        tenant = self._tenant()
        if tenant is not None and (path := self._backend.cache(tenant)) is not None:
            (self._approximate or ApproximateIndex(path)).discard()

    def close(self) -> None:
        if self._approximate is not None:
            self._approximate.close()

    def _hits(self, recalled: Recalled, scored: Sequence[Scored]) -> list[Hit]:
        numbers = [int(recalled.seqs[each.index]) for each in scored]
        origins = self._backend.read(lambda tx: _origins(tx, recalled.tenant, numbers), recalled.tenant)
        passages = recalled.view.passages
        return [
            Hit(passages[each.index].id, passages[each.index].text, each.score, each.parts, each.path, origins[number])
            for each, number in zip(scored, numbers, strict=True)
            if number in origins
        ]

    def recalled(
        self,
        encoder: Encoder,
        *,
        method: str = "auto",
        filters: Mapping[str, str] | None = None,
        at: int | None = None,
        known_at: int | None = None,
    ) -> Recalled:
        """What the tenant remembers now.

        Args:
            method: what it is for; the graph is read only for methods that look at it.
            filters: field of `FILTERS` -> the value it must have.
            at: leave out what was said later.
            known_at: leave out what was added later.
        """
        with self._lock:
            image, tenant = self._current(encoder)
            chosen = _chosen(image, filters or {}, at, known_at)
            find = self._finder(tenant)
            if chosen is not None:
                seqs, plain = image.seqs.rows[chosen], image.view(find, chosen)
                depth = _depth(method, plain)
                names = NameGraph()
                graph = self._graph(depth, tenant, encoder, seqs, names, at, known_at)
                return Recalled(tenant, image.view(find, chosen, **graph) if graph else plain, seqs)
            state = (image.version, image.rewrites)
            if self._state != state:
                if self._state[1] != image.rewrites:
                    self._names = NameGraph()
                self._state, self._views = state, {"": image.view(find)}
            depth = _depth(method, self._views[""])
            if depth not in self._views:
                graph = self._graph(depth, tenant, encoder, image.seqs.rows, self._names, None, None)
                self._views[depth] = image.view(find, **graph)
            return Recalled(tenant, self._views[depth], image.seqs.rows)

    def _graph(
        self,
        depth: str,
        tenant: int,
        encoder: Encoder,
        seqs: NDArray[np.int64],
        names: NameGraph,
        at: int | None,
        known_at: int | None,
    ) -> dict[str, Any]:
        if not tenant or not depth:
            return {}
        linked = link(self._backend, tenant, encoder) if depth == "facts" else None
        self._backend.read(lambda tx: names.extend(tx, tenant, seqs), tenant)
        if linked is None:
            return names.parts()
        found = self._backend.read(lambda tx: load_facts(tx, tenant, seqs, names, linked, at, known_at), tenant)
        return names.parts() | {
            "facts": found.facts,
            "support": found.support,
            "synonyms": found.synonyms,
            "entity_vectors": found.entity_vectors,
            "fact_vectors": fact_vectors(self._backend, tenant, encoder, found.stated) if found.facts else None,
        }

    def _current(self, encoder: Encoder) -> tuple[Image, int]:
        number = self._tenant()
        if number is None:
            return Image(encoder, 0, 0), 0

        def work(tx: Transaction) -> Image:
            tenant = tenant_state(tx, number)
            if tenant.encoder is not None and tenant.encoder != (encoder.name, encoder.revision):
                raise other_encoder(tenant.encoder, encoder)
            image = self._image
            if image is None or image.encoder is not encoder:
                image = Image(encoder, -1, tenant.rewrites)
            if image.rewrites != tenant.rewrites:
                image = reread(tx, number, image)
                image.rewrites = tenant.rewrites
            if image.version != tenant.version:
                load_passages(tx, number, image)
                image.version = tenant.version
            return image

        self._image = self._backend.read(work, number)
        return self._image, number

    def _finder(self, tenant: int) -> Find:
        return lambda terms: self._backend.read(lambda tx: tx.find_words(tenant, terms), tenant)


def _depth(method: str, view: View) -> str:
    """How much of the graph a method looks at: nothing "", the names in the passages, or facts as well."""
    if method in _ON_FACTS:
        return "facts"
    return "names" if method in _ON_NAMES or (method == "auto" and mostly_titled(view)) else ""


def _origins(tx: Transaction, tenant: int, passages: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Where each passage comes from; those that are gone by now are not in it."""
    found: dict[int, dict[str, Any]] = {}
    for batch in batches(passages):
        for seq, event, source, session, actor, time, title, level in tx.rows(
            "SELECT p.seq, e.id, e.source, e.session, e.actor, e.occurred_at, e.title, p.level "
            "FROM passage p JOIN event e ON e.seq = p.event "
            f"WHERE p.tenant = ? AND e.forgotten_at IS NULL AND p.seq IN ({marks(batch)})",
            (tenant, *batch),
        ):
            found[seq] = {
                "event": event,
                "source": source,
                "session": session,
                "actor": actor,
                "time": iso(time),
                "title": title,
                "level": level,
            }
    return found


def check_filters(filters: Mapping[str, Any] | None) -> dict[str, str]:
    """Raises:
    UsageError: an unknown field, or a value that is no text.
    """
    for name, value in (filters or {}).items():
        if name not in FILTERS:
            raise UsageError(f"filters: unknown field '{name}'{nearest(str(name), FILTERS)}")
        if not isinstance(value, str):
            raise UsageError(f"filters: {name} is {type(value).__name__}; must be text")
    return dict(filters or {})


def _chosen(image: Image, filters: Mapping[str, str], at: int | None, known_at: int | None) -> NDArray[np.int64] | None:
    if not filters and at is None and known_at is None:
        return None
    kept = np.ones(len(image.passages), bool)
    for name, value in filters.items():
        if name in ("source", "actor"):
            place = 0 if name == "source" else 1
            kept &= np.array([pair[place] == value for pair in image.sources], bool)
        else:
            kept &= np.array([getattr(passage, name) == value for passage in image.passages], bool)
    if at is not None:
        kept &= np.array([passage.time is None or passage.time <= at for passage in image.passages], bool)
    if known_at is not None:
        kept &= image.ingested.rows <= known_at
    return np.flatnonzero(kept)
