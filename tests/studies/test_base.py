"""Arms are trained, kept, searched and judged; a run that fails costs its own claims only."""

import math
from dataclasses import replace

import pytest

from mnemic.errors import UsageError
from mnemic.report.records import read_records
from mnemic.studies.base import Arm, accuracy, check_start, judge, run_arms
from mnemic.tasks.mqar import MQAR
from mnemic.training.config import TUNING_SEED, TrainConfig
from mnemic.training.runs import results_path
from mnemic.training.shell import Shell

TINY = TrainConfig(steps=2, batch_size=4, eval_rows=8, lr=3e-3, device="cpu")


def tiny(label: str, mixer: str, **training) -> Arm:
    task = MQAR(pairs=2, length=16, vocab=32)
    config = TrainConfig.model_validate({**TINY.model_dump(), **training})
    return Arm(label, task, ({"mixer": mixer},), config, Shell(width=8, feed_forward=0), (1e-3, 3e-3), test_rows=16)


def test_arms_are_trained_once_and_a_failure_stays_with_its_arm(tmp_path) -> None:
    arms = {
        "good": tiny("short", "base-conv"),
        "bad": replace(tiny("wild", "base-conv", lr=1e30, steps=20, clip=0.0), lr_grid=(1e30,)),
    }
    events = []
    found = run_arms(lambda seed: arms, 1, tmp_path, events.append, jobs=2)
    assert set(found) == {"good", "bad"}
    assert found["good"].status == "done"
    assert found["good"].seed == 1
    assert found["good"].lr == 3e-3
    assert found["bad"].status == "failed"
    assert math.isnan(accuracy(found["bad"]))
    claim = judge("a", "b", "c", 1.0, True, list(found.values()))
    assert not claim.holds
    assert "wild failed" in claim.seen

    events.clear()
    again = run_arms(lambda seed: {"good": arms["good"]}, 1, tmp_path, events.append)
    assert [event.kind for event in events] == ["kept"]
    assert again["good"] == found["good"]


def test_a_search_tries_the_grid_on_the_tuning_seed_and_judges_on_the_other(tmp_path) -> None:
    seeds_asked = []

    def arms_of(seed: int) -> dict[str, Arm]:
        seeds_asked.append(seed)
        return {"one": tiny("short", "base-conv")}

    found = run_arms(arms_of, 1, tmp_path, jobs=2, search=True)
    records = read_records(results_path(tmp_path))
    tried = [record for record in records if record.purpose == "search"]
    assert seeds_asked == [1, TUNING_SEED]
    assert {record.lr for record in tried} == {1e-3, 3e-3}
    assert {record.seed for record in tried} == {TUNING_SEED}
    assert found["one"].purpose == "final"
    assert found["one"].seed == 1
    assert found["one"].lr == max(tried, key=lambda record: (accuracy(record), -record.metrics["loss"])).lr
    assert found["one"].lr_on_edge


@pytest.mark.parametrize("seed", [TUNING_SEED, -1])
def test_seeds_that_may_not_judge(seed: int) -> None:
    with pytest.raises(UsageError, match=str(seed)):
        check_start("laptop", [seed])


def test_what_could_not_be_measured_does_not_hold() -> None:
    claim = judge("a", "b", "c", math.nan, True)
    assert (claim.holds, claim.measured) == (False, "not measured")
