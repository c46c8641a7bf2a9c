"""A grid on Ray: every run counts once whatever dies, and what is interrupted goes on."""

import psutil
import pytest

from mnemic.errors import MnemicError, UsageError
from mnemic.training.grid import run_grid

ray = pytest.importorskip("ray")

SLOW = {"steps": 4000, "checkpoint_every": 20, "eval_every": 200}


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(
        "local", num_cpus=2, include_dashboard=False, object_store_memory=100 << 20, log_to_driver=False,
        logging_level="ERROR",
    )  # fmt: skip
    yield
    ray.shutdown()


def workers_of(spec) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if f"ray::mnemic {spec.id}" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.slow
@pytest.mark.parametrize("shared", ["true", "false"])
def test_a_dead_workers_run_is_done_again_and_nothing_counts_twice(tmp_path, specs, lines_of, shared):
    victim, other = specs(2, steps=1500, checkpoint_every=20, eval_every=500)
    killed, said = [], []

    def kill_once(event):
        said.append((event.kind, event.spec.id))
        if event.kind == "progress" and event.spec.id == victim.id and not killed:
            killed.extend(workers_of(victim))
            for process in killed:
                process.kill()

    records = run_grid([victim, other], tmp_path, on_event=kill_once, on=f"ray:shared={shared}")
    assert killed
    assert ("retried", victim.id) in said
    assert sorted(record.seed for record in records) == [0, 1]
    assert {record.status for record in records} == {"done"}
    assert lines_of(tmp_path) == {victim.id: 1, other.id: 1}
    assert len(list((tmp_path / "runs").glob("*/model/model.safetensors"))) == 2
    again = run_grid([victim, other], tmp_path, on=f"ray:shared={shared}", on_event=lambda e: said.append((e.kind, "")))
    assert len(again) == 2
    assert ("kept", "") in said
    assert ("started", "") not in said


@pytest.mark.slow
def test_interrupted_runs_come_back_with_their_checkpoints_and_go_on(tmp_path, specs, lines_of):
    (spec,) = specs(1, **SLOW)

    def interrupt(event):
        if event.kind == "progress" and event.progress["step"] > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_grid([spec], tmp_path, on_event=interrupt, on="ray:shared=false")
    assert not lines_of(tmp_path)
    (left,) = sorted(tmp_path.glob("runs/*/checkpoints/step-*"))[-1:]
    stopped_at = int(left.name.removeprefix("step-"))
    assert 20 < stopped_at < 4000
    steps = []

    def watch(event):
        if event.kind == "progress":
            steps.append(event.progress["step"])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_grid([spec], tmp_path, on_event=watch, on="ray:shared=false")
    assert steps[0] > stopped_at, "it goes on, it does not begin again"


@pytest.mark.slow
def test_a_run_asks_for_what_it_needs(tmp_path, specs):
    at_once, most = set(), 0

    def count(event):
        nonlocal most
        at_once.add(event.spec.id) if event.kind == "started" else None
        at_once.discard(event.spec.id) if event.record is not None else None
        most = max(most, len(at_once))

    records = run_grid(specs(2), tmp_path, on_event=count, on="ray:cpus=2")
    assert most == 1
    assert {record.hardware["threads"] for record in records} == {2}


def test_what_no_machine_has_is_refused(tmp_path, specs):
    with pytest.raises(MnemicError, match=r"has 2 CPU, 0 GPU, and a run asks for cpus=1, gpus=4"):
        run_grid(specs(1), tmp_path, on="ray:gpus=4")


def test_a_run_that_fails_is_not_tried_again(tmp_path, specs):
    kinds = []
    (record,) = run_grid(
        specs(1, lr=1e30, clip=0), tmp_path, on="ray:shared=false", on_event=lambda event: kinds.append(event.kind)
    )
    assert record.status == "failed"
    assert "learning rate" in record.error
    assert "retried" not in kinds


@pytest.mark.parametrize(
    ("on", "message"),
    [
        ("rya", "no place 'rya' to run on; did you mean 'ray'"),
        ("ray:cpu=2", "unknown option 'cpu'; did you mean 'cpus'"),
        ("ray:cpus=0", "cpus=0: must be greater than 0"),
        ("local:4", "'4' is not option=value"),
    ],
)
def test_wrong_places_are_named(tmp_path, specs, on, message):
    with pytest.raises(UsageError, match=message):
        run_grid(specs(1), tmp_path, on=on)
