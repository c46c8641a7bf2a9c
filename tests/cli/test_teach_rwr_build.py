"""From questions to rows with notes, as a new user makes them: build, go on, mix anew, validate; what is refused."""

import json

import pytest
from click.testing import CliRunner

from mnemic import cli as command_line
from mnemic.teaching.records import RecallRecord, read_jsonl

SOURCE = "histories:count=4,tokens=300"


def run(*arguments):
    return CliRunner().invoke(command_line.cli, ["teach", "rwr", *map(str, arguments)])


def build(output, *options, source=SOURCE, teacher="oracle"):
    return run("build", source, "--teacher", teacher, "--output", output, "--workers", 2, *options)


def test_from_histories_to_valid_rows(tmp_path):
    done = build(tmp_path / "data", "--json")
    assert done.exit_code == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["made"] == {"valid": 16, "empty": 12, "plain": 20}
    assert said["taken"] == {"empty": 6, "plain": 20, "valid": 14}
    assert said["calls"]["requests"] == 20 + 4 + 12
    checked = run("validate", tmp_path / "data/recall.jsonl", "--json")
    assert checked.exit_code == 0, checked.stderr
    report = json.loads(checked.stdout)
    assert report["kinds"] == said["taken"]
    assert report["dropped"] == said["left_out"] == {"answer_not_in_context": 4, "evidence_left": 4}
    assert len(list(read_jsonl(tmp_path / "data/recall.jsonl", RecallRecord))) == 40


def test_tables_show_kinds_and_reasons(tmp_path):
    done = build(tmp_path / "data")
    for word in ("usable rows", "valid", "empty", "plain", "left out: evidence_left", "note tokens"):
        assert word in done.stdout
    assert run("validate", tmp_path / "data/recall.jsonl").stdout == done.stdout


def test_another_mixture_of_the_same_build(tmp_path):
    build(tmp_path / "data")
    refused = build(tmp_path / "data", "--empty-ratio", 0)
    assert "add --resume" in refused.stderr
    mixed = build(tmp_path / "data", "--empty-ratio", 0, "--plain-ratio", 0, "--resume", "--json")
    said = json.loads(mixed.stdout)
    assert said["taken"] == {"valid": 16}
    assert said["calls"]["requests"] == 0


def test_damage_is_found(tmp_path):
    build(tmp_path / "data")
    path = tmp_path / "data/recall.jsonl"
    path.write_text(path.read_text().replace('"summary": "empty"', '"summary": "Empty."'))
    found = run("validate", path)
    assert found.exit_code == 1
    assert "6 of 40 lines" in found.stderr
    assert "empty_note" in found.stderr


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("questions.jsonl", [], "--teacher oracle knows histories only"),
        ("histories:tokens=1", [], "tokens=1"),
        ("histories:size=1", [], "unknown option 'size'"),
    ],
)
def test_what_is_refused(tmp_path, source, options, words):
    refused = build(tmp_path / "data", *options, source=source)
    assert words in refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_server_needs_a_model_and_a_source_its_columns(tmp_path):
    where = {"teacher": "http://127.0.0.1:9/v1"}
    assert "--model is missing" in build(tmp_path / "data", **where).stderr
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    refused = build(tmp_path / "data", "--model", "m", source=str(tmp_path / "rows.jsonl"), **where)
    assert "known are recall: answer, context, query" in refused.stderr


def test_nothing_came_of_it(tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text(json.dumps({"context": "word " * 50, "query": "q", "answer": "x"}) + "\n")
    options = ("--model", "m", "--max-length", 10)
    done = build(tmp_path / "data", *options, source=str(source), teacher="http://127.0.0.1:9/v1")
    assert "no row came of it: too_long (1)" in done.stderr
