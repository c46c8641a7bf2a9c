"""Repeated-token attention: the exact test of ids, attention's own result there, zero elsewhere, however it is run."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.context.attention import Attention, AttentionConfig
from mnemic.context.repeated_token_attention import RepeatedTokenAttention, RepeatedTokenAttentionConfig
from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.modules.memory import Step
from mnemic.ops.repeated_tokens import repeated_tokens, repeated_tokens_naive

OPTIONS = [{}, {"rope": False}, {"conv_size": 4, "kv_heads": 1}, {"ignored": 0}, {"bias": True}]


def mixer(**options) -> RepeatedTokenAttention:
    torch.manual_seed(0)
    return RepeatedTokenAttention(RepeatedTokenAttentionConfig(width=8, heads=2, **options), 0).double()


def rows(batch: int = 3, time: int = 20, vocab: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(5)
    return torch.randn(batch, time, 8, generator=g, dtype=torch.float64), torch.randint(
        vocab, (batch, time), generator=g
    )


def stream(layer, x, ids, pieces, padding=None):
    memory = layer.new_memory(x.shape[0], device=x.device, dtype=x.dtype)
    outputs, start = [], 0
    for piece in pieces:
        mask = None if padding is None else padding[:, : start + piece]
        span = slice(start, start + piece)
        outputs.append(layer(x[:, span], Step(ids[:, span], padding_mask=mask, memory=memory)))
        start += piece
        assert memory.nbytes == x.shape[0] * layer.memory_bytes(start, x.dtype)
    return torch.cat(outputs, dim=1)


@settings(max_examples=60, deadline=None)
@given(
    ids=st.lists(st.lists(st.integers(-1, 5), min_size=9, max_size=9), min_size=1, max_size=4), cut=st.integers(0, 8)
)
def test_the_sorted_search_equals_the_definition(ids: list[list[int]], cut: int) -> None:
    row = torch.tensor(ids)
    wanted = torch.tensor([[x >= 0 and x in r[:t] for t, x in enumerate(r)] for r in ids])
    assert torch.equal(repeated_tokens_naive(row), wanted)
    assert torch.equal(repeated_tokens(row), wanted)
    assert torch.equal(repeated_tokens(row[:, cut:], row[:, :cut]), wanted[:, cut:])
    assert torch.equal(repeated_tokens(row[:, 8:], row[:, :8]), wanted[:, 8:])


@pytest.mark.parametrize("options", OPTIONS)
def test_attention_at_repeated_tokens_and_zero_elsewhere(options: dict) -> None:
    x, ids = rows()
    layer = mixer(**options)
    full = Attention(AttentionConfig(width=8, heads=2, **{k: v for k, v in options.items() if k != "ignored"}), 0)
    full.double().load_state_dict(layer.state_dict())
    countable = ids.masked_fill(ids == options.get("ignored", -1), -1)
    chosen = repeated_tokens_naive(countable)
    assert 0 < chosen.sum() < chosen.numel()
    y, wanted = layer(x, Step(ids)), full(x, Step(ids))
    torch.testing.assert_close(y[chosen], wanted[chosen])
    assert not y[~chosen].any()


@pytest.mark.parametrize("options", OPTIONS)
def test_one_result_however_it_is_run(options: dict) -> None:
    x, ids = rows()
    layer = mixer(**options)
    whole = layer(x, Step(ids))
    for pieces in ([1] * 20, [20], [5, 1, 9, 3, 2]):
        torch.testing.assert_close(stream(layer, x, ids, pieces), whole, rtol=1e-9, atol=1e-9)


def test_gradients_equal_those_of_masked_attention() -> None:
    x, ids = rows()
    layer = mixer()
    full = Attention(AttentionConfig(width=8, heads=2), 0).double()
    full.load_state_dict(layer.state_dict())
    chosen = repeated_tokens_naive(ids)[..., None]
    dy = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    (layer(x, Step(ids)) * dy).sum().backward()
    (full(x, Step(ids)) * chosen * dy).sum().backward()
    for ours, theirs in zip(layer.parameters(), full.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_no_token_depends_on_a_later_one() -> None:
    x, ids = rows()
    layer = mixer()
    other, other_ids = x.clone(), ids.clone()
    other[:, 9:], other_ids[:, 9:] = 0.5, ids[:, :1]
    assert torch.equal(layer(x, Step(ids))[:, :9], layer(other, Step(other_ids))[:, :9])


@pytest.mark.parametrize("options", OPTIONS[:3])
def test_padding_is_no_token(options: dict) -> None:
    """Padding carries an id of the row: it must neither repeat nor be repeated."""
    x, ids = rows(batch=2, time=16)
    real = torch.ones(2, 16, dtype=torch.bool)
    real[0, :3] = False
    real[1, 5:9] = False
    ids[0, :3], ids[1, 5:9] = ids[0, 5], ids[1, 12]
    layer = mixer(**options)
    positions = (real.cumsum(1) - 1).clamp(min=0)
    whole = layer(x, Step(ids, positions, real))
    assert whole.isfinite().all()
    got = torch.cat([whole[:1], whole[:1]])  # padding inside a piece is not allowed, so row 1 is only streamed
    memory = layer.new_memory(2, device=x.device, dtype=x.dtype)
    parts = []
    for span in (slice(0, 9), slice(9, 10), slice(10, 16)):
        parts.append(layer(x[:, span], Step(ids[:, span], positions[:, span], real[:, : span.stop], memory)))
    got = torch.cat(parts, dim=1)
    for row in range(2):
        kept = real[row]
        alone = layer(x[row : row + 1, kept], Step(ids[row : row + 1, kept]))
        torch.testing.assert_close(got[row : row + 1, kept], alone, rtol=1e-9, atol=1e-9)


def test_a_row_without_repetition_gives_zeros() -> None:
    x, _ = rows(batch=1, time=8)
    y = mixer()(x, Step(torch.arange(8)[None]))
    assert y.shape == x.shape
    assert not y.any()


def test_embeddings_without_ids_are_refused() -> None:
    x, _ = rows()
    with pytest.raises(UsageError, match="input_ids"):
        mixer()(x, Step())


def test_in_the_host_beams_with_and_without_memory_agree() -> None:
    layers = [{"mixer": "base-conv"}, {"mixer": "repeated-token-attention", "heads": 2}]
    model = MnemicForCausalLM(MnemicConfig(vocab_size=9, hidden_size=8, layers=layers)).eval()
    prompt = torch.randint(1, 9, (2, 7), generator=torch.Generator().manual_seed(1))
    with_memory = model.generate(prompt, max_new_tokens=6, num_beams=3, do_sample=False, pad_token_id=0)
    without = model.generate(prompt, max_new_tokens=6, num_beams=3, do_sample=False, pad_token_id=0, use_cache=False)
    assert torch.equal(with_memory, without)
