"""Bootstrap intervals: what they are by definition, and that they cover as often as they say."""

import numpy as np
import pytest

from mnemic.intervals import RESAMPLES, bootstrap, draw_weights


def test_interval_is_that_of_rows_drawn_again_one_by_one():
    rng = np.random.default_rng(0)
    sums, counts = rng.random((12, 2)), rng.integers(1, 4, (12, 2)).astype(float)
    weights = draw_weights(12, seed=3)
    assert (weights.sum(1) == 12).all()
    mean, low, high = bootstrap(sums, counts, weights)
    for column in range(2):
        drawn = []
        for resample in weights.astype(int):
            rows = [row for row, times in enumerate(resample) for _ in range(times)]
            drawn.append(sum(sums[r, column] for r in rows) / sum(counts[r, column] for r in rows))
        assert mean[column] == pytest.approx(sums[:, column].sum() / counts[:, column].sum())
        assert (low[column], high[column]) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])))


def test_same_seed_same_interval():
    assert (draw_weights(9, 1) == draw_weights(9, 1)).all()
    assert (draw_weights(9, 1) != draw_weights(9, 2)).any()


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng, hits, trials = np.random.default_rng(0), 0, 200
    for trial in range(trials):
        rows = rng.binomial(4, 0.7, size=(80, 1)).astype(float)
        _, low, high = bootstrap(rows, np.full((80, 1), 4.0), draw_weights(80, trial))
        hits += bool(low[0] <= 0.7 <= high[0])
    assert 0.88 * trials <= hits < trials


def test_column_without_questions_has_no_number():
    mean, low, high = bootstrap(np.ones((4, 2)) * [1, 0], np.ones((4, 2)) * [1, 0], np.ones((RESAMPLES, 4)))
    assert (mean[0], low[0], high[0]) == (1, 1, 1)
    assert np.isnan([mean[1], low[1], high[1]]).all()
