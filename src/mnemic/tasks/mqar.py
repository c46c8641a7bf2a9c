"""Multi-query associative recall: many facts, then many questions about them, in one row.

Arora et al. 2024, "Zoology", arXiv 2312.04927, and the forms that its repository added later.
"""

import math
from typing import Annotated, Any, ClassVar, Literal, Self

from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import Examples, FloatArray, IntArray, Prompt, TaskConfig
from mnemic.tasks.mqar_rows import CompositionalRows, PairRows
from mnemic.tasks.mqar_stacked import StackedRows
from mnemic.tasks.mqar_stream import StreamRows
from mnemic.tasks.tokens import TokenTask

__all__ = ["MQAR"]

Form = Literal["zoology", "mad", "compositional", "forgetting", "stacked"]
Rows = PairRows | StreamRows | CompositionalRows | StackedRows

OPTIONS_OF_FORM: dict[Form, set[str]] = {
    "zoology": {"pairs", "length", "passes", "power", "filler"},
    "mad": {"length"},
    "compositional": {"pairs", "length", "power", "filler"},
    "forgetting": {"pairs", "length", "power", "filler", "updates"},
    "stacked": {"pairs", "passes", "width", "per_sequence_mapping"},
}


class MQAR(TokenTask, frozen=True, extra="forbid"):
    """Which value belongs to this key? Asked for every key of the row.

    Forms:
        zoology: pairs k v k v …, then each key once, at a slot drawn from a power law; fillers elsewhere.
        mad: a stream of pairs in which keys return; asked whenever a key returns (Poli et al. 2024, arXiv 2403.17844).
        compositional: facts (first key, second key) → value on a full square grid, so that neither key tells anything.
        forgetting: after the pairs, `updates` of the keys come again with a new value; the new one is asked.
        stacked: one step reads a key's and its value's embedding side by side, so no token shift is needed.

    Args:
        form: how facts are told and asked for, see above.
        pairs: facts D in a row; a square number in the compositional form.
        length: tokens of a row. The stacked form has (passes + 1) · pairs steps instead.
        vocab: ids C. Keys take the lower half without 0, values the upper (thirds in the compositional form).
        passes: how often the facts are told before the questions.
        power: slot j of the questions has weight j^(power - 1); 1 spreads them evenly, 0.01 crowds them to the start.
        filler: what stands between questions: 0, or a random id that is no key of the row.
        updates: keys that get a second value (forgetting).
        width: embedding width (stacked).
        per_sequence_mapping: whether each row draws its own values for the keys, or all rows share one map (stacked).
    """

    name: ClassVar[str] = "mqar"
    version: ClassVar[int] = 1

    pairs: Annotated[int, Field(ge=1)] = 8
    length: Annotated[int, Field(ge=2, le=1 << 20)] = 64
    vocab: Annotated[int, Field(ge=4, le=1 << 24)] = 8192
    passes: Annotated[int, Field(ge=1, le=1 << 16)] = 1
    power: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    filler: Literal["zero", "random"] = "zero"
    form: Form = "zoology"
    updates: Annotated[int, Field(ge=0)] = 0
    width: Annotated[int, Field(ge=1)] = 64
    per_sequence_mapping: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        defaults = type(self).model_fields
        for option in set().union(*OPTIONS_OF_FORM.values()) - OPTIONS_OF_FORM[self.form]:
            if getattr(self, option) != defaults[option].default:
                used = ", ".join(sorted(OPTIONS_OF_FORM[self.form] | {"vocab"}))
                raise UsageError(f"option '{option}' does nothing in form={self.form}, which takes {used}")
        self._rows_of_form().check()
        if self.form != "stacked" and self.form != "mad" and self.vocab <= self.length:
            raise UsageError(f"vocab={self.vocab} must be more than length={self.length}")
        if self.form == "stacked" and self.train_on == "all":
            raise UsageError("train_on=all: the stacked form reads vectors and has no next token; use train_on=asked")
        return self

    @property
    def vocab_size(self) -> int:
        return self.vocab + 1 if self.form == "mad" else self.vocab

    @property
    def max_length(self) -> int:
        return (self.passes + 1) * self.pairs if self.form == "stacked" else self.length

    @property
    def told(self) -> int | None:
        rows = self._rows_of_form()
        return rows.told if isinstance(rows, PairRows | CompositionalRows) else None

    @property
    def chance(self) -> float:
        return 1 / self._rows_of_form().values

    def information_bits(self) -> float:
        """D · log2 of the number of values; with one map for all rows nothing of a row needs remembering."""
        if self.form == "stacked" and not self.per_sequence_mapping:
            return 0.0
        rows = self._rows_of_form()
        return rows.facts * math.log2(rows.values)

    def row_bits(self) -> float:
        return self._rows_of_form().bits()

    def draw(self, rng: Generator, rows: int) -> Examples:
        return self._rows_of_form().draw(rng, rows)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        return self._rows_of_form().oracle(rows)

    def word(self, token: int) -> str:
        return self._rows_of_form().word(token)

    def render(self, examples: Examples) -> list[Prompt]:
        rows = self._rows_of_form()
        return rows.render(examples) if isinstance(rows, StackedRows) else super().render(examples)

    def embeddings(self) -> FloatArray:
        """[C, width] the frozen unit vectors of keys (lower half) and values (upper half) of the stacked form."""
        rows = self._rows_of_form()
        if not isinstance(rows, StackedRows):
            raise UsageError(f"{self.spec()} has no embeddings; they belong to form=stacked")
        return rows.embeddings()

    def loads(self) -> list[TaskConfig]:
        """Pairs in powers of two (of four on a grid) as far as they fit, then twice and four times the length."""
        steps = range(1, max(self.max_length, 2).bit_length() + 1)
        loads = [4**n if self.form == "compositional" else 2**n for n in steps if self.form != "mad"]
        changes: list[dict[str, int]] = [{"pairs": load} for load in loads if load != self.pairs]
        if self.form == "forgetting":
            changes = [{"updates": min(self.updates, change["pairs"]), **change} for change in changes]
        if self.form != "stacked":
            changes += [{"length": factor * self.length} for factor in (2, 4)]
        return self.those_that_fit(changes)

    def _rows_of_form(self) -> Rows:
        match self.form:
            case "mad":
                return StreamRows(self.length, self.vocab)
            case "stacked":
                return StackedRows(self.pairs, self.passes, self.vocab, self.width, self.per_sequence_mapping)
            case "compositional":
                return CompositionalRows(self.pairs, self.length, self.vocab, self.power, self.filler)
            case _:
                return PairRows(self.pairs, self.length, self.vocab, self.power, self.filler, self.passes, self.updates)
