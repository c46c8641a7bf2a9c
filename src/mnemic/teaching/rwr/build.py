"""Questions about contexts in, rows for training out: notes that hold the answer, empty notes, and plain answers.

Source: Recall with Reasoning (arXiv 2505.03320), construction of D_f and D_e and the mixture with the data itself.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from mnemic.llm import LLM, MeteredLLM
from mnemic.teaching.build_folder import written_aside
from mnemic.teaching.pipeline import BuildProgress, Dropped, Manifest, Stage, run_pipeline
from mnemic.teaching.records import RECALL, Provenance, RecallRecord, Verified
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE, is_abstention
from mnemic.teaching.rwr.evidence import Distractors, remove_evidence
from mnemic.teaching.rwr.examples import Example
from mnemic.teaching.rwr.options import MixtureRules, RecallOptions
from mnemic.teaching.rwr.prompts import PROMPT_HASH
from mnemic.teaching.rwr.rows import written_rows
from mnemic.teaching.rwr.summaries import write_note
from mnemic.teaching.rwr.verification import verify_note
from mnemic.teaching.tokens import TokenCounter, token_counter
from mnemic.teaching.validation import ValidationReport, validate
from mnemic.version import __version__

__all__ = ["RESULT", "RecallBuild", "build_recall", "stages"]

RESULT = "recall"
_MADE = "examples"
_VERSION = 1

Item = dict[str, Any]


@dataclass(frozen=True)
class RecallBuild:
    """What came of a build: outcomes of its examples, the rows that were taken of it, and what their file holds.

    Attributes:
        made: rows that could be made, by kind; those taken are in `report.kinds`.
        left_out: rows that could not be made although their example is there, by reason.
    """

    manifest: Manifest
    mixture: MixtureRules
    made: dict[str, int]
    left_out: dict[str, int]
    report: ValidationReport

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        manifest = self.manifest
        return {
            "counts": dict(manifest.counts),
            "dropped": dict(manifest.dropped),
            "failed": dict(manifest.failed),
            "made": self.made,
            "left_out": self.left_out,
            "taken": dict(self.report.kinds),
            "mixture": self.mixture.model_dump(mode="json"),
            "config": dict(manifest.config),
            "rows": self.report.model_dump(mode="json"),
        }


def build_recall(
    read: Callable[[], Iterable[Example]],
    directory: str | Path,
    teacher: MeteredLLM,
    *,
    options: RecallOptions | None = None,
    mixture: MixtureRules | None = None,
    verifier: LLM | None = None,
    counter: TokenCounter | None = None,
    total: int | None = None,
    workers: int = 8,
    retry_failed: bool = False,
    force: bool = False,
    on_progress: Callable[[BuildProgress], None] | None = None,
) -> RecallBuild:
    """Make rows of examples, in `directory`/recall.jsonl; recall.rejected.jsonl says what was left out and why, and
    report.json what came of it all. See `run_pipeline` for resuming, stopping and what is raised. All that could be
    made stays in examples.jsonl, so that another mixture costs no call.

    Args:
        read: the examples from the first, those that cannot be used too: they are counted.
        verifier: judges notes in which the answer does not stand word for word; the teacher by default.
        counter: counts tokens; by default what the options name.
        total: how many examples there are, where that is known.
    """
    options, mixture = options or RecallOptions(), mixture or MixtureRules()
    counter = counter or token_counter(options.tokens)
    folder = Path(directory)
    config = {
        **options.model_dump(mode="json", exclude={"tokens"}),
        "tokens": counter.name,
        "teacher": teacher.model,
        "verifier": (verifier or teacher).model if options.verify else None,
        "prompts": PROMPT_HASH,
    }
    distractors = Distractors(example.context for example in islice(read(), options.distractor_contexts))
    manifest = run_pipeline(
        stages(teacher, options, counter, distractors, verifier),
        ({"id": example.id, "example": example.model_dump(mode="json")} for example in read()),
        folder,
        config=config,
        workers=workers,
        retry_failed=retry_failed,
        force=force,
        on_progress=on_progress,
        name=_MADE,
        total=total,
        llm=teacher,
    )
    made, left_out = written_rows(folder, _MADE, RESULT, mixture)
    report = validate(folder / f"{RESULT}.jsonl", counter, RECALL)
    build = RecallBuild(manifest, mixture, made, left_out, report)
    with written_aside(folder / "report.json") as file:
        json.dump(build.summary(), file, ensure_ascii=False, indent=1)
    return build


def stages(
    teacher: LLM, options: RecallOptions, counter: TokenCounter, distractors: Distractors, verifier: LLM | None = None
) -> list[Stage]:
    """The four stages. An item keeps its example to the end; the last stage makes its rows."""
    judge = (verifier or teacher) if options.verify else None
    limit = options.max_reply_tokens

    def checked(item: Item) -> Item:
        example = Example.model_validate(item["example"])
        if example.error is not None:
            raise Dropped(example.error)
        length = sum(counter.count(text) for text in (example.context, example.query, example.answer))
        if length > options.max_length:
            raise Dropped(f"too_long: {length} tokens, {options.max_length} are allowed")
        return item

    def notes(item: Item) -> Item:
        example = Example.model_validate(item["example"])
        if not example.context.strip():
            return {**item, "left_out": {"valid": "no_context: there is nothing to take notes of"}}
        note = write_note(example.context, example.query, teacher, limit)
        found = _judged(example, note, options, counter, judge)
        return {**item, "note": note} | ({"left_out": {"valid": found}} if isinstance(found, str) else _dumped(found))

    def emptied(item: Item) -> Item:
        """A teacher that did not find the answer is no witness that it is gone: only good notes are followed up."""
        example = Example.model_validate(item["example"])
        if "verified" not in item or is_abstention(example.answer):
            return item
        try:
            reduced = remove_evidence(
                example.context, example.query, example.answers, method=options.method,
                replacement=options.replacement, distractors=distractors, most_removed=options.most_removed,
                rng=random.Random(f"{options.seed}/{example.id}"), llm=teacher, max_tokens=limit,
            )  # fmt: skip
        except Dropped as why:
            return {**item, "left_out": {"empty": str(why)}}
        if write_note(reduced, example.query, teacher, limit) != EMPTY:
            return {**item, "left_out": {"empty": "evidence_left: the teacher still finds something to note"}}
        return {**item, "reduced": reduced}

    def rows(item: Item) -> Item:
        made = [record.model_dump(mode="json", by_alias=True) for record in _records(item, teacher.model)]
        return {"id": item["id"], "records": made, "left_out": item.get("left_out", {})}

    return [Stage(function.__name__, _VERSION, function) for function in (checked, notes, emptied, rows)]


def _judged(
    example: Example, note: str, options: RecallOptions, counter: TokenCounter, judge: LLM | None
) -> Verified | str:
    """What speaks for a note, or why it is left out."""
    if is_abstention(example.answer):
        right = note == EMPTY
        return Verified(method="teacher", score=1.0, ok=True) if right else "note_not_empty: there is no answer to note"
    if note == EMPTY:
        return "note_empty: the teacher found nothing"
    if (length := counter.count(note)) > options.max_note_tokens:
        return f"note_too_long: {length} tokens, {options.max_note_tokens} are allowed"
    found = verify_note(example.query, note, example.answers, judge, options.max_reply_tokens)
    return found if found.ok else "answer_not_in_note: the answer does not follow from the note"


def _dumped(verified: Verified) -> Item:
    return {"verified": verified.model_dump(mode="json")}


def _records(item: Item, teacher: str) -> Iterator[RecallRecord]:
    """The rows of an example: always the plain one."""
    example = Example.model_validate(item["example"])
    is_empty = is_abstention(example.answer)
    answer = UNANSWERABLE if is_empty else example.answer
    source = {"query": example.query, "meta": example.meta}
    yield RecallRecord.model_validate(
        {**source, "id": f"{example.id}/plain", "context": example.context, "answer": answer}
    )
    made = Provenance(teacher=teacher, pipeline_version=f"mnemic {__version__}, stages {_VERSION}",
                      prompt_hash=PROMPT_HASH)  # fmt: skip
    if "verified" in item:
        kind, rest = ("empty" if is_empty else "valid"), {"summary": item["note"], "verified": item["verified"]}
        yield RecallRecord.model_validate(
            {**source, **rest, "id": f"{example.id}/{kind}", "context": example.context, "answer": answer,
             "empty": is_empty, "provenance": made}
        )  # fmt: skip
    if "reduced" in item:
        gone = Verified(method="teacher", score=1.0, ok=True)
        yield RecallRecord.model_validate(
            {**source, "id": f"{example.id}/empty", "context": item["reduced"], "answer": UNANSWERABLE,
             "summary": EMPTY, "empty": True, "verified": gone, "provenance": made}
        )  # fmt: skip
