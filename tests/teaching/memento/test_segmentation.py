"""The best partition is the best of all, by trying all; the heuristic never beats it."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.memento.segmentation import objective, segment

WEIGHTS = st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0])


@st.composite
def problems(draw, most=12):
    n = draw(st.integers(1, most))
    tokens = draw(st.lists(st.integers(0, 60), min_size=n, max_size=n))
    scores = draw(st.lists(st.integers(0, 6).map(lambda twice: twice / 2), min_size=n - 1, max_size=n - 1))
    return scores, tokens, draw(st.sampled_from([1, 10, 40, 100, 500])), draw(WEIGHTS)


def brute_force(scores, tokens, min_tokens, weight):
    """The best J over every partition with blocks long enough, None if there is none."""
    n = len(tokens)
    found = []
    for cuts in itertools.chain.from_iterable(itertools.combinations(range(1, n), k) for k in range(n)):
        bounds = [0, *cuts, n]
        blocks = list(itertools.pairwise(bounds))
        if all(sum(tokens[a:b]) >= min_tokens for a, b in blocks):
            found.append(objective(blocks, scores, tokens, weight))
    return max(found, default=None)


def assert_partition(blocks, n):
    assert blocks[0][0] == 0
    assert blocks[-1][1] == n
    assert all(a[1] == b[0] for a, b in itertools.pairwise(blocks))
    assert all(a < b for a, b in blocks)


@settings(max_examples=150, deadline=None)
@given(problems())
def test_exact_is_the_best_of_all_partitions(problem):
    scores, tokens, min_tokens, weight = problem
    found = segment(scores, tokens, min_tokens=min_tokens, weight=weight)
    assert_partition(found.blocks, len(tokens))
    best = brute_force(scores, tokens, min_tokens, weight)
    if best is None:
        assert found.blocks == ((0, len(tokens)),)
    else:
        assert found.objective == pytest.approx(best, abs=1e-9)
        assert all(sum(tokens[a:b]) >= min_tokens for a, b in found.blocks)


@settings(max_examples=60, deadline=None)
@given(problems(most=40))
def test_the_heuristic_is_never_better(problem):
    scores, tokens, min_tokens, weight = problem
    exact = segment(scores, tokens, min_tokens=min_tokens, weight=weight)
    greedy = segment(scores, tokens, min_tokens=min_tokens, weight=weight, method="greedy_dp")
    assert_partition(greedy.blocks, len(tokens))
    assert greedy.objective <= exact.objective + 1e-9
    if len(greedy.blocks) > 1:
        assert all(sum(tokens[a:b]) >= min_tokens for a, b in greedy.blocks)


def test_the_heuristic_can_be_worse():
    """J of a prefix misleads: otherwise there would be no need for the exact method."""
    rng = random.Random(3)
    gaps = 0
    for _ in range(200):
        n = rng.randrange(6, 12)
        tokens = [rng.randrange(5, 60) for _ in range(n)]
        scores = [rng.randrange(7) / 2 for _ in range(n - 1)]
        exact, greedy = (segment(scores, tokens, min_tokens=20, weight=1.0, method=m) for m in ("exact", "greedy_dp"))
        gaps += exact.objective > greedy.objective + 1e-9
    assert gaps > 0


def test_scores_off_the_grid_are_rounded_to_halves():
    assert segment([0.2, 2.9, 0.1], [10] * 4, min_tokens=10) == segment([0.0, 3.0, 0.0], [10] * 4, min_tokens=10)


def test_divisor_is_the_number_of_blocks():
    """Two blocks with one cut of score 3: J = 3/2."""
    found = segment([0, 3, 0], [50, 50, 50, 50], min_tokens=100)
    assert found.blocks == ((0, 2), (2, 4))
    assert found.objective == 1.5


def test_a_trace_that_is_too_short_is_one_block():
    for method in ("exact", "greedy_dp"):
        assert segment([3, 3], [10, 10, 10], method=method).blocks == ((0, 3),)
        assert segment([], [10], method=method).blocks == ((0, 1),)
        assert segment([3], [0, 0], min_tokens=1, method=method).objective == 0.0


@pytest.mark.parametrize(
    ("scores", "tokens", "options", "said"),
    [
        ([], [], {}, "no sentences"),
        ([1.0], [5], {}, "1 sentences have 0 boundaries, not 1"),
        ([-1.0], [5, 5], {}, "must not be negative"),
        ([1.0], [5, -5], {}, "must not be negative"),
        ([1.0], [5, 5], {"method": "dp"}, "'exact' or 'greedy_dp'"),
    ],
)
def test_wrong_use_is_explained(scores, tokens, options, said):
    with pytest.raises(UsageError, match=said):
        segment(scores, tokens, **options)


def test_a_long_trace_is_cut_as_the_released_objective_says():
    rng = random.Random(1)
    tokens = [rng.randrange(20, 100) for _ in range(187)]
    scores = [rng.choice([0, 0, 0, 1, 1, 2, 3]) for _ in range(186)]
    exact, greedy = (segment(scores, tokens, method=m) for m in ("exact", "greedy_dp"))
    assert exact.objective >= greedy.objective - 1e-12
    assert exact.objective == pytest.approx(objective(exact.blocks, scores, tokens, 0.5))
