"""How near a written answer is to the right one, without a judge; all from 0 to 1, over references the best.

Answers are normalised as SQuAD and HELMET (arXiv 2410.02694, utils) do: small letters, no punctuation, no articles,
single spaces.
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

__all__ = ["exact", "f1", "ndcg", "normalised", "phrases", "ranking", "recall", "rouge_l", "same_text", "substring"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalised(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def same_text(said: str, references: Sequence[str]) -> float:
    """Whether it is a reference to the letter, white space around it aside."""
    return float(any(said.strip() == reference.strip() for reference in references))


def exact(said: str, references: Sequence[str]) -> float:
    """Whether it is a reference, normalised."""
    return float(any(normalised(said) == normalised(reference) for reference in references))


def substring(said: str, references: Sequence[str]) -> float:
    """Whether a reference stands in it, normalised. Long answers have it easier."""
    within = normalised(said)
    return float(any((wanted := normalised(reference)) != "" and wanted in within for reference in references))


def phrases(said: str, references: Sequence[str]) -> float:
    """Whether all phrases of a reference, between its commas and semicolons, stand in it as whole words."""
    within = f" {_spaced(said)} "
    lists = ([_spaced(part) for part in re.split("[,;]", reference)] for reference in references)
    return float(any(all(f" {part} " in within for part in parts if part) and any(parts) for parts in lists))


def f1(said: str, references: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of words."""
    return max((_overlap(normalised(said).split(), normalised(r).split()) for r in references), default=0.0)


def rouge_l(said: str, references: Sequence[str]) -> float:
    """F of the longest common subsequence of words (Lin 2004)."""
    words = normalised(said).split()
    return max((_subsequence_f(words, normalised(reference).split()) for reference in references), default=0.0)


def recall(said: str, references: Sequence[str]) -> float:
    """Share of the references that stand in it (RULER; small letters only)."""
    within = said.lower()
    return sum(reference.lower() in within for reference in references) / len(references) if references else 0.0


def ranking(said: str) -> list[str]:
    """Ids of the longest chain "id > id > …", each once."""
    chains = (re.split(r"\s*>\s*", line.rpartition(":")[2].strip()) for line in said.splitlines())
    longest = max(chains, key=len, default=[])
    return list(dict.fromkeys(name.strip(" []().") for name in longest if name.strip(" []().")))


def ndcg(ranked: Sequence[str], labels: Mapping[str, float], k: int = 10) -> float:
    """Gain is the label, discount log2(rank + 1) (Järvelin & Kekäläinen 2002)."""
    best = _gain(sorted(labels.values(), reverse=True)[:k])
    return _gain([labels.get(name, 0.0) for name in ranked[:k]]) / best if best else 0.0


def _gain(labels: Sequence[float]) -> float:
    return sum(label / math.log2(rank + 1) for rank, label in enumerate(labels, start=1))


def _spaced(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", "", re.sub(r"[-_]", " ", text.lower())).split())


def _overlap(said: list[str], wanted: list[str]) -> float:
    shared = sum((Counter(said) & Counter(wanted)).values())
    return _harmonic(shared, len(said), len(wanted)) if said and wanted else float(said == wanted)


def _subsequence_f(said: list[str], wanted: list[str]) -> float:
    row = [0] * (len(wanted) + 1)
    for word in said:
        before = row[:]
        for at, other in enumerate(wanted, start=1):
            row[at] = before[at - 1] + 1 if word == other else max(before[at], row[at - 1])
    return _harmonic(row[-1], len(said), len(wanted)) if said and wanted else float(said == wanted)


def _harmonic(shared: int, said: int, wanted: int) -> float:
    return 2 * shared / (said + wanted) if shared else 0.0
