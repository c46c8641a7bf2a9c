"""One recall method on one set of corpora, through real stores: what it recalls, and what a user of the store pays.

Every corpus, and every conversation, gets a store file of its own. Most of its passages are added in one go, the last
few one by one, as an agent adds what was just said. Then every question is put to `MemoryStore.search`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mnemic.comparing.methods import Extraction, MethodSpec
from mnemic.comparing.timed_encoder import LastTexts, TimedEncoder
from mnemic.comparing.watched import Watched
from mnemic.errors import MnemicError
from mnemic.llm import MeteredLLM, Totals
from mnemic.storage.corpora import Corpus
from mnemic.storage.evaluating import DEPTHS, Asked, Evaluation, judge
from mnemic.storage.extracted import Extracted
from mnemic.storage.records import Event, Hit
from mnemic.storage.retrieval_metrics import turns_to_sessions
from mnemic.storage.store import MemoryStore
from mnemic.storage.view import Method, Passage

__all__ = ["Trial", "run_trial"]

_AT_ONCE = 200  # passages between two signs of progress
_SINGLY, _SINGLY_IN_ALL = 50, 500  # most passages that are added one by one: of one corpus, and of all

OnProgress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and of how much."""


@dataclass
class Trial:
    """Attributes:
    evaluation: what was recalled; its seconds are of searches for as many passages as the deepest metric looks at.
    passages: of all corpora, without those that have no text.
    blank: passages without text, which no store takes.
    bytes: of all store files, at the end.
    build_seconds: until everything was added and the first question answered, embedding included.
    write_seconds: of each passage that was added alone, until it was durable.
    fallbacks: questions that the method gave up on and answered by vectors, as it said itself.
    unextracted: passages whose facts a language model did not manage to state.
    llm: what was asked of a language model, None where there is none.
    """

    evaluation: Evaluation
    passages: int = 0
    blank: int = 0
    bytes: int = 0
    build_seconds: float = 0.0
    write_seconds: list[float] = field(default_factory=list)
    fallbacks: int = 0
    unextracted: int = 0
    llm: Totals | None = None


def run_trial(
    spec: MethodSpec,
    corpora: Sequence[Corpus],
    encoder: TimedEncoder,
    client: MeteredLLM | None = None,
    on_progress: OnProgress | None = None,
    depths: Sequence[int] = DEPTHS,
) -> Trial:
    """Build the stores, ask every question.

    Raises:
        MnemicError: a passage cannot be kept, or a language model that is needed gives no answers.
    """
    watched = Watched(client) if client is not None and spec.asks_llm else None
    trial = Trial(Evaluation(spec.name))
    work = _Work(spec.open(watched), trial, encoder, watched, max(depths), tuple(depths))
    whole = sum(len(corpus.passages) + len(corpus.asked) for corpus in corpora)
    done = 0

    def tell(what: str, steps: int) -> None:
        nonlocal done
        done += steps
        if on_progress is not None:
            on_progress(what, done, whole)

    for corpus in corpora:
        with TemporaryDirectory(prefix="mnemic-") as folder:
            singly = max(1, min(_SINGLY, _SINGLY_IN_ALL // len(corpora), len(corpus.passages) // 10))
            _run_corpus(work, corpus, spec.reads(corpus), Path(folder), singly, tell)
    trial.llm = watched.asked if watched is not None else None
    return trial


@dataclass(frozen=True)
class _Work:
    """What is the same for every corpus of a trial."""

    method: Method
    trial: Trial
    encoder: TimedEncoder
    client: Watched | None
    deepest: int
    depths: tuple[int, ...]


def _run_corpus(
    work: _Work, corpus: Corpus, reads: Extraction, folder: Path, singly: int, tell: Callable[[str, int], None]
) -> None:
    trial, path = work.trial, folder / "memory.db"
    events = _events(corpus, stored=reads == "stored")
    trial.passages += len(events)
    trial.blank += len(corpus.passages) - len(events)
    tell("adding", len(corpus.passages) - len(events))
    first, last = events[:-singly], events[-singly:]
    work.encoder.settle()
    began = time.perf_counter()
    with MemoryStore.open(path, encoder=work.encoder) as store:
        for begin in range(0, len(first), _AT_ONCE):
            batch = first[begin : begin + _AT_ONCE]
            _add(store, batch, reads, corpus.name)
            tell("adding", len(batch))
        _extract(work, store, reads)
        if corpus.asked:
            store.search(corpus.asked[0].text, k=work.deepest, method=work.method)
    trial.build_seconds += time.perf_counter() - began + work.encoder.settle()
    encoder = work.encoder.untimed()
    with MemoryStore.open(path, encoder=encoder) as store:
        for event in last:
            began = time.perf_counter()
            _add(store, [event], reads, corpus.name)
            trial.write_seconds.append(time.perf_counter() - began)
            tell("adding", 1)
        _extract(work, store, reads)
        _ask_all(work, corpus, store, encoder, tell)
    trial.bytes += sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _events(corpus: Corpus, *, stored: bool) -> list[Event]:
    """The passages as a user would add them; the source tells which of the store's passages is which of these."""
    found: Iterable[Extracted | None] = corpus.stored if stored and corpus.stored else [None] * len(corpus.passages)
    return [
        _event(passage, extracted)
        for passage, extracted in zip(corpus.passages, found, strict=True)
        if passage.text.strip()
    ]


def _event(passage: Passage, extracted: Extracted | None) -> Event:
    return Event(
        passage.text,
        source=passage.id,
        session=passage.session,
        title=passage.title,
        time=passage.time,
        level="" if passage.level in ("turn", "chunk") else passage.level,
        entities=None if extracted is None else [entity.name for entity in extracted.mentions],
        facts=None if extracted is None else extracted.facts,
    )


def _add(store: MemoryStore, events: Sequence[Event], reads: Extraction, name: str) -> None:
    report = store.add(events, extract="none" if reads == "stored" else reads)
    for event, item in zip(events, report.items, strict=True):
        if item.status != "stored":
            raise MnemicError(f"passage '{event.source}' of '{name}' was not kept: {item.reason or item.status}")


def _extract(work: _Work, store: MemoryStore, reads: Extraction) -> None:
    if reads != "llm" or work.client is None:
        return
    report = store.run_jobs(work.client)
    if report.stopped:
        raise MnemicError(f"facts could not be extracted: {report.stopped}; what was answered is kept, run it again")
    work.trial.unextracted += report.failed + report.dead


def _ask_all(
    work: _Work, corpus: Corpus, store: MemoryStore, encoder: LastTexts, tell: Callable[[str, int], None]
) -> None:
    stored = store.stats().passages
    for number, question in enumerate(corpus.asked):
        if not number:
            store.search(question.text, k=work.deepest, method=work.method)  # reads what the writes above added
        encoder.forget()
        began = time.perf_counter()
        hits = store.search(question.text, k=work.deepest, method=work.method)
        seconds = time.perf_counter() - began
        work.trial.fallbacks += bool(hits) and any(step.startswith("fallback:") for step in hits[0].path)
        if work.client is not None:
            work.client.check(f"question '{question.id}'")
        if corpus.conversational or stored > len(corpus.passages):
            hits = store.search(question.text, k=stored, method=work.method)  # sessions and cut passages come in pieces
        sessions = turns_to_sessions([_of(hit, "session") for hit in hits]) if corpus.conversational else None
        passages = list(dict.fromkeys(_of(hit, "source") for hit in hits))
        values = judge(question, passages, sessions, work.depths)
        name = f"{corpus.name}/{question.id}"
        work.trial.evaluation.asked.append(Asked(name, question.kind, values, seconds))
        tell("asking", 1)


def _of(hit: Hit, field: str) -> str:
    return str(hit.provenance[field])
