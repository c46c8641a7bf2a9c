"""Metrics on rankings that can be counted by hand, and intervals that hold what they claim."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.intervals import mean_interval, paired_difference
from mnemic.storage.retrieval_metrics import (
    all_recall_at_k,
    any_recall_at_k,
    ndcg_at_k,
    recall_at_k,
    turns_to_sessions,
)

RANKED = ["a", "b", "c", "d"]


def test_recall():
    assert recall_at_k(RANKED, {"b", "d"}, 2) == 0.5
    assert recall_at_k(RANKED, {"b", "z"}, 9) == 0.5
    assert (all_recall_at_k(RANKED, {"b", "d"}, 3), all_recall_at_k(RANKED, {"b", "d"}, 4)) == (0, 1)
    assert (any_recall_at_k(RANKED, {"d", "z"}, 3), any_recall_at_k(RANKED, {"d", "z"}, 4)) == (0, 1)
    for metric in (recall_at_k, all_recall_at_k, any_recall_at_k, ndcg_at_k):
        with pytest.raises(UsageError, match="gold is empty"):
            metric(RANKED, set(), 3)


def test_ndcg():
    assert ndcg_at_k(RANKED, {"b"}, 3) == pytest.approx(1 / math.log2(3))  # .6309
    assert ndcg_at_k(RANKED, {"b"}, 3, "longmemeval") == 1
    assert ndcg_at_k(RANKED, {"a", "c"}, 4) == pytest.approx((1 + 1 / 2) / (1 + 1 / math.log2(3)))
    assert ndcg_at_k(RANKED, {"c"}, 4, "longmemeval") == pytest.approx(1 / math.log2(3))
    assert ndcg_at_k(RANKED, {"a", "b", "c"}, 2) == 1  # more cannot be had in two places
    assert ndcg_at_k(["z"], {"a"}, 5) == 0
    with pytest.raises(UsageError, match="discount is 'log'"):
        ndcg_at_k(RANKED, {"a"}, 3, "log")


@given(st.permutations(list("abcdefgh")), st.sets(st.sampled_from("abcdefgh"), min_size=1), st.integers(1, 10))
def test_metrics_are_shares_and_best_first_is_best(ranked, gold, k):
    best = sorted(ranked, key=lambda item: item not in gold)
    for metric in (recall_at_k, all_recall_at_k, any_recall_at_k, ndcg_at_k):
        assert 0 <= metric(ranked, gold, k) <= metric(best, gold, k) <= 1 + 1e-12
    assert ndcg_at_k(best, gold, k) == pytest.approx(1)


def test_sessions_come_in_the_order_of_their_first_turn():
    assert turns_to_sessions(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]


def test_an_interval_covers_as_often_as_it_says():
    random = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        found = mean_interval((random.random(60) < 0.3).astype(float).tolist(), seed=run)
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 198


def test_pairs_tell_more_than_two_intervals():
    random = np.random.default_rng(1)
    hard = random.random(100)
    theirs = hard.tolist()
    ours = (hard + 0.05 + 0.02 * random.normal(size=100)).tolist()
    difference = paired_difference(ours, theirs)
    assert 0.04 < difference.low < difference.mean < difference.high < 0.06
    assert mean_interval(ours).low < mean_interval(theirs).high
    assert paired_difference(ours, theirs) == difference
    with pytest.raises(UsageError, match="2 and 1 values cannot be paired"):
        paired_difference([1, 2], [1])
    with pytest.raises(UsageError, match="no question"):
        mean_interval([])
