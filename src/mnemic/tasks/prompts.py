"""Tasks that are told in text, for language models with a tokenizer of their own, and in a small closed vocabulary.

Legend: B rows, T time.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, Examples, IntArray, Prompt, Split, check_range
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.tokenizers import Tokenizer, load_tokenizer
from mnemic.tasks.tokens import TokenTask

__all__ = ["APPROXIMATE", "ClosedRows", "PromptTask", "Question", "Scoring", "asked_again", "token_counter"]

APPROXIMATE = "approximate"
BYTES_PER_TOKEN = 4
Scoring = Literal["all", "any", "exact"]


@dataclass(frozen=True)
class Question:
    """A question to a language model.

    Attributes:
        context: what is told.
        query: what is asked behind it.
        prefix: how the answer begins; a model goes on from there, a chat model is told of it.
        answers: what must be said.
        evidence: [start, end) of the characters of the context that the answers stand in.
        slices: name -> what makes it hard.
        scoring: "all": the share of the answers that are said; "any": whether one is; "exact": whether what is said
            is the answer.
        max_tokens: of the reply.
    """

    context: str
    query: str
    prefix: str
    answers: tuple[str, ...]
    evidence: tuple[tuple[int, int], ...] = ()
    slices: Mapping[str, int] = field(default_factory=dict)
    scoring: Scoring = "all"
    max_tokens: int = 128

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.context + self.query + self.prefix


class ClosedRows(Protocol):
    """Rows of the same question in ids of a closed vocabulary; `answers` is among how many each answer is chosen."""

    @property
    def length(self) -> int: ...
    @property
    def vocab_size(self) -> int: ...
    @property
    def told(self) -> int: ...
    @property
    def answers(self) -> int: ...
    def check(self) -> None: ...
    def bits(self) -> float: ...
    def row_bits(self) -> float: ...
    def draw(self, rng: Generator, rows: int) -> Examples: ...
    def oracle(self, rows: NDArray[Any]) -> IntArray: ...
    def word(self, token: int) -> str: ...


class PromptTask(TokenTask, frozen=True, extra="forbid"):
    """A question in text (`questions`), its rows in the tokens of a tokenizer, or in those of a closed vocabulary.

    Forms:
        text: prompt and answer in the tokens of `tokenizer`; asked is every token of the answer.
        tokens: the same kind of question over a few hundred ids, for models that are trained from nothing.

    Args:
        form: see above.
        tokenizer: what a text's length is counted in, and what its rows are told in: "byte"; a tokenizers file, a
            transformers folder or name; "approximate", four bytes a token, which makes no rows.
    """

    version: ClassVar[int] = 1
    joint: ClassVar[str] = ", "
    """What stands between the answers in a row."""

    form: Literal["text", "tokens"] = "text"
    tokenizer: str = "byte"

    @abstractmethod
    def ask(self, rng: Generator, split: Split) -> Question:
        """One question."""

    @abstractmethod
    def solve(self, text: str) -> tuple[int, tuple[str, ...]]:
        """Where the prompt ends in a text that begins with one, and the answers, read from the prompt by rule."""

    @abstractmethod
    def text_length(self) -> int:
        """Tokens of prompt and answer together, at most."""

    @abstractmethod
    def closed(self) -> ClosedRows:
        """The rows of form=tokens; raises UsageError where there are none."""

    @model_validator(mode="after")
    def _closed_fits(self) -> Self:
        if self.form == "tokens":
            self.closed().check()
        return self

    def answer_text(self, answers: Sequence[str]) -> str:
        """What a right reply looks like behind the prompt."""
        return " " + self.joint.join(answers)

    def questions(self, split: Split, count: int, seed: int = 0, start: int = 0) -> list[Question]:
        """Rows start … start + count - 1 of a split, as text; the same rows as `sample` in form=text.

        Raises:
            UsageError: form=tokens has no text.
        """
        if self.form == "tokens":
            raise UsageError(f"{self.spec()} has no text to ask a language model; leave form=tokens out")
        identity = self.block_identity(split, seed)
        check_range(self.name, "count", count, 0)
        check_range(self.name, "start", start, 0)
        per_block, found = self.rows_per_block, list[Question]()
        for block in range(start // per_block, -(-(start + count) // per_block)):
            rng, first = block_generator(identity, block), block * per_block
            asked = (self.ask(rng, split) for _ in range(min(per_block, start + count - first)))
            found += [question for row, question in enumerate(asked, start=first) if row >= start]
        return found

    @property
    def told(self) -> int | None:
        return self.closed().told if self.form == "tokens" else None

    @property
    def vocab_size(self) -> int:
        return self.closed().vocab_size if self.form == "tokens" else self._tokenizer.vocab_size

    @property
    def max_length(self) -> int:
        return self.closed().length if self.form == "tokens" else self.text_length()

    def row_bits(self) -> float:
        return self.closed().row_bits() if self.form == "tokens" else 64.0

    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        if self.form == "tokens":
            return super().rows_of_block(identity, split, block, rows)
        rng = block_generator(identity, block)
        drawn = self._encoded([self.ask(rng, split) for _ in range(rows)])
        return self.with_training(drawn)

    def draw(self, rng: Generator, rows: int) -> Examples:
        return self.closed().draw(rng, rows)

    def oracle(self, rows: NDArray[Any]) -> IntArray:
        if self.form == "tokens":
            return self.closed().oracle(rows)
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        for r, row in enumerate(rows):
            text = self._tokenizer.decode(row).rstrip("\0")
            end, answers = self.solve(text)
            answer = self._tokenizer.encode(self.answer_text(answers).encode())
            at = len(self._tokenizer.encode(text[:end].encode())) - 1
            labels[r, at : at + len(answer)] = answer
        return labels

    def word(self, token: int) -> str:
        return self.closed().word(token)

    def render(self, examples: Examples) -> list[Prompt]:
        if self.form == "tokens":
            return super().render(examples)
        prompts = []
        for ids, labels in zip(examples.input_ids, examples.labels, strict=True):
            asked = np.flatnonzero(labels != UNASKED)
            answer = self._tokenizer.decode(labels[asked])
            prompts.append(Prompt(self._tokenizer.decode(ids[: asked[0] + 1]) + " =?", (answer,)))
        return prompts

    @property
    def _tokenizer(self) -> Tokenizer:
        if self.tokenizer == APPROXIMATE:
            raise UsageError(f"{self.spec()}: tokenizer=approximate only counts; rows need one that makes tokens")
        return _loaded(self.tokenizer)

    def _encoded(self, questions: list[Question]) -> Examples:
        shape, tokenizer = (len(questions), self.max_length), self._tokenizer
        input_ids, labels = np.zeros(shape, np.int64), np.full(shape, UNASKED)
        present = np.zeros(shape, np.bool_)
        slices = {name: np.zeros(shape, np.int32) for name in questions[0].slices} if questions else {}
        for r, question in enumerate(questions):
            prompt = tokenizer.encode(question.text.encode())
            answer = tokenizer.encode(self.answer_text(question.answers).encode())
            end = len(prompt) + len(answer) - 1
            input_ids[r, : len(prompt)], input_ids[r, len(prompt) : end] = prompt, answer[:-1]
            present[r, :end] = True
            asked = slice(len(prompt) - 1, end)
            labels[r, asked] = answer
            for name, values in slices.items():
                values[r, asked] = question.slices[name]
        return Examples(input_ids, labels, labels != UNASKED, slices, present)


def asked_again(question: Question, passes: int, question_first: bool) -> Question:
    """The same question with its context told `passes` times, and asked before the context too."""
    before = question.query.strip() + "\n\n" if question_first else ""
    again = (question.context + "\n\n") * (passes - 1)
    shift = len(before) + len(again)
    evidence = tuple((start + shift, end + shift) for start, end in question.evidence)
    return replace(question, context=before + again + question.context, evidence=evidence)


def token_counter(tokenizer: str) -> Callable[[str], int]:
    """How long texts are: by a tokenizer's name, or "approximate", a token for every four bytes."""
    if tokenizer == APPROXIMATE:
        return lambda text: -(-len(text.encode()) // BYTES_PER_TOKEN)
    if tokenizer == "byte":
        return lambda text: len(text.encode())
    loaded = _loaded(tokenizer)
    return lambda text: len(loaded.encode(text.encode()))


@lru_cache(maxsize=8)
def _loaded(name: str) -> Tokenizer:
    return load_tokenizer(name)
