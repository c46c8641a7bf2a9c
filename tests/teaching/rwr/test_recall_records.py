"""A recall record cannot say what training must never see."""

import pytest
from pydantic import ValidationError

from mnemic.teaching.records import RecallRecord, Verified, read_jsonl, write_jsonl
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE

OK = Verified(method="contains", score=1.0, ok=True)
VALID = {"id": "a", "context": "It is 7.", "query": "What?", "answer": "7", "summary": "It is 7", "verified": OK}
NOTHING = {**VALID, "answer": UNANSWERABLE, "summary": EMPTY, "empty": True}
PLAIN = {**VALID, "summary": None, "verified": None}


def test_fields_are_those_of_the_page():
    wanted = [
        "schema",
        "id",
        "context",
        "query",
        "answer",
        "summary",
        "empty",
        "verified",
        "meta",
        "provenance",
        "status",
        "error",
    ]
    assert list(RecallRecord(**VALID).model_dump(by_alias=True)) == wanted


@pytest.mark.parametrize(("row", "kind"), [(VALID, "valid"), (NOTHING, "empty"), (PLAIN, "plain")])
def test_kinds_survive_a_file(tmp_path, row, kind):
    record = RecallRecord(**row)
    write_jsonl(tmp_path / "r.jsonl", [record])
    assert list(read_jsonl(tmp_path / "r.jsonl", RecallRecord)) == [record]
    assert record.kind == kind


@pytest.mark.parametrize(
    ("row", "change", "code"),
    [
        (NOTHING, {"summary": "Empty."}, "empty_note"),
        (NOTHING, {"summary": ""}, "empty_note"),
        (NOTHING, {"summary": "It is 7"}, "empty_note"),
        (NOTHING, {"answer": "7"}, "abstention"),
        (NOTHING, {"answer": "Unanswerable"}, "abstention"),
        (NOTHING, {"empty": False}, "empty_note"),
        (VALID, {"summary": " "}, "empty_note"),
        (VALID, {"summary": "empty"}, "empty_note"),
        (VALID, {"answer": UNANSWERABLE}, "abstention"),
        (VALID, {"verified": None}, "unverified"),
        (VALID, {"verified": {"method": "llm", "score": 0, "ok": False}}, "unverified"),
        (VALID, {"context": " "}, "no_context"),
        (VALID, {"query": ""}, "blank"),
        (VALID, {"answer": "\n"}, "blank"),
        (PLAIN, {"empty": True}, "no_note"),
        (PLAIN, {"verified": OK}, "no_note"),
        (PLAIN, {"status": "failed"}, "status"),
        (PLAIN, {"error": "bad: row"}, "status"),
    ],
)
def test_what_does_not_hold_together(row, change, code):
    with pytest.raises(ValidationError) as wrong:
        RecallRecord.model_validate({**row, **change})
    assert wrong.value.errors()[0]["type"] == code


def test_a_failed_record_keeps_what_it_has():
    failed = RecallRecord(**PLAIN).failed("no_answer: none")
    assert isinstance(failed, RecallRecord)
    assert (failed.context, failed.status, failed.error) == ("It is 7.", "failed", "no_answer: none")
