"""Recall methods on the same questions: one record each, kept as it is finished."""

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

import mnemic
from mnemic.comparing.methods import MethodSpec
from mnemic.comparing.recall_record import measured
from mnemic.comparing.timed_encoder import TimedEncoder
from mnemic.comparing.trial import run_trial
from mnemic.errors import MnemicError, UsageError
from mnemic.llm import MeteredLLM
from mnemic.report import provenance
from mnemic.report.records import Record, append_record, read_records
from mnemic.storage.corpora import Corpus
from mnemic.storage.corpora.sources import Source, content_digest
from mnemic.storage.encoders import open_encoder
from mnemic.storage.evaluating import DEPTHS

__all__ = ["Event", "RecallComparison", "compare_recall", "results_path"]

_RESULTS_COME_FROM = ("storage", "comparing")


@dataclass(frozen=True)
class Event:
    """What happened to a method.

    Attributes:
        kind: "started", "progress", "done", "failed", or "kept" when it was finished earlier.
        what, done, of: at "progress": what is being done, and how far it is.
        record: at "done", "failed" and "kept".
    """

    kind: Literal["started", "progress", "done", "failed", "kept"]
    method: MethodSpec
    what: str = ""
    done: int = 0
    of: int = 0
    record: Record | None = None


OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class RecallComparison:
    """What is compared.

    Attributes:
        task: the source as the user wrote it.
        client: a language model, for methods that ask one.
    """

    task: str
    source: Source
    methods: tuple[MethodSpec, ...]
    client: MeteredLLM | None = None
    command: str = ""
    _encoders: dict[str, TimedEncoder] = field(default_factory=dict, repr=False)

    @cached_property
    def corpora(self) -> list[Corpus]:
        return self.source.open()

    @cached_property
    def digest(self) -> str:
        return content_digest(self.corpora)

    def check(self) -> None:
        """
        Raises:
            UsageError: there is nothing to compare, a method is named twice or misses what it needs.
        """
        texts = [method.text for method in self.methods]
        twice = next((text for text in texts if texts.count(text) > 1), None)
        if twice is not None:
            raise UsageError(f"method {twice} is given twice")
        for method in self.methods:
            for corpus in self.corpora:
                method.reads(corpus)
            if method.asks_llm and self.client is None:
                raise UsageError(
                    f"method '{method.text}' asks a language model; say which with --teacher URL --model NAME"
                )
            self.encoder(method)

    def encoder(self, method: MethodSpec) -> TimedEncoder:
        """The method's encoder, one for all methods that use the same."""
        if method.encoder not in self._encoders:
            self._encoders[method.encoder] = TimedEncoder(open_encoder(method.encoder))
        return self._encoders[method.encoder]

    def run_id(self, method: MethodSpec) -> str:
        """12 hex digits, equal for two runs exactly when they would recall the same under the same code."""
        encoder = self.encoder(method)
        asked = self.client.model if self.client is not None and method.asks_llm else None
        reads = method.reads(self.corpora[0])
        options = [method.name, method.text, dict(method.options), reads, encoder.name, encoder.revision, asked]
        return hashlib.sha256(json.dumps([self.digest, options, DEPTHS], sort_keys=True).encode()).hexdigest()[:12]


def compare_recall(plan: RecallComparison, directory: Path, on_event: OnEvent | None = None) -> list[Record]:
    """Ask every method, append its record to `directory/results.jsonl`, and return the records.

    A method that is finished there, by the same code, is not asked again. One that fails gives a record that says why.

    Raises:
        UsageError: the plan cannot be run.
        MnemicError: the results cannot be written.
    """
    plan.check()
    tell: OnEvent = on_event or (lambda event: None)
    path = results_path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write to the folder '{directory}': {error.strerror}") from error
    there = {record.run: record for record in read_records(path) if _is_current(record)}
    records = []
    for method in plan.methods:
        kept = there.get(plan.run_id(method))
        if kept is not None:
            tell(Event("kept", method, record=kept))
        else:
            tell(Event("started", method))
            kept = _run(plan, method, tell)
            append_record(path, kept)
            tell(Event("done" if kept.status == "done" else "failed", method, record=kept))
        records.append(kept)
    return records


def results_path(directory: Path) -> Path:
    return directory / "results.jsonl"


def _run(plan: RecallComparison, method: MethodSpec, tell: OnEvent) -> Record:
    started = _now()

    def on_progress(what: str, done: int, of: int) -> None:
        tell(Event("progress", method, what, done, of))

    try:
        trial = run_trial(method, plan.corpora, plan.encoder(method), plan.client, on_progress)
    except MnemicError as failed:
        found: Mapping[str, Any] = {"status": "failed", "error": str(failed)}
    else:
        found = measured(trial)
    return Record.model_validate({**_description(plan, method), **found, "started": started, "finished": _now()})


def _description(plan: RecallComparison, method: MethodSpec) -> dict[str, Any]:
    """What is known of a run before it starts."""
    encoder, corpora = plan.encoder(method), plan.corpora
    first = next(corpus for corpus in corpora if corpus.asked)
    question = first.asked[0]
    held = {
        "corpora": len(corpora),
        "passages": sum(len(corpus.passages) for corpus in corpora),
        "questions": sum(len(corpus.asked) for corpus in corpora),
        "content": plan.digest,
        "notes": [note for corpus in corpora for note in corpus.notes],
    }
    return {
        "run": plan.run_id(method),
        "status": "done",
        "task": plan.task,
        "task_config": {**plan.source.model_dump(mode="json"), **held},
        "memory": method.text,
        "places": ("storage",),
        "layers": (
            {
                "mixer": method.name,
                **method.options,
                "extraction": method.reads(corpora[0]),
                "encoder": encoder.name,
                "encoder_revision": encoder.revision,
            },
        ),
        "example": f"{question.text} → {question.answer or ', '.join(sorted(question.evidence))}",
        "versions": {
            "mnemic": mnemic.__version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "code": provenance.digest_of(_RESULTS_COME_FROM),
        },
        "commit": provenance.commit(),
        "hardware": {"cpu": provenance.cpu_name(), "cores": provenance.usable_cores(), "device": "cpu"},
        "command": plan.command,
    }


def _is_current(record: Record) -> bool:
    return record.status == "done" and record.versions.get("code") == provenance.digest_of(_RESULTS_COME_FROM)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
