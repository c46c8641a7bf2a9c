"""What can be changed about any task: how often the context is read, what stands around it, and how large rows are.

Legend: B rows, T time, K tokens of the context, Q tokens behind it, N noise tokens, P passes.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializeAsAny, model_validator

from mnemic.errors import UsageError
from mnemic.options import format_option
from mnemic.tasks.base import UNASKED, BoolArray, Examples, FloatArray, IntArray, Prompt, Split, TaskConfig
from mnemic.tasks.blocks import BlockTask
from mnemic.tasks.prompts import PromptTask, Question, asked_again
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.tokens import TokenTask, worded
from mnemic.tasks.variations import Variation, is_varied, read_variation, variants_of

__all__ = ["MODIFIERS", "Modified", "modified"]

NOISE_IDS = 16
MODIFIERS = {
    "passes": "how often the context is told",
    "order": "document_first; question_first: the questions stand before the context too, unanswered",
    "noise_between": "noise tokens between context and questions, as a multiple of the context told once",
}
"""Options of every task whose rows first tell and then ask; where a task has an option of that name, its own counts."""


class Modified(BlockTask, frozen=True, extra="forbid"):
    """A task with modifiers: Arora et al. 2024 (arXiv 2407.05483) for passes and the order.

    Args:
        base: the task.
        passes, order, noise_between: see `MODIFIERS`. Answers stay where they are asked, behind everything else.
        train: what varies from row to row in train and valid.
        test: what varies in test.
    """

    name: ClassVar[str] = "modified"
    version: ClassVar[int] = 1

    base: SerializeAsAny[BlockTask]
    passes: Annotated[int, Field(ge=1, le=64)] = 1
    order: Literal["document_first", "question_first"] = "document_first"
    noise_between: Annotated[float, Field(ge=0, le=64)] = 0.0
    train: tuple[Variation, ...] = ()
    test: tuple[Variation, ...] = ()

    @model_validator(mode="after")
    def _can_be(self) -> Self:
        for task, _ in [*self.variants("train"), *self.variants("test")]:
            if isinstance(task, PromptTask) and task.form == "text":
                if len(self.variants("train")) + len(self.variants("test")) > 2:
                    raise UsageError(f"{task.spec()}: texts of several sizes are tasks of their own; name each of them")
                if self.noise_between:
                    raise UsageError(
                        "noise_between does not go with text, in which a haystack is the noise; leave it out, or use "
                        "form=tokens"
                    )
                continue
            if self._is_rearranged and self._told(task) is None:
                raise UsageError(
                    f"{task.spec()} does not tell everything first and then ask, so passes, order and noise_between "
                    "have no meaning for it"
                )
        return self

    def variants(self, split: Split) -> tuple[tuple[TaskConfig, float], ...]:
        """The tasks that rows of a split are drawn from, with their shares."""
        return variants_of(self.base, self.test if split == "test" else self.train)

    @property
    def vocab_size(self) -> int:
        return self._plain_vocab + (NOISE_IDS if self.noise_between else 0)

    @property
    def max_length(self) -> int:
        return max(self._length("train"), self._length("test"))

    @property
    def chance(self) -> float | None:
        known = [(task.chance, share) for task, share in self.variants("test")]
        return sum(chance * share for chance, share in known if chance is not None) if known[0][0] is not None else None

    def information_bits(self) -> float | None:
        """Of the variant that needs most."""
        bits = [task.information_bits() for task, _ in [*self.variants("train"), *self.variants("test")]]
        return max((known for known in bits if known is not None), default=None)

    def rows_of_block(self, identity: str, split: Split, block: int, rows: int) -> Examples:
        variants, chosen = self._choices(identity, split, block, rows)
        length = self._length(split)
        parts, order = [], []
        for number in np.unique(chosen).tolist():
            task, mine = variants[number], np.flatnonzero(chosen == number)
            assert isinstance(task, BlockTask)
            if self._is_rearranged and self._told(task) is None:
                raise UsageError(f"{self.spec()} makes no rows, only questions in text; use form=tokens for rows")
            drawn = task.rows_of_block(f"{identity}/{task.spec()}", split, block, len(mine))
            if self._is_rearranged:
                noise = block_generator(f"{identity}/{task.spec()}/noise", block)
                drawn = self._rearranged(task, drawn, self._plain_vocab + noise.integers(
                    NOISE_IDS, size=(len(mine), self._noise_tokens(task))
                ))  # fmt: skip
            told = {v.slice_name: v.slice_value(getattr(task, v.option)) for v in self._varying(split)}
            parts.append(_padded(drawn, length, told, always_masked=len(variants) > 1))
            order.append(mine)
        return Examples.concat(parts)[np.concatenate(order).argsort()]

    def questions(self, split: Split, count: int, seed: int = 0, start: int = 0) -> list[Question]:
        """A text task's questions with the context told several times, or the question before it; length is that of
        the plain text.

        Raises:
            UsageError: the task is none of text.
        """
        task, _ = self.variants(split)[0]
        if not isinstance(task, PromptTask):
            raise UsageError(f"{self.spec()} is a task of tokens and has no text to ask a language model")
        first = self.order == "question_first"
        return [asked_again(q, self.passes, first) for q in task.questions(split, count, seed, start)]

    def variant_of_rows(self, split: Split, count: int, seed: int = 0) -> list[TaskConfig]:
        """Which task each of the first rows was drawn from."""
        identity, found = self.block_identity(split, seed), list[TaskConfig]()
        while len(found) < count:
            variants, chosen = self._choices(identity, split, len(found) // self.rows_per_block, self.rows_per_block)
            found += [variants[number] for number in chosen.tolist()]
        return found[:count]

    def plain(self, task: TaskConfig, rows: NDArray[Any]) -> NDArray[Any]:
        """[B, K + Q] rows [B, T] of one variant as it would have told them without passes, order and noise."""
        return rows[:, self._columns(task)[0]]

    def oracle_of(self, task: TaskConfig, rows: NDArray[Any]) -> IntArray:
        """[B, T] the labels of rows of one variant, by its own oracle."""
        assert isinstance(task, TokenTask)
        columns, _ = self._columns(task)
        labels = np.full(rows.shape, UNASKED, dtype=np.int64)
        labels[:, columns] = task.oracle(self.plain(task, rows))
        return labels

    def render(self, examples: Examples) -> list[Prompt]:
        base = self.base
        if not isinstance(base, TokenTask):
            return base.render(examples)
        plain = self._plain_vocab

        def word(token: int) -> str:
            return base.word(token) if token < plain else f"~{token - plain}"

        present = np.ones(examples.labels.shape, bool) if examples.attention_mask is None else examples.attention_mask
        rows = zip(examples.input_ids, examples.labels, present, strict=True)
        return [worded(ids[there], labels[there], word, base.answers_follow) for ids, labels, there in rows]

    def label_values(self) -> FloatArray | None:
        return self.base.label_values()

    def hash(self) -> str:
        options = self.model_dump_json(exclude={"base"})
        return hashlib.sha256(f"{self.version} {self.base.hash()} {options}".encode()).hexdigest()

    def spec(self) -> str:
        both = [v for v in self.train if v in self.test]
        varied = {v.option for v in both}
        shown = {option for option in type(self.base).model_fields if option not in varied}
        name, _, plain = self.base.spec().partition(":")
        options = [part for part in plain.split(",") if part and part.partition("=")[0] in shown]
        options += [f"{v.option}={v.text}" for v in both]
        options += [f"train_{v.option}={v.text}" for v in self.train if v not in both]
        options += [f"test_{v.option}={v.text}" for v in self.test if v not in both]
        defaults = type(self).model_fields
        options += [
            f"{option}={format_option(getattr(self, option))}"
            for option in MODIFIERS
            if getattr(self, option) != defaults[option].default
        ]
        return f"{name}:{','.join(options)}"

    @property
    def _is_rearranged(self) -> bool:
        return self.passes > 1 or self.order == "question_first" or self.noise_between > 0

    @property
    def _plain_vocab(self) -> int:
        return max(task.vocab_size for task, _ in [*self.variants("train"), *self.variants("test")])

    def _choices(self, identity: str, split: Split, block: int, rows: int) -> tuple[list[TaskConfig], IntArray]:
        """The variants and, for each row of a block, the number of its own."""
        variants = self.variants(split)
        shares = [share for _, share in variants]
        chosen = block_generator(f"{identity}/variants", block).choice(len(shares), size=rows, p=shares)
        return [task for task, _ in variants], chosen

    def _varying(self, split: Split) -> list[Variation]:
        return [v for v in (self.test if split == "test" else self.train) if len(v.values) > 1]

    def _told(self, task: TaskConfig) -> int | None:
        return task.told if isinstance(task, TokenTask) else None

    def _noise_tokens(self, task: TaskConfig) -> int:
        return round(self.noise_between * (self._told(task) or 0))

    def _length(self, split: Split) -> int:
        return max(self._columns(task)[1] for task, _ in self.variants(split))

    def _columns(self, task: TaskConfig) -> tuple[IntArray, int]:
        """[K + Q] where the last telling and the questions stand, and T."""
        told, length = self._told(task), task.max_length
        if told is None or not self._is_rearranged:
            return np.arange(length), length
        asked = length - told
        first = (asked if self.order == "question_first" else 0) + (self.passes - 1) * told
        last = first + told + self._noise_tokens(task)
        return np.concatenate([first + np.arange(told), last + np.arange(asked)]), last + asked

    def _rearranged(self, task: TaskConfig, drawn: Examples, noise: IntArray) -> Examples:
        if drawn.visible_until is not None or drawn.attention_mask is not None:
            raise UsageError(f"{task.spec()} hides or pads tokens; passes, order and noise_between do not go with that")
        told = self._told(task)
        assert told is not None
        columns, length = self._columns(task)
        context, question = drawn.input_ids[:, :told], drawn.input_ids[:, told:].copy()
        given = np.zeros(question.shape, bool)  # answers that the row goes on to give are not in the question
        given[:, 1:] = (drawn.labels[:, told:-1] != UNASKED) & (drawn.labels[:, told:-1] == question[:, 1:])
        before = [np.where(given, 0, question)] if self.order == "question_first" else []
        input_ids = np.concatenate([*before, np.tile(context, self.passes), noise, question], axis=1)
        assert input_ids.shape[1] == length
        slices = {name: _moved(values, columns, length, 0) for name, values in drawn.slices.items()}
        labels = _moved(drawn.labels, columns, length, UNASKED)
        if "distance" in slices:
            slices["distance"] += np.where(labels == UNASKED, 0, noise.shape[1]).astype(slices["distance"].dtype)
        return Examples(input_ids, labels, _moved(drawn.loss_mask, columns, length, False), slices)


def modified(task: type[TaskConfig], options: Mapping[str, str]) -> TaskConfig:
    """The task that these options, as written, describe: itself, or with modifiers around it.

    "32/64" or "16-64" as a value draws one for every row; train_ and test_ before an option's name say it for train
    and valid, or for test, alone.
    """
    own = {name for name in task.model_fields if name != "base"}
    modifiers = {name: value for name, value in options.items() if name in MODIFIERS and name not in own}
    rest = {name: value for name, value in options.items() if name not in modifiers}
    varied: dict[str, dict[str, Variation]] = {"both": {}, "train": {}, "test": {}}
    plain: dict[str, str] = {}
    for name, text in rest.items():
        split, _, option = name.partition("_")
        if name not in own and split in ("train", "test") and option in own:
            varied[split][option] = read_variation(option, text)
        elif name in own and name != task.positional and is_varied(text, _takes_ranges(task, name)):
            varied["both"][name] = read_variation(name, text)
        else:
            plain[name] = text
    if not modifiers and not any(varied.values()):
        return task(**plain)
    for option in varied["both"]:
        if option in varied["train"] or option in varied["test"]:
            raise UsageError(f"{task.name}: give {option} or train_{option} and test_{option}, not both")
    train, test = ({**varied["both"], **varied[split]} for split in ("train", "test"))
    for one, other in ((train, test), (test, train)):
        one |= {option: v for option, v in other.items() if option not in one and option not in plain}
    base = _first_that_fits(task, plain, {**test, **train})
    if not isinstance(base, BlockTask):
        raise UsageError(f"{task.name} reads what is there; its rows cannot be modified")
    # what only one split varies keeps its plain value in the other one
    return Modified(base=base, train=tuple(train.values()), test=tuple(test.values()), **modifiers)


def _first_that_fits(task: type[TaskConfig], plain: Mapping[str, str], varied: Mapping[str, Variation]) -> TaskConfig:
    """With the plain options, and of those that vary a first combination that can be."""
    free = {option: v for option, v in varied.items() if option not in plain}
    refusal: UsageError | None = None
    longest = max((len(v.values) for v in free.values()), default=1)
    for number in range(longest):
        try:
            return task(**plain, **{option: v.values[min(number, len(v.values) - 1)] for option, v in free.items()})
        except UsageError as wrong:
            refusal = refusal or wrong
    assert refusal is not None
    raise refusal


def _takes_ranges(task: type[TaskConfig], option: str) -> bool:
    return "tuple" in str(task.model_fields[option].annotation)


def _moved(values: NDArray[Any], columns: IntArray, length: int, fill: int | bool) -> NDArray[Any]:
    found = np.full((len(values), length), fill, dtype=values.dtype)
    found[:, columns] = values
    return found


def _padded(rows: Examples, length: int, told: Mapping[str, int], always_masked: bool) -> Examples:
    """Rows with zeros behind them up to the length, and with what varied as slices where something is asked."""
    more = length - rows.input_ids.shape[1]

    def pad(values: NDArray[Any], fill: int | bool) -> NDArray[Any]:
        return np.pad(values, ((0, 0), (0, more)), constant_values=fill)

    labels = pad(rows.labels, UNASKED)
    mask: BoolArray | None = rows.attention_mask
    if mask is None and always_masked:
        mask = np.ones(rows.labels.shape, dtype=np.bool_)
    asked = labels != UNASKED
    slices = {name: pad(values, 0) for name, values in rows.slices.items()}
    slices |= {name: np.where(asked, value, 0).astype(np.int32) for name, value in told.items()}
    return Examples(
        pad(rows.input_ids, 0),
        labels,
        pad(rows.loss_mask, False),
        slices,
        None if mask is None else pad(mask, False),
        visible_until=None if rows.visible_until is None else pad(rows.visible_until, 0),
    )
