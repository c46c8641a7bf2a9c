import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.training.config import TrainConfig
from mnemic.training.optimizer import build_optimizer, learning_rate, parameter_groups


@pytest.mark.parametrize("mixer", ["attention", "mamba2"])
def test_matrices_decay_and_vectors_do_not(make_model, mixer):
    model = make_model(layers=[{"mixer": mixer, "conv_size": 4}])
    decayed, kept = parameter_groups(model, 0.1)
    assert {p.ndim >= 2 for p in decayed["params"]} == {True}
    assert {p.ndim < 2 for p in kept["params"]} == {True}
    assert (decayed["weight_decay"], kept["weight_decay"]) == (0.1, 0.0)
    in_groups = [id(p) for group in (decayed, kept) for p in group["params"]]
    assert sorted(in_groups) == sorted(id(p) for p in model.parameters()), "every parameter once, tied ones too"


def test_frozen_parameters_are_not_optimised(make_model):
    model = make_model()
    model.model.embed_tokens.weight.requires_grad_(False)
    optimised = {id(p) for group in build_optimizer(model, TrainConfig()).param_groups for p in group["params"]}
    assert id(model.model.embed_tokens.weight) not in optimised


@given(steps=st.integers(1, 2000), warmup=st.integers(0, 500), final=st.floats(0, 1))
def test_rate_warms_up_to_the_peak_and_falls_to_its_end(steps, warmup, final):
    config = TrainConfig(steps=steps, warmup=warmup, final_lr=final, lr=2.0)
    rates = [learning_rate(step, config) for step in range(steps + 1)]
    turn = min(warmup, steps // 10)
    assert all(0 < rate <= 2.0 for rate in rates[:steps])
    assert all(a < b for a, b in pairwise(rates[: turn + 1]))
    assert rates[turn] == pytest.approx(2.0)
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[turn:]))
    assert rates[steps] == pytest.approx(2.0 * final)


def test_rate_is_half_way_down_in_the_middle():
    config = TrainConfig(steps=100, warmup=0, lr=1.0)
    assert learning_rate(50, config) == pytest.approx(0.5)
    assert learning_rate(25, config) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
