"""What an exported task's YAML calls: its questions from a file, and the scores of replies.

A copy of this file lies beside each export, for lm-evaluation-harness calls what lies there.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnemic.tasks.prompts import Question
from mnemic.teaching.asking.scoring import score

__all__ = ["document", "process_results", "questions", "scores"]

_OF_A_QUESTION = ("context", "query", "prefix", "answers", "scoring", "max_tokens")


def document(name: str, question: Question) -> dict[str, Any]:
    """A question as JSON."""
    return {"id": name, **{part: getattr(question, part) for part in _OF_A_QUESTION}, "slices": dict(question.slices)}


def scores(question: Question, reply: str) -> dict[str, float]:
    """`score` by the question's own rule, `exact` and `f1`, as `mnemic ask` reports them."""
    found = score(question, reply)
    return {"score": found.score, "exact": found.exact, "f1": found.f1}


def questions(file: str, split: str, **_: Any) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: the split that the YAML names, from the file beside this one."""
    from datasets import Dataset

    with (Path(__file__).parent / file).open(encoding="utf-8") as lines:  # str.splitlines would cut at U+2028 in a text
        return {split: Dataset.from_list([json.loads(line) for line in lines])}


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """lm-eval's scores of one reply."""
    parts = {part: doc[part] for part in _OF_A_QUESTION}
    return scores(Question(**{**parts, "answers": tuple(doc["answers"])}), results[0])
