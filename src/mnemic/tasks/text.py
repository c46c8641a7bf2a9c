"""Language modelling on real text, the tokens that can be recalled from the window told apart from the rest.

Legend: B windows, T tokens a model reads, N tokens of a split.
"""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import count as counting
from typing import Annotated, Any, ClassVar, Self, get_args

import numpy as np
from pydantic import Field, PrivateAttr, model_validator

from mnemic.errors import UsageError
from mnemic.tasks.base import UNASKED, BoolArray, Examples, IntArray, Prompt, Split, TaskConfig, check_range
from mnemic.tasks.corpus import Corpus, read_corpus
from mnemic.tasks.recall_hits import ArHitSlicer
from mnemic.tasks.sampling import block_generator
from mnemic.tasks.streams import DocumentSource, find_source
from mnemic.tasks.streams.sample import sampled
from mnemic.tasks.streams.windows import WindowReader
from mnemic.tasks.tokenised import TokenisedText, tokenised
from mnemic.tasks.tokenizers import fingerprint

__all__ = ["BYTE_CONTEXT", "TextTask"]

BYTE_CONTEXT = 4
"""Bytes before a recall hit at byte level: a byte and the four before it are about an English word with its space.

The published bigram says little there. Nearly every pair of bytes stands thousands of times in training, and the few
that do not are not what one means by recall: in English prose one byte in 10,000 is such a hit, and copying what
followed the same byte earlier is right for half of them. After four bytes the slice is tens of times larger, copying
is right for 95 % of the hits and the commonest continuation in training for 10 %; with more context these numbers
stay. The threshold needs no change: at most once in training is as rare for five bytes in a row as for a pair of
words."""

_BLOCK = 256


class TextTask(TaskConfig, frozen=True):
    """Next tokens of a text: your file, your folder, or the language reference that CPython carries.

    A training window starts anywhere. Validation and test windows follow each other through their split, so that
    every token but the first is predicted once; there are `windows(split)` of them, and asking for more gives fewer
    rows.

    Parquet files and datasets of the Hugging Face hub are streamed instead: training windows follow each other through
    the documents, and the tokenizer and what counts as rare are learned from a sample of the training documents.

    Slices, on validation and test only (a training window's own tokens are in the counts that say what is rare):
    `recall_hit` is 1 where the label completes an n-gram that stands earlier in the window and is rare in the
    training split, `distance` counts the tokens back to it, `occurrences` how often it stood there; both are 0 off
    the hits. Source: Arora et al. 2024 (arXiv 2312.04927, section 3).

    Attributes:
        path: a file, a folder, or "python-reference", which `corpus.read_corpus` reads and splits; a .parquet file, a
            folder with some, or "hf:NAME", which are streamed (`streams.find_source`).
        length: T.
        tokenizer: "byte", "bpe" (learned from the training split), a tokenizers file, a transformers folder or name.
        vocab: size of the BPE, 4096 unless given.
        context: tokens of the n-gram before the hit: 1, the published bigram, but `BYTE_CONTEXT` at byte level.
        threshold: the most training occurrences of a hit; by default 1250 in 10^10, as published, and at least 1.
        fraction: instead of the threshold, the fraction of the training tokens that count as rare.
        second_half: score only the second half of each validation and test window, where there is much to recall.
        field: the field of JSON lines, or column, that holds the text; columns are joined as in "title+body".
        config, split: of an "hf:" dataset; the split that trains, "train" unless given.
    """

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 1
    positional: ClassVar[str | None] = "path"

    path: str
    length: Annotated[int, Field(ge=2)] = 256
    tokenizer: str = "byte"
    vocab: Annotated[int, Field(gt=256)] | None = None
    context: Annotated[int, Field(ge=1)] | None = None
    threshold: Annotated[int, Field(ge=0)] | None = None
    fraction: Annotated[float, Field(gt=0, le=1)] | None = None
    second_half: bool = False
    field: str = "text"
    config: str | None = None
    split: str | None = None

    # what was read stays what was read, should the file change under a running process
    _text: TokenisedText | None = PrivateAttr(None)
    _source: DocumentSource | None = PrivateAttr(None)

    @model_validator(mode="after")
    def _options_agree(self) -> Self:
        if not self.path:
            raise ValueError("give a file, a folder, python-reference, or hf:NAME: text:PATH")
        if not self.path.startswith("hf:") and (self.config or self.split):
            raise ValueError(f"path={self.path}: config and split are of datasets, as in text:hf:NAME,split=train")
        if self.vocab is not None and self.tokenizer != "bpe":
            raise ValueError(f"vocab={self.vocab} is the size of tokenizer=bpe; tokenizer={self.tokenizer} has its own")
        if self.threshold is not None and self.fraction is not None:
            raise ValueError(f"threshold={self.threshold} and fraction={self.fraction}: give one of them")
        return self

    @property
    def text(self) -> TokenisedText:
        """The corpus in tokens, read at the first call.

        Raises:
            UsageError: the text cannot be read, or is too short for one window in each split.
        """
        if self._text is None:
            self._source = find_source(self.path, self.field, self.config, self.split)
            corpus = read_corpus(self.path, self.field) if self._source is None else sampled(self.path, self._source)
            text = tokenised(corpus, self.tokenizer, self.vocab, fingerprint(self.tokenizer))
            self._check_length(text)
            self._text = text
        return self._text

    @property
    def corpus(self) -> Corpus:
        return self.text.corpus

    @property
    def source(self) -> DocumentSource | None:
        """Where the training rows are streamed from; None: they are all in `corpus`."""
        _ = self.text
        return self._source

    @property
    def slicer(self) -> ArHitSlicer:
        """Counted on the training split; `slicer.threshold` is what it came to."""
        context = self.context or (BYTE_CONTEXT if self.tokenizer == "byte" else 1)
        return _slicer(self.text, context, self.threshold, self.fraction)

    @property
    def vocab_size(self) -> int:
        return self.text.tokenizer.vocab_size

    @property
    def max_length(self) -> int:
        return self.length

    def windows(self, split: Split) -> int:
        """Rows that a split has: its consecutive windows, or, of "train", the places where a window can start."""
        tokens = len(self.text.tokens(split))
        return tokens - self.length if split == "train" else (tokens - 1) // self.length

    def sample(self, split: Split, count: int, seed: int = 0, start: int = 0) -> Examples:
        if split not in get_args(Split):
            raise UsageError(f"{self.name}: split='{split}' is none of {', '.join(get_args(Split))}")
        check_range(self.name, "count", count, 0)
        check_range(self.name, "start", start, 0)
        if split == "train" and self.source is not None:
            return self._reader(seed, start, 1, None).take(count)
        if split == "train":
            begin = self._random_starts(count, seed, start)
        else:
            begin = np.arange(start, max(start, min(start + count, self.windows(split)))) * self.length
        window = self.text.tokens(split)[begin[:, None] + np.arange(self.length + 1)].astype(np.int64)
        asked = np.ones((len(window), self.length), np.bool_)
        if split == "train":
            return Examples(window[:, :-1], window[:, 1:].copy(), asked)
        if self.second_half:
            asked[:, : self.length // 2] = False
        hits = self.slicer.hits(window)
        return Examples(
            window[:, :-1],
            np.where(asked, window[:, 1:], UNASKED),
            asked,
            {
                "recall_hit": _asked(hits.mask, asked),
                "distance": _asked(hits.distance, asked),
                "occurrences": _asked(hits.occurrences, asked),
            },
        )

    def stream(
        self, split: Split, batch_size: int, seed: int = 0, worker: int = 0, workers: int = 1, start: int = 0
    ) -> Iterator[Examples]:
        if split != "train" or self.source is None:
            yield from super().stream(split, batch_size, seed, worker, workers, start)
            return
        reader = self._reader(seed, start, 1, None)
        for turn in counting():
            batch = reader.take(batch_size)
            if turn % workers == worker:
                yield batch

    def open_reader(
        self, seed: int, first: int, stride: int = 1, state: dict[str, Any] | None = None
    ) -> WindowReader | None:
        """Training rows `first`, `first + stride`, … for one of `stride` processes; None where nothing is streamed.

        Args:
            state: what the readers up to row `first - first % stride` said they had read.
        """
        return None if self.source is None else self._reader(seed, first, stride, state)

    def recall_share(self, split: Split = "test") -> float:
        """Recall hits among the tokens that are scored in all windows of a split."""
        hits = scored = 0
        for batch in self.stream(split, _BLOCK):
            hits += int(batch.slices["recall_hit"].sum())
            scored += int(batch.loss_mask.sum())
        return hits / scored

    def bytes_per_token(self, split: Split) -> float:
        """Bits per byte = loss in nats / ln 2 / this."""
        return self.text.bytes_per_token(split)

    def describe(self) -> str:
        """Where the splits come from, their sizes, and what the recall slice came to, in a few lines for people."""
        sizes = ", ".join(
            f"{split} {len(self.text.tokens(split)):,} tokens ({len(self.corpus.splits[split]):,} bytes)"
            for split in ("train", "valid", "test")
        )
        slicer = self.slicer
        shares = ", ".join(f"{self.recall_share(split):.2%} of {split}" for split in ("valid", "test"))
        return (
            f"{self.path}: {self.corpus.origin}\n{sizes}\n"
            f"recall hits: {slicer.counts.context + 1}-grams that stand earlier in the window of {self.length} tokens "
            f"and at most {slicer.threshold} times in training: {shares}"
        )

    def render(self, examples: Examples) -> list[Prompt]:
        """Each window as text; the answer is the token after it."""
        decode = self.text.tokenizer.decode
        return [
            Prompt(decode(ids), (decode(labels[-1:]),))
            for ids, labels in zip(examples.input_ids, examples.labels, strict=True)
        ]

    def marked(self, examples: Examples, marks: tuple[str, str] = ("⟦", "⟧")) -> list[str]:
        """Each validation or test window as text, its recall hits within marks, to see what the slice speaks of."""
        return [
            self._mark(np.append(ids, labels[-1]), np.append(0, hits), marks)
            for ids, labels, hits in zip(
                examples.input_ids, examples.labels, examples.slices["recall_hit"], strict=True
            )
        ]

    def loads(self) -> list[TaskConfig]:
        """Windows two and four times as long, where the test split has at least eight of them."""
        return [self.replace(length=n * self.length) for n in (2, 4) if self.windows("test") >= 8 * n]

    def hash(self) -> str:
        """Of the options, and of what they name: the three texts and the tokenizer's file."""
        source = "" if self.source is None else self.source.identity
        return hashlib.sha256(f"{super().hash()} {self.text.key} {source}".encode()).hexdigest()

    def _reader(self, seed: int, first: int, stride: int, state: dict[str, Any] | None) -> WindowReader:
        assert self.source is not None
        encode = self.text.tokenizer.encode
        return WindowReader(self.source, encode, self.length, seed, first=first, stride=stride, state=state)

    def _mark(self, ids: IntArray, hits: IntArray, marks: tuple[str, str]) -> str:
        """ids, hits: [T + 1]."""
        runs = np.split(np.arange(len(ids)), np.flatnonzero(np.diff(hits)) + 1)
        decoded = ((self.text.tokenizer.decode(ids[run]), hits[run[0]]) for run in runs)
        return "".join(text.join(marks) if hit else text for text, hit in decoded)

    def _random_starts(self, count: int, seed: int, start: int) -> IntArray:
        """[count] first tokens, drawn by blocks of 256 rows from a counter-based generator.

        What is drawn depends on the text, the tokens and the length, not on how the recall slice is cut.
        """
        identity = f"text {self.version} {self.text.key} {self.length} {seed}"
        first, last = start // _BLOCK, -(-(start + count) // _BLOCK)
        places = self.windows("train")
        blocks = [block_generator(identity, block).integers(places, size=_BLOCK) for block in range(first, last)]
        offset = start - first * _BLOCK
        return np.concatenate([np.zeros(0, np.int64), *blocks])[offset : offset + count]

    def _check_length(self, text: TokenisedText) -> None:
        sizes = {split: len(text.tokens(split)) for split in text.corpus.splits}
        split, tokens = min(sizes.items(), key=lambda size: size[1])
        if tokens <= self.length:
            less = f", or length={tokens - 1} at most" if tokens > 2 else ""
            raise UsageError(
                f"text '{self.path}' is too short: its {split} split has {tokens:,} tokens, and one window of "
                f"length={self.length} needs {self.length + 1:,}; give more text{less} ({text.corpus.origin})"
            )


@lru_cache(maxsize=8)
def _slicer(text: TokenisedText, context: int, threshold: int | None, fraction: float | None) -> ArHitSlicer:
    return ArHitSlicer(text.counts(context), threshold, fraction)


def _asked(values: IntArray | BoolArray, asked: BoolArray) -> IntArray:
    """[B, T + 1] of a window -> [B, T] of its labels, 0 where nothing is asked."""
    return np.where(asked, values[:, 1:], 0).astype(np.int64)
