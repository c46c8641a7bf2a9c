"""A memory that learns while it reads: chunks equal the token-by-token rule, and the choices are what theory says."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic.ops.decayed_linear_attention import decayed_linear_attention_naive
from mnemic.ops.gated_delta_rule import gated_delta_rule_naive
from mnemic.ops.neural_memory.architectures import ACTIVATIONS, Norm, Perceptron
from mnemic.ops.neural_memory.biases import BIASES, L2, Dot, Huber, Lp
from mnemic.ops.neural_memory.coefficients import chunk_coefficients, products_between
from mnemic.ops.neural_memory.core import Gates, Rule, check_rule, neural_memory
from mnemic.ops.neural_memory.naive import neural_memory_naive
from mnemic.ops.neural_memory.retentions import KL, RETENTIONS, ElasticNet, LqMirror, LqPaper

D = 4
LINEAR = Perceptron(1, residual=False, norm=False)
MEMORIES = {
    "linear": LINEAR,
    "ttt-linear": Perceptron(1, bias=True),
    "mlp": Perceptron(2),
    "mlp-bare": Perceptron(2, expansion=1.5, activation="tanh", norm=False),
    "deep": Perceptron(3, activation="silu", bias=True, hidden_scale=0.7),
}
every_memory = pytest.mark.parametrize("memory", MEMORIES.values(), ids=MEMORIES)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def problem(
    rule: Rule, time: int, by_channel: bool = False, by_position: bool = False, closed: int | None = 5
) -> tuple[list, Norm | None]:
    """q, k, v, gates, weights; one token forgets everything, and one neither writes nor carries anything on."""
    batch, heads, layers = 2, 2, rule.memory.depth
    q, k, v = (normal(seed, batch, heads, time, D) for seed in range(3))
    shape = (batch, heads, layers, time, *((D,) if by_channel else ()))
    keep = 0.7 + 0.3 * normal(3, *shape).sigmoid()
    rate, momentum = 0.2 * normal(4, *shape[:4]).sigmoid(), normal(5, *shape[:4]).sigmoid()
    if closed is not None and time > closed:
        keep[:, :, :, closed] = rate[:, :, :, closed - 1] = momentum[:, :, :, closed - 1] = 0
    gates = Gates(
        rate,
        None if by_position else keep,
        None if rule.optimizer == "gd" else momentum,
        normal(6, batch, heads, time).exp() if rule.bias.has_threshold else None,
        normal(7, rule.chunk_size).sigmoid() if by_position else None,
    )
    weights = tuple(0.5 * normal(8 + i, 1, heads, *s) for i, s in enumerate(rule.memory.shapes(D)))
    norm = Norm(normal(20, heads, D).exp(), normal(21, heads, D)) if rule.memory.norm else None
    return [q, F.normalize(k, dim=-1), v, gates, weights], norm


def assert_equal(got, want, tolerance: float = 1e-9) -> None:
    for a, b in zip([got[0], *got[1], *got[2]], [want[0], *want[1], *want[2]], strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * max(1.0, b.abs().max().item()))


def assert_chunks_equal_tokens(rule: Rule, time: int, **kind: bool) -> None:
    args, norm = problem(rule, time, **kind)
    assert_equal(neural_memory(*args, rule=rule, norm=norm), neural_memory_naive(*args, rule=rule, norm=norm))


@every_memory
@pytest.mark.parametrize("bias", BIASES.values(), ids=BIASES)
def test_chunks_equal_tokens_with_every_bias(memory, bias):
    assert_chunks_equal_tokens(Rule(memory, bias, optimizer="momentum", chunk_size=8), 21)


@every_memory
@pytest.mark.parametrize("retention", RETENTIONS.values(), ids=RETENTIONS)
def test_chunks_equal_tokens_with_every_retention(memory, retention):
    assert_chunks_equal_tokens(Rule(memory, L2(), retention, chunk_size=6), 15)


@every_memory
@settings(max_examples=10, deadline=None)
@given(
    time=st.integers(1, 25), chunk_size=st.integers(1, 30), optimizer=st.sampled_from(["gd", "momentum", "muon"]),
    reads=st.sampled_from(["after", "before"]), decayed=st.booleans(),
)  # fmt: skip
def test_chunks_equal_tokens_at_any_length_and_size(memory, time, chunk_size, optimizer, reads, decayed):
    predicts = "decayed" if decayed else "undecayed"
    rule = Rule(memory, optimizer=optimizer, chunk_size=chunk_size, reads=reads, predicts_with=predicts)
    # Newton-Schulz lifts rounding errors some hundredfold at every chunk's end
    assert_chunks_equal_tokens(rule, min(time, 5 * chunk_size) if optimizer == "muon" else time)


@every_memory
def test_chunks_equal_tokens_with_a_rate_by_position(memory):
    assert_chunks_equal_tokens(Rule(memory, chunk_size=5), 13, by_position=True)


@pytest.mark.parametrize("bias", [Dot(), L2()])
@pytest.mark.parametrize("predicts", ["undecayed", "decayed"])
def test_chunks_equal_tokens_where_channels_fade_apart(bias, predicts):
    assert_chunks_equal_tokens(Rule(LINEAR, bias, chunk_size=5, predicts_with=predicts), 13, by_channel=True)


@every_memory
def test_gradients_of_the_chunked_form_are_those_of_the_tokens(memory):
    rule = Rule(memory, optimizer="momentum", chunk_size=4)
    args, norm = problem(rule, 10)
    leaves = [
        *args[:3],
        args[3].rate,
        args[3].keep,
        args[3].momentum,
        *args[4],
        *((norm.weight, norm.bias) if norm else ()),
    ]
    for leaf in leaves:
        leaf.requires_grad_()

    def gradients(form, **options) -> tuple[Tensor, ...]:
        y, weights, momenta = form(*args, rule=rule, norm=norm, **options)
        return torch.autograd.grad(sum(x.sin().sum() for x in (y, *weights, *momenta)), leaves)

    want = gradients(neural_memory_naive)
    for options in ({}, {"checkpoint_every": 2}):
        for a, b in zip(gradients(neural_memory, **options), want, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)


@every_memory
def test_a_state_handed_on_at_a_chunk_edge_continues_the_sequence(memory):
    rule = Rule(memory, optimizer="momentum", chunk_size=4)
    args, norm = problem(rule, 20)
    q, k, v, gates, weights = args

    def part(s: slice) -> tuple[Tensor, Tensor, Tensor, Gates]:
        cut = Gates(gates.rate[..., s], gates.keep[..., s], gates.momentum[..., s])
        return q[:, :, s], k[:, :, s], v[:, :, s], cut

    y1, weights, momenta = neural_memory(*part(slice(0, 8)), weights, rule=rule, norm=norm)
    y2, weights, momenta = neural_memory(*part(slice(8, 20)), weights, momenta, rule=rule, norm=norm)
    assert_equal((torch.cat([y1, y2], 2), weights, momenta), neural_memory(*args, rule=rule, norm=norm))


@pytest.mark.parametrize("bias", [b for b in BIASES.values() if not isinstance(b, Lp)], ids=lambda b: type(b).__name__)
def test_the_error_is_the_derivative_of_the_value(bias):
    prediction, target = normal(1, 3, 7, D).requires_grad_(), normal(2, 3, 7, D)
    threshold = normal(3, 3, 7, 1).exp()
    if isinstance(bias, Huber) and bias.form == "switch":
        prediction = (target + 3 * normal(1, 3, 7, D)).detach().requires_grad_()
    (slope,) = torch.autograd.grad(bias.value(prediction, target, threshold).sum(), prediction)
    torch.testing.assert_close(bias.error(prediction, target, threshold), slope, rtol=1e-9, atol=1e-9)


def test_the_exact_power_loss_has_its_derivative_and_the_smooth_one_is_near():
    prediction, target = normal(1, 50, D).requires_grad_(), normal(2, 50, D)
    exact = Lp(3.0, None)
    (slope,) = torch.autograd.grad(exact.value(prediction, target).sum(), prediction)
    torch.testing.assert_close(exact.error(prediction, target), slope)
    assert (Lp(3.0).error(prediction, target) - slope).abs().max() < 0.05


def test_the_robust_shift_is_the_worst_of_many_shifts():
    r, reach = normal(1, D), 0.3
    shifts = F.normalize(normal(2, 20_000, D), dim=-1) * reach
    worst = 0.5 * (r - shifts).square().sum(-1).max()
    value = BIASES["robust"].value(r, torch.zeros(D, dtype=r.dtype), torch.tensor([reach], dtype=r.dtype))
    assert worst <= value + 1e-12
    assert value - worst < 0.01


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_activation_comes_with_its_derivative(activation):
    z = normal(1, 40).requires_grad_()
    value, slope = ACTIVATIONS[activation](z)
    torch.testing.assert_close(torch.autograd.grad(value.sum(), z)[0], slope)


def test_products_between_positions_are_products():
    gate = normal(1, 2, 6).sigmoid()
    gate[0, 3] = 0
    got = products_between(gate)
    for t in range(6):
        for s in range(6):
            want = gate[:, s + 1 : t + 1].prod(-1) if s <= t else torch.zeros(2, dtype=gate.dtype)
            torch.testing.assert_close(got[:, t, s], want)


def test_the_mirror_map_undoes_its_gradient():
    """W = grad of |A|_p^2 / 2 for 1/p + 1/q = 1 has grad of |W|_q^2 / 2 = A."""
    p, dual = 4.0, normal(1, 1, 3, 5)
    q = p / (p - 1)
    weights = LqMirror(p).weights(dual).requires_grad_()
    (back,) = torch.autograd.grad(0.5 * weights.abs().pow(q).sum().pow(2 / q), weights)
    torch.testing.assert_close(back, dual)
    torch.testing.assert_close(LqMirror(2.0).weights(dual), dual)


def test_the_printed_power_gate_divides_by_the_norm():
    dual = normal(1, 2, 3, 5)
    norm = dual.pow(4).sum((-2, -1), keepdim=True).pow(0.25)
    torch.testing.assert_close(LqPaper(4.0).weights(dual), dual / norm**2)


def test_the_entropy_gate_keeps_weights_on_their_simplex():
    rule = Rule(LINEAR, L2(), KL(total=2.0), chunk_size=4)
    args, norm = problem(rule, 11)
    _, duals, _ = neural_memory(*args, rule=rule, norm=norm)
    weights = rule.retention.weights(duals[0].flatten(0, 1))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-2), torch.full_like(weights.sum(-2), 2.0))


def test_the_elastic_net_gives_exact_zeros():
    rule = Rule(LINEAR, L2(), ElasticNet(0.02), chunk_size=4)
    args, norm = problem(rule, 12)
    args[3] = Gates(2 * args[3].rate)
    _, weights, _ = neural_memory(*args, rule=rule, norm=norm)
    assert 0 < (weights[0] == 0).double().mean() < 1


def test_a_hebbian_write_with_fading_weights_is_decayed_linear_attention():
    rule = Rule(LINEAR, Dot(), chunk_size=1)
    args, _ = problem(rule, 12, closed=None)
    q, k, v, gates, weights = args
    y, _, _ = neural_memory(q, k, v, gates, (torch.zeros_like(weights[0]),), rule=rule)
    want, _ = decayed_linear_attention_naive(q, k, v * gates.rate[:, :, 0, :, None], gates.keep[:, :, 0].log())
    torch.testing.assert_close(y, want)


@pytest.mark.parametrize("decays", [False, True])
def test_an_l2_loss_in_chunks_of_one_is_the_delta_rule(decays):
    rule = Rule(LINEAR, L2(), chunk_size=1, predicts_with="decayed")
    args, _ = problem(rule, 12, closed=None)
    q, k, v, gates, weights = args
    gates = gates if decays else Gates(gates.rate)
    state = weights[0].expand(2, -1, -1, -1)
    log_decay = gates.keep[:, :, 0].log() if decays else None
    y, after, _ = neural_memory(q, k, v, gates, weights, rule=rule)
    want, final = gated_delta_rule_naive(q, k, v, gates.rate[:, :, 0], log_decay, state, scale=1.0)
    torch.testing.assert_close(y, want)
    torch.testing.assert_close(after[0], final)


def test_an_implicit_step_is_the_delta_rule_at_a_smaller_rate():
    """Longhorn: argmin of |W - W'|^2 / 2 + beta |k W' - v|^2 / 2 is a delta step of beta / (1 + beta |k|^2)."""
    k, v, before, beta = normal(1, 1, D), normal(2, 1, D), normal(3, D, D), 0.8
    eye = torch.eye(D, dtype=k.dtype)
    implicit = torch.linalg.solve(eye + beta * k.mT @ k, before + beta * k.mT @ v)
    rate = torch.full((1, 1, 1, 1), beta / (1 + beta * k.square().sum().item()), dtype=k.dtype)
    token = [x[None, None] for x in (k, k, v)]
    _, after, _ = neural_memory(*token, Gates(rate), (before[None, None],), rule=Rule(LINEAR, chunk_size=1))
    torch.testing.assert_close(after[0][0, 0], implicit)


def test_several_steps_per_token_are_a_product_of_delta_steps():
    """DeltaProduct: n (key, value) pairs per token are n tokens of which the last one reads."""
    rule = Rule(LINEAR, chunk_size=1)
    args, _ = problem(rule, 12)
    y, _, _ = neural_memory(*args, rule=rule)
    q, k, v, gates, (state,) = args
    state = state.expand(2, -1, -1, -1)
    for t in range(12):
        rate, keep = gates.rate[:, :, 0, t, None, None], gates.keep[:, :, 0, t, None, None]
        key, value = k[:, :, t, None], v[:, :, t, None]
        state = keep * state - rate * key.mT @ (key @ state - value)
        if t % 2:
            torch.testing.assert_close(y[:, :, t, None], q[:, :, t, None] @ state)


def test_coefficients_of_open_gates_are_sums():
    rate = normal(1, 3, 2, 5).sigmoid()
    c = chunk_coefficients(rate, torch.ones_like(rate), torch.zeros_like(rate))
    torch.testing.assert_close(c.writes, rate[..., None, :].expand(3, 2, 5, 5).tril())
    torch.testing.assert_close(c.carried, torch.zeros_like(rate)[..., None])


def test_errors_longer_than_the_limit_are_cut_and_the_others_are_not():
    gates = Gates(torch.ones(1, 1, 1, 2, dtype=torch.float64))
    k = torch.eye(2, dtype=torch.float64)[None, None]
    v = torch.tensor([[[[30.0, 40.0], [0.3, 0.4]]]], dtype=torch.float64)
    rule = Rule(LINEAR, largest_error=1.0)
    _, (state,), _ = neural_memory(k, k, v, gates, (torch.zeros(1, 1, 2, 2, dtype=torch.float64),), rule=rule)
    torch.testing.assert_close(state[0, 0], torch.tensor([[0.6, 0.8], [0.3, 0.4]], dtype=torch.float64))


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (Rule(chunk_size=0), "at least 1"),
        (Rule(retention=KL(), optimizer="momentum"), "'gd' is the optimiser"),
        (Rule(retention=LqPaper(), predicts_with="decayed"), "goes with the retention l2"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(rule, says):
    with pytest.raises(ValueError, match=says):
        check_rule(rule)


def test_wrong_shapes_are_named():
    rule = Rule(LINEAR)
    args, _ = problem(rule, 4)
    with pytest.raises(ValueError, match="this memory's are"):
        neural_memory(*args[:4], (args[4][0][..., :2],), rule=rule)
    with pytest.raises(ValueError, match="gate 'rate'"):
        neural_memory(*args[:3], Gates(args[3].rate[..., :2]), args[4], rule=rule)
    with pytest.raises(ValueError, match="needs the gate 'momentum'"):
        neural_memory(*args[:3], Gates(args[3].rate), args[4], rule=Rule(LINEAR, optimizer="momentum"))
    with pytest.raises(ValueError, match="a position rate goes with"):
        neural_memory(*args[:3], Gates(args[3].rate, args[3].keep, position_rate=torch.ones(16)), args[4], rule=rule)
    with pytest.raises(ValueError, match="complete has 1 chunks of 16"):
        neural_memory(*args, rule=rule, complete=torch.ones(2, 1, dtype=torch.bool))
    with pytest.raises(ValueError, match="largest_error"):
        neural_memory_naive(*args, rule=Rule(LINEAR, largest_error=1.0))
