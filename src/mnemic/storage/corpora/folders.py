"""Folders of passages with questions: JSON lines of our own, and the files of MuSiQue and HotpotQA."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnemic.errors import UsageError
from mnemic.storage.corpora.base import Corpus, Question
from mnemic.storage.corpora.files import find, read_json, read_lines, take
from mnemic.storage.extracted import Extracted, given
from mnemic.storage.phrases import cleaned
from mnemic.storage.records import NewFact
from mnemic.storage.view import Passage

__all__ = ["read_folder"]

Where = tuple[str, dict[str, Any]]


def read_folder(folder: Path) -> Corpus:
    """A corpus, from one of two layouts, each file gzipped or not.

    JSON lines: `corpus.jsonl` of {"id", "title", "text"}, `questions.jsonl` of {"id", "question", "answer",
    "evidence": [ids]}, perhaps `triples.jsonl` of {"id", "entities", "triples"}.

    As published: `corpus.json`, a list of {"idx", "title", "text" or "sentences"}, `questions.json`, a list of {"id",
    "question", "answer", "supporting": [idx]}, perhaps `openie*.json`, a list of {"idx", "entities", "triples"}.
    """
    corpus, questions = find(folder, "corpus.jsonl", "corpus.json"), find(folder, "questions.jsonl", "questions.json")
    if corpus is None:
        raise UsageError(f"folder '{folder}' has no corpus.jsonl and no corpus.json, gzipped or not")
    published = ".jsonl" not in corpus.suffixes
    name, evidence = ("idx", "supporting") if published else ("id", "evidence")
    passages = [_passage(item, where, name) for where, item in _items(corpus)]
    known = {passage.id: index for index, passage in enumerate(passages)}
    if len(known) < len(passages):
        twice = next(p.id for i, p in enumerate(passages) if known[p.id] != i)
        raise UsageError(f"{corpus}: two passages have the {name} '{twice}'")
    if not passages:
        raise UsageError(f"{corpus} holds no passages")
    asked = [_question(item, where, evidence) for where, item in _items(questions)] if questions else []
    twice_asked = [identity for identity, count in Counter(question.id for question in asked).items() if count > 1]
    if twice_asked:
        raise UsageError(f"{questions}: two questions have the id '{twice_asked[0]}'")
    triples = find(folder, "triples.jsonl") if not published else _openie(folder)
    stored = _stored(_items(triples), name, known, triples.name.partition(".")[0]) if triples is not None else None
    answerable, notes = _with_known_evidence(asked, known, str(questions))
    return Corpus(folder.name, tuple(passages), answerable, stored, notes)


def _with_known_evidence(
    asked: Sequence[Question], known: Mapping[str, int], where: str
) -> tuple[tuple[Question, ...], tuple[str, ...]]:
    """The questions whose evidence the corpus has, all of it, and what to say of the others: the share of their
    evidence that is found would be no recall."""
    absent = [(question, sorted(question.evidence - set(known))) for question in asked]
    kept = tuple(question for question, missing in absent if not missing)
    lost = [(question.id, missing[0]) for question, missing in absent if missing]
    if not lost:
        return kept, ()
    told = (
        f"{len(lost)} of {len(asked)} questions have evidence that is no passage of the corpus and are not asked; "
        f"the first is '{lost[0][0]}', which names '{lost[0][1]}'"
    )
    if not kept:
        raise UsageError(f"{where}: {told}")
    return kept, (told,)


def _items(path: Path) -> list[Where]:
    if ".jsonl" in path.suffixes:
        return list(read_lines(path))
    data = read_json(path)
    if not isinstance(data, list):
        raise UsageError(f"{path} is {type(data).__name__}; must be a list")
    return [(f"{path}: item {number}", item) for number, item in enumerate(data, 1)]


def _openie(folder: Path) -> Path | None:
    found = sorted(path for path in folder.glob("openie*") if ".json" in path.suffixes)
    return found[0] if found else None


def _passage(item: Mapping[str, Any], where: str, name: str) -> Passage:
    sentences = take(item, "sentences", list, where, [])
    text = " ".join(str(sentence).strip() for sentence in sentences) if sentences else take(item, "text", str, where)
    return Passage(take(item, name, str, where), text, take(item, "title", str, where, ""))


def _question(item: Mapping[str, Any], where: str, evidence: str) -> Question:
    gold = frozenset(map(str, take(item, evidence, list, where)))
    kind = str(item.get("hops") or item.get("type") or "")
    return Question(
        take(item, "id", str, where),
        take(item, "question", str, where),
        take(item, "answer", str, where, ""),
        gold,
        answerable=bool(gold),
        kind=kind,
    )


def _stored(items: Sequence[Where], name: str, known: Mapping[str, int], extractor: str) -> tuple[Extracted, ...]:
    """One extraction for each passage; published files have triples that are not three phrases, which are left out."""
    found = [Extracted(extractor)] * len(known)
    for where, item in items:
        identity = take(item, name, str, where)
        if identity not in known:
            raise UsageError(f"{where}: '{identity}' is no passage of the corpus")
        triples = [triple for triple in take(item, "triples", list, where, []) if _whole(triple)]
        facts = tuple(NewFact(*triple) for triple in dict.fromkeys(map(tuple, triples)))
        mentions = given(map(str, take(item, "entities", list, where, [])), (), "").mentions
        found[known[identity]] = Extracted(extractor, mentions, {}, facts)
    return tuple(found)


def _whole(triple: Any) -> bool:
    return isinstance(triple, list) and len(triple) == 3 and all(isinstance(p, str) and cleaned(p) for p in triple)
