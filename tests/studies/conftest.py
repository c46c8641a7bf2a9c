"""Records as runs of the Zoology study would leave them, made by hand."""

import math

import pytest

from mnemic.report.records import Record
from mnemic.studies.zoology import laptop_arms
from mnemic.studies.zoology_text import text_arms
from mnemic.tasks.text_files import PYTHON_REFERENCE, read_documents

HELD = {"A attention": 0.99, "A long": 0.14, "B attention": 0.99, "D": 0.985, "B state 4": 0.97, "B state 32": 0.33}
OF_MIXER = {"attention": 0.99, "gated-deltanet": 0.9, "mamba2": 0.4, "gla": 0.5, "retention": 0.3, "hyena": 0.2}


@pytest.fixture(scope="session")
def arms(tmp_path_factory):
    return laptop_arms(1, tmp_path_factory.mktemp("zoology"))


@pytest.fixture(scope="session")
def real_text(tmp_path_factory):
    """A folder with English that names come back in: the language reference, a quarter of it."""
    folder = tmp_path_factory.mktemp("text")
    text = b"\n\n".join(document.text for document in read_documents(PYTHON_REFERENCE))
    (folder / "reference.txt").write_bytes(text[: len(text) // 4].rpartition(b"\n")[0])
    return folder


@pytest.fixture(scope="session")
def arms_on_text(real_text):
    return text_arms(real_text)


@pytest.fixture
def make_runs(arms, arms_on_text):
    """The records of all arms, by key; keyword-like changes of accuracy or of whole records by key."""

    def make(changes=None):
        runs = {key: _record(key, arm) for key, arm in {**arms, **arms_on_text}.items()}
        for key, change in (changes or {}).items():
            data = runs[key].model_dump(by_alias=True)
            runs[key] = Record.model_validate({**data, **change})
        return runs

    return make


def _record(key, arm):
    spec = arm.judged_run(1)
    accuracy = next((value for start, value in HELD.items() if key.startswith(start)), 0.6)
    if key.startswith("E"):  # more with every doubling of the width
        accuracy = OF_MIXER.get(key.split()[1], 0.14) + 0.1 * math.log2(arm.shell.width / 32)
    hit, other = (0.2, 2.7) if key in ("C attention", "F attention", "F hybrid") else (5.2, 2.9)
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
            "metrics": on_text if key.startswith(("C", "F")) else on_recall,
            "cost": {"memory_bytes": 4 * arm.shell.width**2},
        }
    )
