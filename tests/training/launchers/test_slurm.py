"""Jobs of submitit, whose own local executor stands for Slurm."""

from pathlib import Path

import psutil
import pytest

from mnemic.errors import MnemicError
from mnemic.training.grid import run_grid

submitit = pytest.importorskip("submitit")
HERE = "slurm:executor=local"


def jobs_in(folder: Path) -> list[psutil.Process]:
    mine = psutil.Process().children(recursive=True)
    return [p for p in mine if p.is_running() and str(folder) in " ".join(p.cmdline())]


@pytest.mark.slow
def test_a_dead_job_is_submitted_again_and_every_run_counts_once(tmp_path, specs, lines_of):
    victim, other = specs(2, steps=600, checkpoint_every=20, eval_every=200)
    kinds, killed = [], []

    def kill_once(event):
        kinds.append((event.kind, event.spec.id))
        if event.kind == "progress" and event.spec.id == victim.id and not killed:
            killed.extend(jobs_in(tmp_path / "slurm"))
            for process in killed:
                process.kill()

    records = run_grid([victim, other], tmp_path, jobs=1, on_event=kill_once, on=HERE)
    assert killed
    assert ("retried", victim.id) in kinds
    assert {record.status for record in records} == {"done"}
    assert lines_of(tmp_path) == {victim.id: 1, other.id: 1}


@pytest.mark.slow
def test_interrupt_leaves_a_checkpoint(tmp_path, specs, lines_of):
    def interrupt(event):
        if event.kind == "progress" and event.progress["step"] > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_grid(specs(1, steps=20000, checkpoint_every=20000), tmp_path, on_event=interrupt, on=HERE)
    assert not lines_of(tmp_path)
    assert list(tmp_path.glob("runs/*/checkpoints/step-*"))


def test_where_there_is_no_slurm_it_is_said(tmp_path, specs, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MnemicError, match="there is no Slurm on this machine"):
        run_grid(specs(1), tmp_path, on="slurm:partition=gpu")
