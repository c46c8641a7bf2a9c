"""A text task's questions, asked, scored and summed up: every answer is kept as soon as it is there."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError
from mnemic.llm import Metered
from mnemic.tasks.base import Split, TaskConfig
from mnemic.tasks.prompts import Question
from mnemic.teaching.asking.answerers import Answerer
from mnemic.teaching.asking.scoring import score
from mnemic.teaching.asking.summing_up import Summary, sum_up
from mnemic.teaching.build_progress import OnProgress
from mnemic.teaching.json_file import write_json
from mnemic.teaching.scored_answers import scored_answers

__all__ = ["Asked", "ask_task", "questions_of"]


@dataclass(frozen=True)
class Asked:
    """What is in the folder.

    Attributes:
        rows: a record per answered question, in their order; also in results.jsonl.
        summary: also in summary.json.
    """

    rows: tuple[dict[str, Any], ...]
    summary: Summary


def questions_of(task: TaskConfig, split: Split, count: int, seed: int = 0) -> list[Question]:
    """The first questions of a split.

    Raises:
        UsageError: the task has no questions in text.
    """
    ask = getattr(task, "questions", None)
    if ask is None:
        raise UsageError(
            f"{task.spec()} asks no questions in text, which a language model could be asked; ask needle, "
            "variable-tracking, phonebook, frequent-words or question-answering"
        )
    asked: list[Question] = ask(split, count, seed)
    return asked


def ask_task(
    task: TaskConfig,
    answerer: Answerer,
    folder: str | Path,
    *,
    count: int = 100,
    split: Split = "test",
    seed: int = 0,
    workers: int = 8,
    retry_failed: bool = False,
    force: bool = False,
    llm: Metered | None = None,
    on_progress: OnProgress | None = None,
) -> Asked:
    """Ask `count` questions, score the answers and sum them up. Begun again, it goes on where it stopped.

    Args:
        folder: of one task and answerer; with another one it is refused unless `force` is given.
        llm: the client behind the answerer, for progress.

    Raises:
        UsageError: the task has no text, or the folder holds something else.
        BuildStopped: it was stopped, or no more calls can be made; what is done is kept.
        MnemicError: no question was answered.
    """
    questions = questions_of(task, split, count, seed)
    by_id = {f"{task.name}-{number}": question for number, question in enumerate(questions)}

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"], **asdict(answerer(by_id[row["id"]]))}

    def mark(row: dict[str, Any]) -> dict[str, Any]:
        question = by_id[row["id"]]
        return {
            "id": row["id"],
            "prompt_sha256": _digest(question),
            "query": question.query.strip(),
            "expected": list(question.answers),
            "said": row["text"],
            **{name: row[name] for name in ("prompt_tokens", "completion_tokens", "seconds")},
            **asdict(score(question, row["text"])),
            "slices": dict(question.slices),
        }

    config = {"task": task.hash(), "split": split, "seed": seed, "answers": answerer.settings}
    rows = scored_answers(
        {name: _digest(question) for name, question in by_id.items()}, answer, mark, folder,
        config=config, workers=workers, retry_failed=retry_failed, force=force, llm=llm, on_progress=on_progress,
    )  # fmt: skip
    summary = sum_up(task, rows, failed=len(questions) - len(rows), seed=seed)
    write_json(Path(folder) / "summary.json", summary.as_json())
    return Asked(rows, summary)


def _digest(question: Question) -> str:
    """Of the prompt as it is asked, to a model that goes on with it."""
    return hashlib.sha256(question.text.encode()).hexdigest()
