"""The words and pairs of words that tell a text from others, by TF-IDF."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from mnemic.storage.terms import STOP_WORDS, words

__all__ = ["keyphrases"]


def keyphrases(texts: Sequence[str], most: int = 20, *, commonest: float = 0.5) -> list[list[str]]:
    """Of each text its heaviest words and pairs of neighbouring words, heaviest first; ties in alphabetical order.

    Args:
        commonest: what stands in more than this share of the texts is left out (unless there is only one text).
    """
    counted = [_counted(text) for text in texts]
    holding = Counter(phrase for counts in counted for phrase in counts)
    limit = max(1.0, commonest * len(texts))
    found = []
    for counts in counted:
        weights = {
            phrase: count * (1 + math.log((1 + len(texts)) / (1 + holding[phrase])))
            for phrase, count in counts.items()
            if holding[phrase] <= limit
        }
        found.append(sorted(weights, key=lambda phrase: (-weights[phrase], phrase))[:most])
    return found


def _counted(text: str) -> Counter[str]:
    telling = [word for word in words(text) if word not in STOP_WORDS and len(word) > 1]
    return Counter([*telling, *(f"{first} {second}" for first, second in pairwise(telling))])
