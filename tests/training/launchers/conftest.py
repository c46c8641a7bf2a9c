"""Grids so small that a run takes a second."""

import json
from collections import Counter
from pathlib import Path

import pytest

from mnemic.tasks import parse_task
from mnemic.training import provenance
from mnemic.training.config import TrainConfig
from mnemic.training.runs import RunSpec
from mnemic.training.shell import Shell


@pytest.fixture(autouse=True)
def _sources_may_be_edited_while_tests_run(monkeypatch):
    monkeypatch.setattr(provenance, "_adopted", [provenance.code_version()])


@pytest.fixture
def specs():
    """`specs(count, **training)`: runs that differ in their seed."""

    def make(count: int, **training) -> list[RunSpec]:
        options = {"steps": 10, "batch_size": 4, "eval_every": 5, "eval_rows": 4, "checkpoint_every": 3}
        task, shell = parse_task("mqar:pairs=2,length=16,vocab=32"), Shell(width=16, depth=1)
        return [
            RunSpec(
                task, "attention", shell, TrainConfig(device="cpu", seed=seed, **{**options, **training}), test_rows=8
            )
            for seed in range(count)
        ]

    return make


@pytest.fixture
def lines_of():
    """How often each run stands in a grid's results."""

    def read(folder: Path) -> dict[str, int]:
        path = folder / "results.jsonl"
        return Counter(json.loads(line)["run"] for line in path.read_text().splitlines()) if path.exists() else {}

    return read
