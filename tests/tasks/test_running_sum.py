"""Blocks of digits and their running sum: the task running-sum."""

import numpy as np
from scipy.stats import chisquare

from mnemic.tasks.rounds import DIGIT, MARKERS
from mnemic.tasks.running_sum import RunningSum
from mnemic.teaching.memento.blocks import visible_until
from mnemic.teaching.memento.rules import MarkerIds, MementoRules


def test_digits_are_uniform_and_sums_are_what_they_say():
    task = RunningSum(blocks=3, digits=4)
    rows = task.sample("train", 5_000)
    np.testing.assert_array_equal(task.oracle(rows.input_ids), rows.labels)
    assert chisquare(np.bincount(rows.input_ids[:, 2] - DIGIT, minlength=10)).pvalue > 1e-4
    memento = rows.input_ids[:, task.memento(2)]
    assert (memento[:, 0] == MARKERS[2]).all()
    assert (memento[:, -1] == MARKERS[3]).all()
    written = (memento[:, 1:-1] - DIGIT) @ np.array([100, 10, 1])
    digits = np.concatenate([rows.input_ids[:, task.block_start(b) + 1 :][:, :4] for b in range(3)], axis=1) - DIGIT
    np.testing.assert_array_equal(written, digits.sum(axis=1))
    assert rows.visible_until is None


def test_what_is_hidden_is_what_the_markers_say():
    rows = RunningSum(hide=True).sample("valid", 3)
    assert rows.input_ids.shape[1] == RunningSum().max_length
    for ids, until in zip(rows.input_ids, rows.visible_until, strict=True):
        np.testing.assert_array_equal(until, visible_until(ids, MarkerIds(*MARKERS), MementoRules()))
