"""HippoRAG: a walk over the phrases of extracted facts finds passages that must be read together (Gutiérrez et al.
2024, arXiv 2405.14831).

Three claims on MuSiQue, with the facts that GPT-3.5 extracted. A: the walk finds more than the cosine of question and
passage. B: it is the walk that does it, not the phrases that are linked to the question. C: it gains at least as much
where three passages are to be found as where two are.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mnemic.llm import MeteredLLM
from mnemic.report.claims import Claim
from mnemic.report.sheets import Sheet
from mnemic.storage.corpora import Corpus
from mnemic.storage.llm_extraction import LLMNames
from mnemic.storage.phrases import cleaned
from mnemic.storage.view import View
from mnemic.studies.base import Scale, StudyResult, check_start, judge
from mnemic.studies.measuring import OnStudyEvent, Told
from mnemic.studies.model_indexing import indexing_study
from mnemic.studies.musique_worlds import NOTE, musique_worlds
from mnemic.studies.retrieval import RecallArm, ask, refuse_options
from mnemic.studies.retrieval_data import WHOLE, musique
from mnemic.studies.retrieval_results import Found, by_kind, recall_sheet

__all__ = ["ARMS", "claims", "longest_phrases", "study"]

_LONGEST = 12  # words of a phrase that is looked for in a question


def longest_phrases(_: Corpus, view: View) -> Callable[[str], Sequence[str]]:
    """Names of a question = the longest phrases of the graph that stand in it, whatever they are: a bad idea, to see
    how much hangs on naming names."""
    known = {" ".join(entity.norm_name.split()) for entity in view.entities if len(entity.norm_name) > 2}

    def found(question: str) -> list[str]:
        words, at, phrases = cleaned(question).split(), 0, []
        while at < len(words):
            lengths = range(min(_LONGEST, len(words) - at), 0, -1)
            length = next((n for n in lengths if " ".join(words[at : at + n]) in known), 0)
            phrases += [" ".join(words[at : at + length])] if length else []
            at += max(length, 1)
        return phrases

    return found


def _arm(label: str, sees: str = "triples", **options: object) -> RecallArm:
    return RecallArm(label, "hipporag", sees, options)


ARMS: Mapping[str, RecallArm] = {
    "dense": RecallArm("dense", "dense", "triples"),
    "bm25": RecallArm("BM25", "bm25", "triples"),
    "walk": _arm("HippoRAG"),
    "no synonyms": _arm("without synonyms", "triples, no synonyms"),
    "overwriting": _arm("synonyms overwrite facts, as published", synonym_overwrites=True),
    "unspecific": _arm("without node specificity", node_specificity=False),
    "linked": _arm("linked phrases only, no walk", damping=0.0),
    "ensemble": _arm("half of the score by cosine, always", ensemble="always"),
    "unsure": _arm("half of it where a link is unsure", ensemble="auto"),
    "gazetteer": RecallArm("any known phrase is a name", "hipporag", "triples", derived={"recognise": longest_phrases}),
    "rules": _arm("HippoRAG on what rules extract", "rules"),
    "damping 0.1": _arm("damping 0.1", damping=0.1),
    "damping 0.3": _arm("damping 0.3", damping=0.3),
    "damping 0.7": _arm("damping 0.7", damping=0.7),
    "damping 0.9": _arm("damping 0.9", damping=0.9),
    "dense static": RecallArm("dense", "dense", "triples", encoder="wordllama"),
    "walk static": RecallArm("HippoRAG", "hipporag", "triples", encoder="wordllama"),
    "linked static": RecallArm(
        "linked phrases only, no walk", "hipporag", "triples", {"damping": 0.0}, encoder="wordllama"
    ),
}
_STATIC = ("dense static", "walk static", "linked static")
_BEFORE = {
    "dense": "62.2\n58.7 on 50", "walk": "68.1\n64.3 on 50", "no synonyms": "67.2", "unspecific": "67.1",
    "linked": "51.5", "ensemble": "68.3", "gazetteer": "50.7",
}  # fmt: skip
_INDEX = "10,000 passages in about 60 minutes, for about $15 (GPT-3.5)"


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

    Args:
        client: at scale gpu, the language model that extracts facts from `data` and names what questions are about.

    Raises:
        UsageError: a tuning seed, other data than the study is about, an option for studies that train, or no model.
    """
    check_start("laptop", [seed])
    refuse_options("hipporag", jobs=jobs, search=search)
    if scale == "gpu":
        return indexing_study("hipporag", _by_model(client), _INDEX, client, data, directory, vectors, seed, on_event)
    held = musique(data)
    asked = ask(
        ARMS, musique_worlds(held), held, directory, vectors or directory / "vectors.db", Told(on_event, len(ARMS))
    )
    found = Found(ARMS, asked, held, seed)
    records = found.records(directory, f"mnemic reproduce hipporag --data DIR --scale {scale} --seed {seed}")
    return StudyResult(tuple(claims(found)), records, sheets=sheets(found))


def _by_model(client: MeteredLLM | None) -> dict[str, RecallArm]:
    def named_by_model(_: Corpus, __: View) -> LLMNames:
        assert client is not None
        return LLMNames(client)

    walk = RecallArm("HippoRAG", "hipporag", "triples", derived={"recognise": named_by_model})
    return {"dense": ARMS["dense"], "walk": walk}


def claims(found: Found) -> list[Claim]:
    """The threshold of A for all 100 questions, and what may be asked of half of them where only these are there."""
    margin = 3 if found.data.questions >= WHOLE else 0
    more = "the walk finds more than the cosine of question and passage"
    return [
        found.claim(f"A. R@2: {more}", "40.9 (ColBERTv2, all of MuSiQue)", "walk", "dense", margin, "recall@2"),
        found.claim(f"A. R@5: {more}", "72.9 on average of three sets (ColBERTv2)", "walk", "dense", margin),
        found.claim(
            "B. R@5: it is the walk that does it, not the linked phrases alone",
            "72.9 beside 56.2 on average of three sets (ColBERTv2)",
            "walk",
            "linked",
            10,
        ),
        _hops(found),
    ]


def _hops(found: Found) -> Claim:
    gains = {kind: found.gain("walk", "dense", kind=kind) for kind in found.kinds()}
    told = ", ".join(f"{hops} hops {100 * gain.mean:+.1f}" for hops, gain in gains.items())
    holds = {"2", "3"} <= set(gains) and gains["3"].mean >= gains["2"].mean
    return judge(
        "C. R@5: three hops gain at least as much over cosine as two",
        "one step does what several steps of retrieving and reasoning do",
        "gain on 3 hops at least that on 2",
        told or "not measured",
        holds,
    )


def sheets(found: Found) -> tuple[Sheet, ...]:
    own = [key for key in ARMS if key not in _STATIC]
    many = f"Recall on {found.data.questions} questions"
    return (
        recall_sheet(found, f"{many}, minilm", own, against="dense", reference=_BEFORE, note=NOTE),
        recall_sheet(
            found, f"{many}, wordllama", _STATIC, against="dense static", note="The encoder that needs no torch."
        ),
        by_kind(found, "R@5 by hops", ["dense", "walk", "linked", "ensemble", "rules"], note="Questions in brackets."),
    )
