"""Based: its two parts by their definitions, and one memory for both.

Legend: F feature width.
"""

import copy

import pytest
import torch
from torch import Tensor

from mnemic.context.based import Based, BasedConfig
from mnemic.modules.memory import Step


def based(**options) -> Based:
    torch.manual_seed(0)
    return Based(BasedConfig(width=16, **{"heads": 2, "feature_width": 4, "window": 5, **options}), 0).double()


def tokens(time: int, batch: int = 2) -> Tensor:
    return torch.randn(batch, time, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(time))


@pytest.mark.parametrize("window", [0, 5])
def test_it_is_a_taylor_expansion_of_softmax_plus_a_window(window):
    layer, x = based(window=window), tokens(20)
    with torch.no_grad():
        q, k, v = (layer._heads_first(z) for z in layer.proj(x).split([8, 8, 16], dim=-1))
        score = q @ k.mT / 2
        weights = (1 + score + score**2 / 2).tril()
        want = layer.out((weights / weights.sum(-1, keepdim=True) @ v).transpose(1, 2).flatten(-2))
        if window:
            want = want + layer.window(x, Step())
        torch.testing.assert_close(layer(x, Step()), want, rtol=1e-9, atol=1e-10)


def test_the_state_is_fixed_and_the_window_ends():
    layer = based().float()
    state = 4 * 2 * 15 * 9
    assert [layer.memory_bytes(n) - state for n in (0, 2, 5, 100)] == [n * (2 * 16 * 4 + 8) for n in (0, 2, 5, 5)]
    memory = layer.new_memory(3, device=torch.device("cpu"), dtype=torch.float32)
    for length in (3, 1, 40):
        with torch.no_grad():
            layer(torch.randn(3, length, 16), Step(memory=memory))
        assert memory.nbytes == 3 * layer.memory_bytes(memory.seen)
    assert [memory.seen, *(part.seen for part in memory.parts.values())] == [44, 44, 44]
    assert {"taylor.state", "window.keys"} <= set(memory.tensors())


def test_both_parts_are_repeated_forked_and_reordered_together():
    layer, x = based(), tokens(9)
    memory = layer.new_memory(2, device=x.device, dtype=x.dtype)
    more = tokens(3, 4)
    with torch.no_grad():
        layer(x, Step(memory=memory))
        memory.batch_repeat_interleave(2)
        memory.batch_select_indices(torch.tensor([3, 0, 1, 2]))
        fork = copy.deepcopy(memory)
        rows = x.repeat_interleave(2, 0)[[3, 0, 1, 2]]
        want = layer(torch.cat([rows, more], 1), Step())[:, -3:]
        for held in (memory, fork):
            torch.testing.assert_close(layer(more, Step(memory=held)), want)
