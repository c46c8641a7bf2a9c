"""Records as runs of the Zoology study would leave them, made by hand."""

import pytest

from mnemic.report.records import Record
from mnemic.studies.zoology import laptop_arms

HELD = {"A attention": 0.99, "A long": 0.14, "B attention": 0.99, "D": 0.985, "B state 4": 0.97, "B state 32": 0.33}


@pytest.fixture(scope="session")
def arms(tmp_path_factory):
    return laptop_arms(1, tmp_path_factory.mktemp("zoology"))


@pytest.fixture
def make_runs(arms):
    """The records of all arms, by key; keyword-like changes of accuracy or of whole records by key."""

    def make(changes=None):
        runs = {key: _record(key, arm) for key, arm in arms.items()}
        for key, change in (changes or {}).items():
            data = runs[key].model_dump(by_alias=True)
            runs[key] = Record.model_validate({**data, **change})
        return runs

    return make


def _record(key, arm):
    spec = arm.judged_run(1)
    accuracy = next((value for start, value in HELD.items() if key.startswith(start)), 0.6)
    hit, other = (0.2, 2.7) if key == "C attention" else (5.2, 2.9)
    on_text = {"loss": 0.1 * hit + 0.9 * other, "recall_hit_loss": hit, "other_loss": other, "recall_hit_share": 0.1}
    on_recall = {"accuracy": accuracy, "accuracy_low": accuracy - 0.01, "accuracy_high": accuracy + 0.01, "loss": 0.1}
    return Record.model_validate(
        {
            "run": spec.id,
            "task": spec.task.spec(),
            "task_config": spec.task.model_dump(mode="json"),
            "memory": arm.label,
            "layers": spec.model.layers,
            "shell": {"width": arm.shell.width},
            "seed": 1,
            "lr": spec.training.lr,
            "metrics": on_text if key.startswith("C") else on_recall,
        }
    )
