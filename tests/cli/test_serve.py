"""`mnemic serve` and `mnemic keys` as a user starts them, and one clear line for what goes wrong."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from click.testing import CliRunner

from mnemic.cli import cli


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("MNEMIC_STORE", "MNEMIC_TENANT", "MNEMIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def as_json(*arguments: str) -> Any:
    done = CliRunner().invoke(cli, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refused(*arguments: str, code: int = 2) -> str:
    done = CliRunner().invoke(cli, list(arguments))
    assert done.exit_code == code, done.output
    assert len(done.output.strip().split("\n")) == 1
    assert "bug" not in done.output
    return done.output


@contextmanager
def served(*arguments: str) -> Iterator[tuple[Any, list[str]]]:
    """What it says about itself, and what it has said on standard error once it has stopped."""
    command = [sys.executable, "-m", "mnemic", "serve", "--port=0", "--json", *arguments]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            yield json.loads(process.stdout.readline()), said
        finally:
            process.send_signal(signal.SIGINT)
            code = process.wait(30)
            said.append(process.stderr.read())
        assert code == 0
        assert "Traceback" not in said[0]


def test_a_store_without_keys_is_served_to_this_machine() -> None:
    with served("--tenant", "anna", "--access-log") as (about, said):
        added = httpx2.post(f"{about['url']}/v1/events", json={"events": [{"text": "The key is under the mat."}]})
        assert added.json()["stored"] == 1
        assert httpx2.get(about["url"]).headers["content-type"].startswith("text/html")
    assert about["keys"] is False
    assert "memory of tenant 'anna'" in said[0]
    [line] = [json.loads(line) for line in said[0].splitlines() if '"/v1/events"' in line]
    assert (line["method"], line["status"]) == ("POST", 200)
    hits = as_json("recall", "Where is the key?", "--tenant", "anna")["hits"]
    assert hits[0]["text"] == "The key is under the mat."


def test_keys_open_a_store_until_they_are_revoked() -> None:
    made = as_json("keys", "add", "laptop", "--tenant", "anna")
    shown = CliRunner().invoke(cli, ["keys", "list"]).output
    assert made["id"] in shown
    assert made["key"] not in shown
    with served() as (about, said):
        headers = {"Authorization": f"Bearer {made['key']}"}
        assert httpx2.get(f"{about['url']}/v1/stats").status_code == 401
        assert httpx2.get(f"{about['url']}/v1/stats", headers=headers).json()["tenant"] == "anna"
        assert as_json("keys", "revoke", made["id"])["revoked_at"] is not None
        assert httpx2.get(f"{about['url']}/v1/stats", headers=headers).status_code == 401
    assert about["keys"] is True
    assert "keys decide" in said[0]
    assert "keys list" in refused("keys", "revoke", "nothing")
    assert "name" in refused("keys", "add", " ")


def test_what_cannot_be_served_is_said_in_one_line(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}" in refused("serve", "--port", port)
    assert "has no keys" in refused("serve", "--host", "0.0.0.0", "--port", "0")
    assert "does not exist" in refused("serve", "--port", "0", "--store", "no/such/folder.db")
    assert "unknown encoder" in refused("serve", "--port", "0", "--encoder", "wordlama")
    assert "--mcp" in refused("serve", "--url", "http://localhost:1")
    assert "http://" in refused("serve", "--mcp", "--url", "localhost:1")
    assert "cannot be reached" in refused("serve", "--mcp", "--url", "http://127.0.0.1:9", code=1)
    assert "belong together" in refused("serve", "--llm", "http://localhost:1/v1")
    newer = sqlite3.connect("memory.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    assert "schema 99" in refused("serve", "--port", "0")
    (folder / "text.db").write_text("no store " * 500)
    assert "no mnemic store" in refused("serve", "--port", "0", "--store", "text.db", code=1)


def test_a_store_that_cannot_be_written_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk without write access is made up, as root writes everywhere."""
    from mnemic.storage import sqlite

    assert CliRunner().invoke(cli, ["remember", "-"], input="A text.").exit_code == 0
    connect = sqlite.connect

    def read_only(path: Path, **options: Any) -> sqlite3.Connection:
        connection = connect(path, **options)
        connection.execute("PRAGMA query_only = ON")
        return connection

    monkeypatch.setattr(sqlite, "connect", read_only)
    assert "cannot be written" in refused("serve", "--port", "0", code=1)


def test_a_missing_extra_is_named() -> None:
    code = (
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'mcp' else found(name, *a)\n"
        "from mnemic.cli import main\n"
        "sys.argv = ['mnemic', 'serve', '--port', '0']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert (done.returncode, "mnemic[store-server]" in done.stderr) == (2, True), done.stderr


def test_the_server_needs_no_torch() -> None:
    code = (
        "import sys\n"
        "from mnemic.storage.server.app import make_app\n"
        "from mnemic.storage.server.stores import Stores\n"
        "stores = Stores.open('memory.db')\n"
        "app = make_app(stores, tenant='anna')\n"
        "stores.of('anna').add('A text.')\n"
        "stores.close()\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
