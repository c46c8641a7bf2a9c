"""`mnemic compare` as a user and a script meet it."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mnemic.cli import cli
from mnemic.report.records import read_records
from mnemic.training import provenance

TASK = "mqar:pairs=2,length=16,vocab=32"
QUICK = ["--budget", "6", "--batch-size", "4", "--width", "16", "--depth", "1", "--test-rows", "8", "--device", "cpu"]


@pytest.fixture(autouse=True)
def _sources_may_be_edited_while_tests_run(monkeypatch):
    monkeypatch.setattr(provenance, "_adopted", [provenance.code_version()])


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)


def test_json_is_one_object_per_judged_run_and_nothing_else(tmp_path):
    out = tmp_path / "out"
    result = compare(
        TASK, "attention", "mamba2", *QUICK, "--seeds", "0,1", "--lr-grid", "1e-3,3e-3", "--json", "--output", str(out)
    )
    assert result.exit_code == 0, result.stderr
    runs = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted((run["memory"], run["seed"]) for run in runs) == [
        (m, s) for m in ("attention", "mamba2") for s in (0, 1)
    ]
    for run in runs:
        assert set(run) == {"task", "memory", "seed", "lr", "metrics", "cost", "run"}
        assert run["task"] == TASK
        assert run["lr"] in (1e-3, 3e-3)
        assert 0 <= run["metrics"]["accuracy"] <= 1
        assert {"parameters", "memory_bytes", "train_seconds", "tokens_per_second"} <= set(run["cost"])
    assert (out / "report.html").exists()
    assert len(read_records(out / "results.jsonl")) == 4 + 4
    assert "edge of the grid" in result.stderr

    again = compare(TASK, "attention", *QUICK, "--output", str(out))
    assert again.exit_code == 2
    assert "already holds 8 runs" in again.stderr
    assert "--resume" in again.stderr
    resumed = compare(
        TASK,
        "attention",
        "mamba2",
        *QUICK,
        "--seeds",
        "0,1",
        "--lr-grid",
        "1e-3,3e-3",
        "--json",
        "--resume",
        "--output",
        str(out),
    )
    assert resumed.exit_code == 0
    assert sorted(resumed.stdout.splitlines()) == sorted(result.stdout.splitlines()), "nothing is run again"


def test_another_task_may_join_a_folder_and_the_table_is_printed(tmp_path):
    out = str(tmp_path / "out")
    first = compare(TASK, "attention", *QUICK, "--lr-grid", "1e-3", "--out", out)
    text = compare("text:python-reference,length=16", "attention:heads=2", *QUICK, "--lr-grid", "1e-3", "--out", out)
    assert first.exit_code == text.exit_code == 0, text.stderr
    assert "attention" in first.stdout
    assert "bits/B" in text.stdout
    assert "report:" in text.stderr
    assert {record.task for record in read_records(Path(out) / "results.jsonl")} == {
        TASK,
        "text:python-reference,length=16",
    }
    assert read_records(Path(out) / "results.jsonl")[1].metrics["bits_per_byte"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mqra", "attention"], "unknown task 'mqra'; did you mean 'mqar'"),
        (["mqar:pears=8", "attention"], "unknown option 'pears'; did you mean 'pairs'"),
        ([TASK, "mamba3"], "unknown memory 'mamba3'; did you mean 'mamba2'"),
        ([TASK, "mamba2:stat=8"], "memory 'mamba2': unknown option 'stat'; did you mean 'state'"),
        ([TASK, "mamba2:state=none"], "state=none: must be a valid integer"),
        ([TASK, "attention", "attention"], "memory attention is given twice"),
        ([TASK, "attention", "--lr-grid", "a,b"], "'a,b' is not a list of numbers such as 1e-3,3e-3"),
        ([TASK, "attention", "--lr-grid", "-1"], "training: lr=-1.0: must be greater than 0"),
        (
            [TASK, "attention", "--batch-size", "6", "--accumulation", "4"],
            "accumulation 4 does not divide batch_size 6",
        ),
        ([TASK, "attention", "--output", "/dev/null/out"], "cannot write to the folder '/dev/null/out'"),
        (["text:no-such-file", "attention"], "no-such-file"),
        ([TASK], "MEMORY"),
    ],
)
def test_wrong_use_exits_2_with_one_line(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    result = compare(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_failed_memory_exits_1_and_the_others_are_shown(tmp_path):
    out = tmp_path / "out"
    # the only rate in the grid is far too high for training to stay finite
    result = compare(TASK, "attention", *QUICK, "--budget", "40", "--lr-grid", "1e38", "--json", "--output", str(out))
    assert result.exit_code == 1
    (run,) = [json.loads(line) for line in result.stdout.splitlines()]
    assert run["metrics"] == {}
    assert "at step" in run["error"]
    assert "not every run finished: attention" in result.stderr


def start(out: Path, *options: str, **pipes) -> subprocess.Popen:
    command = [sys.executable, "-m", "mnemic", "compare", TASK, "attention", "mamba2", *QUICK[2:], *options]
    return subprocess.Popen([*command, "--lr-grid", "1e-3", "--jobs", "1", "--output", str(out)], text=True, **pipes)


def test_interrupt_keeps_what_is_done_and_says_how_to_go_on(tmp_path):
    out = tmp_path / "out"
    process = start(
        out, "--budget", "100", "--stop-at", "0", stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while not (out / "results.jsonl").exists():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    go_on = re.search(r"mnemic compare .* --resume", said)
    assert go_on, said
    assert (out / "report.html").exists()
    assert [record.memory for record in read_records(out / "results.jsonl")] == ["attention"]


def test_a_terminal_gets_a_live_table(tmp_path):
    ours, theirs = pty.openpty()
    process = start(tmp_path / "out", "--budget", "20", stderr=theirs, stdout=subprocess.PIPE)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # Linux reports the end of a pseudo-terminal so
            break
        if not piece:
            break
        seen += piece
    assert process.wait() == 0, seen.decode()
    assert b"runs done" in seen
    assert b"/20" in seen
    assert b"attention" in seen
    assert "mamba2" in process.stdout.read()
