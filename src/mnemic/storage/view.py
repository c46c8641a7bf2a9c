"""What a recall method sees of one tenant: its passages, their vectors and words, and the graph over them, in memory.

Nothing of it is ever changed; a store makes a new view after a write, a corpus makes one by `View.of`.

N passages, E entities, F facts, D the width of a vector.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, Literal, Protocol, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.storage.encoder import Encoder
from mnemic.storage.growing import Grown
from mnemic.storage.keywords import Keywords, bm25
from mnemic.storage.rows import Rows

__all__ = ["Entity", "Fact", "Level", "Links", "Method", "Passage", "Query", "Scored", "View"]

Level = Literal["turn", "session", "summary", "keyword", "chunk"]
Vectors = NDArray[np.float32]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Passage:
    """Attributes:
    level: "turn" is one thing said in a conversation, "chunk" a piece of a document; "session", "summary" and
        "keyword" are texts about a whole session or document and answer nothing by themselves.
    parent: index, in the same view, of the passage that this one was cut from or tells of, -1 where none.
    session: the conversation that it belongs to, "" where none.
    time: when it was said, UTC in microseconds, None where unknown.
    """

    id: str
    text: str
    title: str = ""
    level: Level = "chunk"
    parent: int = -1
    session: str = ""
    time: int | None = None

    @property
    def indexed(self) -> str:
        """What is embedded and searched for words."""
        return f"{self.title}\n{self.text}" if self.title else self.text


@dataclass(frozen=True, slots=True)
class Entity:
    """Attributes:
    norm_name: `phrases.normalised(name)` for what rules found, `phrases.cleaned(name)` for what stands in facts.
    type: "span" where the rules found it, "phrase" where it is known from facts only, else what the caller said.
    """

    name: str
    norm_name: str
    type: str = "phrase"


@dataclass(frozen=True, slots=True)
class Fact:
    """Attributes:
    subject, object: indices of entities; `object` is -1 where the object is plain text.
    object_text: the object as it is read, also where it is an entity.
    """

    subject: int
    predicate: str
    object: int
    object_text: str


@dataclass(frozen=True, eq=False)
class Links:
    """Weighted undirected edges between entities, each pair once, `first < second`; ascending.

    Attributes:
        first, second: `[L]` int64.
        weights: `[L]` float64.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def keys(self) -> NDArray[np.int64]:
        """`[L]`, ascending: both ends in one number."""
        return (self.first << 32) | self.second

    @classmethod
    def of_keys(cls, keys: NDArray[np.int64], weights: NDArray[np.float64]) -> "Links":
        return cls(keys >> 32, keys & 0xFFFFFFFF, weights)

    @classmethod
    def none(cls) -> "Links":
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Query:
    """Attributes:
    text: the question.
    time: when it is asked, UTC in microseconds.
    """

    text: str
    time: int | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """One passage of an answer.

    Attributes:
        index: of the passage in the view.
        parts: what the score is made of, by name.
        path: how it was reached, for people: linked entities, kept facts, what was fallen back on and why.
    """

    index: int
    score: float
    parts: dict[str, float] = field(default_factory=dict)
    path: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class View:
    """Attributes:
    passages: in a fixed order, which breaks ties.
    encoder: what made the vectors, and embeds questions.
    vectors: `[N, D]`, unit norm, of `Passage.indexed`.
    keywords: the words of `Passage.indexed`.
    mentions: N x E, how often a passage names an entity.
    cooccurrences: how many sentences name two entities; what the rules know instead of facts.
    facts: F of them.
    support: F x N, 1 where a passage states a fact.
    synonyms: entities whose names mean much the same; weight = cosine.
    entity_vectors: `[E, D]` of `Entity.norm_name`, None: made when a method asks.
    fact_vectors: `[F, D]` of `phrases.fact_text`, None: made when a method asks.
    grown: what is derived passage by passage; views whose passages begin with the same ones may share it.
    grown_graph: the same for what is derived from the names in the passages.
    """

    passages: tuple[Passage, ...]
    encoder: Encoder
    vectors: Vectors
    keywords: Keywords
    entities: tuple[Entity, ...] = ()
    mentions: Rows | None = None
    cooccurrences: Links = field(default_factory=Links.none)
    facts: tuple[Fact, ...] = ()
    support: Rows | None = None
    synonyms: Links = field(default_factory=Links.none)
    entity_vectors: Vectors | None = None
    fact_vectors: Vectors | None = None
    grown: Grown = field(default_factory=Grown, repr=False)
    grown_graph: Grown = field(default_factory=Grown, repr=False)
    _made: dict[str, Any] = field(default_factory=dict, repr=False)
    _making: Any = field(default_factory=RLock, repr=False)

    def __post_init__(self) -> None:
        """Refuses parts that do not fit together: a store that built it so has lost something."""
        count = len(self.passages)
        shapes = {
            "vectors": (self.vectors.shape, (count, self.encoder.dim)),
            "keywords.lengths": (self.keywords.lengths.shape, (count,)),
        }
        if self.mentions is not None:
            shapes["mentions"] = ((self.mentions.height, self.mentions.width), (count, len(self.entities)))
        if self.support is not None:
            shapes["support"] = ((self.support.height, self.support.width), (len(self.facts), count))
        for vectors, things, what in (
            (self.entity_vectors, self.entities, "entity_vectors"),
            (self.fact_vectors, self.facts, "fact_vectors"),
        ):
            if vectors is not None:
                shapes[what] = (vectors.shape, (len(things), self.encoder.dim))
        for what, (shape, right) in shapes.items():
            if shape != right:
                raise UsageError(f"view: {what} has shape {shape}, but {right} fits its passages, entities and facts")
        self.extended("levels", _known_levels)

    def keyword_scores(self, query: str) -> NDArray[np.float64]:
        """BM25 of every passage, `[N]`."""
        return bm25(self.keywords.matches(query), self.keywords.lengths)

    def similarities(self, query: str) -> NDArray[np.float64]:
        """Cosine of every passage with the question, `[N]`."""
        return np.asarray(self.vectors @ self.encoder.encode([query])[0], np.float64)

    def once(self, what: str, make: Callable[["View"], T]) -> T:
        """What a method derives from the view, such as its graph: made when first asked for, kept with the view.

        Args:
            what: its name and all options that decide it.
        """
        with self._making:
            if what not in self._made:
                self._made[what] = make(self)
            made: T = self._made[what]
            return made

    def extended(self, what: str, extend: Callable[["View", T | None, int], T]) -> T:
        """What a method derives from the passages one after another, such as their sessions: after a write only what is
        new is looked at.

        Args:
            what: its name and all options that decide it.
            extend: makes it for this view out of what an earlier view had for the passages before a given index (None
                before the first); see `Grown.get`.
        """
        return self.grown.get(what, len(self.passages), lambda before, first: extend(self, before, first))

    def extended_graph(self, what: str, extend: Callable[["View", T | None, int], T]) -> T:
        """As `extended`, from entities, mentions and co-occurrences: those that are new are at the end, but
        co-occurrences, which may also have become heavier."""
        return self.grown_graph.get(what, len(self.passages), lambda before, first: extend(self, before, first))


def _known_levels(view: View, before: frozenset[str] | None, first: int) -> frozenset[str]:
    levels = (before or frozenset()) | {passage.level for passage in view.passages[first:]}
    if wrong := levels - set(get_args(Level)):
        raise UsageError(f"view: level '{min(wrong)}' of a passage; known: {', '.join(get_args(Level))}")
    return levels


class Method(Protocol):
    """A way to recall. Deterministic; ties go to the earlier passage."""

    @property
    def name(self) -> str: ...

    def recall(self, view: View, query: Query, k: int) -> Sequence[Scored]:
        """At most `k` passages, best first."""
        ...
