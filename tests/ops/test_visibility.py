"""Dense mask, mask function and tiles are one rule, the one that its first line states."""

import pytest
import torch
from torch.nn.attention.flex_attention import create_mask, flex_attention

from mnemic.ops.visibility import visibility_block_mask, visibility_mask, visibility_mask_mod

BATCH, TIME = 3, 40


@pytest.fixture
def until() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    own = torch.arange(TIME)
    return own + 1 + torch.randint(0, TIME, (BATCH, TIME), generator=generator)


@pytest.fixture
def documents() -> torch.Tensor:
    return torch.tensor([[0] * 10 + [1] * 20 + [-1] * 10, [0] * 40, [0] * 1 + [1] * 39])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [None, 1, 7])
def test_the_rule_read_literally(
    until: torch.Tensor, documents: torch.Tensor, packed: bool, window: int | None
) -> None:
    mask = visibility_mask(until, documents if packed else None, window)
    for b in range(BATCH):
        for q in range(TIME):
            for k in range(TIME):
                wanted = k <= q < int(until[b, k]) and (window is None or q - k < window)
                wanted = wanted and (not packed or bool(documents[b, q] == documents[b, k]))
                assert bool(mask[b, 0, q, k]) == wanted


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("window", [None, 7])
def test_the_mask_function_is_the_same(
    until: torch.Tensor, documents: torch.Tensor, packed: bool, window: int | None
) -> None:
    given = documents if packed else None
    made = create_mask(visibility_mask_mod(until, given, window), BATCH, 1, TIME, TIME, device="cpu")
    torch.testing.assert_close(made, visibility_mask(until, given, window))


def test_tiles_give_the_attention_of_the_dense_mask() -> None:
    generator = torch.Generator().manual_seed(1)
    time = 200  # no multiple of a tile
    until = torch.arange(time) + 1 + torch.randint(0, time, (2, time), generator=generator)
    q, k, v = (torch.randn(2, 2, time, 16, generator=generator) for _ in "qkv")
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=visibility_mask(until))
    torch.testing.assert_close(flex_attention(q, k, v, block_mask=visibility_block_mask(until)), wanted)
