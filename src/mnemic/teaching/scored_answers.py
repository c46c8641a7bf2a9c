"""Questions answered and scored in a folder: every answer is kept as soon as it is there, and never paid for twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from mnemic.errors import MnemicError
from mnemic.llm import Metered
from mnemic.teaching.build_progress import OnProgress
from mnemic.teaching.pipeline import Stage, run_pipeline

__all__ = ["RESULTS", "scored_answers"]

RESULTS: Final = "results"

Step = Callable[[dict[str, Any]], dict[str, Any]]


def scored_answers(
    digests: Mapping[str, str],
    answer: Step,
    mark: Step,
    folder: str | Path,
    *,
    config: Mapping[str, Any],
    workers: int,
    retry_failed: bool,
    force: bool,
    llm: Metered | None,
    on_progress: OnProgress | None,
) -> tuple[dict[str, Any], ...]:
    """A record per answered question, in the order of the questions; also in results.jsonl.

    Args:
        digests: of each question by its id; one whose digest changed is asked anew.
        answer: {"id", "digest"} -> the answer, with the id.
        mark: the answer -> the record.
        config, …: as :func:`mnemic.teaching.pipeline.run_pipeline` takes them.

    Raises:
        MnemicError: no question was answered; and what `run_pipeline` raises.
    """
    run_pipeline(
        [Stage("answer", 1, answer), Stage("score", 1, mark)],
        [{"id": name, "digest": digest} for name, digest in digests.items()],
        folder, config=config, workers=workers, retry_failed=retry_failed, force=force, name=RESULTS, llm=llm,
        on_progress=on_progress,
    )  # fmt: skip
    path = Path(folder)
    with (path / f"{RESULTS}.jsonl").open(encoding="utf-8") as lines:  # str.splitlines would cut at U+2028 in an answer
        rows = tuple(json.loads(line) for line in lines)
    if not rows:
        raise MnemicError(f"no question was answered; {path / RESULTS}.rejected.jsonl says why")
    return rows
