"""Records keep their promises or are refused; files are whole or not there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching import records
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.records import FORBIDDEN, Message, Segment, TraceRecord, read_jsonl, write_jsonl

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def block(number, text="the work"):
    return Segment(kind="block", text=text, block=number)


def memento(number, text="the note"):
    return Segment(kind="memento", text=text, block=number)


def other(text):
    return Segment(kind="other", text=text)


def trace(*segments, **fields):
    asked = (Message(role="user", content="What is it?"),)
    return TraceRecord(**{"id": "a", "prompt": asked, "segments": segments, "answer": "It is.", **fields})


@pytest.mark.parametrize(
    "segments",
    [
        (),
        (other("nothing but thoughts"),),
        (block(0), memento(0)),
        (other("\n"), block(0), memento(0), other("\n"), block(1), memento(1), other("so")),
        (block(0), other("\n"), memento(0)),
        (block(0), memento(0), block(1)),
        (block(0), memento(0), block(1), other("and more")),
    ],
)
def test_order_that_holds(segments):
    assert trace(*segments).status == "ok"


@pytest.mark.parametrize(
    ("segments", "code"),
    [
        ((block(0), block(1), memento(1)), "memento_missing"),
        ((memento(0),), "memento_order"),
        ((block(0), memento(1)), "memento_order"),
        ((block(0), other("text"), memento(0)), "memento_order"),
        ((block(0), memento(0), memento(0)), "memento_order"),
        ((block(1), memento(1)), "block_number"),
        ((block(0), memento(0), block(0), memento(0)), "block_number"),
        ((Segment(kind="other", text="a", block=0),), "block_number"),
        ((block(0), memento(0, " \n")), "memento_empty"),
        ((block(0, ""), memento(0)), "block_empty"),
    ],
)
def test_order_that_does_not_hold(segments, code):
    with pytest.raises(ValueError) as refused:
        trace(*segments)
    assert refused.value.errors()[0]["type"] == code


@pytest.mark.parametrize("marker", FORBIDDEN)
@pytest.mark.parametrize("where", ["block", "memento", "other", "answer"])
def test_markers_inside_text_are_refused(marker, where):
    text = f"as {marker} says"
    parts = {
        "block": (block(0, text), memento(0)),
        "memento": (block(0), memento(0, text)),
        "other": (other(text),),
        "answer": (),
    }
    with pytest.raises(ValueError) as refused:
        trace(*parts[where], answer=text if where == "answer" else "")
    assert refused.value.errors()[0]["type"] == "marker_leak"
    assert marker in str(refused.value)


def test_users_may_write_markers():
    asked = (Message(role="user", content=f"What does {MARKERS.block_start} do?"),)
    assert trace(prompt=asked).status == "ok"


def test_failed_records_say_why_and_others_do_not():
    broken = trace(block(0)).failed("bad_reply: nothing came")
    assert (broken.status, broken.error) == ("failed", "bad_reply: nothing came")
    for fields in ({"status": "failed"}, {"error": "x"}):
        with pytest.raises(ValueError, match="failed record"):
            trace(**fields)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from(["", "\n", " and so on "])), max_size=4))
def test_blocks_and_other_text_make_up_the_reasoning(parts):
    segments = []
    for number, (work, note, rest) in enumerate(parts):
        segments += [block(number, work), memento(number, f"n{note}")] + ([other(rest)] if rest else [])
    whole = "".join(work + rest for work, _, rest in parts)
    if not any(marker in whole for marker in FORBIDDEN):
        assert trace(*segments).reasoning == whole


@given(st.lists(TEXTS, max_size=5))
def test_file_gives_back_what_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("records") / "t.jsonl"
    written = [trace(block(0, text), memento(0), id=str(n)) for n, text in enumerate(texts)]
    assert write_jsonl(path, written) == len(texts)
    assert list(read_jsonl(path)) == written


def test_line_separators_stay_inside_their_line(tmp_path):
    path = tmp_path / "t.jsonl"
    record = trace(block(0, "a\u2028b\u0085c\rd\n\ne"), memento(0))
    write_jsonl(path, [record, record.model_copy(update={"id": "b"})])
    assert path.read_bytes().count(b"\n") == 2
    assert next(iter(read_jsonl(path))) == record


def test_fields_are_those_of_the_schema():
    line = json.loads(trace(block(0), memento(0)).dump())
    assert list(line) == ["schema", "id", "prompt", "segments", "answer", "meta", "provenance", "status", "error"]
    assert line["schema"] == "mnemic.trace/1"
    assert list(line["segments"][0]) == ["kind", "text", "block", "tokens", "score"]
    assert list(line["meta"]) == ["source", "domain", "difficulty", "license"]
    assert list(line["provenance"]) == ["teacher", "pipeline_version", "prompt_hash", "rounds"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 of"),
        ("[]", "line 2 of"),
        ('{"schema": "mnemic.trace/2"}', "line 2 of"),
        ('{"id": "\\ud800"}', "line 2 of"),
    ],
)
def test_bad_line_is_named(tmp_path, line, said):
    path = tmp_path / "t.jsonl"
    path.write_text(f"{trace().dump()}\n{line}\n")
    with pytest.raises(UsageError, match=said):
        list(read_jsonl(path))


def test_files_that_cannot_be_read_are_named(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for path, said in ((tmp_path / "none", "no file"), (tmp_path / "binary", "not UTF-8"), (tmp_path, "cannot read")):
        with pytest.raises(UsageError, match=said):
            list(read_jsonl(path))


def test_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [trace()])
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(records.os, "fsync", full)
    with pytest.raises(MnemicError, match="what was there is untouched"):
        write_jsonl(path, [trace(), trace(id="b")])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["t.jsonl"]
