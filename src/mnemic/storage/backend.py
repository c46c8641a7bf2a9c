"""What the store needs of a database. SQL is written once, with `?` for a value; each back end speaks it."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Backend", "Row", "Transaction", "Vectors", "batches", "marks"]

Row = tuple[Any, ...]
Vectors = NDArray[np.float32]
T = TypeVar("T")
_BATCH = 5_000  # values per statement; SQLite takes 32,766


class Transaction(Protocol):
    """One transaction: all of it happens, or nothing."""

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Row]: ...

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Rows that were changed."""
        ...

    def many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None: ...

    def index_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Put the terms of passages into the keyword index."""
        ...

    def unindex_words(self, tenant: int, passages: Iterable[tuple[int, Sequence[str]]]) -> None:
        """Take out what `index_words` has put in; the terms must be the same. Before the passages are deleted."""
        ...

    def find_words(self, tenant: int, terms: Sequence[str]) -> NDArray[np.int64]:
        """`[M, 3]`: index of the term, passage, how often it stands there."""
        ...

    def index_vectors(self, tenant: int, encoder: int, passages: Sequence[int], vectors: Vectors) -> None:
        """Put vectors `[P, D]` of passages where `find_nearest` looks, if the database can do that."""
        ...

    def drop_vectors(self, tenant: int, encoder: int) -> None:
        """Take out what `index_vectors` has put in of all encoders but this one."""
        ...

    def find_nearest(self, tenant: int, encoder: int, query: Vectors, count: int) -> list[int] | None:
        """At least `count` passages that should be among the nearest to `query` `[D]`, where the tenant has so many;
        None: the database cannot tell."""
        ...

    def claim_jobs(
        self, tenant: int, now: int, lease_until: int, owner: str, kinds: Sequence[str], count: int
    ) -> list[int]:
        """Give up to `count` waiting jobs of these kinds, or such whose lease ran out, to `owner`; no two callers get
        the same."""
        ...


class Backend(Protocol):
    """A database with the tables of `schema`.

    Attributes:
        location: where it is, for messages; no password in it.
    """

    location: str
    read_only: bool

    def write(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        """Run `work` in a transaction that no other write interleaves with; when it returns, it is durable.

        Args:
            tenant: whose rows may be touched, where the database enforces it.
        """
        ...

    def read(self, work: Callable[[Transaction], T], tenant: int | None = None) -> T:
        """Run `work` on one unchanging state of the database."""
        ...

    def size(self) -> int:
        """Bytes that it takes."""
        ...

    def check(self) -> list[str]:
        """What is wrong with the database itself, as its own checks see it; nothing is []."""
        ...

    def backup(self, path: Path) -> None:
        """A whole copy while others write."""
        ...

    def scrub(self) -> None:
        """Overwrite what was deleted, so that it cannot be read from the disk either."""
        ...

    def cache(self, tenant: int) -> Path | None:
        """Where a file that can be made anew at any time may lie; None: nowhere."""
        ...

    def close(self) -> None: ...


def batches(values: Iterable[Any], size: int = _BATCH) -> Iterator[list[Any]]:
    """The values in lists that fit into one statement."""
    batch: list[Any] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def marks(values: Sequence[Any]) -> str:
    """As many `?` as there are values, for IN (…)."""
    return ", ".join("?" * len(values))
