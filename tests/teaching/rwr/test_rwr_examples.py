"""Rows of files and of OpenOrca become examples, or say why they cannot be used."""

import json

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.examples import examples_of, from_rows, read_examples
from mnemic.teaching.rwr.histories import HistoryRules, histories

PASSAGE = "The lighthouse of Nord was built in 1871 by a family of masons who had come from the south. " * 2


def orca(question, system="", response="1871"):
    row = {"id": "flan.1", "system_prompt": system, "question": question, "response": response}
    return next(from_rows([row], "orca"))


def test_rows_of_a_file(tmp_path):
    path = tmp_path / "q.jsonl"
    rows = [
        {"id": "a", "context": "c", "query": "q", "answer": "x", "aliases": ["y", " "], "domain": "sea"},
        {"context": "c", "query": "q", "answer": ["x", "z"]},
        {"context": "c", "query": "q", "answer": 7},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third = read_examples(str(path))
    assert (first.id, first.answers, first.meta.domain) == ("a", ("x", "y"), "sea")
    assert second.answers == ("x", "z")
    assert third.answer == "7"
    assert len({first.id, second.id, third.id}) == 3
    assert [example.id for example in read_examples(str(path))] == [first.id, second.id, third.id]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"context": "c", "query": " ", "answer": "x"}, "no_query"),
        ({"context": "c", "query": "q", "answer": ""}, "no_answer"),
        ({"context": "c", "query": "q", "answer": None}, "bad_row"),
        ({"context": 3, "query": "q", "answer": "x"}, "bad_row"),
        ({"context": "c", "query": "q"}, "bad_row"),
        ({"context": "\ud800", "query": "q", "answer": "x"}, "not_unicode"),
    ],
)
def test_rows_that_cannot_be_used(row, reason):
    good = {"context": "c", "query": "q", "answer": "x"}
    _, example = from_rows([good, row], "rows")
    assert example.error is not None
    assert example.error.startswith(f"{reason}: ")
    assert json.dumps(example.model_dump(), ensure_ascii=False).encode()


def test_an_id_that_comes_twice():
    row = {"id": "a", "context": "c", "query": "q", "answer": "x"}
    first, second = from_rows([row, row], "rows")
    assert (first.error, second.id) == (None, "a#2")
    assert second.error == "duplicate_id: a was there before"


def test_unknown_columns_and_formats(tmp_path):
    with pytest.raises(UsageError, match="columns text; known are recall: answer, context, query"):
        list(from_rows([{"text": "x"}], "rows"))
    with pytest.raises(UsageError, match="unknown format 'orca'; did you mean 'open-orca'"):
        list(read_examples(str(tmp_path), format="orca"))


@pytest.mark.parametrize(
    ("question", "context", "query"),
    [
        (f"{PASSAGE}\nQ: When was it built?\nA:", PASSAGE.strip(), "Q: When was it built?"),
        (f"When was it built?\n\n{PASSAGE}\n", PASSAGE.strip(), "When was it built?"),
        (f"{PASSAGE}\n\nWhen was it built?\n- 1871\n- 1900", PASSAGE.strip(), "When was it built?\n- 1871\n- 1900"),
        ("What is the capital of Norway?", "", "What is the capital of Norway?"),
        (f"{PASSAGE} When was it built?", "", f"{PASSAGE} When was it built?"),
        ("Short text.\nWhen?", "", "Short text.\nWhen?"),
        ("Translate: guten Tag", "", "Translate: guten Tag"),
    ],
)
def test_passage_and_question_of_open_orca(question, context, query):
    example = orca(question)
    assert (example.context.strip(), example.query) == (context, query)
    assert example.answer == "1871"


def test_the_system_prompt_stands_before_the_query():
    assert orca("What?", "Be brief.").query == "Be brief.\nWhat?"
    assert orca(None).error is not None


def test_questions_of_histories():
    known = list(histories(HistoryRules(count=2, questions=4)))
    examples = list(examples_of(known))
    assert len({example.id for example in examples}) == 8
    assert examples[4].context == known[1].context
