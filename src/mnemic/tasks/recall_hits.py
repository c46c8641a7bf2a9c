"""Which tokens of real text can be recalled from the window they stand in, and were too rare to be known otherwise.

"Associative-recall hits" of Arora et al. 2024 (arXiv 2312.04927, section 3): on these tokens the loss of models with
a poor memory differs from attention's.

Legend: B windows, L tokens of a window, n tokens of context (1: bigrams, as published), C vocabulary, N tokens of
text.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnemic.errors import UsageError
from mnemic.tasks.base import BoolArray, IntArray

__all__ = ["ArHitSlicer", "NgramCounts", "RecallHits", "count_ngrams", "gap_share", "scaled_threshold"]

PUBLISHED_THRESHOLD, PUBLISHED_TOKENS = 1250, 10**10


@dataclass(frozen=True, eq=False)
class NgramCounts:
    """How often each (n + 1)-gram stands in a training text.

    Attributes:
        codes: [U] int64, ascending; the tokens x_0 … x_n as the number x_0 C^n + … + x_n.
        counts: [U] int64.
        vocab_size: C.
        context: n.
        tokens: N.
    """

    codes: NDArray[np.int64]
    counts: NDArray[np.int64]
    vocab_size: int
    context: int
    tokens: int

    def of(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The counts of codes, of any shape; 0 for what the text has not."""
        if not len(self.codes):
            return np.zeros_like(codes)
        place = np.minimum(np.searchsorted(self.codes, codes), len(self.codes) - 1)
        return np.where(self.codes[place] == codes, self.counts[place], 0)


def count_ngrams(tokens: IntArray, vocab_size: int, context: int = 1) -> NgramCounts:
    """Count the (context + 1)-grams of a training text.

    Args:
        tokens: [N], the training split in the tokens of the model.

    Raises:
        UsageError: (context + 1)-grams of this vocabulary do not fit 63 bits, or context < 1.
    """
    if context < 1:
        raise UsageError(f"context={context} must be at least 1, the published bigram")
    if vocab_size ** (context + 1) > 2**63:
        most = max(c for c in range(63) if vocab_size ** (c + 1) <= 2**63)
        raise UsageError(f"context={context} is too long for a vocabulary of {vocab_size}; at most {most}")
    codes, counts = np.unique(_codes(tokens, vocab_size, context), return_counts=True)
    return NgramCounts(codes, counts.astype(np.int64), vocab_size, context, len(tokens))


def scaled_threshold(tokens: int) -> int:
    """The published bound, 1250 occurrences in 10^10 training tokens, scaled to `tokens` of them; at least 1."""
    return max(1, PUBLISHED_THRESHOLD * tokens // PUBLISHED_TOKENS)


@dataclass(frozen=True)
class RecallHits:
    """Per token of a window whether it is a hit, and for hits how it could be recalled; 0 elsewhere.

    Attributes:
        mask: [B, L] bool.
        distance: [B, L] int64, tokens back to where the n-gram last ended.
        occurrences: [B, L] int64, how often it stood earlier in the window.
    """

    mask: BoolArray
    distance: IntArray
    occurrences: IntArray

    @property
    def share(self) -> float:
        """Hits among all tokens of the windows."""
        return float(self.mask.mean()) if self.mask.size else 0.0


class ArHitSlicer:
    """Finds recall hits: x_t where (x_{t-n}, …, x_t) stands earlier in the window and is rare in training.

    Args:
        bigram_counts: from `count_ngrams` over the training split, same tokeniser; its context is the n of the slice.
        threshold: the largest training count of a hit. By default the published frequency (`scaled_threshold`).
        fraction: instead of a threshold, the largest one with which rare n-grams make up at most this fraction of the
            training text. (How many tokens of a window are hits is another number: `RecallHits.share`.)

    Raises:
        UsageError: both threshold and fraction, or one of them out of its range.
    """

    def __init__(self, bigram_counts: NgramCounts, threshold: int | None = None, fraction: float | None = None) -> None:
        if threshold is not None and fraction is not None:
            raise UsageError(f"threshold={threshold} and fraction={fraction}: give one of them")
        if threshold is not None and threshold < 0:
            raise UsageError(f"threshold={threshold} must be at least 0")
        if fraction is not None and not 0 < fraction <= 1:
            raise UsageError(f"fraction={fraction} must be above 0 and at most 1")
        self.counts = bigram_counts
        if fraction is not None:
            threshold = _threshold_for(bigram_counts, fraction)
        self.threshold = scaled_threshold(bigram_counts.tokens) if threshold is None else threshold

    def mask(self, input_ids: ArrayLike) -> BoolArray:
        """[B, L] bool; position t speaks of token x_t, which a model predicts at t - 1."""
        return self.hits(input_ids).mask

    def distance(self, input_ids: ArrayLike) -> IntArray:
        """[B, L] int64, tokens back to the nearest earlier occurrence; 0 where there is no hit."""
        return self.hits(input_ids).distance

    def occurrences(self, input_ids: ArrayLike) -> IntArray:
        """[B, L] int64, earlier occurrences in the window; 0 where there is no hit."""
        return self.hits(input_ids).occurrences

    def hits(self, input_ids: ArrayLike) -> RecallHits:
        """All three at once, in O(B L log L): equal n-grams of a row become neighbours by a stable sort."""
        window = np.atleast_2d(np.asarray(input_ids))
        context = self.counts.context
        distance = np.zeros(window.shape, np.int64)
        occurrences = np.zeros(window.shape, np.int64)
        if window.shape[1] > context + 1:
            codes = _codes(window, self.counts.vocab_size, context)
            order = np.argsort(codes, axis=1, kind="stable")
            ranked = np.take_along_axis(codes, order, axis=1)
            again = np.zeros(codes.shape, np.bool_)
            again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
            place = np.arange(codes.shape[1])
            earlier = place - np.maximum.accumulate(np.where(again, 0, place), axis=1)
            back = np.diff(order, axis=1, prepend=0)
            again[again] = self.counts.of(ranked[again]) <= self.threshold
            np.put_along_axis(distance[:, context:], order, np.where(again, back, 0), axis=1)
            np.put_along_axis(occurrences[:, context:], order, np.where(again, earlier, 0), axis=1)
        return RecallHits(distance > 0, distance, occurrences)


def gap_share(nll_model: ArrayLike, nll_reference: ArrayLike, mask: ArrayLike) -> float:
    """How much of a model's excess loss over a reference stands on the hits.

    (mean excess on hits · hits) / (mean excess · tokens), as published. Beyond 0 … 1 when the excess has different
    signs on hits and on the rest; nan when there is no excess at all.

    Args:
        nll_model, nll_reference: negative log-likelihood of each token, in any one shape.
        mask: of the same shape, true on hits.
    """
    excess = np.asarray(nll_model, np.float64) - np.asarray(nll_reference, np.float64)
    total = float(excess.sum())
    return float(excess[np.asarray(mask, np.bool_)].sum()) / total if total else float("nan")


def _codes(tokens: NDArray[Any], vocab_size: int, context: int) -> NDArray[np.int64]:
    """[..., L] -> [..., L - n] int64: the number of the n-gram that ends at each token from the n-th on."""
    length = max(0, tokens.shape[-1] - context)
    codes = np.zeros((*tokens.shape[:-1], length), np.int64)
    for offset in range(context + 1):
        codes *= vocab_size
        codes += tokens[..., offset : offset + length]
    return codes


def _threshold_for(counts: NgramCounts, fraction: float) -> int:
    values, times = np.unique(counts.counts, return_counts=True)
    covered = np.cumsum(values * times) <= fraction * counts.counts.sum()
    return int(values[covered][-1]) if covered.any() else 0
