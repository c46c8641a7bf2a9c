"""Newton-Schulz nears the polar factor as far as it is said to; the exact one is it."""

import pytest
import torch

from mnemic.ops.newton_schulz import newton_schulz, polar_exact


def matrix(rows: int, columns: int, batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, rows, columns, generator=torch.Generator().manual_seed(rows), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)])
def test_the_exact_factor_is_orthogonal_and_keeps_the_directions(shape):
    g = matrix(*shape)
    o = polar_exact(g)
    small = o @ o.mT if shape[0] <= shape[1] else o.mT @ o
    torch.testing.assert_close(small, torch.eye(min(shape), dtype=g.dtype).expand_as(small))
    stretch = o.mT @ g  # what is left of g is symmetric and not negative
    torch.testing.assert_close(stretch, stretch.mT)
    assert torch.linalg.eigvalsh(stretch).min() > -1e-9


def test_directions_that_are_not_there_are_not_made_up():
    g = matrix(6, 2, 1) @ matrix(2, 5, 1)
    s = torch.linalg.svdvals(polar_exact(g))
    torch.testing.assert_close(s, torch.tensor([[1.0, 1, 0, 0, 0]], dtype=s.dtype), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", [(32, 32), (64, 24), (24, 64)])
def test_five_steps_bring_singular_values_near_one_and_leave_their_vectors(shape):
    g = matrix(*shape)
    o = newton_schulz(g)
    u, s, vh = torch.linalg.svd(g, full_matrices=False)
    through = u.mT @ o @ vh.mT
    values = through.diagonal(dim1=-2, dim2=-1)
    assert (through - torch.diag_embed(values)).abs().max() < 1e-8
    lifted = values[s > 0.02 * g.norm(dim=(-2, -1))[:, None]]
    assert lifted.min() > 0.6
    assert lifted.max() < 1.25


def test_the_scale_of_the_matrix_does_not_matter_and_its_dtype_stays():
    g = matrix(8, 5)
    torch.testing.assert_close(newton_schulz(g), newton_schulz(1000 * g), rtol=1e-6, atol=1e-6)
    assert newton_schulz(g.to(torch.bfloat16)).dtype == torch.bfloat16


def test_wrong_use_is_named():
    with pytest.raises(ValueError, match="two dimensions"):
        newton_schulz(torch.ones(3))
    with pytest.raises(ValueError, match="steps is 0"):
        newton_schulz(torch.ones(3, 3), steps=0)
