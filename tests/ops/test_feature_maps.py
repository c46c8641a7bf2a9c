"""Feature maps: the Taylor map gives the second-order expansion of exp, with half of the products stored."""

import pytest
import torch

from mnemic.ops.feature_maps import FEATURE_MAPS, POSITIVE, taylor_features, taylor_width


@pytest.mark.parametrize("width", [1, 2, 16])
def test_the_taylor_map_expands_exp_to_the_second_order(width):
    q, k = torch.randn(2, 3, 7, width, dtype=torch.float64, generator=torch.Generator().manual_seed(width))
    score = q @ k.mT / width**0.5
    torch.testing.assert_close(
        taylor_features(q) @ taylor_features(k).mT, 1 + score + score**2 / 2, rtol=1e-12, atol=1e-12
    )
    assert taylor_features(q).shape[-1] == taylor_width(width) == (width + 1) * (width + 2) // 2


def test_half_precision_stays_half_precision():
    assert taylor_features(torch.randn(2, 16).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", FEATURE_MAPS)
def test_positive_maps_are_nowhere_negative(name):
    x = torch.linspace(-20, 20, 1001)
    assert (bool((FEATURE_MAPS[name](x) >= 0).all())) == (name in POSITIVE)
