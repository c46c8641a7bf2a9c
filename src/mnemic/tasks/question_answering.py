"""Questions about paragraphs of yours among other paragraphs, as RULER's QA (Hsieh et al. 2024, arXiv 2404.06654)."""

import hashlib
import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, ClassVar

from numpy.random import Generator
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.tasks.base import Examples, Split, TaskConfig
from mnemic.tasks.prompts import ClosedRows, PromptTask, Question, token_counter

__all__ = ["QuestionAnswering"]

ANSWER_TOKENS = 32
_QUERY = re.compile(r"\n\nAnswer from the documents above, in as few words as you can\. (.+)\nAnswer:")


class Item(BaseModel):
    """A line of the file. Other fields are passed over."""

    model_config = ConfigDict(frozen=True)

    question: Annotated[str, Field(min_length=1)]
    answers: Annotated[tuple[str, ...], Field(min_length=1)]
    context: Annotated[str, Field(min_length=1)]


class QuestionAnswering(PromptTask, frozen=True, extra="forbid"):
    """One paragraph with the answer among paragraphs of other questions, in random order.

    Args:
        path: JSON lines of {"question", "answers", "context"}. The first 80 % are train, then 10 % valid, 10 % test.
        length: tokens of prompt and answer, at most.
    """

    name: ClassVar[str] = "question-answering"
    positional: ClassVar[str | None] = "path"

    path: str
    length: Annotated[int, Field(ge=64, le=1 << 23)] = 4096

    def closed(self) -> ClosedRows:
        raise UsageError("question-answering has no form=tokens: it asks about texts of yours")

    def text_length(self) -> int:
        return self.length

    def hash(self) -> str:
        """Of the options, and of the file."""
        content = json.dumps([item.model_dump() for item in _items(self.path)])
        return hashlib.sha256(f"{super().hash()} {content}".encode()).hexdigest()

    @property
    def chance(self) -> float:
        return 1 / 26

    def ask(self, rng: Generator, split: Split) -> Question:
        items = _items(self.path)
        mine = _of_split(len(items), split)
        item = items[mine[int(rng.integers(len(mine)))]]
        others = [items[i].context for i in rng.permutation(len(items)).tolist()]
        others = [text for text in dict.fromkeys(others) if text != item.context]
        place = float(rng.random())
        count, room = token_counter(self.tokenizer), ANSWER_TOKENS
        room = max(room, count(self.answer_text(item.answers[:1])))
        query = f"\n\nAnswer from the documents above, in as few words as you can. {item.question}\nAnswer:"

        def built(size: int) -> tuple[str, tuple[int, int]]:
            texts = others[:size]
            at = round(place * size)
            texts = [*texts[:at], item.context, *texts[at:]]
            parts = [f"Document {n}:\n{text}" for n, text in enumerate(texts, start=1)]
            start = sum(len(part) + 2 for part in parts[:at])
            return "\n\n".join(parts), (start, start + len(parts[at]))

        low, high = -1, len(others) + 1
        while high - low > 1:
            middle = (low + high) // 2
            fits = count(built(middle)[0] + query) + room <= self.length
            low, high = (middle, high) if fits else (low, middle)
        if low < 0:
            raise UsageError(f"{self.spec()}: a document alone has more than length={self.length} tokens")
        context, span = built(low)
        slices = {"documents": low + 1, "depth": round(100 * place), "length": self.length}
        return Question(context, query, "", item.answers, (span,), slices, "any", room)

    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        query = _QUERY.search(text)
        if query is None:
            return 1, ()
        known = {item.question: item.answers for item in _items(self.path)}
        return query.end(), known.get(query[1], ())[:1]

    def _encoded(self, questions: list[Question]) -> Examples:
        """Rows that a model is trained on end with the first of the answers."""
        return super()._encoded([replace(question, answers=question.answers[:1]) for question in questions])

    def loads(self) -> list[TaskConfig]:
        """Half and twice the length."""
        return [self.replace(length=n) for n in (self.length // 2, 2 * self.length) if 64 <= n <= 1 << 23]


@lru_cache(maxsize=4)
def _items(path: str) -> tuple[Item, ...]:
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read '{path}': {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            found.append(Item.model_validate_json(line))
        except ValidationError as wrong:
            raise UsageError(explain(f"line {number} of '{path}'", Item, wrong)) from None
    if len(found) < 10:
        raise UsageError(f"'{path}' has {len(found)} questions; at least 10 are needed for three splits")
    return tuple(found)


def _of_split(count: int, split: Split) -> range:
    first, second = 8 * count // 10, 9 * count // 10
    return {"train": range(first), "valid": range(first, second), "test": range(second, count)}[split]
