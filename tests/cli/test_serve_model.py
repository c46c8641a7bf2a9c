"""`mnemic serve-model` as a user starts it: a process that says where it listens, and that can be asked and stopped."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import openai
import pytest
from click.testing import CliRunner
from taught_checkpoint import ANSWER, shared_checkpoint

from mnemic.cli import cli
from mnemic.teaching.memento.memento_file import read_memento_file, write_memento_file


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "taught"
    shutil.copytree(shared_checkpoint(tmp_path_factory), run / "model")
    return run


def test_it_serves_until_it_is_stopped(checkpoint: Path) -> None:
    command = [sys.executable, "-m", "mnemic", "serve-model", str(checkpoint), "--port=0", "--json", "--threads=1"]
    environment = os.environ | {"MNEMIC_API_KEY": "secret", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        about = json.loads(process.stdout.readline())
        client = openai.OpenAI(base_url=about["url"], api_key="secret", max_retries=0)
        reply = client.chat.completions.create(
            model=about["model"], messages=[{"role": "user", "content": "abc"}], temperature=0
        )
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        said = process.stderr.read()
    assert reply.choices[0].message.content == ANSWER
    assert about["model"] == "taught"
    assert f"listening on {about['url']}" in said
    assert "blocks are evicted" in said
    assert "Traceback" not in said


def test_what_cannot_be_served_is_said(checkpoint: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        done = CliRunner().invoke(cli, ["serve-model", *arguments])
        assert done.exit_code == 2, done.output
        return done.output

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        assert f"cannot listen on 127.0.0.1:{port}" in refused(str(checkpoint), "--port", port)
    assert "cannot load a model from" in refused(str(tmp_path), "--port", "0")
    model = checkpoint / "model"
    about = read_memento_file(model)
    write_memento_file(model, about.model_copy(update={"trained_with": "full"}))
    try:
        assert "never did without its blocks" in refused(str(checkpoint), "--port", "0")
    finally:
        write_memento_file(model, about)
    assert "--kv-budget" in refused(str(checkpoint), "--kv-budget", "0")
