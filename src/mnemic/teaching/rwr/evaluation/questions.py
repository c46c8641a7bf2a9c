"""Where the questions of an evaluation come from, as one names it: miniature:length=1000, longmemeval:FILE, …"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from mnemic.catalogue import parse_spec
from mnemic.errors import UsageError, nearest
from mnemic.options import validated
from mnemic.teaching.rwr.evaluation.convomem import read_convomem
from mnemic.teaching.rwr.evaluation.helmet import CATEGORIES, read_helmet
from mnemic.teaching.rwr.evaluation.items import EvaluationItem
from mnemic.teaching.rwr.evaluation.longmemeval import read_longmemeval
from mnemic.teaching.rwr.evaluation.longmemeval_agents import Tier, read_longmemeval_agents
from mnemic.teaching.rwr.evaluation.miniature_tasks import miniature_tasks
from mnemic.teaching.rwr.evaluation.miniatures import TYPES, miniatures
from mnemic.teaching.rwr.evaluation.short_tasks import KINDS, ShortKind, short_tasks

__all__ = ["MINIATURE", "SHORT", "SOURCES", "MiniatureOptions", "ShortOptions", "open_questions"]

MINIATURE: Final = "miniature"
SHORT: Final = "short"
SOURCES: Final = (MINIATURE, SHORT, "longmemeval", "longmemeval-v2", "helmet", "convomem")

_SEVERAL: Final = BeforeValidator(lambda given: given.split("-") if isinstance(given, str) else given)


class MiniatureOptions(BaseModel):
    """What "miniature:…" takes; several values of one option are written a-b."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    like: Literal["longmemeval", "helmet"] = Field("longmemeval", description="whose kinds of questions")
    count: int = Field(70, ge=1, description="questions of each length, of all kinds in turn")
    length: Annotated[tuple[int, ...], _SEVERAL] = Field((1000,), min_length=1, description="tokens of a context")
    seed: int = Field(0, description="of everything")


class ShortOptions(BaseModel):
    """What "short:…" takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    like: Annotated[tuple[ShortKind, ...], _SEVERAL] = Field(KINDS, min_length=1, description="which kinds of tasks")
    count: int = Field(60, ge=1, description="tasks, of all kinds in turn")
    seed: int = Field(0, description="of everything")


def open_questions(
    source: str, *, limit: int | None = None, seed: int = 0, tier: Tier = "small", exclude: frozenset[str] = frozenset()
) -> list[EvaluationItem]:
    """All questions of a source, or `limit` of them drawn with a seed, in order.

    Args:
        source: "miniature:like=helmet,count=70,length=500-1000", "short:like=copy-qa", "longmemeval:FILE",
            "longmemeval-v2:FOLDER", "helmet:FILE-OR-FOLDER" or "convomem:FILE-OR-FOLDER"; a data set of
            the hub is hf:owner/name.
        tier: of longmemeval-v2.
        exclude: ids to leave out.

    Raises:
        UsageError: no such source, something wrong in it, or no question.
    """
    name, _, where = source.partition(":")
    if name not in SOURCES:
        raise UsageError(f"data '{source}' is not known{nearest(name, SOURCES)}")
    if name not in (MINIATURE, SHORT) and not where:
        raise UsageError(f"data '{source}' names no file; write {name}:PATH")
    read: dict[str, Callable[[], Iterator[EvaluationItem]]] = {
        MINIATURE: lambda: _miniatures(source),
        SHORT: lambda: _short(source),
        "longmemeval": lambda: read_longmemeval(where),
        "longmemeval-v2": lambda: read_longmemeval_agents(where, tier),
        "helmet": lambda: read_helmet(where),
        "convomem": lambda: read_convomem(where),
    }
    items = [item for item in read[name]() if item.id not in exclude]
    if not items:
        raise UsageError(f"data '{source}' holds no question")
    if limit is not None and limit < len(items):
        items = [items[at] for at in sorted(random.Random(seed).sample(range(len(items)), limit))]
    return items


def _miniatures(source: str) -> Iterator[EvaluationItem]:
    options = validated(MINIATURE, MiniatureOptions, parse_spec(source)[1])
    if len(set(options.length)) < len(options.length) or min(options.length) < 1:
        written = "-".join(map(str, options.length))
        raise UsageError(f"{MINIATURE}: length={written} must be numbers from 1 on, each once")
    for length in options.length:
        if options.like == "helmet":
            yield from miniature_tasks(options.count, length=length, seed=options.seed, categories=CATEGORIES)
        else:
            yield from miniatures(options.count, length=length, seed=options.seed, types=TYPES)


def _short(source: str) -> Iterator[EvaluationItem]:
    options = validated(SHORT, ShortOptions, parse_spec(source)[1])
    yield from short_tasks(options.count, seed=options.seed, kinds=options.like)
