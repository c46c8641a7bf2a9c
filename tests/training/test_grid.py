"""Runs side by side: finished ones count once whatever is killed, and one that dies takes no other with it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace

import psutil
import pytest

from mnemic.errors import MnemicError, UsageError
from mnemic.report.records import read_records
from mnemic.tasks import parse_task
from mnemic.training import provenance
from mnemic.training.config import TrainConfig
from mnemic.training.grid import run_grid
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell

QUICK = TrainConfig(steps=10, batch_size=4, eval_every=5, eval_rows=4, checkpoint_every=3, device="cpu")


@pytest.fixture(autouse=True)
def _sources_may_be_edited_while_tests_run(monkeypatch):
    monkeypatch.setattr(provenance, "_adopted", [provenance.code_version()])


def specs(count: int, **training) -> list[RunSpec]:
    task, shell = parse_task("mqar:pairs=2,length=16,vocab=32"), Shell(width=16, depth=1)
    options = TrainConfig.model_validate({**QUICK.model_dump(), **training})
    return [
        RunSpec(task, "attention", shell, options.model_copy(update={"seed": seed}), test_rows=8)
        for seed in range(count)
    ]


def lines(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_every_run_gives_one_record_and_is_not_repeated(tmp_path):
    kinds = Counter()
    records = run_grid(specs(3), tmp_path, jobs=2, on_event=lambda event: kinds.update([event.kind]))
    assert sorted(record.seed for record in records) == [0, 1, 2]
    assert {record.status for record in records} == {"done"}
    assert kinds["queued"] == kinds["started"] == kinds["done"] == 3
    assert all(record.versions["code"] == provenance.code_version() for record in records)
    again = run_grid(specs(4), tmp_path, jobs=2, on_event=lambda event: kinds.update([event.kind]))
    assert kinds["kept"] == 3
    assert kinds["started"] == 4
    assert sorted(record.seed for record in again) == [0, 1, 2, 3]
    assert len(lines(tmp_path)) == 4


def test_record_holds_all_that_a_report_needs(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    (record,) = run_grid(specs(1), tmp_path, jobs=1)
    (line,) = lines(tmp_path)
    assert line["run"] == record.run == specs(1)[0].id
    assert len(line["run"]) == 12
    for name in ("accuracy", "accuracy_low", "accuracy_high", "row_accuracy", "loss"):
        assert line["metrics"][name] is not None
    cost = line["cost"]
    assert cost["memory_bytes"] == cost["memory_bytes_at"]["16"] > 0
    for name in ("parameters", "train_seconds", "tokens_per_second", "decode_tokens_per_second", "peak_memory_bytes"):
        assert cost[name] > 0, name
    assert line["shell"] == {
        "width": 16, "depth": 1, "feed_forward": 64, "conv_size": 4, "init": "small", "tied": True,
    }  # fmt: skip
    assert line["layers"][0]["mixer"] == "attention"
    assert line["layers"][0]["conv_size"] == 4
    assert {point["value"] for point in line["slices"]["pairs"]} == {"2", "4"}
    assert [point["step"] for point in line["curve"]] == [5, 10]
    assert line["information_bits"] == record.information_bits > 0
    assert line["hardware"]["threads"] == 3
    assert "→" in line["example"]


def test_follow_ups_run_once_and_before_what_waits(tmp_path):
    order = []

    def follow(spec, record):
        order.append(spec.training.seed)
        return [] if spec.training.seed else [specs(9)[8], specs(9)[8], specs(1)[0]]

    run_grid(specs(2), tmp_path, jobs=1, follow_up=follow)
    assert order == [0, 8, 1]


def test_a_run_goes_on_from_the_weights_of_another(tmp_path):
    first = specs(1)[0]
    second = replace(first, training=first.training.model_copy(update={"lr": 1e-12}), after=first)
    assert second.id != replace(second, after=None).id
    ran = run_grid([first], tmp_path, jobs=1, follow_up=lambda spec, record: [second] if spec.id == first.id else [])
    assert [record.status for record in ran] == ["done", "done"]
    assert ran[1].metrics["loss"] == pytest.approx(ran[0].metrics["loss"], abs=1e-6)


def test_a_run_whose_predecessor_left_no_model_says_so(tmp_path):
    first = specs(1)[0]
    (failed,) = run_grid([replace(first, after=specs(2)[1])], tmp_path, jobs=1)
    assert failed.status == "failed"
    assert "must be finished first" in str(failed.error)


def test_a_worker_that_is_killed_gives_a_failed_record_and_the_others_go_on(tmp_path):
    victim = specs(3, steps=2000)[0]
    survivors = specs(3)[1:]

    def kill(event):
        if event.kind == "progress" and event.spec.id == victim.id:
            mine = [p for p in psutil.Process().children(recursive=True) if works_on(p, victim)]
            for process in mine:
                process.send_signal(signal.SIGKILL)

    records = {r.seed: r for r in run_grid([victim, *survivors], tmp_path, jobs=1, on_event=kill)}
    assert records[0].status == "failed"
    assert "killed at step" in records[0].error
    assert "batch_size=" in records[0].error
    assert [records[1].status, records[2].status] == ["done", "done"]


def works_on(process: psutil.Process, spec: RunSpec) -> bool:
    try:
        return any(spec.id in file.path for file in process.open_files())
    except psutil.Error:
        return False


def test_a_run_that_fails_says_why_and_is_tried_again(tmp_path):
    (bad,) = specs(1, lr=1e30, clip=0)
    for tries in (1, 2):
        (record,) = run_grid([bad], tmp_path, jobs=1)
        assert record.status == "failed"
        assert "at step" in record.error
        assert "learning rate" in record.error
        assert len(lines(tmp_path)) == tries
    (kept,) = read_records(tmp_path / "results.jsonl")
    assert kept.status == "failed"


GRID = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_grid import specs
from mnemic.training.grid import run_grid
from mnemic.training.provenance import adopt_code_version
if __name__ == "__main__":
    adopt_code_version(sys.argv[3])
    run_grid(specs(6, steps=40), Path(sys.argv[1]), jobs=2)
"""


def start_grid(tmp_path) -> subprocess.Popen:
    script = tmp_path / "grid.py"
    script.write_text(GRID)
    arguments = [str(tmp_path / "out"), os.path.dirname(__file__), provenance.code_version()]
    return subprocess.Popen([sys.executable, str(script), *arguments], stderr=subprocess.PIPE, text=True)


def wait_for_a_result(process, results) -> None:
    deadline = time.monotonic() + 120
    while not (results.exists() and results.read_text().count("\n")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_after_a_kill_of_the_whole_grid_every_run_counts_exactly_once(tmp_path):
    process = start_grid(tmp_path)
    wait_for_a_result(process, tmp_path / "out" / "results.jsonl")
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=30)
    assert not alive, "workers end with their grid"
    before = len(lines(tmp_path / "out"))
    assert before < 6
    records = run_grid(specs(6, steps=40), tmp_path / "out", jobs=2)
    assert sorted(record.seed for record in records) == list(range(6))
    finished = Counter(line["run"] for line in lines(tmp_path / "out"))
    assert len(finished) == 6
    assert set(finished.values()) == {1}


def test_interrupt_stops_the_workers_with_checkpoints_and_keeps_what_is_done(tmp_path):
    started = threading.Event()

    def interrupt(event):
        if event.kind == "progress" and (event.progress or {}).get("step", 0) > 1:
            started.set()
            raise KeyboardInterrupt

    slow = specs(2, steps=5000, checkpoint_every=5000)
    with pytest.raises(KeyboardInterrupt):
        run_grid(slow, tmp_path, jobs=2, on_event=interrupt)
    assert started.is_set()
    assert not [p for p in psutil.Process().children(recursive=True) if any(works_on(p, spec) for spec in slow)]
    assert not (tmp_path / "results.jsonl").exists() or not lines(tmp_path)
    folders = list((tmp_path / "runs").iterdir())
    assert any(list(folder.glob("checkpoints/step-*")) for folder in folders), "stopped at a step, not thrown away"


def test_folder_that_cannot_be_written_is_wrong_use(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write to the folder '.*file/out'"):
        run_grid(specs(1), tmp_path / "file" / "out", jobs=1)


def test_two_grids_do_not_share_a_folder(tmp_path):
    def try_another(event):
        if event.kind == "started":
            with pytest.raises(MnemicError, match="another mnemic is at work"):
                run_grid(specs(1), tmp_path, jobs=1)

    run_grid(specs(1), tmp_path, jobs=1, on_event=try_another)


def test_results_of_other_code_are_run_again(tmp_path, monkeypatch):
    run_grid(specs(1), tmp_path, jobs=1)
    monkeypatch.setattr(provenance, "_adopted", ["another"])
    (record,) = run_grid(specs(1), tmp_path, jobs=1)
    assert record.versions["code"] == "another"
    assert len(lines(tmp_path)) == 2
