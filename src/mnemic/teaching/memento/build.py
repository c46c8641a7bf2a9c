"""Traces in, traces with blocks and mementos out: the stages of MEMENTO's data pipeline, in order.

Source: MEMENTO (arXiv 2604.09852), data pipeline; stage 0 is `mnemic.teaching.seeding`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mnemic.errors import MnemicError
from mnemic.llm import LLM, MeteredLLM
from mnemic.teaching.build_folder import written_aside
from mnemic.teaching.memento.boundaries import score_boundaries
from mnemic.teaching.memento.filters import why_dropped
from mnemic.teaching.memento.options import BuildOptions
from mnemic.teaching.memento.prompts import PROMPT_HASH
from mnemic.teaching.memento.segmentation import segment
from mnemic.teaching.memento.sentences import split_sentences
from mnemic.teaching.memento.writing import Memento, write_mementos
from mnemic.teaching.pipeline import BuildProgress, Dropped, Manifest, Stage, run_pipeline
from mnemic.teaching.records import Provenance, Segment, TraceRecord
from mnemic.teaching.tokens import TokenCounter, token_counter
from mnemic.teaching.validation import ValidationReport, validate
from mnemic.version import __version__

__all__ = ["RESULT", "TraceBuild", "build_traces", "stages"]

RESULT = "traces"
_VERSION = 1

Item = dict[str, Any]


@dataclass(frozen=True)
class TraceBuild:
    """What came of a build: outcomes of its items, and what its file holds."""

    manifest: Manifest
    report: ValidationReport

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        manifest = self.manifest
        return {
            "counts": dict(manifest.counts),
            "dropped": dict(manifest.dropped),
            "failed": dict(manifest.failed),
            "config": dict(manifest.config),
            "traces": self.report.model_dump(mode="json"),
        }


def build_traces(
    records: Iterable[TraceRecord],
    directory: str | Path,
    llm: MeteredLLM,
    *,
    options: BuildOptions | None = None,
    judge: LLM | None = None,
    counter: TokenCounter | None = None,
    total: int | None = None,
    workers: int = 8,
    retry_failed: bool = False,
    force: bool = False,
    on_progress: Callable[[BuildProgress], None] | None = None,
) -> TraceBuild:
    """Give traces their blocks and mementos, in `directory`/traces.jsonl; what was left out is in
    traces.rejected.jsonl, with the reason, and report.json says what came of it all. See `run_pipeline` for resuming,
    stopping and what is raised.

    Args:
        records: imported traces, failed ones too: they are counted. Blocks that they have are made anew.
        total: how many they are, where they do not say themselves.
        judge: scores mementos; the teacher by default.
        counter: counts tokens; by default what the options name.
    """
    options = options or BuildOptions()
    counter = counter or token_counter(options.tokens)
    config = {
        **options.model_dump(mode="json", exclude={"tokens"}),
        "tokens": counter.name,
        "teacher": llm.model,
        "judge": (judge or llm).model,
        "prompts": PROMPT_HASH,
    }
    manifest = run_pipeline(
        stages(llm, options, counter, judge),
        _items(records),
        directory,
        config=config,
        workers=workers,
        retry_failed=retry_failed,
        force=force,
        on_progress=on_progress,
        name=RESULT,
        total=len(records) if isinstance(records, Sized) else total,
        llm=llm,
    )
    build = TraceBuild(manifest, validate(Path(directory) / f"{RESULT}.jsonl", counter))
    with written_aside(Path(directory) / "report.json") as file:
        json.dump(build.summary(), file, ensure_ascii=False, indent=1)
    return build


def _items(records: Iterable[TraceRecord]) -> Iterator[Item]:
    for record in records:
        yield {"id": record.id, "record": record.model_dump(mode="json", by_alias=True)}


def stages(llm: LLM, options: BuildOptions, counter: TokenCounter, judge: LLM | None = None) -> list[Stage]:
    """The five stages. Items grow by one key a stage; the last makes records of them."""

    def sentences(item: Item) -> Item:
        record = TraceRecord.model_validate(item["record"])
        if record.status == "failed":
            raise Dropped(record.error)
        text = record.reasoning
        if not text.strip():
            raise Dropped("no_reasoning: the reasoning is empty")
        spans = split_sentences(text)
        return {**item, "sentences": [list(s) for s in spans], "tokens": [counter.count(s.of(text)) for s in spans]}

    def boundaries(item: Item) -> Item:
        text = _reasoning(item)
        pieces = [text[start:end] for start, end in item["sentences"]]
        limit = options.writing.max_tokens
        return {**item, "scores": score_boundaries(pieces, llm, two_pass=options.two_pass, max_tokens=limit)}

    def segments(item: Item) -> Item:
        found = segment(
            item["scores"],
            item["tokens"],
            min_tokens=options.min_tokens,
            weight=options.weight,
            method=options.method,
        )
        return {**item, "blocks": [list(block) for block in found.blocks], "objective": found.objective}

    def mementos(item: Item) -> Item:
        record = TraceRecord.model_validate(item["record"])
        problem = "\n\n".join(turn.content for turn in record.prompt)
        written = write_mementos(problem, _blocks(item), llm, counter, rules=options.writing, judge=judge)
        return {**item, "mementos": [memento.model_dump(mode="json") for memento in written]}

    def traces(item: Item) -> Item:
        written = [Memento.model_validate(memento) for memento in item["mementos"]]
        lengths = [sum(item["tokens"][first:last]) for first, last in item["blocks"]]
        if reason := why_dropped(written, lengths, options.filter):
            raise Dropped(reason)
        record = _assembled(item, written, lengths, llm.model)
        return record.model_dump(mode="json", by_alias=True)

    work = (sentences, boundaries, segments, mementos, traces)
    return [Stage(function.__name__, _VERSION, function) for function in work]


def _reasoning(item: Item) -> str:
    return TraceRecord.model_validate(item["record"]).reasoning


def _blocks(item: Item) -> list[str]:
    text, spans = _reasoning(item), item["sentences"]
    return [text[spans[first][0] : spans[last - 1][1]] for first, last in item["blocks"]]


def _assembled(item: Item, mementos: list[Memento], lengths: list[int], teacher: str) -> TraceRecord:
    source = TraceRecord.model_validate(item["record"])
    pieces: list[Segment] = []
    for number, (text, memento, tokens) in enumerate(zip(_blocks(item), mementos, lengths, strict=True)):
        pieces.append(Segment(kind="block", text=text, block=number, tokens=tokens))
        pieces.append(
            Segment(kind="memento", text=memento.text, block=number, tokens=memento.tokens, score=memento.score)
        )
    record = TraceRecord(
        id=source.id,
        prompt=source.prompt,
        segments=tuple(pieces),
        answer=source.answer,
        meta=source.meta,
        provenance=Provenance(
            teacher=teacher,
            pipeline_version=f"mnemic {__version__}, stages {_VERSION}",
            prompt_hash=PROMPT_HASH,
            rounds=max(len(memento.history) for memento in mementos),
        ),
    )
    if record.reasoning != source.reasoning:
        raise MnemicError(f"trace {source.id}: its blocks do not make up its reasoning; this is a bug in mnemic")
    return record
