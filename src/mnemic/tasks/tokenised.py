"""A corpus in the tokens of a model: ids, bytes per token and n-gram counts, each made once per process."""

from functools import lru_cache

from mnemic.tasks.base import IntArray, Split
from mnemic.tasks.corpus import Corpus
from mnemic.tasks.recall_hits import NgramCounts, count_ngrams
from mnemic.tasks.tokenizers import DEFAULT_BPE_VOCAB, Tokenizer, bpe_tokenizer, load_tokenizer

__all__ = ["TokenisedText", "tokenised"]


class TokenisedText:
    """Splits are tokenised, and n-grams counted, when first asked for. `key` differs where a token does."""

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, key: str) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.key = key
        self._tokens: dict[Split, IntArray] = {}
        self._counts: dict[int, NgramCounts] = {}

    def tokens(self, split: Split) -> IntArray:
        """[N] ids of one split."""
        if split not in self._tokens:
            self._tokens[split] = self.tokenizer.encode(self.corpus.splits[split])
        return self._tokens[split]

    def counts(self, context: int) -> NgramCounts:
        """(context + 1)-grams of the training split."""
        if context not in self._counts:
            self._counts[context] = count_ngrams(self.tokens("train"), self.tokenizer.vocab_size, context)
        return self._counts[context]

    def bytes_per_token(self, split: Split) -> float:
        """Mean bytes of UTF-8 that a token stands for; nan for a split without tokens."""
        tokens = len(self.tokens(split))
        return len(self.corpus.splits[split]) / tokens if tokens else float("nan")


@lru_cache(maxsize=8)
def tokenised(corpus: Corpus, tokenizer: str, vocab: int | None, fingerprint: str) -> TokenisedText:
    """A corpus under a tokenizer; equal texts and tokenizers share one result.

    Args:
        tokenizer: "byte", "bpe" (learned from the training split), or what `load_tokenizer` takes.
        vocab: size of the BPE.
        fingerprint: tells two contents of one tokenizer file apart.
    """
    if tokenizer == "bpe":
        size = vocab or DEFAULT_BPE_VOCAB
        return TokenisedText(corpus, bpe_tokenizer(corpus.splits["train"], size), f"{corpus.digest} bpe {size}")
    return TokenisedText(corpus, load_tokenizer(tokenizer), f"{corpus.digest} {tokenizer} {fingerprint}")
