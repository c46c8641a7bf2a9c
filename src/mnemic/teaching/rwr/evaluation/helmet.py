"""HELMET (arXiv 2410.02694): seven categories of long-context tasks, from its files or the data sets that it draws on.

What a record is shows in its fields. Demonstrations are left out: models taught to write a note have a layout of
their own. Two scores are not HELMET's, and are named for what they are: citations are not checked, which needs an
inference model, and summaries are scored by ROUGE-L, where its own score needs a judge of atomic facts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Passage, Turn
from mnemic.teaching.rwr.evaluation.reading import AnyEntry, Entry, checked, read_entries
from mnemic.teaching.sources import HUB

__all__ = ["CATEGORIES", "RANKING_FORM", "read_helmet"]

CATEGORIES: Final = ("recall", "rag", "rerank", "cite", "longqa", "summ", "icl")
RANKING_FORM: Final = "Rank all documents by how well they answer it, best first, as 'ID > ID > ID'."
_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")


class _Needle(Entry):
    context: str
    query: str
    type_needle_v: str = "values"
    answer: tuple[str, ...] = Field(min_length=1)


class _KeyValue(Entry):
    context: str
    question: str
    answer: str
    num_kvs: int


class _Found(Entry):
    text: str
    title: str | None = None
    has_answer: bool | None = None


class _Rag(Entry):
    question: str
    answers: tuple[str, ...] = Field(min_length=1)
    ctxs: tuple[_Found, ...] = Field(min_length=1)


class _Ranked(Entry):
    id: str
    text: str
    label: int
    title: str | None = None


class _Rerank(Entry):
    qid: str
    query: str
    ctxs: tuple[_Ranked, ...] = Field(min_length=1)


class _Pair(Entry):
    short_answers: tuple[str, ...] = Field(min_length=1)


class _Cite(Entry):
    question: str
    docs: tuple[_Found, ...] = Field(min_length=1)
    qa_pairs: tuple[_Pair, ...] | None = None
    answers: tuple[tuple[str, ...], ...] | None = None
    answer: str | None = None


class _Book(Entry):
    context: str
    input: str
    answer: tuple[str, ...] = Field(min_length=1)
    options: tuple[str, ...] = ()


class _Text(Entry):
    text: str


class _Story(Entry):
    document: _Text
    question: _Text
    answers: tuple[_Text, ...] = Field(min_length=1)


class _Case(Entry):
    sources: tuple[str, ...] = Field(min_length=1)
    summary: str = Field(alias="summary/short", min_length=1)


def read_helmet(source: str) -> Iterator[EvaluationItem]:
    """The questions of a file, of all files of a folder, or of a data set of the hub.

    Raises:
        UsageError: nothing to read, records of no known task, or fields that are missing or wrong.
    """
    if source.startswith(HUB):
        yield from _items(source, source.removeprefix(HUB))
        return
    root = Path(source).expanduser()
    files = sorted(f for f in root.rglob("*") if f.name.endswith(_SUFFIXES)) if root.is_dir() else [root]
    if not files:
        raise UsageError(f"folder '{source}' has no file that ends in {', '.join(_SUFFIXES)}")
    for file in files:
        yield from _items(str(file), file.relative_to(root).as_posix() if root.is_dir() else file.name)


def _items(source: str, name: str) -> Iterator[EvaluationItem]:
    for number, (place, row) in enumerate(read_entries(source, AnyEntry, "data")):
        fields = row.model_dump()
        if "outputs" in fields and "answer" not in fields:  # RULER's own name for it
            fields["answer"] = fields["outputs"]
        for needed, make in _KINDS:
            if needed <= fields.keys():
                yield make(f"{name}/{number}", place, fields)
                break
        else:
            known = "; ".join(", ".join(sorted(needed)) for needed, _ in _KINDS)
            raise UsageError(f"{place} has the fields {', '.join(fields)}; a HELMET record has one of: {known}")


def _key_value(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _KeyValue, fields)
    question = f"Which value has the key {row.question} in the JSON object?"
    return _asked(name, "json_kv", "recall", _whole(row.context), question, (row.answer,))


def _needle(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Needle, fields)
    question = f"What are all the special magic {row.type_needle_v} for {row.query} in the text?"
    return _asked(name, "ruler", "recall", _whole(row.context), question, row.answer, metric="recall")


def _rag(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Rag, fields)
    passages = _documents(row.ctxs)
    gold = tuple(p.id for p, c in zip(passages, row.ctxs, strict=True) if c.has_answer)
    return _asked(name, "rag", "rag", passages, row.question, row.answers, evidence=gold)


def _rerank(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Rerank, fields)
    passages = tuple(_ranked(c) for c in row.ctxs)
    labels = tuple(f"{c.id} {c.label}" for c in row.ctxs)
    gold = tuple(f"ID: {c.id}" for c in row.ctxs if c.label > 0)
    return _asked(name, "msmarco", "rerank", passages, row.query, labels, evidence=gold, metric="ndcg@10",
                  instruction=RANKING_FORM)  # fmt: skip


def _ranked(document: _Ranked) -> Passage:
    text = "\n".join(part for part in (document.title, document.text) if part)
    return Passage(f"ID: {document.id}", (Turn("", text),), title=f"ID: {document.id}")


def _cite(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Cite, fields)
    if row.qa_pairs:
        answers = tuple(pair.short_answers[0] for pair in row.qa_pairs)
    elif row.answers:
        answers = tuple(aliases[0] for aliases in row.answers if aliases)
    else:
        raise UsageError(f"{place}: field 'qa_pairs' (ASQA) or 'answers' (QAMPARI) is missing")
    return _asked(name, "alce", "cite", _documents(row.docs), row.question, answers, metric="recall")


def _book(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Book, fields)
    if not row.input.strip():
        return _asked(name, "infbench_sum", "summ", _whole(row.context), "Summarise the book.", row.answer,
                      metric="rouge_l")  # fmt: skip
    if row.options and row.answer[0] in row.options:
        letters = [chr(ord("A") + number) for number in range(len(row.options))]
        choices = "\n".join(f"{letter}. {option}" for letter, option in zip(letters, row.options, strict=True))
        right = letters[row.options.index(row.answer[0])]
        both = (right, f"{right}. {row.answer[0]}")
        question = f"{row.input}\n{choices}\nAnswer with the letter."
        return _asked(name, "infbench_choice", "longqa", _whole(row.context), question, both, metric="exact")
    return _asked(name, "infbench_qa", "longqa", _whole(row.context), row.input, row.answer, metric="rouge_l")


def _story(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Story, fields)
    answers = tuple(answer.text for answer in row.answers)
    return _asked(name, "narrativeqa", "longqa", _whole(row.document.text), row.question.text, answers,
                  metric="rouge_l")  # fmt: skip


def _case(name: str, place: str, fields: dict[str, Any]) -> EvaluationItem:
    row = checked(place, _Case, fields)
    passages = tuple(Passage(f"document {n}", (Turn("", text),)) for n, text in enumerate(row.sources, start=1))
    return _asked(name, "multi_lexsum", "summ", passages, "Summarise the case.", (row.summary,), metric="rouge_l")


_KINDS: Final[tuple[tuple[frozenset[str], Callable[[str, str, dict[str, Any]], EvaluationItem]], ...]] = (
    (frozenset({"num_kvs"}), _key_value),
    (frozenset({"ctxs", "qid"}), _rerank),
    (frozenset({"ctxs"}), _rag),
    (frozenset({"docs"}), _cite),
    (frozenset({"sources", "summary/short"}), _case),
    (frozenset({"document", "question"}), _story),
    (frozenset({"context", "input"}), _book),
    (frozenset({"context", "query"}), _needle),
)


def _documents(found: tuple[_Found, ...]) -> tuple[Passage, ...]:
    return tuple(Passage(f"document {n}", (Turn("", c.text),), title=c.title) for n, c in enumerate(found, start=1))


def _whole(text: str) -> tuple[Passage, ...]:
    return (Passage("document 1", (Turn("", text),)),)


def _asked(
    name: str, kind: str, category: str, passages: tuple[Passage, ...], question: str, answers: tuple[str, ...],
    **others: Any,
) -> EvaluationItem:  # fmt: skip
    return EvaluationItem(name, passages, question, answers, kind, category, **others)
