"""Trackers with their real libraries, offline; and that none of them can stop a run."""

import json
import os
import sqlite3
import struct
import subprocess
import sys

import pytest

from mnemic.errors import MissingExtra, UsageError
from mnemic.tasks import parse_task
from mnemic.training import trackers
from mnemic.training.config import TrainConfig
from mnemic.training.runs import RunSpec, run
from mnemic.training.shell import Shell
from mnemic.training.trackers import Tracking, check_trackers

STEPS = 6


def spec(*track: str) -> RunSpec:
    training = TrainConfig(steps=STEPS, batch_size=4, eval_every=3, eval_rows=4, lr=0.002, seed=3, device="cpu")
    task = parse_task("mqar:pairs=2,length=16,vocab=32")
    return RunSpec(task, "attention", Shell(width=16, depth=1), training, test_rows=8, track=track)


def test_tensorboard_holds_every_step_the_validation_and_the_end(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    record = run(spec("tensorboard"), tmp_path)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name == "attention-seed-3"
    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
    for tag in ("loss", "lr", "gradient_norm", "tokens_per_second"):
        assert [point.step for point in scalars[tag]] == list(range(1, STEPS + 1)), tag
    assert [point.step for point in scalars["valid_loss"]] == [3, 6]
    assert [p.value for p in scalars["valid_loss"]] == pytest.approx([p.valid_loss for p in record.curve], rel=1e-6)
    assert scalars["final/loss"][0].value == pytest.approx(record.metrics["loss"], rel=1e-6)
    mean = sum(point.value for point in scalars["loss"][:3]) / 3
    assert mean == pytest.approx(record.curve[0].train_loss, rel=1e-5)
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"lr": 0.002' in text


ONE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_trackers import spec
from mnemic.training.runs import run
run(spec(sys.argv[1]), Path(sys.argv[2]))
"""


def run_with(name: str, folder, **environment) -> None:
    """In a process of its own: these libraries leave threads behind."""
    command = [sys.executable, "-c", ONE, name, str(folder), os.path.dirname(__file__)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stderr


def written_by_wandb(file) -> list[bytes]:
    """The records of its file: LevelDB's log format, 32 KiB blocks of (checksum, length, kind, data)."""
    content, at, records = file.read_bytes(), 7, []
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # a block's tail too short for a header is padding
            at += 32768 - at % 32768
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        data = content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 2):  # whole, or the first part
            records.append(data)
        else:
            records[-1] += data
    return records


@pytest.mark.slow
def test_weights_and_biases_offline(tmp_path):
    from wandb.proto import wandb_internal_pb2

    run_with("wandb", tmp_path, WANDB_MODE="offline")
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    rows, summary = [], {}
    for data in written_by_wandb(file):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        if record.HasField("history"):
            rows.append({"".join(item.nested_key) or item.key: item.value_json for item in record.history.item})
        for item in record.summary.update:
            summary["".join(item.nested_key) or item.key] = item.value_json
    assert len(rows) == STEPS
    assert all({"loss", "lr", "gradient_norm", "tokens_per_second"} <= set(row) for row in rows)
    assert ["valid_loss" in row for row in rows] == [False, False, True, False, False, True]
    results = json.loads((tmp_path / "results.jsonl").read_text())
    assert float(summary["final/loss"]) == pytest.approx(results["metrics"]["loss"])


@pytest.mark.slow
def test_trackio_keeps_it_on_this_machine(tmp_path):
    kept = tmp_path / "kept"
    run_with("trackio", tmp_path / "run", TRACKIO_DIR=str(kept))
    (file,) = kept.glob("*.db")
    with sqlite3.connect(file) as database:
        rows = [json.loads(line) for (line,) in database.execute("select metrics from metrics order by id")]
        config = " ".join(str(row) for row in database.execute("select * from configs"))
    assert sum("gradient_norm" in row for row in rows) == STEPS
    assert sum("valid_loss" in row for row in rows) == 2
    assert "final/loss" in rows[-1]
    assert "attention" in config


class Broken:
    """A tracker that works until `loss` is logged the second time."""

    calls = 0

    def __init__(self, run, directory):
        pass

    def log(self, step, numbers):
        Broken.calls += 1
        if step == 2:
            raise RuntimeError("the disk of the tracker is full\nand more")

    def finish(self, metrics):
        raise AssertionError("told after it failed")


def test_a_tracker_that_fails_is_said_once_and_stops_nothing(tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(trackers.TRACKERS, "broken", ("json", "test_broken:Broken"))
    monkeypatch.setattr(trackers, "resolve", lambda target: Broken)
    said = []
    record = run(spec("broken"), tmp_path, on_progress=lambda progress: said.append(progress.warnings))
    assert record.status == "done"
    assert Broken.calls == 2
    warnings = [r.message for r in caplog.records if "tracker" in r.message]
    assert warnings == [
        "tracker broken failed (RuntimeError: the disk of the tracker is full); the run goes on without it"
    ]
    assert said[-1] == tuple(warnings)


def test_trackers_are_no_part_of_what_decides_a_run():
    assert spec().id == spec("tensorboard").id


def test_wrong_names_and_missing_libraries_are_said_before_anything_runs(monkeypatch):
    with pytest.raises(UsageError, match="no tracker 'tensorbord'; did you mean 'tensorboard'"):
        spec("tensorbord").check()
    monkeypatch.setitem(trackers.TRACKERS, "absent", ("no_such_library", "x:Y"))
    with pytest.raises(MissingExtra, match="needs the extra 'trackers'"):
        check_trackers(("absent",))


def test_nothing_is_tracked_where_nothing_was_asked(tmp_path):
    tracking = Tracking((), None, tmp_path)
    tracking.log(1, {"loss": 1.0})
    tracking.finish({})
    assert not list(tmp_path.iterdir())
