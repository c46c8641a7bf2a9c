"""Reasoning traces whose blocks and results are known, because they were made from them.

A trace reckons the stock of one market stall after another. Stalls are named so that no two of a build are alike.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from mnemic.catalogue import parse_spec
from mnemic.options import validated
from mnemic.teaching.records import Message, Meta, Segment, TraceRecord

__all__ = ["SYNTHETIC", "SyntheticBlock", "SyntheticRules", "SyntheticTrace", "synthetic_traces"]

SYNTHETIC = "synthetic"

_GOODS = ("apples", "pears", "plums", "candles", "baskets", "lanterns", "melons", "ribbons")
_KEEPERS = ("Ada", "Bela", "Chidi", "Dora", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas")
_MUSINGS = (
    "The record of this stall is a little hard to read, but every entry of it can be made out in the end.",
    "It helps to take the entries in the order in which they were written down and to change nothing about it.",
    "Nothing in the note says that anything was lost or given away besides what is written there.",
    "A careful keeper writes down every delivery, and this one seems to have been careful throughout the week.",
    "There is no reason to think that a delivery was counted twice, since every entry carries a date of its own.",
)


class SyntheticRules(BaseModel):
    """Sizes of synthetic traces."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(10, ge=1, description="traces")
    blocks: int = Field(5, ge=1, description="blocks of a trace, one per stall")
    steps: int = Field(6, ge=2, description="deliveries and sales at a stall")
    seed: int = Field(0, description="of all numbers")


@dataclass(frozen=True)
class SyntheticBlock:
    """`closing` ends the block and is found in no other; `facts` are what a memento must hold."""

    text: str
    closing: str
    facts: tuple[str, ...]

    @property
    def memento(self) -> str:
        return "; ".join(self.facts)


@dataclass(frozen=True)
class SyntheticTrace:
    """A trace as it would be imported, and the truth about it."""

    record: TraceRecord
    blocks: tuple[SyntheticBlock, ...]

    @property
    def boundaries(self) -> tuple[int, ...]:
        """Characters at which a new block begins, the first left out."""
        ends = [0]
        for block in self.blocks:
            ends.append(ends[-1] + len(block.text))
        return tuple(ends[1:-1])


def synthetic_traces(source: str) -> list[SyntheticTrace]:
    """The traces of "synthetic" or, say, "synthetic:count=20,blocks=8,seed=0". Their number changes none of them."""
    _, options = parse_spec(source)
    rules = validated(f"source '{source}'", SyntheticRules, options)
    return [_trace(rules, index) for index in range(rules.count)]


def _trace(rules: SyntheticRules, index: int) -> SyntheticTrace:
    rng = random.Random(f"{rules.seed}/{index}")
    goods = rng.choice(_GOODS)
    blocks: list[SyntheticBlock] = []
    notes: list[str] = []
    total = 0
    for number in range(1, rules.blocks + 1):
        block, note, left = _stall(
            rng, rules.steps, f"{number} of market {index}", goods, total, number == rules.blocks
        )
        total += left
        blocks.append(block)
        notes.append(note)
    problem = f"Market {index} has {rules.blocks} stalls that sell {goods}. {' '.join(notes)} How many are left in all?"
    record = TraceRecord(
        id=f"synthetic-{rules.seed}-{index}",
        prompt=(Message(role="user", content=problem),),
        segments=(Segment(kind="other", text="".join(block.text for block in blocks)),),
        answer=f"\n\n{total} {goods} are left in all.",
        meta=Meta(source=SYNTHETIC, domain="math", license="Apache-2.0"),
    )
    return SyntheticTrace(record, tuple(blocks))


def _stall(
    rng: random.Random, steps: int, name: str, goods: str, before: int, is_last: bool
) -> tuple[SyntheticBlock, str, int]:
    keeper = rng.choice(_KEEPERS)
    start = left = rng.randrange(50, 200)
    said = [f"Let me now look at stall {name}, which {keeper} has kept since the market was opened."]
    changes: list[str] = []
    for step in range(steps):
        change = rng.randrange(5, 90) if step % 2 == 0 or left < 60 else -rng.randrange(5, 50)
        word = "comes in" if change > 0 else "is sold"
        sign = "+" if change > 0 else "-"
        said.append(
            f"In entry {step + 1} a lot of {abs(change)} {word}, so {left} {sign} {abs(change)} = {left + change}."
        )
        said.append(rng.choice(_MUSINGS))
        left += change
        changes.append(f"{change:+d}")
    total = before + left
    said.append(f"Together with the {before} of the stalls before, {before} + {left} = {total}.")
    closing = f"This settles stall {name} with {left} {goods} left there and {total} {goods} so far."
    said.append(closing)
    facts = (f"stall {name}: start {start}, changes {' '.join(changes)}", f"left {left}", f"sum so far {total}")
    note = f"Stall {name} begins with {start}, then {', '.join(changes)}."
    return SyntheticBlock(" ".join(said) + ("" if is_last else "\n\n"), closing, facts), note, left
