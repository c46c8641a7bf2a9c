"""The state machine in rounds (task `rounds`): its law, its length, and what its blocks hide."""

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.tasks.rounds import DIGIT, EOS, INDEX, MARKERS, OPERATION, Rounds
from mnemic.teaching.memento.blocks import resident_tokens, visible_until
from mnemic.teaching.memento.rules import MarkerIds, MementoRules


def test_states_and_operations_are_uniform_and_every_operation_is_a_bijection():
    rows = Rounds(rounds=1).sample("train", 20_000).input_ids
    assert chisquare(np.bincount(rows[:, 1] - DIGIT, minlength=10)).pvalue > 1e-4
    assert chisquare(np.bincount(rows[:, 3] - OPERATION, minlength=20)).pvalue > 1e-4
    block = rows[:, 12:28].reshape(-1, 4, 4)
    assert (block[:, :, 0] == INDEX + np.arange(4)).all()
    for op in range(20):
        first = block[:, 0][block[:, 0, 1] == OPERATION + op]
        pairs = set(zip(first[:, 2].tolist(), first[:, 3].tolist(), strict=True))
        assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == 10
    np.testing.assert_array_equal(block[:, 1:, 2], block[:, :-1, 3])


@pytest.mark.parametrize("rounds", [1, 4, 8])
@pytest.mark.parametrize("memento", ["lossy", "full"])
def test_what_is_hidden_is_what_the_markers_say(rounds, memento):
    rows = Rounds(rounds=rounds, memento=memento, hide=True).sample("valid", 5)
    for ids, until in zip(rows.input_ids, rows.visible_until, strict=True):
        wanted = visible_until(ids, MarkerIds(*MARKERS), MementoRules())
        np.testing.assert_array_equal(until, wanted)
        assert resident_tokens(until).max() == 26 + 5 * rounds
    assert rows.input_ids.shape[1] == 14 + 21 * rounds


def test_everything_behind_the_problem_is_trained_and_the_row_ends():
    task = Rounds(rounds=2)
    rows = task.sample("train", 3)
    assert (rows.loss_mask[:, :-1] == (np.arange(task.max_length - 1) >= task.prompt_length - 1)).all()
    assert not rows.loss_mask[:, -1].any()
    assert (rows.input_ids[:, -1] == EOS).all()
    trained = rows.loss_mask[:, :-1]
    assert (rows.targets[:, :-1][trained] == rows.input_ids[:, 1:][trained]).all()
    assert Rounds(rounds=2, memento="none").sample("train", 3).visible_until is None


@pytest.mark.parametrize("memento", ["lossy", "full", "none"])
def test_the_oracle_answers_every_question_and_no_other(memento):
    task = Rounds(rounds=3, ops=2, memento=memento)
    for split in ("train", "valid", "test"):
        rows = task.sample(split, 300)
        np.testing.assert_array_equal(task.oracle(rows.input_ids), rows.labels)
        assert ((rows.labels >= 0).sum(1) == 3 * 2 + 1 + (0 if memento == "none" else 3)).all()


def test_no_problem_stands_in_two_splits_and_rows_do_not_depend_on_the_batch():
    task = Rounds(ops=1, hide=True)
    seen = [
        {tuple(ids[:5]) for ids in task.sample(split, 400).input_ids.tolist()} for split in ("train", "valid", "test")
    ]
    assert not seen[0] & (seen[1] | seen[2])
    assert not seen[1] & seen[2]
    whole, later = task.sample("train", 40), task.sample("train", 3, start=30)
    for name in ("input_ids", "labels", "loss_mask", "visible_until"):
        np.testing.assert_array_equal(getattr(later, name), getattr(whole, name)[30:33])


def test_a_lossy_memento_tells_one_bit_of_the_state():
    full, lossy = (Rounds(memento=memento).sample("test", 200) for memento in ("full", "lossy"))
    at = Rounds().prompt_length + 19  # the memento of the first round
    assert set(lossy.input_ids[:, at] - DIGIT) == {0, 1}
    assert len(set(full.input_ids[:, at])) == 10
    np.testing.assert_array_equal(lossy.input_ids[:, at] - DIGIT, (lossy.input_ids[:, at - 3] - DIGIT) % 2)
