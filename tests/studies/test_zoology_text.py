"""Claim F: the gap on real text, from the user's file to the verdicts."""

import math

import pytest

from mnemic.errors import UsageError
from mnemic.studies import zoology
from mnemic.studies.zoology_text import HITS, gap_share_of_runs, text_arms, text_claims, text_sheet, text_task
from mnemic.training.runs import run

FAILED = {"status": "failed", "error": "the loss is nan at step 3", "metrics": {}}


def losses(hit: float, other: float, share: float = 0.1) -> dict:
    loss = share * hit + (1 - share) * other
    return {"metrics": {"loss": loss, "recall_hit_loss": hit, "other_loss": other, "recall_hit_share": share}}


def test_both_claims_hold_for_numbers_that_meet_them(make_runs) -> None:
    gap, closed = text_claims(make_runs())
    assert gap.holds
    assert closed.holds
    assert gap.measured == "5.00 nats on hits, 0.20 elsewhere; 74% of the gap stands on hits"
    assert closed.measured == "100% of 5.00 nats"


@pytest.mark.parametrize(
    ("changes", "holding"),
    [
        ({"F convolution": losses(5.2, 3.3)}, [False, True]),  # 0.50 of a gap of 1.04 on hits
        ({"F hybrid": losses(1.3, 2.7)}, [True, False]),
        ({"F hybrid": losses(1.1, 2.7)}, [True, True]),
        ({"F convolution": losses(0.1, 2.6)}, [False, False]),  # ahead of attention: no gap to speak of
        ({"F hybrid": FAILED}, [True, False]),
        ({"F attention": FAILED}, [False, False]),
    ],
)
def test_each_number_decides_its_own_claim(make_runs, changes, holding) -> None:
    assert [claim.holds for claim in text_claims(make_runs(changes))] == holding


def test_the_share_of_the_gap_is_that_of_the_sums(make_runs) -> None:
    runs = make_runs({"F attention": losses(1.0, 3.0, 0.25), "F convolution": losses(4.0, 3.5, 0.25)})
    attention, convolution = runs["F attention"], runs["F convolution"]
    assert gap_share_of_runs(attention, convolution) == pytest.approx(0.75 / (0.75 + 0.375))
    assert math.isnan(gap_share_of_runs(attention, attention))


def test_the_slice_is_as_large_as_the_published_one_or_rarer_bigrams_are_too_few(real_text) -> None:
    task = text_task(real_text)
    rows = task.sample("valid", task.windows("valid"))
    share = rows.slices["recall_hit"].mean()
    threshold = task.slicer.threshold
    assert threshold & (threshold - 1) == 0
    assert share >= HITS or threshold == 64
    if threshold > 1:
        rarer = task.model_validate({**task.model_dump(), "threshold": threshold // 2})
        assert rarer.sample("valid", rarer.windows("valid")).slices["recall_hit"].mean() < HITS


def test_the_models_differ_in_their_mixers_alone(arms_on_text) -> None:
    arms = list(arms_on_text.values())
    assert len({arm.task for arm in arms}) == len({str(arm.training) for arm in arms}) == 1
    assert len({str(arm.shell) for arm in arms}) == 1
    assert len({arm.judged_run(1).id for arm in arms}) == 3
    for arm in arms:
        arm.judged_run(1).check()


def test_the_arms_learn_and_are_judged(arms_on_text, tmp_path) -> None:
    few = {"steps": 2, "batch_size": 2, "eval_rows": 2}
    runs = {
        key: run(arm.judged_run(1).with_training(**few), tmp_path / key.replace(" ", "-"))
        for key, arm in arms_on_text.items()
    }
    assert all(claim.measured != "not measured" for claim in text_claims(runs))
    assert [len(row) for row in text_sheet(runs).rows] == [4, 4, 4]


def test_the_study_takes_a_text(make_runs, arms, arms_on_text, real_text, tmp_path, monkeypatch) -> None:
    runs, asked = make_runs(), {}

    def trained(arms_of, seed, *args, command, **options):
        asked.update(arms=set(arms_of(seed)), command=command)
        return runs

    monkeypatch.setattr(zoology, "run_arms", trained)
    monkeypatch.setattr(zoology, "laptop_arms", lambda seed, directory: arms)
    monkeypatch.setattr(zoology, "text_arms", lambda path: arms_on_text if path == real_text else {})
    monkeypatch.setattr(zoology, "people_task", lambda *_: None)
    monkeypatch.setattr(zoology, "slice_errors", lambda task: 0)
    result = zoology.study("laptop", 1, tmp_path, data=real_text)
    assert asked["arms"] == set(runs)
    assert asked["command"].endswith(f"--seed 1 --data {real_text}")
    assert [claim.text[:2] for claim in result.claims[-2:]] == ["F.", "F."]
    assert [sheet.title[:2] for sheet in result.sheets] == ["E.", "F."]


def test_a_folder_without_text_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="no text files"):
        text_arms(tmp_path)
