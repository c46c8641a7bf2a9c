"""The store on the command line, as a user meets it: from files to answers, and one clear line for what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mnemic import cli as command_line


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MNEMIC_STORE", raising=False)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "spree.md").write_text("# The Spree\n\nBerlin lies on the river Spree.\n")
    (notes / "key.txt").write_text("The key is under the mat.\n")
    lines = [
        {"session": "s1", "actor": "Anna", "time": "2024-01-01T10:00:00Z", "text": "I moved to Berlin last week."},
        {"session": "s1", "actor": "Bob", "time": "2024-02-01T10:00:00Z", "text": "And I bought a kayak."},
    ]
    (notes / "chat.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(command_line.cli, list(arguments), input=stdin)


def as_json(*arguments: str) -> Any:
    done = run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_from_files_to_answers() -> None:
    assert as_json("remember", "notes")["stored"] == 4
    again = as_json("remember", "notes")
    assert (again["stored"], again["duplicates"], again["failed"]) == (0, 4, 0)
    found = as_json("recall", "Where is the key?", "-k", "1")
    assert set(found) == {"hits", "method", "seconds"}
    [hit] = found["hits"]
    assert set(hit) == {"id", "text", "score", "parts", "provenance"}
    assert hit["text"] == "The key is under the mat."
    assert hit["provenance"]["source"] == "notes/key.txt"
    stats = as_json("stats")
    assert {"events", "passages", "facts", "bytes", "encoder"} <= set(stats)
    assert (stats["events"], stats["passages"], stats["facts"], stats["encoder"]) == (4, 4, 0, "wordllama")


def test_standard_input_and_a_store_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MNEMIC_STORE", "elsewhere.db")
    assert run("remember", "-", stdin="A kayak is a boat.").exit_code == 0
    assert Path("elsewhere.db").exists()
    assert not Path("memory.db").exists()
    assert "A kayak is a boat." in run("recall", "kayak").output


def test_times_filters_and_reasons() -> None:
    run("remember", "notes")
    assert [
        h["provenance"]["actor"] for h in as_json("recall", "kayak", "--session", "s1", "--at", "2024-01-15")["hits"]
    ] == ["Anna"]
    told = run("recall", "kayak", "--explain", "--method", "bm25")
    assert "Bob" in told.output
    assert "keyword" in told.output
    hit = as_json("recall", "kayak", "--explain")["hits"][0]
    assert hit["path"][0].startswith("auto:")


def test_forgetting_erasing_and_the_history() -> None:
    run("remember", "notes")
    hit = as_json("recall", "key", "-k", "1")["hits"][0]
    assert as_json("forget", hit["id"]) == {"forgotten": 1}
    assert as_json("recall", "key", "--method", "bm25")["hits"] == []
    assert [entry["action"] for entry in as_json("history", hit["id"])["history"]] == ["forget", "add"]
    refused = run("erase", "--subject", "Anna", stdin="n\n")
    assert refused.exit_code == 2
    assert "--yes" in refused.output
    assert as_json("erase", "--actor", "Anna", "--yes")["events"] == 1
    assert as_json("erase", "--everything", "--scrub", "--yes")["events"] == 3
    assert as_json("stats", "--check")["damage"] == []


def test_copies_and_moves() -> None:
    run("remember", "notes")
    assert as_json("backup", "copy.db")["bytes"] > 0
    assert as_json("export", "all.jsonl")["events"] == 4
    assert as_json("import", "all.jsonl", "--store", "other.db", "--tenant", "me")["events"] == 4
    for store, tenant in (("copy.db", "default"), ("other.db", "me")):
        assert as_json("stats", "--store", store, "--tenant", tenant)["events"] == 4
    assert as_json("jobs") == {"jobs": []}


def test_what_cannot_be_remembered_is_named_and_the_rest_is_kept() -> None:
    Path("notes/bad.txt").write_bytes(b"caf\xe9")
    Path("notes/image.png").write_bytes(b"\x89PNG\0\xff")
    Path("notes/empty.txt").write_text("")
    with Path("notes/chat.jsonl").open("a") as file:
        file.write("not json\n")
    done = run("remember", "notes")
    assert done.exit_code == 1
    assert "4 remembered, 4 failed" in done.output
    for name in ("bad.txt", "image.png", "empty.txt", "chat.jsonl:3"):
        assert f"not remembered: notes/{name}" in done.output


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("recall", "x"), "does not exist"),
        (("remember", "nothing"), "does not exist"),
        (("remember", "notes", "--store", "no/such/folder/m.db"), "does not exist"),
        (("remember", "notes", "--encoder", "wordlama"), "did you mean 'wordllama'"),
        (("remember", "notes", "--store", "notes/key.txt"), "no mnemic store"),
        (("import", "notes/key.txt"), "no export"),
        (("forget",), "does not exist"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], word: str) -> None:
    done = run(*arguments)
    assert done.exit_code in (1, 2)
    assert word in done.output
    assert "bug" not in done.output
    assert len(done.output.strip().split("\n")) == 1


def test_one_long_line_is_remembered() -> None:
    Path("long.txt").write_text("word " * 200_000 + "needle in the hay")
    assert as_json("remember", "long.txt", "--extract", "none")["stored"] == 1
    assert "needle" in as_json("recall", "needle", "-k", "1", "--method", "bm25")["hits"][0]["text"]


def test_a_server_does_the_jobs_that_wait_and_one_that_is_gone_loses_none(stub_server, completion, answer) -> None:
    assert run("remember", "notes", "--extract", "llm").exit_code == 0
    replies = {
        "entities": completion('{"entities": ["Berlin"]}'),
        "facts": completion('{"facts": [{"subject": "Berlin", "predicate": "lies on", "object": "Spree"}]}'),
    }
    there = [answer(status=400), answer(status=401)]

    def reply(number: int, body: dict[str, Any]) -> Any:
        if there:
            return there.pop()
        return replies["facts" if "facts" in json.dumps(body["response_format"]) else "entities"]

    server = stub_server(reply)
    refused = run("jobs", "--run", server.base_url, "--model", "m", "--json")
    assert refused.exit_code == 1
    assert json.loads(refused.stdout)["stopped"]
    assert {job["state"] for job in as_json("jobs")["jobs"]} == {"queued"}
    there.clear()
    done = as_json("jobs", "--run", server.base_url, "--model", "m")
    assert (done["done"], done["failed"], done["stopped"]) == (4, 0, "")
    assert as_json("stats")["facts"] == 1
    assert "belong together" in run("jobs", "--run", server.base_url).output


def test_the_store_works_where_torch_and_all_like_it_are_not_installed() -> None:
    missing = [
        "torch", "transformers", "accelerate", "matplotlib", "scipy", "psutil", "datasets", "peft", "pyarrow", "pandas",
        "sentence_transformers", "igraph", "sklearn", "httpx2", "fastapi", "wordllama", "psycopg", "usearch",
    ]  # fmt: skip
    code = (
        "import sys, time\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "from importlib.util import find_spec\n"
        "found = find_spec('wordllama')\n"
        "import mnemic.storage.encoders.static as static\n"
        "static.find_spec = lambda name: found\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        "from mnemic.cli import cli\n"
        "for line in ('remember notes', 'recall key', 'recall key --method rule-graph', 'stats', 'history', 'jobs',\n"
        "             'export e.jsonl', 'import e.jsonl --store other.db'):\n"
        "    cli.main(line.split(), standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    assert "The key is under the mat." in done.stdout
