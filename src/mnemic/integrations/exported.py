"""What an exported task needs: its questions from a file, and the scores of replies.

A copy of this file lies beside each export to lm-evaluation-harness, so it imports nothing of mnemic.
"""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["process_results", "questions", "scores"]


def scores(reply: str, answers: Sequence[str]) -> dict[str, float]:
    """How much of what is right a reply says, and whether it says nothing else.

    RULER (Hsieh et al. 2024, arXiv 2404.06654) counts substrings; here an answer must stand as a word of its own, so
    that 12 is not found in 123.

    Returns:
        recall: share of the answers that are in the reply, case ignored. exact: 1 where the reply is the answers, in
        any order, with nothing but punctuation and "and" between them.
    """
    found = [answer for answer in answers if _as_word(answer).search(reply)]
    rest = reply
    for answer in sorted(found, key=len, reverse=True):
        rest = _as_word(answer).sub(" ", rest, count=1)
    says_more = re.search(r"\w", re.sub(r"\band\b", " ", rest, flags=re.IGNORECASE)) is not None
    return {"recall": len(found) / len(answers), "exact": float(len(found) == len(answers) and not says_more)}


def questions(file: str, split: str, **_: Any) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: the split that the YAML names, from the file beside this one."""
    from datasets import Dataset

    lines = (Path(__file__).parent / file).read_text(encoding="utf-8").splitlines()
    return {split: Dataset.from_list([json.loads(line) for line in lines])}


def process_results(doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
    """lm-eval's scores of one reply."""
    return scores(results[0], doc["answers"])


def _as_word(answer: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(answer)}(?!\w)", re.IGNORECASE)
