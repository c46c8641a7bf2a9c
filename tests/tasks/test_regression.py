"""In-context regression: its functions, and its baselines against closed forms worked out another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.tasks import Examples, parse_task
from mnemic.tasks.regression import TARGET_STEP, InContextRegression
from mnemic.tasks.regression_baselines import averaging, least_squares, nearest_neighbours, ridge


@pytest.mark.parametrize("function", ["linear", "sparse", "quadratic", "relu", "tree"])
def test_who_always_says_zero_has_an_error_of_one(function):
    task = InContextRegression(function=function, dims=12, points=10)
    _, y = task.numbers(task.sample("train", 3000).input_ids)
    assert (y**2).mean() == pytest.approx(1, abs=0.08)
    assert abs(y.mean()) < 0.05


def test_points_are_normal_and_rows_have_functions_of_their_own():
    task = InContextRegression(dims=5, points=20)
    x, y = task.numbers(task.sample("train", 2000).input_ids)
    assert (x.mean(), x.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.02))
    w = np.stack([np.linalg.lstsq(a, b, rcond=None)[0] for a, b in zip(x, y * np.sqrt(5), strict=True)])
    assert np.abs(np.cov(w.T) - np.eye(5)).max() < 0.15
    sparse = InContextRegression(dims=8, points=20, function="sparse")
    x, y = sparse.numbers(sparse.sample("train", 20).input_ids)
    for a, b in zip(x, y, strict=True):
        assert (np.abs(np.linalg.lstsq(a, b, rcond=None)[0]) > 0.1).sum() <= 3


def test_labels_are_the_values_that_the_row_goes_on_to_tell():
    task = InContextRegression(dims=3, points=6)
    rows = task.sample("test", 50)
    at = np.flatnonzero(rows.labels[0] >= 0)
    assert at.tolist() == [2 + 4 * i for i in range(6)]
    assert (rows.labels[:, at] == rows.input_ids[:, at + 1]).all()
    assert (rows.slices["examples"][:, at] == np.arange(6)).all()
    numbers = task.label_values()
    assert not np.isnan(numbers[rows.labels[:, at]]).any()
    assert np.isnan(numbers[rows.input_ids[:, :3]]).all(), "coordinates are no answers"


def test_rounding_costs_next_to_nothing():
    """With d points told, least squares knows a linear function but for the rounding of its values."""
    task = InContextRegression(dims=4, points=30)
    rows = task.sample("test", 400)
    _, y = task.numbers(rows.input_ids)
    said = task.baselines(rows)
    error = {name: ((values - y) ** 2).mean(axis=0) for name, values in said.items()}
    assert error["least squares"][-1] < 4 * TARGET_STEP**2
    assert error["ridge"][-1] < 4 * TARGET_STEP**2
    assert error["zero"].mean() == pytest.approx((y**2).mean())
    for name in said:
        assert said[name].shape == (400, 30)
        assert (said[name][:, 0] == 0).all(), "nothing is known of the first"


@settings(max_examples=30, deadline=None)
@given(dims=st.integers(1, 5), points=st.integers(2, 9), variance=st.floats(0.01, 2), seed=st.integers(0, 1000))
def test_closed_forms_are_what_solving_each_prefix_gives(dims, points, variance, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((3, points, dims)), rng.standard_normal((3, points))
    plain, penal, mean, near = (f(x, y, variance) for f in (least_squares, ridge, averaging, nearest_neighbours))
    for b in range(3):
        for i in range(1, points):
            a, v, new = x[b, :i], y[b, :i], x[b, i]
            assert plain[b, i] == pytest.approx(new @ np.linalg.lstsq(a, v, rcond=None)[0], abs=1e-5, rel=1e-5)
            dual = a.T @ np.linalg.solve(a @ a.T + variance * np.eye(i), v)
            assert penal[b, i] == pytest.approx(new @ dual, abs=1e-8)
            assert mean[b, i] == pytest.approx(new @ (v @ a) / i)
            nearest = sorted(range(i), key=lambda j: np.linalg.norm(a[j] - new))[:3]
            assert near[b, i] == pytest.approx(np.mean(v[nearest]))


def test_ridge_is_the_best_of_all_on_noisy_lines():
    task = InContextRegression(dims=5, points=12, noise=0.5)
    rows = task.sample("test", 3000)
    _, y = task.numbers(rows.input_ids)
    error = {name: ((values - y) ** 2).mean() for name, values in task.baselines(rows).items()}
    assert min(error, key=error.get) == "ridge"
    assert error["ridge"] > 0.25, "noise cannot be known"


def test_a_row_depends_on_its_number_alone():
    task = parse_task("in-context-regression:dims=2,points=4,function=tree")
    whole = task.sample("train", 600, seed=1)
    parts = Examples.concat([task.sample("train", 100, 1, start) for start in range(0, 600, 100)])
    assert (whole.input_ids == parts.input_ids).all()
    assert (task.sample("test", 10).input_ids != whole.input_ids[:10]).any()
    prompt = task.render(whole[:1])[0]
    assert prompt.text.count("=?") == len(prompt.answers) == 4


def test_a_sparse_function_needs_three_coordinates():
    with pytest.raises(UsageError, match="dims=2 must be at least 3"):
        parse_task("in-context-regression:dims=2,function=sparse")
