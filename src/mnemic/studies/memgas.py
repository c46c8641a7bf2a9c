"""MemGAS: a conversation at four granularities, associated across sessions, weighed by how peaked a question finds each
(Xu et al. 2025, arXiv 2505.19549).

Claims on LoCoMo, by session, over the questions that have an answer. A: MemGAS is at least as good as each of its
granularities alone. B: granularities together do better than the text of the sessions; here it matters how long texts
are read. C, which is ours: the best turn and the summary do better than MemGAS. D, ours too: so does keyword search.
"""

from collections.abc import Mapping
from pathlib import Path

from mnemic.errors import UsageError
from mnemic.llm import MeteredLLM
from mnemic.report.claims import Claim
from mnemic.report.sheets import Sheet
from mnemic.storage.encoder import Encoder
from mnemic.storage.recall.memgas import LEVELS
from mnemic.studies.base import Scale, StudyResult, check_start
from mnemic.studies.measuring import OnStudyEvent, Told
from mnemic.studies.retrieval import FIRST_WINDOW, RecallArm, Seen, World, ask, refuse_options
from mnemic.studies.retrieval_data import Data, locomo
from mnemic.studies.retrieval_results import Found, by_kind, recall_sheet

__all__ = ["ARMS", "claims", "study"]

_EVERY_NODE = 1_000_000  # seeds: more than any conversation has


def _arm(label: str, encoder: str = "minilm", **options: object) -> RecallArm:
    return RecallArm(label, "memgas", "summaries", options, encoder)


def _arms(encoder: str, suffix: str) -> dict[str, RecallArm]:
    """What both encoders are asked."""
    others = {
        "dense": RecallArm("dense, single turns", "dense", "turns", encoder=encoder),
        "best turn": RecallArm("best turn", "best-turn", "turns", encoder=encoder),
        "best turn + summary": RecallArm("best turn + summary", "best-turn", "summaries", encoder=encoder),
        "hybrid": RecallArm("hybrid", "hybrid", "turns", encoder=encoder),
        "hybrid + summary": RecallArm("hybrid + summary", "hybrid", "summaries", encoder=encoder),
    }
    own = {level: _arm(f"{level} alone", encoder, level=level) for level in LEVELS}
    own |= {"memgas": _arm("MemGAS", encoder)}
    return {key + suffix: arm for key, arm in (own | others).items()}


ARMS: Mapping[str, RecallArm] = {
    "session cut": _arm("session alone, its first 256 word pieces", FIRST_WINDOW, level="session"),
    **_arms("minilm", ""),
    "bm25": RecallArm("BM25, single turns", "bm25", "turns"),
    "sum": _arm("the four levels added up, no walk", router="uniform", seeds=_EVERY_NODE, damping=0.0),
    "one minus": _arm("router of the published code", router="one-minus-entropy"),
    "uniform": _arm("uniform router", router="uniform"),
    "temperature 0.1": _arm("temperature 0.1", temperature=0.1),
    "temperature 0.05": _arm("temperature 0.05", temperature=0.05),
    "damping 0": _arm("no walk", damping=0.0),
    "damping 0.3": _arm("damping 0.3", damping=0.3),
    "damping 0.5": _arm("damping 0.5", damping=0.5),
    "every seed": _arm("every node a seed", seeds=_EVERY_NODE),
    "20 candidates": _arm("20 candidates", candidates=20),
    **_arms("wordllama", " static"),
}
_OWN = ("session cut", *LEVELS, "memgas")
_RIVALS = ("dense", "best turn", "best turn + summary", "bm25", "hybrid", "hybrid + summary")
_CHOICES = (
    "sum", "damping 0", "one minus", "uniform", "temperature 0.1", "temperature 0.05", "damping 0.3", "damping 0.5",
    "every seed", "20 candidates",
)  # fmt: skip
_BEFORE = {
    "session cut": "45.9", "turn": "57.6", "keyword": "54.6", "summary": "62.6", "sum": "63.8", "memgas": "64.1",
    "one minus": "63.3", "uniform": "63.6", "best turn": "66.5", "best turn + summary": "72.8",
}  # fmt: skip
_NAMES = {"1": "1 multi-hop", "2": "2 temporal", "3": "3 open", "4": "4 single-hop"}
_SHOWN = ("recall@1", "recall@3", "recall@5", "all@3", "turn_recall@5", "all recall@5")
_NOTE = (
    "Percent; R@k = share of the sessions with evidence among the first k, over the questions that have an answer; all "
    "R@5: adversarial ones too. With 95 % bootstrap intervals over the questions; a gain is paired. R@5 before: an "
    "earlier implementation over all ten conversations, adversarial questions too."
)


def study(
    scale: Scale,
    seed: int,
    directory: Path,
    on_event: OnStudyEvent | None = None,
    *,
    data: Path,
    vectors: Path | None = None,
    client: MeteredLLM | None = None,
    jobs: int | None = None,
    search: bool = False,
) -> StudyResult:
    """Run the study; the seed draws the resamples behind every interval, and nothing else is drawn.

    Raises:
        UsageError: a tuning seed, data that are not LoCoMo's, an option for studies that train, or scale gpu.
    """
    check_start("laptop", [seed])
    refuse_options("memgas", jobs=jobs, search=search)
    if scale == "gpu":
        raise UsageError("memgas is studied at laptop scale only, where it takes minutes; leave --scale out")
    held = locomo(data)
    asked = ask(ARMS, _worlds(held), held, directory, vectors or directory / "vectors.db", Told(on_event, len(ARMS)))
    found = Found(ARMS, asked, held, seed)
    records = found.records(directory, f"mnemic reproduce memgas --data DIR --scale {scale} --seed {seed}")
    return StudyResult(tuple(claims(found)), records, sheets=sheets(found))


def _worlds(data: Data) -> Mapping[str, World]:
    def turns(encoder: Encoder) -> Seen:
        spoken = [corpus.without("summary") for corpus in data.corpora]
        return [(corpus, corpus.view(encoder, extraction="none")) for corpus in spoken]

    def summaries(encoder: Encoder) -> Seen:
        return [(corpus, corpus.view(encoder, extraction="none")) for corpus in data.corpora]

    return {"turns": turns, "summaries": summaries}


def claims(found: Found) -> list[Claim]:
    published = "78.51 at R@3 on LongMemEval-s"
    better = "granularities together beside the text of the sessions"
    return [
        *(
            found.claim(f"A. R@5: MemGAS beside its level '{level}' alone", published, "memgas", level, 0)
            for level in LEVELS
        ),
        found.claim(f"B. R@5: {better}, cut off at 256 word pieces", published, "sum", "session cut", 10),
        found.claim(f"B. R@5: {better}, read whole", published, "sum", "session", 10),
        found.claim(
            "C. R@5: the best turn and the summary beside MemGAS (ours)",
            "69.39 beside 56.85 at R@3 on LoCoMo (a follow-up, best turn, Contriever)",
            "best turn + summary",
            "memgas",
            5,
        ),
        found.claim("D. R@5: keywords alone beside MemGAS (ours)", "–", "bm25", "memgas", 5),
    ]


def sheets(found: Found) -> tuple[Sheet, ...]:
    questions = f"{len(found.values('memgas', 'recall@5')):,} questions with an answer"
    static = [f"{key} static" for key in (*LEVELS, "memgas", *_RIVALS) if f"{key} static" in ARMS]
    return (
        recall_sheet(
            found, f"LoCoMo, {questions}, minilm", [*_OWN, *_RIVALS], against="memgas", reference=_BEFORE, note=_NOTE,
            metrics=_SHOWN,
        ),
        recall_sheet(
            found, "Choices of MemGAS", ["memgas", *_CHOICES], against="memgas", reference=_BEFORE, metrics=_SHOWN,
            note="MemGAS: the paper's router, temperature 0.2, 15 seeds, damping 0.1, 30 candidates.",
        ),
        recall_sheet(
            found, f"LoCoMo, {questions}, wordllama", static, against="memgas static", metrics=_SHOWN,
            note="The encoder that needs no torch.",
        ),
        by_kind(
            found, "R@5 by category", [*LEVELS, "memgas", "best turn + summary", "bm25", "hybrid"], names=_NAMES,
            note="Questions in brackets.",
        ),
    )  # fmt: skip
