"""An evaluation from questions to a summary."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError
from mnemic.llm import Metered
from mnemic.teaching.build_progress import OnProgress
from mnemic.teaching.json_file import write_json
from mnemic.teaching.rwr.evaluation.answerers import Answerer
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, numbered
from mnemic.teaching.rwr.evaluation.judging import LLMJudge
from mnemic.teaching.rwr.evaluation.scoring import score
from mnemic.teaching.rwr.evaluation.summary import Summary, summarise
from mnemic.teaching.scored_answers import scored_answers
from mnemic.teaching.tokens import ApproximateTokens, TokenCounter

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """What is in the folder.

    Attributes:
        rows: a record per answered question, in the order of the questions; also in results.jsonl.
        summary: also in summary.json.
    """

    rows: tuple[dict[str, Any], ...]
    summary: Summary


def evaluate(
    items: Iterable[EvaluationItem],
    answerer: Answerer,
    folder: str | Path,
    *,
    judge: LLMJudge | None = None,
    training_length: int | None = None,
    counter: TokenCounter | None = None,
    workers: int = 8,
    retry_failed: bool = False,
    force: bool = False,
    llm: Metered | None = None,
    on_progress: OnProgress | None = None,
) -> Evaluation:
    """Ask all questions, score the answers and summarise the scores. Begun again, it goes on where it stopped.

    Args:
        folder: of one evaluation; with another answerer, judge or counter it is refused unless `force` is given.
        training_length: tokens that the model was trained on, for scores by multiples of it.
        counter: measures the contexts.
        llm: the client behind answerer or judge, for progress.

    Raises:
        UsageError: two questions have one id, or the folder holds another evaluation.
        BuildStopped: it was stopped, or no more calls can be made; what is done is kept.
        MnemicError: no question was answered.
    """
    by_id = numbered(list(items))
    if not by_id:
        raise MnemicError("there is no question to ask: the source is empty")
    counter = counter or ApproximateTokens()

    def answer(row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"], **answerer(by_id[row["id"]]).as_json()}

    def mark(row: dict[str, Any]) -> dict[str, Any]:
        item = by_id[row["id"]]
        return {
            "id": item.id,
            "question_type": item.question_type,
            "category": item.category,
            "is_abstention": item.is_abstention,
            "length": item.length(counter),
            "question": item.question,
            "expected": list(item.answers),
            **{name: value for name, value in row.items() if name != "id"},
            **asdict(score(item, row["answer"], judge)),
        }

    config = {"answers": answerer.settings, "judge": judge.name if judge else None, "counter": counter.name}
    rows = scored_answers(
        {item.id: item.digest for item in by_id.values()}, answer, mark, folder,
        config=config, workers=workers, retry_failed=retry_failed, force=force, llm=llm, on_progress=on_progress,
    )  # fmt: skip
    summary = summarise(rows, training_length, failed=len(by_id) - len(rows))
    write_json(Path(folder) / "summary.json", summary.as_json() | {"training_length": training_length})
    return Evaluation(rows, summary)
