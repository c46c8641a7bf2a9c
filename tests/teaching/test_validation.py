"""Validation finds each kind of damage, counts what was left out, and says what a file holds."""

import json

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.histograms import Histogram
from mnemic.teaching.records import Message, Meta, Provenance, Segment, TraceRecord, write_jsonl
from mnemic.teaching.statistics import stats
from mnemic.teaching.validation import validate


def trace(name, blocks=2, domain="math", tokens=(100, 20), score=9.0):
    segments = []
    for number in range(blocks):
        segments.append(Segment(kind="block", text="work " * 30, block=number, tokens=tokens[0]))
        segments.append(Segment(kind="memento", text="note", block=number, tokens=tokens[1], score=score))
    return TraceRecord(
        id=name,
        prompt=(Message(role="user", content="What?"),),
        segments=tuple(segments),
        answer="This.",
        meta=Meta(domain=domain),
        provenance=Provenance(teacher="someone"),
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "traces.jsonl"
    write_jsonl(path, [trace("a"), trace("b", blocks=4), trace("c").failed("bad_reply: nothing came")])
    return path


def damaged(line, damage):
    row = json.loads(line)
    match damage:
        case "marker_leak":
            row["segments"][1]["text"] = "as <|block_end|> says"
        case "memento_order":
            row["segments"][:2] = row["segments"][1::-1]
        case "memento_missing":
            del row["segments"][1]
        case "block_number":
            row["segments"][2]["block"] = 7
        case "memento_empty":
            row["segments"][1]["text"] = ""
        case "bad_field":
            row["schema"] = "mnemic.trace/9"
        case "extra_forbidden":
            row["extra"] = 1
        case "no_json":
            return line[:40]
        case "duplicate_id":
            row["id"] = "b"
    return json.dumps(row)


@pytest.mark.parametrize(
    "damage",
    ["marker_leak", "memento_order", "memento_missing", "block_number", "memento_empty", "bad_field",
     "extra_forbidden", "no_json", "duplicate_id"],
)  # fmt: skip
def test_each_kind_of_damage_is_found_and_the_rest_still_counted(file, damage):
    lines = file.read_text().splitlines()
    file.write_text("\n".join([lines[0], lines[1], damaged(trace("x").dump(), damage), lines[2]]) + "\n")
    report = validate(file)
    assert report.problems == {damage: 1}
    assert not report.is_valid
    assert [(p.line, p.code) for p in report.examples] == [(3, damage)]
    assert (report.rows, report.ok, report.failed) == (4, 2, 1)


def test_whole_file(file):
    report = validate(file)
    assert report.is_valid
    assert report.dropped == {"bad_reply": 1}
    assert report.histograms["block"].n == 6
    assert report.histograms["block"].mean == 100
    assert report.histograms["ratio"].median == pytest.approx(0.2)
    assert report.histograms["blocks per trace"].max == 4


def test_what_the_build_left_out_is_counted(file):
    rows = [
        {"id": "1", "stage": "traces", "status": "dropped", "reason": "ratio: too long"},
        {"id": "2", "stage": "traces", "status": "dropped", "reason": "ratio: longer still"},
        {
            "id": "3",
            "stage": "mementos",
            "status": "failed",
            "error": "BadReply",
            "reason": "said no",
            "transient": False,
        },
    ]
    file.with_name("traces.rejected.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + "[]\n")
    assert validate(file).dropped == {"ratio": 2, "bad_reply": 1, "BadReply": 1, "unreadable": 1}


def test_empty_and_missing_files(tmp_path):
    (tmp_path / "t.jsonl").write_text("")
    assert validate(tmp_path / "t.jsonl").rows == 0
    with pytest.raises(UsageError, match="no file"):
        validate(tmp_path / "none.jsonl")


def test_report_is_json(file):
    assert json.loads(validate(file).model_dump_json())["ok"] == 2


def test_stats_by_domain(tmp_path):
    path = tmp_path / "t.jsonl"
    made = [trace("a"), trace("b", blocks=4), trace("c", domain="code", tokens=(300, 30), score=7.0)]
    write_jsonl(path, [*made, trace("d").failed("x: y")])
    found = stats(path)
    assert list(found.domains) == ["all", "math", "code"]
    assert found.failed == 1
    assert found.teachers == {"someone": 3}
    assert found.domains["math"].blocks == 3
    assert found.domains["math"].compression == pytest.approx(5.0)
    assert found.domains["code"].compression == pytest.approx(10.0)
    assert found.domains["code"].passed == 0.0
    assert found.domains["all"].block_tokens == pytest.approx((6 * 100 + 2 * 300) / 8)
    assert found.domains["all"].trace_memento_tokens == pytest.approx((40 + 80 + 60) / 3)
    assert found.domains["math"].char_ratio == pytest.approx(4 / 150)


def test_stats_of_traces_without_blocks(tmp_path):
    path = tmp_path / "t.jsonl"
    write_jsonl(path, [TraceRecord(id="a", prompt=(), segments=(), answer="x")])
    assert stats(path).domains["all"].compression is None


def test_histogram_bins_begin_at_their_edges():
    found = Histogram.of([0, 9, 10, 19, 20, 500], (0, 10, 20))
    assert found.counts == (2, 2, 2)
    assert (found.n, found.min, found.median, found.max) == (6, 0, 14.5, 500)
    assert len(found.bars()) == 3
    assert Histogram.of([], (0, 10)).mean is None
