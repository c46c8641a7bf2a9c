import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mnemic.report.summary import _t975, group_runs, pool

UNIT = st.floats(0, 1)
RUN = st.tuples(UNIT, st.none() | UNIT, st.none() | UNIT)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 6, 9, 20, 100])
def test_students_t(freedom):
    assert _t975(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=2e-3)


@given(st.lists(RUN, min_size=1, max_size=5))
def test_an_interval_holds_its_mean_and_stays_in_range(runs):
    estimate = pool(runs, ceiling=1.0)
    assert 0 <= estimate.low <= estimate.mean + 1e-12
    assert estimate.mean - 1e-12 <= estimate.high <= 1
    assert estimate.least - 1e-12 <= estimate.mean <= estimate.most + 1e-12


def test_one_run_passes_its_own_interval_on():
    estimate = pool([(0.9, 0.85, 0.93)], ceiling=1.0)
    assert (estimate.mean, estimate.low, estimate.high) == pytest.approx((0.9, 0.85, 0.93))


def test_seeds_alone_give_students_interval():
    values = [0.2, 0.5, 0.7, 0.4]
    estimate = pool([(v, None, None) for v in values], ceiling=1.0)
    low, high = stats.t.interval(0.95, 3, loc=np.mean(values), scale=stats.sem(values))
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-4)


def test_more_seeds_do_not_average_the_test_examples_out():
    assert pool([(0.9, 0.85, 0.95)] * 50, ceiling=1.0).low == pytest.approx(0.85)


def test_intervals_cover_the_truth_as_often_as_they_say():
    g = np.random.default_rng(0)
    covered = 0
    for _ in range(2000):
        examples = g.normal() * 0.01  # one test set, shared by all seeds
        seeds = 0.5 + examples + g.normal(size=3) * 0.02
        estimate = pool([(s, s - 1.96 * 0.01, s + 1.96 * 0.01) for s in seeds])
        covered += estimate.low <= 0.5 <= estimate.high
    assert covered / 2000 >= 0.94


def test_seeds_are_taken_together_and_settings_are_not(make_record):
    wide = {"width": 128, "depth": 2}
    runs = [make_record("mamba2", 0), make_record("attention", 0), make_record("mamba2", 1)]
    assert [(g.label, len(g.records)) for g in group_runs(runs)] == [("mamba2", 2), ("attention", 1)]
    labels = [group.label for group in group_runs([*runs, make_record("mamba2", 2, shell=wide)])]
    assert labels[0].startswith("mamba2 (width 64, feed_forward 256")
    assert labels[1].startswith("mamba2 (width 128, feed_forward –")


def test_stopping_early_does_not_set_runs_apart(make_record):
    runs = [make_record(seed=s, training={"steps": 500, "stopped_early_at": stop}) for s, stop in ((0, None), (1, 320))]
    assert len(group_runs(runs)) == 1


def test_failed_and_search_runs_are_not_results(make_record):
    assert group_runs([make_record(status="failed"), make_record(purpose="search")]) == []
