"""A corpus indexed by a language model, at the scale of a paper: names and facts of every passage, what that took, how
fast the graph answers, and, where the corpus has questions, how well.

Replies are kept by the model's client, so that indexing that was stopped goes on where it was.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.llm import BadReply, MeteredLLM
from mnemic.report.claims import Claim
from mnemic.report.sheets import Sheet
from mnemic.report.units import bytes_text, count_text, seconds_text
from mnemic.storage.corpora import Corpus
from mnemic.storage.extracted import Extracted
from mnemic.storage.llm_extraction import LLMExtractor
from mnemic.storage.recall import open_method
from mnemic.storage.view import Query, View
from mnemic.studies.base import StudyResult, judge
from mnemic.studies.measuring import OnStudyEvent, Told
from mnemic.studies.musique_worlds import musique_worlds
from mnemic.studies.retrieval import ENCODER, RecallArm, ask, opened_encoder
from mnemic.studies.retrieval_data import wiki
from mnemic.studies.retrieval_results import Found, recall_sheet

__all__ = ["Indexed", "index", "indexing_study"]

_TIMED = 100  # searches
_AT_ONCE = 16  # passages that the model is asked about
_LOOK = 5.0  # seconds between two looks at what the client waits for


@dataclass(frozen=True)
class Indexed:
    """Attributes:
    corpus: with what was extracted as its stored extractions.
    failed: passages for which the model gave no usable answer.
    seconds: of extraction.
    """

    corpus: Corpus
    failed: int
    seconds: float
    requests: int
    prompt_tokens: int
    completion_tokens: int


def index(corpus: Corpus, client: MeteredLLM, tell: Told) -> Indexed:
    """Ask for the names and facts of every passage.

    Raises:
        LLMError: the server cannot be reached or refuses; one bad answer costs only its passage.
    """
    extractor, before, began = LLMExtractor(client), client.totals, time.perf_counter()
    bad: list[str] = []
    done = 0

    def extracted(number: int) -> Extracted:
        nonlocal done
        passage = corpus.passages[number]
        try:
            found = extractor.extract(passage.title, passage.text)
        except BadReply:
            bad.append(passage.id)
            found = Extracted(extractor.name)
        done += 1
        tell.still(f"{done:,} of {len(corpus.passages):,} passages indexed, {len(bad):,} failed")
        return found

    tell(f"indexing with {client.model}")
    pool = ThreadPoolExecutor(_AT_ONCE)
    asked = [pool.submit(extracted, number) for number in range(len(corpus.passages))]
    try:
        while (now := wait(asked, _LOOK, FIRST_EXCEPTION)).not_done and not any(each.exception() for each in now.done):
            if client.waiting is not None:
                tell.still(f"{done:,} of {len(corpus.passages):,} passages indexed; waiting: {client.waiting}")
        stored = tuple(each.result() for each in asked)
    except BaseException:  # nobody waits for what has not begun, nor for another try
        client.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        client.go_on()
    after = client.totals
    return Indexed(
        replace(corpus, stored=stored),
        len(bad),
        time.perf_counter() - began,
        after.requests - before.requests,
        after.prompt_tokens - before.prompt_tokens,
        after.completion_tokens - before.completion_tokens,
    )


def indexing_study(
    name: str,
    arms: Mapping[str, RecallArm],
    published: str,
    client: MeteredLLM | None,
    data: Path,
    directory: Path,
    vectors: Path | None,
    seed: int,
    on_event: OnStudyEvent | None,
) -> StudyResult:
    """
    Args:
        arms: what is asked of the corpus; the last one is timed.
        published: what the paper says of its own index.

    Raises:
        UsageError: no language model, or no corpus.
    """
    if client is None:
        raise UsageError(
            f"{name} at this scale indexes a corpus with a language model; name an OpenAI-compatible server with "
            "--teacher URL --model NAME, or take --scale laptop"
        )
    held = wiki(data)
    directory.mkdir(parents=True, exist_ok=True)
    vectors = vectors or directory / "vectors.db"
    [corpus] = held.corpora
    tell = Told(on_event, 2 + (len(arms) if held.questions else 0))
    indexed = index(corpus, client, tell)
    held = replace(held, corpora=(indexed.corpus,), digest=f"{held.digest} {client.model}")
    tell("making the graph")
    [(_, view)] = musique_worlds(held)["triples"](opened_encoder(ENCODER, vectors, tell))
    timed = [*arms.values()][-1]
    sheets: tuple[Sheet, ...] = (_costs(indexed, view, timed),)
    claim = judge(
        f"A language model indexes all {len(corpus.passages):,} passages",
        published,
        "every passage",
        f"{len(corpus.passages) - indexed.failed:,} in {seconds_text(indexed.seconds)}",
        indexed.failed == 0,
    )
    if not held.questions:
        return StudyResult((claim,), (), sheets=sheets)
    found = Found(arms, ask(arms, musique_worlds(held), held, directory, vectors, tell), held, seed)
    note = f"{held.questions} questions, minilm, facts by {client.model}."
    table = recall_sheet(found, "Recall", list(arms), against="dense", note=note)
    return StudyResult(
        (claim, *_recall(found)),
        found.records(directory, f"mnemic reproduce {name} --data DIR --scale gpu"),
        sheets=(*sheets, table),
    )


def _recall(found: Found) -> Sequence[Claim]:
    best = list(found.arms)[-1]
    return (found.claim(f"R@5: {found.arms[best].label} beside cosine", "–", best, "dense", 0),)


def _costs(indexed: Indexed, view: View, arm: RecallArm) -> Sheet:
    """What the index took and holds, and the speed of searches for titles, or beginnings where there are none."""
    method = open_method(arm.method, **arm.options)
    texts = [passage.title or passage.text[:80] for passage in view.passages[:_TIMED]]
    method.recall(view, Query(texts[0]), 5)  # makes what the searches share
    began = time.perf_counter()
    for text in texts:
        method.recall(view, Query(text), 5)
    per_second = len(texts) / (time.perf_counter() - began)
    passages = len(view.passages)
    vectors = view.encoder.dim * 4 * (passages + len(view.entities) + len(view.facts))
    rows = (
        ("passages", count_text(passages)),
        ("without a usable answer", count_text(indexed.failed)),
        ("phrases and facts", f"{len(view.entities):,} and {len(view.facts):,}"),
        ("calls that were paid for", count_text(indexed.requests)),
        ("tokens read and written", f"{indexed.prompt_tokens:,} and {indexed.completion_tokens:,}"),
        ("time", seconds_text(indexed.seconds)),
        ("passages per second", f"{passages / max(indexed.seconds, 1e-9):.2f}"),
        ("bytes of vectors", bytes_text(vectors)),
        ("searches per second, without the model", f"{per_second:.1f}"),
    )
    return Sheet("The index", ("what", "seen"), rows, "Replies that were kept from before are not paid for again.")
