"""The memento study: each claim is decided by its own numbers, and a smoke case of all that it does."""

import math

import pytest
import torch

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.studies import memento, memento_claims
from mnemic.studies.base import StudyResult
from mnemic.studies.measuring import kept_or
from mnemic.studies.memento import study
from mnemic.studies.memento_claims import cases, claims
from mnemic.studies.memento_figures import figures
from mnemic.studies.memento_generation import Generated, generated
from mnemic.studies.memento_measures import mask_difference
from mnemic.studies.memento_runs import PROBE, SEEDS, sizes, specs
from mnemic.tasks.rounds import Rounds
from mnemic.training.config import TrainConfig
from mnemic.training.shell import Shell

LAPTOP = sizes("laptop")
GOOD = {
    ("stage 1", "full"): (1.0, 13, 21), ("stage 1", "evicting"): (0.2, 26, 5), ("stage 2", "evicting"): (1.0, 26, 5),
    ("stage 2", "restart"): (0.2, 26, 5), ("stage 2", "bare restart"): (0.1, 26, 3),
    ("control", "full"): (1.0, 13, 16), ("stage 2", "full"): (0.9, 13, 21),
}  # fmt: skip
PROBED = {str(d): {"accuracy": a} for d, a in ((-1, 0.1), (0, 0.5), (1, 0.15), (2, 0.12))}
EXTRA = {
    "mask difference": 1e-6,
    "speed": {"dynamic": 5.0, "set aside": 2.0, "eviction": 0.01},
    "probe": {"by_distance": PROBED},
}


def written(**changes: float) -> dict:
    """What good models would have written; a change is named like "16 lossy stage 2 evicting"."""
    made = {}
    for (rounds, said, stage), mode in cases(LAPTOP):
        accuracy, base, step = GOOD[(stage, mode)]
        if (said, stage, mode) == ("full", "stage 2", "restart"):
            accuracy = 0.95
        accuracy = changes.get(f"{rounds} {said} {stage} {mode}", accuracy)
        peak = base + step * rounds
        one = Generated(accuracy=accuracy, answered=1, peak=peak, area=100, tokens=50, malformed=0, trace=(1, 2, 3))
        made[((rounds, said, stage), mode)] = [one] * SEEDS
    return made


def broken(found) -> set[int]:
    return {index for index, claim in enumerate(found) if not claim.holds}


def test_all_claims_hold_for_numbers_that_meet_every_threshold() -> None:
    found = claims(LAPTOP, written(), EXTRA, [])
    assert [claim.text[0] for claim in found] == [*"AAAAAA", *"BB", *"CC", "D", *"EEE", *"FFF"]
    assert broken(found) == set()


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"4 lossy stage 2 evicting": 0.94}, {0}),
        ({"8 lossy stage 2 evicting": 0.97}, {2}),
        ({"8 lossy stage 1 full": 0.5}, set()),  # the control is as good as stage 1 was
        ({"16 lossy stage 2 evicting": 0.97}, {4}),
        ({"4 lossy stage 1 evicting": 0.51}, {6}),
        ({"4 full stage 1 evicting": 0.51}, {7}),
        ({"4 lossy stage 2 restart": 0.71}, {8}),
        ({"4 full stage 2 restart": 0.79}, {9}),
    ],
)
def test_each_accuracy_breaks_its_own_claim_and_no_other(changes, which) -> None:
    assert broken(claims(LAPTOP, written(**changes), EXTRA, [])) == which


@pytest.mark.parametrize(
    ("changes", "which"),
    [
        ({"mask difference": 2e-4}, {10}),
        ({"speed": {"dynamic": 2.9, "set aside": 2.0, "eviction": 0.01}}, {11}),
        ({"speed": {"dynamic": 5.0, "set aside": 1.2, "eviction": 0.01}}, {12}),
        ({"speed": {"dynamic": 5.0, "set aside": 2.0, "eviction": 0.06}}, {13}),
        ({"probe": {"by_distance": {**PROBED, "0": {"accuracy": 0.39}}}}, {14}),
        ({"probe": {"by_distance": {**PROBED, "1": {"accuracy": 0.12}}}}, {15}),
        ({"probe": {"by_distance": {**PROBED, "-1": {"accuracy": 0.14}}}}, {16}),
    ],
)
def test_each_measurement_breaks_its_own_claim_and_no_other(changes, which) -> None:
    assert broken(claims(LAPTOP, written(), {**EXTRA, **changes}, [])) == which


def test_peaks_are_judged_as_they_were_measured() -> None:
    much = written()
    case = ((16, "lossy", "stage 2"), "evicting")
    much[case] = [one.model_copy(update={"peak": 120.0}) for one in much[case]]
    found = claims(LAPTOP, much, EXTRA, [])
    assert broken(found) == {5}
    assert found[5].measured == "2.91 times fewer than the same trace whole, 2.24 than the control's"


def test_what_was_not_measured_holds_nothing() -> None:
    assert broken(claims(LAPTOP, {}, {}, [])) == set(range(17))
    two_seeds = {case: of_seed[:2] for case, of_seed in written().items()}
    assert broken(claims(LAPTOP, two_seeds, EXTRA, [])) == set(range(10))


def test_every_run_can_be_built_and_starts_from_one_of_its_own_seed() -> None:
    for scale in ("laptop", "gpu"):
        size = sizes(scale)
        runs = specs(size, 1)
        for spec in runs.values():
            spec.check()
            assert spec.training.seed == 1
            assert spec.after is None or spec.after in runs.values()
        assert len({spec.id for spec in runs.values()}) == len(runs)
        assert {key for key, _ in cases(size)} | {PROBE} <= set(runs)
        assert {spec.id for spec in runs.values()}.isdisjoint(spec.id for spec in specs(size, 2).values())


def test_the_control_takes_as_many_updates_on_the_same_rounds() -> None:
    runs = specs(LAPTOP, 1)

    def updates(key) -> int:
        total, spec = 0, runs[key]
        while spec is not None:
            total, spec = total + spec.training.steps * spec.training.batch_size, spec.after
        return total

    for rounds in LAPTOP.rounds:
        assert updates((rounds, "none", "control")) == updates((rounds, "lossy", "stage 2"))


@pytest.fixture(scope="module")
def model() -> MnemicForCausalLM:
    torch.manual_seed(0)
    task = Rounds(rounds=2, ops=2)
    config = MnemicConfig(vocab_size=task.vocab_size, hidden_size=16, layers=[{"mixer": "attention", "qk_norm": True}])
    return MnemicForCausalLM(config).eval()


@pytest.mark.parametrize("mode", ["full", "evicting", "restart", "bare restart"])
def test_an_untaught_model_writes_something_and_is_wrong(model, mode) -> None:
    task = Rounds(rounds=2, ops=2)
    found = generated(model, task, mode, problems=20, seed=0)
    assert found.accuracy <= 0.5
    assert found.accuracy <= found.answered
    assert len(found.trace) >= task.prompt_length
    assert found.peak >= task.prompt_length


def test_mask_and_eviction_agree_on_the_smallest_case(model) -> None:
    assert mask_difference(model, Rounds(rounds=2, ops=2), seed=0) < 1e-4


def test_what_was_measured_is_kept_and_a_torn_line_costs_one_measurement(tmp_path) -> None:
    path, made = tmp_path / "generations.jsonl", []

    def make() -> dict:
        made.append(1)
        return {"value": len(made)}

    assert kept_or(path, "a", make) == kept_or(path, "a", make) == {"value": 1}
    with path.open("a") as file:
        file.write('{"name": "b", "co')
    assert kept_or(path, "b", make) == kept_or(path, "b", make) == {"value": 2}
    assert kept_or(path, "a", make) == {"value": 1}


def test_other_code_that_measures_measures_anew(tmp_path, monkeypatch) -> None:
    path = tmp_path / "generations.jsonl"
    assert kept_or(path, "a", lambda: {"value": 1}) == {"value": 1}
    monkeypatch.setattr("mnemic.training.provenance.digest_of", lambda folders: f"other {folders}")
    assert kept_or(path, "a", lambda: {"value": 2}) == {"value": 2}


def test_figures_show_what_there_is() -> None:
    titles = [chart.title for chart in figures(LAPTOP, written(), EXTRA["probe"])]
    assert titles == [
        "Keys held while writing 16 rounds", "Answers where mementos tell one bit of the state",
        "Answers where mementos tell the whole state", "Digits of a block that a probe reads in mementos",
    ]  # fmt: skip
    assert figures(LAPTOP, {}, None) == ()


def test_wrong_use_is_named(tmp_path) -> None:
    for seed in (6998, 7000):
        with pytest.raises(UsageError, match="7000"):
            study("laptop", seed, tmp_path)
    with pytest.raises(UsageError, match="start from each other"):
        study("laptop", 1, tmp_path, search=True)
    if not torch.cuda.is_available():
        with pytest.raises(UsageError, match="--scale gpu needs a CUDA device"):
            study("gpu", 1, tmp_path)


def test_a_tiny_study_runs_through_and_does_not_run_again(tmp_path, monkeypatch) -> None:
    quick = TrainConfig(steps=2, batch_size=4, lr=1e-3, eval_every=2, eval_rows=4, checkpoint_every=2)
    shell = Shell(width=16, depth=1, feed_forward=16, conv=0)
    tiny = memento.SizeOf(
        (1, 2, 3), 2, (2, 2, 2), (4, 4, 4), (1e-3,) * 3, (2, 2, 2), 1e-3, shell, (LAPTOP.probe[0], shell, quick),
        test_rows=4, problems=4,
    )  # fmt: skip
    counted = {"speed": 0, "probe": 0}

    def count(name: str, value: dict):
        counted[name] += 1
        return value

    for module in (memento, memento_claims):
        monkeypatch.setattr(module, "SEEDS", 1)
    monkeypatch.setattr(memento, "sizes", lambda scale: tiny)
    monkeypatch.setattr(memento, "speed", lambda: count("speed", EXTRA["speed"]))
    monkeypatch.setattr(memento, "probed", lambda *_: count("probe", EXTRA["probe"]))
    seen = []
    first: StudyResult = study("laptop", 1, tmp_path, lambda event: seen.append(event.kind), jobs=2)
    assert seen.count("done") == len(first.records) == len(specs(tiny, 1))
    assert not first.holds
    assert not any(isinstance(claim.measured, float) and math.isnan(claim.measured) for claim in first.claims)
    seen.clear()
    again = study("laptop", 1, tmp_path, lambda event: seen.append(event.kind), jobs=2)
    assert set(seen) == {"kept", "measuring"}
    assert [claim.model_dump() for claim in again.claims] == [claim.model_dump() for claim in first.claims]
    assert counted == {"speed": 1, "probe": 1}
