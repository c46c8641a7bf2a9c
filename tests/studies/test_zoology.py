"""The Zoology study: each claim is decided by its own numbers, and what needs no training is what it says."""

import numpy as np
import pytest
import torch

from mnemic.errors import UsageError
from mnemic.studies import zoology
from mnemic.studies.people_text import NAMES, write_people_text
from mnemic.studies.zoology import gpu_claims, laptop_claims, study
from mnemic.studies.zoology_checks import attending_rows, repeated_rows, slice_by_definition, slice_errors
from mnemic.studies.zoology_runs import LOADS, gpu_arms
from mnemic.tasks.mqar import MQAR
from mnemic.tasks.text import TextTask


def accuracy(value):
    return {"metrics": {"accuracy": value, "loss": 1.0}}


MEMORY = "E. Recall against memory"
FAILED = {"status": "failed", "error": "the loss is nan at step 3", "metrics": {}}
TEXT = {"loss": 3.0, "other_loss": 3.0, "recall_hit_loss": 3.0, "recall_hit_share": 0.1}


def test_all_claims_hold_for_numbers_that_meet_every_threshold(make_runs) -> None:
    claims = laptop_claims(make_runs(), slice_differs=0, attending=8)
    assert [claim.text[:2] for claim in claims] == ["A.", "A.", "B.", "B.", "C.", "C.", "D.", "D.", *["E."] * 4]
    assert all(claim.holds for claim in claims)
    assert claims[1].measured == pytest.approx(0.85)
    assert claims[4].measured == 0


@pytest.mark.parametrize(
    ("changes", "differs", "attending", "broken"),
    [
        ({"A attention 32": accuracy(0.949), "D": accuracy(0.949)}, 0, 8, {0}),
        ({"A long 32": accuracy(0.7)}, 0, 8, {1}),
        ({"B state 32": accuracy(0.7)}, 0, 8, {2}),
        ({"B state 4": accuracy(0.88)}, 0, 8, {3}),
        ({"B attention 32": accuracy(0.3)}, 0, 8, {2}),
        ({}, 1, 8, {4}),
        ({"C attention": {"metrics": {**TEXT, "other_loss": 2.0, "recall_hit_loss": 5.0, "loss": 2.3}}}, 0, 8, {5}),
        ({"D": accuracy(0.95)}, 0, 8, {6}),
        ({}, 0, 10, {7}),
        ({"A attention 32": FAILED}, 0, 8, {0, 1, 6}),
        ({"E attention 32": FAILED}, 0, 8, {8}),
        ({"C short": FAILED}, 0, 8, {5}),
        ({"A attention 16": FAILED, "A long alone": FAILED}, 0, 8, set()),
        ({"E gated-deltanet 32": accuracy(1.0)}, 0, 8, set()),
        ({"E attention 32": accuracy(0.96), "E gated-deltanet 32": accuracy(0.99)}, 0, 8, {8}),
        ({"E retention 32": accuracy(0.93)}, 0, 8, {9}),
        ({"E mamba2 32": FAILED, "E retention 32": FAILED}, 0, 8, set()),
        ({"E gla 32": FAILED, "E mamba2 32": FAILED, "E retention 32": FAILED}, 0, 8, {9, 10}),
        ({"E h3 32": accuracy(0.53)}, 0, 8, {10}),
        ({"E linear-attention 64": accuracy(0.08)}, 0, 8, {11}),
        ({"E based 16": FAILED}, 0, 8, {11}),
    ],
)
def test_each_number_breaks_its_own_claim_and_no_other(make_runs, changes, differs, attending, broken) -> None:
    claims = laptop_claims(make_runs(changes), differs, attending)
    assert {index for index, claim in enumerate(claims) if not claim.holds} == broken


def test_a_failed_run_is_named_with_its_reason(make_runs) -> None:
    claim = laptop_claims(make_runs({"D": FAILED}), 0, 8)[6]
    assert claim.measured == "BaseConv-3, repeated-token attention failed: the loss is nan at step 3"


def test_all_models_can_be_built_and_no_two_are_the_same_run(arms) -> None:
    for of_scale in (arms, gpu_arms()):
        specs = [arm.judged_run(1) for arm in of_scale.values()]
        for spec in specs:
            spec.check()
        assert len({spec.id for spec in specs}) == len(specs)
        assert all(arm.training.lr in arm.lr_grid for arm in of_scale.values())


def test_what_is_compared_differs_in_its_mixers_alone(arms) -> None:
    pairs = [("A attention 32", "A long 32"), ("A attention 32", "D"), ("C attention", "C short")]
    pairs += [(f"B attention {load}", f"B state {load}") for load in LOADS]
    for one, other in ((arms[a], arms[b]) for a, b in pairs):
        assert one.task == other.task
        assert one.shell == other.shell
        assert one.training.model_dump(exclude={"lr"}) == other.training.model_dump(exclude={"lr"})


def test_the_models_of_one_load_curve_differ_in_their_task_alone(arms) -> None:
    for memory in ("attention", "state"):
        assert len({str(arms[f"B {memory} {load}"].layers) for load in LOADS}) == 1


def test_every_mixer_of_the_catalogue_is_in_the_gpu_grid() -> None:
    keys = {key.rpartition(" ")[0] for key in gpu_arms()}
    assert {"attention", "mamba2", "gated-deltanet", "base-conv", "sliding-window"} <= keys


def test_the_gpu_claims_look_at_their_own_widths(make_runs) -> None:
    some = make_runs()["D"]
    runs = {
        key: some.model_copy(update={"metrics": {"accuracy": 0.99 if key.startswith("attention") else 0.5}})
        for key in gpu_arms()
    }
    runs["base-conv 256"] = some.model_copy(update={"metrics": {"accuracy": 1.0}})
    assert [claim.holds for claim in gpu_claims(runs)] == [True, True]
    runs["base-conv 128"] = some.model_copy(update={"metrics": {"accuracy": 0.95}})
    assert [claim.holds for claim in gpu_claims(runs)] == [True, False]
    runs["attention 64"] = some.model_copy(update={"metrics": {"accuracy": 0.9}})
    assert [claim.holds for claim in gpu_claims(runs)] == [False, False]


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_the_gpu_scale_without_a_gpu_is_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match="CUDA"):
        study("gpu", 1, tmp_path)


def test_the_definition_of_the_slice_on_a_row_done_by_hand() -> None:
    #               t: 0  1  2  3  4  5  6  7
    window = np.array([[1, 2, 3, 1, 2, 4, 1, 2], [5, 5, 5, 5, 6, 5, 5, 6]])
    training = np.array([5, 5, 5, 9, 1, 2])
    wanted = [[0, 0, 0, 0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 1]]  # (5, 5) stands twice in training
    assert slice_by_definition(window, training, threshold=1).tolist() == np.array(wanted, bool).tolist()
    once_more = slice_by_definition(window, training, threshold=2)
    assert once_more[1].tolist() == [False, False, True, True, False, False, True, True]


def test_the_generated_text_is_cut_as_it_was_built(tmp_path) -> None:
    """Hits are last names of people named before: nothing else is rare, and about one token in ten is one."""
    folder, tokenizer = write_people_text(tmp_path, seed=3)
    task = TextTask(path=str(folder), tokenizer=str(tokenizer), length=128)
    assert slice_errors(task) == 0
    rows = task.sample("test", 50)
    last_names = (rows.labels >= 2 + NAMES) & (rows.labels < 2 + 2 * NAMES)
    hits = rows.slices["recall_hit"] == 1
    assert (hits & ~last_names).sum() == 0
    assert 0.05 < hits.mean() < 0.15


def test_the_generated_text_depends_on_its_seed_alone(tmp_path) -> None:
    texts = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        folder, _ = write_people_text(tmp_path / name, seed)
        texts.append({path.name: path.read_text() for path in folder.iterdir()})
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_as_many_positions_attend_as_there_are_questions() -> None:
    task = MQAR(pairs=8, length=64, vocab=256)
    ids = task.sample("test", 50, seed=1).input_ids
    by_hand = [sum(x != 0 and x in row[:t] for t, x in enumerate(row)) for row in ids.tolist()]
    assert repeated_rows(ids, ignored=0).tolist() == by_hand
    assert attending_rows(task, seed=1, rows=50) == 8


def test_the_study_makes_claims_and_figures_of_its_records(make_runs, tmp_path, monkeypatch) -> None:
    runs = make_runs({"B state 16": FAILED})
    monkeypatch.setattr(zoology, "run_arms", lambda *args, **options: runs)
    result = study("laptop", 1, tmp_path)
    assert result.holds
    assert len(result.records) == len(runs)
    assert [figure.title for figure in result.figures] == ["A. Recall against width", "B. Recall against load", MEMORY]
    assert [sheet.title for sheet in result.sheets] == [MEMORY]
    assert len(result.sheets[0].rows) == 12
    assert set(result.figures[1].labels) == set(result.figures[1].look)


def test_the_seed_that_chooses_may_not_judge(tmp_path) -> None:
    with pytest.raises(UsageError, match="7000"):
        study("laptop", 7000, tmp_path)
