"""Every mixer of the catalogue keeps the contract of `mnemic.modules.mixer.Mixer`. Legend: B batch, T time."""

import copy
from functools import cache
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mnemic.catalogue import SYSTEMS, resolve
from mnemic.modules.memory import Step
from mnemic.modules.mixer import Mixer

WIDTH = 16
# options that make a tiny mixer exercise what its defaults would not: ragged chunks, short windows, shared heads
TINY = {
    "attention": [{"heads": 4, "kv_heads": 2, "qk_norm": True, "conv_size": 3}, {"heads": 2}],
    "sliding-window": [
        {"heads": 2, "window": 5},
        {"heads": 4, "kv_heads": 2, "window": 70, "prefix": 3, "conv_size": 4},
    ],
    "mamba2": [
        {"head_width": 8, "state": 6, "chunk_size": 16},
        {"head_width": 8, "state": 4, "groups": 2, "conv_size": 0},
    ],
    "gated-deltanet": [{"heads": 2, "head_width": 8, "chunk_size": 16}, {"heads": 2, "head_width": 4, "conv_size": 0}],
    "delta-net": [{"heads": 2, "chunk_size": 16}, {"allow_neg_eigval": True, "output_gate": True, "conv_size": 0}],
    "gla": [{"heads": 2}, {"heads": 4, "conv_size": 3, "gate_temperature": 0.5, "expand_k": 1.0}],
    "retention": [{"heads": 4, "chunk_size": 16}, {"heads": 2, "rope": False, "conv_size": 3}],
    "linear-attention": [
        {"heads": 4, "chunk_size": 16},
        {"heads": 2, "feature_map": "identity", "expand_v": 2.0, "conv_size": 0},
    ],
    "base-conv": [{"kernel": 3}, {"kernel": "long", "length": 128}],
    "hyena": [{"length": 128, "filter_width": 8}, {"length": 7, "conv_size": 0, "frequency": 5.0}],
    "h3": [{}, {"head_width": 4, "state": 6, "conv_size": 0, "dt_min": 0.1, "dt_max": 1.0}],
    "based": [
        {"heads": 2, "feature_width": 3, "window": 5, "chunk_size": 16},
        {"heads": 4, "feature_width": 4, "window": 0, "conv_size": 3},
    ],
    "repeated-token-attention": [{"heads": 2}],
    "miras": [
        {"heads": 2, "chunk_size": 4, "expansion": 2, "bias": "huber-coordinate", "optimizer": "momentum"},
        {"heads": 2, "chunk_size": 5, "depth": 1, "bias": "dot", "retention": "elastic-net", "conv_size": 0},
    ],
    "moneta": [{"heads": 2, "chunk_size": 4, "expansion": 2}, {"heads": 2, "retention": "lq-paper", "chunk_size": 3}],
    "yaad": [{"heads": 2, "chunk_size": 4, "expansion": 2}, {"heads": 1, "bias": "huber-switch", "chunk_size": 16}],
    "memora": [{"heads": 2, "chunk_size": 4, "expansion": 2}],
    "titans-lmm": [
        {"heads": 2, "chunk_size": 4, "expansion": 2},
        {"heads": 1, "chunk_size": 16, "depth": 1, "conv_size": 0},
    ],
}
IN_PLACES_OF_MIXERS = {name: system for name, system in SYSTEMS.items() if system.place in ("state", "context")}
CASES = [(name, index) for name in IN_PLACES_OF_MIXERS for index in range(len(TINY.get(name, [{}])))]
every_mixer = pytest.mark.parametrize(("name", "index"), CASES, ids=[f"{n}-{i}" for n, i in CASES])
CLOSE = {"rtol": 1e-6, "atol": 1e-9}


@cache
def mixer(name: str, index: int, dtype: torch.dtype = torch.float64) -> Mixer:
    torch.manual_seed(1)
    kind = resolve(SYSTEMS[name].target)
    made: Mixer = kind(kind.config_class(width=WIDTH, **TINY.get(name, [{}])[index]), 0)
    made.init_own_parameters()
    return made.to(dtype).eval()


def problem(batch: int, time: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """x: [B, T, WIDTH] and ids [B, T]; the ids repeat, for memories addressed by token."""
    generator = torch.Generator().manual_seed(time)
    x = torch.randn(batch, time, WIDTH, generator=generator, dtype=torch.float64).to(dtype)
    return x, torch.randint(0, 9, (batch, time), generator=generator)


def whole(m: Mixer, x: Tensor, ids: Tensor, mask: Tensor | None = None) -> Tensor:
    positions = None if mask is None else (mask.long().cumsum(1) - 1).clamp(min=0)
    return m(x, Step(ids, positions=positions, padding_mask=mask))


def in_pieces(m: Mixer, x: Tensor, ids: Tensor, cuts: list[int], memory=None, start: int = 0) -> tuple[Tensor, object]:
    memory = memory or m.new_memory(x.shape[0], device=x.device, dtype=x.dtype)
    edges = [0, *cuts, x.shape[1]]
    pieces = [m(x[:, a:b], Step(ids[:, a:b], memory=memory)) for a, b in pairwise(edges)]
    return torch.cat(pieces, 1), memory


@every_mixer
@settings(max_examples=12, deadline=None)
@given(time=st.integers(1, 90), data=st.data())
def test_any_split_equals_the_whole(name, index, time, data):
    m = mixer(name, index)
    x, ids = problem(2, time)
    cuts = sorted(data.draw(st.sets(st.integers(1, time - 1), max_size=5))) if time > 1 else []
    with torch.no_grad():
        torch.testing.assert_close(in_pieces(m, x, ids, cuts)[0], whole(m, x, ids), **CLOSE)


@every_mixer
def test_one_token_at_a_time_equals_the_whole(name, index):
    m = mixer(name, index)
    x, ids = problem(2, 77)
    with torch.no_grad():
        torch.testing.assert_close(in_pieces(m, x, ids, list(range(1, 77)))[0], whole(m, x, ids), **CLOSE)


@every_mixer
def test_no_output_depends_on_a_later_input(name, index):
    m = mixer(name, index)
    x, ids = problem(1, 40)
    for t in (0, 17, 39):
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(whole(m, leaf, ids)[:, : t + 1].sin().sum(), leaf)
        # an FFT spreads rounding errors over all of time
        assert gradient[:, t + 1 :].abs().max() < 1e-12 if t < 39 else True
        changed = ids.clone()
        changed[:, t + 1 :] = 1
        with torch.no_grad():
            torch.testing.assert_close(whole(m, x, changed)[:, : t + 1], whole(m, x, ids)[:, : t + 1], **CLOSE)


@every_mixer
def test_what_stands_before_can_be_remembered(name, index):
    """A mixer that ignored the past would pass the causality test."""
    m = mixer(name, index)
    x, ids = problem(1, 12)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(whole(m, leaf, ids)[:, 8:].sin().sum(), leaf)
    assert gradient[:, 7].abs().max() > 0


@every_mixer
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_changes_nothing(name, index, side):
    """Rows padded to one length equal the same rows alone, in parallel and through memory."""
    m = mixer(name, index)
    lengths, longest = [31, 70, 9], 70
    x, ids = problem(3, longest)
    x = x + 3  # padding that leaks is seen
    mask = torch.zeros(3, longest, dtype=torch.bool)
    rows = []
    for row, length in enumerate(lengths):
        span = slice(longest - length, longest) if side == "left" else slice(0, length)
        mask[row, span] = True
        rows.append(span)
    memory = m.new_memory(3, device=x.device, dtype=x.dtype)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        parallel = whole(m, x, ids, mask)
        kept = m(x, Step(ids, positions, mask, memory))
        for row, span in enumerate(rows):
            alone = whole(m, x[row : row + 1, span], ids[row : row + 1, span])
            torch.testing.assert_close(parallel[row : row + 1, span], alone, **CLOSE)
            torch.testing.assert_close(kept[row : row + 1, span], alone, **CLOSE)
    assert parallel.isfinite().all()
    # and what follows the padded piece continues from the last real token
    more, more_ids = problem(3, 6)
    mask = torch.cat([mask, torch.ones(3, 6, dtype=torch.bool)], 1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        for t in range(6):
            seen = slice(t, t + 1)
            y = m(more[:, seen], Step(more_ids[:, seen], positions[:, 70 + t : 71 + t], mask[:, : 71 + t], memory))
            for row, span in enumerate(rows):
                full = torch.cat([x[row : row + 1, span], more[row : row + 1, : t + 1]], 1)
                full_ids = torch.cat([ids[row : row + 1, span], more_ids[row : row + 1, : t + 1]], 1)
                torch.testing.assert_close(y[row : row + 1], whole(m, full, full_ids)[:, -1:], **CLOSE)


@every_mixer
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_a_later_piece_changes_nothing(name, index, side):
    """What was read before is as near to the first real token as if no padding stood between them."""
    m = mixer(name, index)
    lengths, before, time = [2, 8, 0, 5], 11, 8
    x, ids = problem(4, before + time)
    x = x + 3  # padding that leaks is seen
    real = torch.arange(time) < torch.tensor(lengths)[:, None]
    real = real.flip(1) if side == "left" else real
    mask = torch.cat([torch.ones(4, before, dtype=torch.bool), real], 1)
    positions = (mask.long().cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        _, memory = in_pieces(m, x[:, :before], ids[:, :before], [])
        y = m(x[:, before:], Step(ids[:, before:], positions[:, before:], mask, memory))
        more, more_ids = problem(4, 3)
        mask = torch.cat([mask, torch.ones(4, 3, dtype=torch.bool)], 1)
        positions = (mask.long().cumsum(1) - 1).clamp(min=0)
        after = m(more, Step(more_ids, positions[:, -3:], mask, memory))
        for row in range(4):
            kept = torch.cat([torch.ones(before, dtype=torch.bool), real[row]])
            alone = torch.cat([x[row, kept], more[row]])[None]
            want = whole(m, alone, torch.cat([ids[row, kept], more_ids[row]])[None])
            torch.testing.assert_close(y[row, real[row]], want[0, before:-3], **CLOSE)
            torch.testing.assert_close(after[row], want[0, -3:], **CLOSE)


@every_mixer
def test_gradients_agree_however_the_sequence_is_cut(name, index):
    m = mixer(name, index)
    x, ids = problem(2, 45)
    parameters = [p for p in m.parameters() if p.requires_grad]
    leaf = x.clone().requires_grad_()
    want = torch.autograd.grad(whole(m, leaf, ids).square().sum(), [leaf, *parameters], allow_unused=True)
    got = torch.autograd.grad(
        in_pieces(m, leaf, ids, [1, 20])[0].square().sum(), [leaf, *parameters], allow_unused=True
    )
    for a, b in zip(got, want, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-8)


@every_mixer
def test_gradients_agree_with_finite_differences(name, index):
    m = mixer(name, index)
    x, ids = problem(1, 5)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(whole(m, leaf, ids).sin().sum(), leaf)
    with torch.no_grad():
        up, down = (whole(m, x + step * direction, ids).sin().sum() for step in (1e-6, -1e-6))
    torch.testing.assert_close((gradient * direction).sum(), (up - down) / 2e-6, rtol=1e-5, atol=1e-7)


@every_mixer
@pytest.mark.parametrize("length", [1, 4, 5, 6, 90])
def test_memory_bytes_is_what_is_held(name, index, length):
    for dtype in (torch.float32, torch.bfloat16):
        m = mixer(name, index, dtype)
        x, ids = problem(3, length, dtype)
        with torch.no_grad():
            _, memory = in_pieces(m, x, ids, [])
        assert memory.nbytes == 3 * m.memory_bytes(length, dtype)
        assert memory.seen == length
        # nothing bigger is kept alive behind a view
        assert sum(t.untyped_storage().nbytes() for t in memory.tensors().values()) <= memory.nbytes + 512


@every_mixer
def test_a_fork_continues_like_its_original_and_apart_from_it(name, index):
    m = mixer(name, index)
    x, ids = problem(2, 30)
    one, other = problem(2, 7)[0], problem(2, 8)[0][:, :7]
    with torch.no_grad():
        _, memory = in_pieces(m, x, ids, [])
        fork = copy.deepcopy(memory)
        want, _ = in_pieces(m, torch.cat([x, one], 1), torch.cat([ids, ids[:, :7]], 1), [])
        in_pieces(m, other, ids[:, :7], [], memory=fork)
        got, _ = in_pieces(m, one, ids[:, :7], [3], memory=memory)
    torch.testing.assert_close(got, want[:, -7:], **CLOSE)


@every_mixer
def test_reordered_memory_follows_its_rows(name, index):
    m = mixer(name, index)
    x, ids = problem(3, 20)
    order = torch.tensor([2, 0, 0])
    more, more_ids = problem(3, 5)
    with torch.no_grad():
        _, memory = in_pieces(m, x, ids, [])
        memory.reorder_cache(order)
        got, _ = in_pieces(m, more, more_ids, [], memory=memory)
        want, _ = in_pieces(m, torch.cat([x[order], more], 1), torch.cat([ids[order], more_ids], 1), [])
    torch.testing.assert_close(got, want[:, -5:], **CLOSE)


@every_mixer
def test_a_reset_memory_is_as_new(name, index):
    m = mixer(name, index)
    x, ids = problem(2, 20)
    with torch.no_grad():
        want, memory = in_pieces(m, x, ids, [])
        memory.reset()
        assert memory.seen == 0
        torch.testing.assert_close(in_pieces(m, x, ids, [4], memory=memory)[0], want, **CLOSE)


@every_mixer
def test_half_precision_is_finite_and_near(name, index):
    x, ids = problem(2, 70)
    m = mixer(name, index)
    half = mixer(name, index, torch.bfloat16)
    leaf = x.to(torch.bfloat16).requires_grad_()
    y = whole(half, leaf, ids)
    assert y.dtype == torch.bfloat16
    y.float().square().mean().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    with torch.no_grad():
        want = whole(m, x, ids)
    assert (y.double() - want).norm() < 0.1 * want.norm()


def test_every_mixer_is_listed_with_options():
    assert set(TINY) >= set(IN_PLACES_OF_MIXERS), "give the new mixer tiny options in this file"
