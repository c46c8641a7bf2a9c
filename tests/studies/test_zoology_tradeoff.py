"""Claim E: every fixed state of one width holds as much as the others, and the verdicts name what was compared."""

import pytest
import torch

from mnemic.studies.zoology_runs import LENGTH, WIDTHS
from mnemic.studies.zoology_tradeoff import FAMILIES, MEMORIES, tradeoff_arms, tradeoff_claims, tradeoff_sheet
from mnemic.training.runs import run

GROWING = {"attention", "base-conv", "hyena"}


def held_by_the_mixer(arm) -> int:
    """The numbers that the second layer holds after a row."""
    with torch.device("meta"):
        model = arm.judged_run(1).new_model()
    return model.model.layers[1].mixer.memory_bytes(LENGTH) // 4


@pytest.mark.parametrize("width", WIDTHS)
def test_fixed_states_of_one_width_are_equally_large(width: int) -> None:
    """d² numbers; a normaliser, Based's features that come in steps, and H3's shift add less than a third."""
    held = {key.split()[1]: held_by_the_mixer(arm) for key, arm in tradeoff_arms().items() if key.endswith(f" {width}")}
    for mixer in set(held) - GROWING:
        assert width**2 * 0.9 <= held[mixer] <= width**2 * 1.34, mixer
    for mixer in ("gated-deltanet", "delta-net", "mamba2", "gla", "retention"):
        assert held[mixer] == width**2, mixer


def test_every_family_is_of_known_memories() -> None:
    assert {name for members in FAMILIES.values() for name in members} <= set(MEMORIES)


def test_the_arms_differ_in_their_second_layer_alone() -> None:
    arms = list(tradeoff_arms().values())
    assert len({str(arm.layers[0]) for arm in arms}) == 1
    assert len({arm.task for arm in arms}) == 1
    assert len({str(arm.training.model_dump(exclude={"lr"})) for arm in arms}) == 1
    assert {arm.shell.feed_forward for arm in arms} == {0}


def test_a_claim_names_the_best_of_each_family(make_runs) -> None:
    order = tradeoff_claims(make_runs())[1]
    assert "gated delta rule ≥ decayed linear state" in order.text
    assert order.measured == "+0.40: Gated DeltaNet 0.80 / 0.90 / 1.00, GLA 0.40 / 0.50 / 0.60 at widths 16, 32, 64"


def test_what_does_not_rise_is_named(make_runs) -> None:
    rise = tradeoff_claims(make_runs({"E hyena 64": {"metrics": {"accuracy": 0.11}}}))[3]
    assert not rise.holds
    assert rise.measured == "10 of 11 do; not Hyena +0.010"


def test_the_table_has_accuracy_and_bytes(make_runs) -> None:
    runs = make_runs({"E h3 16": {"status": "failed", "metrics": {}, "error": "nan"}})
    rows = {row[0]: row[1:] for row in tradeoff_sheet(runs).rows}
    assert rows["GLA"] == ("0.400\n1 KiB", "0.500\n4 KiB", "0.600\n16 KiB")
    assert rows["H3"][0] == "failed"


@pytest.mark.parametrize("mixer", ["gated-deltanet", "hyena"])
def test_an_arm_can_be_trained_and_measured(mixer: str, tmp_path) -> None:
    spec = tradeoff_arms()[f"E {mixer} 16"].judged_run(1).with_training(steps=2, batch_size=4, eval_rows=4)
    record = run(spec, tmp_path)
    assert record.metrics["accuracy"] is not None
    assert record.cost.memory_bytes is not None
