from itertools import permutations as all_orders

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from mnemic.tasks.sampling import (
    block_generator,
    distinct,
    one_of,
    permutations,
    previous_equal,
    row_hash,
    weighted_distinct,
)

ROWS = 100_000


def order_counts(drawn, orders):
    """How often each of the orders was drawn; every row must be one of them."""
    code = {order: i for i, order in enumerate(orders)}
    seen, counts = np.unique(drawn, axis=0, return_counts=True)
    result = np.zeros(len(orders))
    for row, count in zip(seen.tolist(), counts, strict=True):
        result[code[tuple(row)]] = count
    return result


@pytest.mark.parametrize(("count", "size"), [(2, 6), (3, 7), (3, 5), (4, 4)])
def test_distinct_draws_every_ordered_choice_equally_often(count, size):
    drawn = distinct(block_generator("distinct", 0), ROWS, count, size)
    counts = order_counts(drawn, list(all_orders(range(size), count)))
    assert chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("count", "size"), [(8, 4095), (64, 4095), (500, 1001), (60, 127)])
def test_distinct_draws_are_distinct_and_every_column_is_uniform(count, size):
    drawn = distinct(block_generator("columns", size), 4_000, count, size)
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    assert drawn.min() >= 0
    assert drawn.max() < size
    for column in (0, count // 2, count - 1):
        counts = np.histogram(drawn[:, column], bins=min(size, 50), range=(0, size))[0]
        widths = np.diff(np.ceil(np.linspace(0, size, min(size, 50) + 1)))
        assert chisquare(counts, len(drawn) * widths / size).pvalue > 1e-4


def test_no_distinct_draws_are_an_empty_array():
    assert distinct(block_generator("none", 0), 3, 0, 5).shape == (3, 0)


@pytest.mark.parametrize(("count", "weights"), [(3, [5.0, 2.0, 1.0, 1.0, 0.5]), (1, [1.0, 0.5, 0.25, 0.2, 0.1, 0.1])])
def test_weighted_draws_follow_the_law_of_drawing_one_after_the_other(count, weights):
    """Both ways of taking the first arrivals: sorting all of them, and a partition when few of many are wanted."""
    weights = np.array(weights)
    orders = list(all_orders(range(len(weights)), count))
    law = []
    for order in orders:
        left, chance = weights.sum(), 1.0
        for i in order:
            chance *= weights[i] / left
            left -= weights[i]
        law.append(chance)
    drawn = weighted_distinct(block_generator("weights", count), ROWS, count, weights)
    assert chisquare(order_counts(drawn, orders), ROWS * np.array(law)).pvalue > 1e-4


def test_permutations_are_uniform():
    drawn = permutations(block_generator("orders", 0), ROWS, 4)
    assert chisquare(order_counts(drawn, list(all_orders(range(4))))).pvalue > 1e-4


def test_one_of_is_uniform_over_what_is_admissible():
    admissible = np.tile([True, False, True, True, False], (ROWS, 1))
    counts = np.bincount(one_of(block_generator("one", 0), admissible), minlength=5)
    assert counts[1] == counts[4] == 0
    assert chisquare(counts[[0, 2, 3]]).pvalue > 1e-4


@given(st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=5))
def test_previous_equal_is_what_a_search_backwards_finds(rows):
    want = [[max((j for j in range(i) if row[j] == row[i]), default=-1) for i in range(len(row))] for row in rows]
    assert previous_equal(np.array(rows)).tolist() == want


def test_blocks_are_independent_streams_that_can_be_started_anywhere():
    first, second = (block_generator("a", n).integers(1 << 62, size=1000) for n in (0, 1))
    assert not np.intersect1d(first, second).size
    assert (block_generator("a", 1).integers(1 << 62, size=1000) == second).all()
    assert not np.intersect1d(block_generator("b", 0).integers(1 << 62, size=1000), first).size


def test_row_hashes_tell_rows_apart_and_spread_evenly():
    rows = np.stack(np.meshgrid(*[np.arange(32)] * 3), axis=-1).reshape(-1, 3)
    hashes = row_hash(rows)
    assert len(np.unique(hashes)) == len(rows)
    assert chisquare(np.bincount((hashes >> np.uint64(61)).astype(int), minlength=8)).pvalue > 1e-4
