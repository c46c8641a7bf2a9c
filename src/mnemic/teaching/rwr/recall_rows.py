"""Rows of recall as the training loop takes them: a context with its question, and what is to be written.

Legend: R rows, N tokens of all of them, T tokens of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mnemic.teaching.memento.blocks import NEVER
from mnemic.teaching.row import Row, completion_labels
from mnemic.teaching.rwr.layout import Mode, QueryPosition

__all__ = ["RecallRowOptions", "RecallRows", "Target"]

Target = Literal["mixed", "summary+answer", "summary", "answer"]


class RecallRowOptions(BaseModel):
    """How a record becomes a row."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    target: Target = Field(
        "mixed",
        description="what is written where a record has a note: in part the note alone and in part note and answer "
        "(mixed), one of them, or the answer alone; where it has none, always the answer",
    )
    summary_share: float = Field(0.5, ge=0, le=1, description="of mixed: the share of notes that stand alone")
    query_position: QueryPosition = Field("after", description="where the question stands, seen from the context")
    max_length: int = Field(6000, ge=8, description="tokens of the longest row; longer records are left out")


@dataclass(frozen=True)
class RecallRows(Sequence[Row]):
    """
    Attributes:
        ids: [N].
        starts: [R + 1], where each row starts.
        completions_from: [R], the first token that the model writes, counted from the row's start.
        families: [R], rows about one context have one name.
        asked: what is written -> rows.
        dropped: reason -> records that give no row.
        vocab_size: one more than the tokenizer's largest id.
        pad: the id that fills rows up.
        key: equal for equal contents.
    """

    options: RecallRowOptions
    ids: NDArray[np.int32]
    starts: NDArray[np.int64]
    completions_from: NDArray[np.int64]
    families: tuple[str, ...]
    asked: dict[Mode, int]
    dropped: dict[str, int]
    vocab_size: int
    pad: int
    key: str

    def __len__(self) -> int:
        return len(self.families)

    def __getitem__(self, row: int) -> Row:  # type: ignore[override]
        ids = self.ids[int(self.starts[row]) : int(self.starts[row + 1])].astype(np.int64)
        labels = completion_labels(ids, int(self.completions_from[row]))
        return Row(ids, labels, np.arange(len(ids)), np.full(len(ids), NEVER, np.int64))

    @property
    def lengths(self) -> NDArray[np.int64]:
        return np.diff(self.starts)

    @property
    def label(self) -> str:
        return self.options.target

    @property
    def limit(self) -> int:
        return self.options.max_length

    def family(self, row: int) -> str:
        return self.families[row]
