import json
import multiprocessing
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mnemic.errors import MnemicError, UsageError
from mnemic.report.records import Record, append_record, json_line, read_records

ANY_TEXT = st.text(st.characters(), max_size=30)  # lone surrogates, NUL, line separators: all of it
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT, lambda x: st.lists(x, max_size=3)
)
a_few_files = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def lines_of(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


@given(task=ANY_TEXT, error=ANY_TEXT, extra=st.dictionaries(ANY_TEXT, JSON, max_size=3), loss=st.floats())
@a_few_files
def test_what_is_appended_is_read_again(tmp_path_factory, task, error, extra, loss):
    path = tmp_path_factory.mktemp("runs") / "results.jsonl"
    record = Record(run="r", task=task, memory="m", error=error, training=extra, metrics={"loss": loss})
    append_record(path, record)
    assert read_records(path) == [record]
    assert len(lines_of(path)) == 1


def test_fields_of_a_later_version_are_kept(tmp_path, make_record):
    record = make_record(something_new={"depth": [1, 2]}, cost={"parameters": 3, "joules": 12.5})
    append_record(tmp_path / "r.jsonl", record)
    (line,) = lines_of(tmp_path / "r.jsonl")
    assert line["something_new"] == {"depth": [1, 2]}
    assert line["cost"]["joules"] == 12.5
    assert line["schema"] == 1


@given(data=st.data())
@a_few_files
def test_a_file_cut_anywhere_loses_only_the_run_that_was_cut(tmp_path_factory, data):
    """kill -9 and power loss: whatever prefix of the file is left, whole lines stay and the next run stands alone."""
    path = tmp_path_factory.mktemp("runs") / "results.jsonl"
    records = [Record(run=str(i), task="t", memory="ü→{}\n" * i) for i in range(3)]
    for record in records:
        append_record(path, record)
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    # the object of a line is whole without its line feed
    ends = [len(whole.split(b"\n")[0]), len(b"\n".join(whole.split(b"\n")[:2])), len(whole) - 1]
    kept = [record for record, end in zip(records, ends, strict=True) if end <= cut]
    assert read_records(path) == kept
    append_record(path, Record(run="next", task="t", memory="m"))
    assert [record.run for record in read_records(path)] == [record.run for record in kept] + ["next"]
    assert len(lines_of(path)) == len(kept) + 1


def test_a_long_torn_line_is_cut_away(tmp_path):
    path = tmp_path / "r.jsonl"
    append_record(path, Record(run="a", task="t", memory="m"))
    with path.open("ab") as file:
        file.write(b'{"run": "' + b"x" * 300_000)
    append_record(path, Record(run="b", task="t", memory="m"))
    assert [line["run"] for line in lines_of(path)] == ["a", "b"]


def _append_many(path, writer):
    for i in range(15):
        append_record(path, Record(run=f"{writer}-{i}", task="t" * 5000, memory="m"))


def test_writers_side_by_side_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "r.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append_many, args=(path, w)) for w in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(lines_of(path)) == 60
    assert {record.run for record in read_records(path)} == {f"{w}-{i}" for w in range(4) for i in range(15)}


def test_the_latest_line_of_a_run_counts_and_keeps_its_place(tmp_path):
    path = tmp_path / "r.jsonl"
    for run, error in (("a", "first"), ("b", None), ("a", "second")):
        append_record(path, Record(run=run, task="t", memory="m", error=error))
    append_record(path, Record(run="a", task="t", memory="m", purpose="search"))
    assert [(r.run, r.purpose, r.error) for r in read_records(path)] == [
        ("a", "final", "second"),
        ("b", "final", None),
        ("a", "search", None),
    ]


def test_a_broken_line_in_the_middle_is_said_and_left_out(tmp_path, caplog):
    path = tmp_path / "r.jsonl"
    append_record(path, Record(run="a", task="t", memory="m"))
    path.write_bytes(path.read_bytes() + b"\x00\x00\x00\n" + path.read_bytes().replace(b'"a"', b'"b"'))
    assert [record.run for record in read_records(path)] == ["a", "b"]
    assert "line 2" in caplog.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"schema": 2, "run": "a", "task": "t", "memory": "m"}', "schema 2; this mnemic reads up to 1"),
        ('{"run": "a", "memory": "m"}', "line 1 is not a run: task: Field required"),
        ('{"run": "a", "memory": "m", "task": "t", "cost": {"parameters": "many"}}', "cost.parameters"),
    ],
)
def test_a_line_that_is_no_run_is_named(tmp_path, line, message):
    path = tmp_path / "r.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match=message):
        read_records(path)


def test_a_file_of_something_else_is_left_alone(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("my notes, no line feed")
    with pytest.raises(UsageError, match="does not hold results"):
        append_record(path, Record(run="a", task="t", memory="m"))
    assert path.read_text() == "my notes, no line feed"


def test_no_file_is_no_runs(tmp_path):
    assert read_records(tmp_path / "results.jsonl") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_one_message():
    with pytest.raises(MnemicError, match="No space left on device; the runs already in it are kept"):
        append_record(Path("/dev/full"), Record(run="a", task="t", memory="m"))


def test_a_folder_that_is_missing_is_one_message(tmp_path):
    with pytest.raises(MnemicError, match="No such file or directory"):
        append_record(tmp_path / "missing" / "r.jsonl", Record(run="a", task="t", memory="m"))


def test_json_lines_hold_metrics_beside_cost(make_record):
    shown = json.loads(json_line(make_record("attention", 1)))
    assert {"task", "memory", "seed", "metrics", "cost"} <= shown.keys()
    assert {"parameters", "memory_bytes", "train_seconds", "tokens_per_second"} <= shown["cost"].keys()
    assert shown["seed"] == 1
    assert "error" not in shown
    text = json.loads(json_line(make_record("attention", 0, "text")))
    assert {"loss", "recall_hit_loss", "other_loss"} <= text["metrics"].keys()
    failed = json.loads(json_line(make_record(status="failed", error="loss became NaN")))
    assert (failed["status"], failed["error"]) == ("failed", "loss became NaN")


def test_reports_load_no_torch():
    code = (
        "import sys, mnemic.report.html, mnemic.report.tables, mnemic.report.claims; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
