"""Tokens that are dropped on the way are as if the layers behind had never met them.

Legend: T tokens, H heads, P channels of a head, N state size, J taps, C channels, V vocabulary.
"""

from functools import cache
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.ops.causal_convolution import causal_convolution_naive
from mnemic.teaching.rwr.completion import Decoding, Speed, complete, complete_after_common_start
from mnemic.teaching.rwr.continuation import continuation_of
from mnemic.teaching.rwr.decimation import Decimation, decimated
from mnemic.teaching.rwr.forks import read, tensors_of

VOCABULARY, TIME = 40, 30
FAMILIES = ["host", "mamba2", "mamba1"]
TWICE = Decimation(layer=0, layers=2, keep=11, beta=0.5, least=3)
CLOSE = {"rtol": 0, "atol": 1e-5}


@cache
def model(family: str) -> Any:
    torch.manual_seed(0)
    small = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 3, "initializer_range": 0.2}
    if family == "host":
        layers = [{"mixer": "mamba2", "head_width": 8, "state": 8, "groups": 2, "dt_max": 1.0}]
        made = MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 3, layers=layers, init="normal", initializer_range=0.2))
    elif family == "mamba2":
        heads = {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 2, "chunk_size": 16, "expand": 2}
        made = Mamba2ForCausalLM(Mamba2Config(**small, **heads, time_step_max=1.0))
    else:
        made = MambaForCausalLM(MambaConfig(**small, state_size=8, time_step_max=1.0))
    return made.eval()


def ids(rows: int, time: int = TIME, seed: int = 1) -> Tensor:
    return torch.randint(0, VOCABULARY, (rows, time), generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def by_hand(family: str, row: Tensor, options: Decimation) -> tuple[Tensor, list[tuple[Tensor, Tensor]], list[bool]]:
    """Logits [V] after one row [T]; of each layer the (inputs, state), and whether its last token weighed enough."""
    base = model(family)
    body = base.base_model
    x = body.get_input_embeddings()(row)
    memories, natural = [], []
    for index, block in enumerate(body.layers):
        norm = block.mixer_norm if family == "host" else block.norm
        layer = _mamba1 if family == "mamba1" else _mamba2
        order = index - options.layer if options.layer is not None else -1
        count = options.kept(order, len(x)) if 0 <= order < options.layers else len(x)
        y, kept, memory, of_itself = layer(block.mixer, norm(x), count)
        memories.append(memory)
        natural.append(of_itself)
        x = x[kept] + y
        if family == "host":
            x = x + block.feed_forward(block.feed_forward_norm(x))
    final = body.norm if family == "host" else body.norm_f
    return base.lm_head(final(x))[-1], memories, natural


def _kept(steps: Tensor, count: int) -> tuple[Tensor, bool]:
    ranked = sorted(range(len(steps)), key=lambda t: -float(steps[t].mean()))
    last = len(steps) - 1
    chosen = [last, *[t for t in ranked if t != last][: count - 1]]
    return torch.tensor(sorted(chosen)), last in ranked[:count]


def _convolved(mixed: Tensor, mixer: Any) -> Tensor:
    conv = getattr(mixer, "conv", None) or mixer.conv1d
    weight = conv.weight.reshape(conv.weight.shape[0], -1)
    return F.silu(causal_convolution_naive(mixed[None], weight, conv.bias)[0][0])


def _recurrence(u: Tensor, steps: Tensor, decay: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """u: [T, H, P], steps: [T, H], decay: [H, N], b and c: [T, H, N] -> [T, H, P] and the state [H, P, N]."""
    state, outputs = u.new_zeros(*u.shape[1:], b.shape[-1]), []
    for t in range(len(u)):
        state = (steps[t, :, None] * decay).exp()[:, None] * state
        state = state + (steps[t, :, None] * u[t])[..., None] * b[t][:, None]
        outputs.append((state * c[t][:, None]).sum(-1))
    return torch.stack(outputs), state


def _mamba2(mixer: Any, x: Tensor, count: int) -> Any:
    heads, inner = len(mixer.A_log), mixer.norm.weight.shape[0]
    proj, out = (mixer.proj, mixer.out) if hasattr(mixer, "proj") else (mixer.in_proj, mixer.out_proj)
    z, mixed, raw = proj(x).split([inner, proj.out_features - inner - heads, heads], dim=-1)
    u, b, c = _convolved(mixed, mixer).split([inner, 16, 16], dim=-1)
    steps = F.softplus(raw + mixer.dt_bias)
    kept, of_itself = _kept(steps, count)
    b, c = (one.unflatten(-1, (2, -1)).repeat_interleave(heads // 2, dim=1)[kept] for one in (b, c))
    u = u.unflatten(-1, (heads, -1))[kept]
    y, state = _recurrence(u, steps[kept], -mixer.A_log.exp()[:, None], b, c)
    y = (y + mixer.D[:, None] * u).flatten(1)
    return out(mixer.norm(y, z[kept])), kept, (mixed, state), of_itself


def _mamba1(mixer: Any, x: Tensor, count: int) -> Any:
    mixed, z = mixer.in_proj(x).chunk(2, dim=-1)
    u = _convolved(mixed, mixer)
    small, b, c = mixer.x_proj(u).split([mixer.time_step_rank, 8, 8], dim=-1)
    steps = F.softplus(mixer.dt_proj(small))
    kept, of_itself = _kept(steps, count)
    b, c = (one[kept][:, None].expand(-1, u.shape[1], -1) for one in (b, c))
    y, state = _recurrence(u[kept][..., None], steps[kept], -mixer.A_log.exp(), b, c)
    y = (y[..., 0] + mixer.D * u[kept]) * F.silu(z[kept])
    return mixer.out_proj(y), kept, (mixed, state[:, 0]), of_itself


def held(family: str, layer: Any, row: int) -> tuple[Tensor, Tensor]:
    """Of one row: the convolution's last inputs [J, C], time first, and the state as `by_hand` lays it out."""
    if family == "host":
        return layer.conv[row], layer.state[row].transpose(1, 2)
    return layer.conv_states[0][row].T, layer.recurrent_states[0][row]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("options", [TWICE, Decimation(layer=1, keep=7, least=1)], ids=["twice", "once"])
def test_a_decimated_prefill_is_that_by_hand(family: str, options: Decimation) -> None:
    rows = ids(3)
    with decimated(model(family), options), torch.no_grad():
        context = read(model(family), rows)
    forced = 0
    for index, row in enumerate(rows):
        logits, memories, natural = by_hand(family, row, options)
        forced += natural.count(False)
        torch.testing.assert_close(context.logits[index], logits, **CLOSE)
        for layer, (mixed, state) in zip(context.memory.layers, memories, strict=True):
            conv, found = held(family, layer, index)
            torch.testing.assert_close(conv, mixed[-len(conv) :], **CLOSE)
            torch.testing.assert_close(found, state, **CLOSE)
    assert forced, "the last token was never in danger; this shows nothing of its being kept"


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_written_afterwards_drops_nothing(family: str) -> None:
    """A step from the memory is the same inside and outside, and after hooks are gone a prompt is read as ever."""
    rows, more = ids(2), ids(2, 4, seed=2)
    before = read(model(family), rows).logits
    with decimated(model(family), TWICE):
        inside = read(model(family), rows)
        outside = inside.fork()
        written = inside.go_on(more)
    torch.testing.assert_close(outside.go_on(more), written, rtol=0, atol=0)
    assert not torch.allclose(before, outside.logits, atol=1e-3)
    torch.testing.assert_close(read(model(family), rows).logits, before, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_where_everything_is_kept_nothing_changes(family: str) -> None:
    plain = read(model(family), ids(2))
    with decimated(model(family), Decimation(layer=0, layers=3, keep=TIME, beta=1.0)):
        kept = read(model(family), ids(2))
    torch.testing.assert_close(kept.logits, plain.logits, rtol=0, atol=0)
    for mine, theirs in zip(kept.memory.layers, plain.memory.layers, strict=True):
        for one, other in zip(tensors_of(mine), tensors_of(theirs), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_hook_outlives_an_error(family: str) -> None:
    base = model(family)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in base.modules()]
    names = [name for name, _ in base.named_parameters()]
    steps = [getattr(m, "time_step_rank", None) for m in base.modules()]
    broken = base.base_model.layers[1].register_forward_hook(lambda *_: 1 / 0)
    scan = base.base_model.layers[0].mixer.register_forward_hook(lambda *_: 1 / 0)
    for failing in (broken, scan):
        with pytest.raises(ZeroDivisionError), decimated(base, TWICE):
            read(base, ids(1))
        failing.remove()
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in base.modules()] == hooks
    assert [name for name, _ in base.named_parameters()] == names
    assert [getattr(m, "time_step_rank", None) for m in base.modules()] == steps
    assert not continuation_of(base).whole


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_of_any_length_are_completed_as_each_alone(family: str) -> None:
    """And no common start is shared: what is kept of a context depends on the question behind it."""
    start = ids(1, 24, seed=3)[0].tolist()
    prompts = [[*start, *ids(1, length, seed=length)[0].tolist()] for length in (3, 5, 3)]
    decoding, speed = Decoding(max_new_tokens=6), Speed()
    with decimated(model(family), TWICE):
        alone = [complete(model(family), [prompt], decoding, [])[0] for prompt in prompts]
        assert complete(model(family), prompts, decoding, []) == alone
        assert complete_after_common_start(model(family), prompts, decoding, [], speed=speed) == alone
    assert speed.prefill_tokens == sum(map(len, prompts))
    assert complete(model(family), prompts, decoding, []) != alone


def test_a_long_prompt_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnemic.teaching.rwr.forks.PIECE", 8)
    with decimated(model("host"), TWICE):
        logits = read(model("host"), ids(1)).logits[0]
    torch.testing.assert_close(logits, by_hand("host", ids(1)[0], TWICE)[0], **CLOSE)


@pytest.mark.parametrize("last", ["attention", "sliding-window", "repeated-token-attention"])
def test_attention_behind_sees_kept_tokens_where_they_stood(last: str) -> None:
    torch.manual_seed(0)
    layers = [{"mixer": "mamba2", "head_width": 8, "state": 8}, {"mixer": last}]
    host = MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 2, layers=layers, init="normal", initializer_range=0.2))
    host.eval()
    rows, more = ids(1), ids(1, 3, seed=2)
    seen: list[Any] = []
    with decimated(host, Decimation(layer=0, keep=9, least=1)):
        host.model.layers[1].register_forward_pre_hook(lambda _, args: seen.append(args))
        context = read(host, rows)
        context.go_on(more)
    (x, step), *later = seen
    assert x.shape[1] == 9
    places = step.positions[0]
    assert places.tolist() == sorted(set(places.tolist()))
    assert places[-1] == TIME - 1
    torch.testing.assert_close(step.input_ids[0], rows[0][places])
    assert [int(one.positions) for _, one in later] == [TIME, TIME + 1, TIME + 2]
    assert context.memory.layers[1].seen == 9 + 3


def test_the_number_kept_follows_the_rule() -> None:
    options = Decimation(keep=100, beta=0.5, least=20)
    assert [options.kept(order, 10_000) for order in range(5)] == [100, 50, 25, 20, 20]
    assert options.kept(0, 7) == 7
    assert Decimation().layers_in(model("mamba1")) == [1]
    assert Decimation(layer=1, layers=9).layers_in(model("mamba1")) == [1, 2]


def test_the_pooling_of_the_release_is_another() -> None:
    found = []
    for pooling in ("mean", "norm"):
        with decimated(model("mamba1"), Decimation(layer=0, keep=5, least=1, pooling=pooling)):
            found.append(read(model("mamba1"), ids(1)).logits)
    assert not torch.allclose(*found, atol=1e-4)


def test_what_cannot_be_decimated_is_refused() -> None:
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(UsageError, match="no layer of Mamba"), decimated(llama, Decimation()):
        pass
    layers = [{"mixer": "attention"}, {"mixer": "mamba2", "head_width": 8, "state": 8}]
    hybrid = MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 4, layers=layers))
    with pytest.raises(UsageError, match=r"layer is 2; .* are 1, 3"), decimated(hybrid, Decimation(layer=2)):
        pass
    bounded = [{"mixer": "mamba2", "head_width": 8, "state": 8, "dt_limit": (0.1, None)}]
    never_zero = MnemicForCausalLM(MnemicConfig(VOCABULARY, 32, 2, layers=bounded))
    with pytest.raises(UsageError, match=r"at least 0\.1"), decimated(never_zero, Decimation()):
        pass
    mask = torch.ones(2, TIME, dtype=torch.bool)
    mask[0, :3] = False
    with decimated(model("host"), TWICE):
        with pytest.raises(UsageError, match="already"), decimated(model("host"), TWICE):
            pass
        with pytest.raises(UsageError, match="attention_mask"):
            model("host")(ids(2), attention_mask=mask)
        with pytest.raises(UsageError, match="different lengths"):
            read(model("host"), [[1, 2, 3], [4, 5]])
