"""What Titans and Miras add to the contract: how they begin, what they refuse, and when they warn."""

import math
import warnings

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mnemic.modules.memory import Step
from mnemic.modules.mixer import Mixer
from mnemic.ops.gated_delta_rule import gated_delta_rule
from mnemic.ops.neural_memory.core import Gates, Rule, neural_memory
from mnemic.state.miras import Memora, MemoraConfig, Miras, MirasConfig, Moneta, MonetaConfig, Yaad, YaadConfig
from mnemic.state.titans_lmm import TitansLMM, TitansLMMConfig

WIDTH = 16
MIXERS = [(TitansLMM, TitansLMMConfig), (Yaad, YaadConfig), (Moneta, MonetaConfig), (Memora, MemoraConfig)]


def made(kind: type[Mixer], config: type, **options) -> Mixer:
    torch.manual_seed(0)
    return kind(config(width=WIDTH, heads=2, **options), 0).double()


def inputs(time: int = 40, seed: int = 0) -> Tensor:
    return torch.randn(2, time, WIDTH, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("kind", "config"), MIXERS)
def test_gates_begin_where_the_options_say(kind, config):
    m = made(kind, config, rate=0.25, forget=0.01, fade=0.5, **({"delta": 0.3} if kind is not TitansLMM else {}))
    gates = m._gates(m._token_gates(torch.zeros(1, 3, WIDTH, dtype=torch.float64), torch.float64))
    for gate, start in ((gates.rate, 0.25), (gates.keep, 0.99), (gates.momentum, 0.5), (gates.threshold, 0.3)):
        if gate is not None:
            torch.testing.assert_close(gate, torch.full_like(gate, start), rtol=1e-6, atol=1e-6)
    assert (gates.momentum is not None) == (kind is TitansLMM)
    assert (gates.threshold is not None) == (kind is Yaad)


def test_unit_features_have_length_one_and_the_first_reading_is_the_query():
    torch.manual_seed(0)
    m = TitansLMM(TitansLMMConfig(width=512, heads=2), 0)
    keys = torch.nn.functional.normalize(torch.randn(200, 256), dim=-1)
    hidden = torch.nn.functional.silu(keys @ m.memory[0][0, 0]) * m.rule.memory.hidden_scale
    assert abs(hidden.norm(dim=-1).mean() - 1) < 0.1
    assert m.memory[1].abs().max() == 0


def test_yaad_with_a_far_threshold_is_l2():
    one, other = made(Yaad, YaadConfig, chunk_size=4), made(Miras, MirasConfig, chunk_size=4)
    with torch.no_grad():
        shared = {k: v for k, v in one.state_dict().items() if "gate" not in k}
        other.load_state_dict(shared, strict=False)
        one.gates.weight.zero_()
        other.gates.weight.zero_()
        one.gate_bias[:, -1] = 100.0
    torch.testing.assert_close(one(inputs(), Step()), other(inputs(), Step()))


def test_a_linear_memory_in_chunks_of_one_that_predicts_with_decayed_weights_is_gated_deltanets_rule():
    m = made(TitansLMM, TitansLMMConfig, depth=1, chunk_size=1, momentum=False, predicts_with="decayed")
    heads = (inputs(12, seed).unflatten(-1, (2, 8)).transpose(1, 2) for seed in range(3))
    q, k, v = (torch.nn.functional.normalize(x, dim=-1) for x in heads)
    rate, keep = torch.rand(2, 2, 12, dtype=torch.float64), torch.rand(2, 2, 12, dtype=torch.float64)
    gates = Gates(rate[:, :, None], keep[:, :, None])
    y, _, _ = neural_memory(q, k, v, gates, [torch.zeros(1, 2, 8, 8, dtype=torch.float64)], rule=m.rule)
    torch.testing.assert_close(y, gated_delta_rule(q, k, v, rate, keep.log(), scale=1.0)[0])


def test_a_chunk_longer_than_the_row_is_a_chunk_of_its_length():
    short, long = (made(TitansLMM, TitansLMMConfig, chunk_size=size, rate=0.1) for size in (10, 500))
    torch.testing.assert_close(short(inputs(10), Step()), long(inputs(10), Step()))


def test_running_chunks_again_changes_no_gradient():
    grads = []
    for again in (None, 2):
        m = made(TitansLMM, TitansLMMConfig, chunk_size=4, checkpoint_chunks=again)
        m(inputs(), Step()).square().sum().backward()
        grads.append([p.grad for p in m.parameters()])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b)


def test_a_memory_that_diverges_says_so_once():
    m = made(Miras, MirasConfig, bias="lp", power=4.0, chunk_size=4)
    torch.nn.init.zeros_(m.gates.weight)  # the rate stays what it is, however large the input
    with pytest.warns(UserWarning, match=r"layer 0: the memory diverges.*root mean square is (nan|inf|\d)"):
        m(1000 * inputs(), Step())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        m(1000 * inputs(), Step())


def test_heads_divide_the_width_by_default_and_are_named_where_they_do_not():
    for width in (1, 33, 64, 96, 200, 256, 320):
        assert width % TitansLMMConfig(width=width).resolved_heads == 0
    assert [TitansLMMConfig(width=w).resolved_heads for w in (64, 256)] == [2, 4]
    with pytest.raises(ValidationError, match="heads 3 must divide the width 16"):
        TitansLMMConfig(width=16, heads=3)


@pytest.mark.parametrize(("options", "says"), [
    ({"retention": "kl", "optimizer": "momentum"}, "'gd' is the optimiser"),
    ({"retention": "lq", "optimizer": "muon"}, "goes with the retention l2"),
])  # fmt: skip
def test_choices_that_do_not_go_together_say_which_do(options, says):
    with pytest.raises(ValidationError, match=says):
        MirasConfig(width=WIDTH, **options)


def test_every_choice_of_loss_and_retention_runs_and_is_finite():
    for bias in ("dot", "l2", "l1", "lp", "huber", "huber-coordinate", "huber-switch", "robust"):
        for retention in ("none", "l2", "lq", "lq-paper", "kl", "elastic-net"):
            y = made(Miras, MirasConfig, bias=bias, retention=retention, largest_error=1.0)(inputs(), Step())
            assert y.isfinite().all(), (bias, retention)
            assert y.abs().max() > 0


def test_the_rule_is_what_the_options_say():
    rule: Rule = MonetaConfig(width=WIDTH).rule()
    assert (rule.bias.power, rule.retention.power, rule.largest_error) == (3.0, 4.0, 1.0)
    assert math.isclose(YaadConfig(width=WIDTH, delta=0.5).rule().bias.delta, 0.5)
