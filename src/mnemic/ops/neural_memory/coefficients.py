"""How much of every token's gradient is in the weights that a later token of its chunk reads.

Inside a chunk the weights follow two linear recurrences with one number per token for each gate:

    S_t = eta_t S_{t-1} - theta_t g_t          what the momentum carries
    W_t = keep_t W_{t-1} + S_t                 (Behrouz et al. 2025, arXiv 2501.00663)

so that W_t = kept_t W_0 + carried_t S_0 - sum_i writes_ti g_i. No step divides or takes a logarithm: gates may be 0.

Legend: M batch times heads, N chunks, C tokens of a chunk; token t of a chunk has row t, gradient i has column i.
"""

from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Coefficients", "chunk_coefficients", "products_between"]


@dataclass(frozen=True)
class Coefficients:
    """
    Attributes:
        kept: [N, M, C, 1], the share of the chunk's first weights; None for 1.
        carried: [N, M, C, 1], what the chunk's first momentum adds; None without momentum.
        writes: [N, M, C, C], the share of every gradient, 0 above the diagonal.
        kept_end, carried_end: [N, M, 1, 1], the same for the weights that the chunk hands on.
        writes_end: [N, M, C, 1], likewise.
        faded: [N, M, 1, 1], what the chunk leaves of its first momentum; None without.
        surprises_end: [N, M, C, 1], the share of every gradient in the momentum that it hands on; None without.
    """

    kept: Tensor | None
    carried: Tensor | None
    writes: Tensor
    kept_end: Tensor | None
    carried_end: Tensor | None
    writes_end: Tensor
    faded: Tensor | None
    surprises_end: Tensor | None

    def at(self, chunk: int) -> "Coefficients":
        """Those of one chunk, the first dimension gone."""

        def part(x: Any) -> Any:
            return x if x is None else x[chunk]

        return Coefficients(*[part(getattr(self, field.name)) for field in fields(self)])


def products_between(gate: Tensor) -> Tensor:
    """[..., C] -> [..., C, C]: at (t, s) the product of the gates s+1 to t, 1 where t = s, 0 where t < s."""
    size = gate.shape[-1]
    after = torch.ones(size, size, dtype=torch.bool, device=gate.device).tril(-1)
    steps = torch.where(after, gate[..., None], gate.new_ones(()))
    return steps.cumprod(-2).tril()


def chunk_coefficients(
    rate: Tensor, keep: Tensor | None, momentum: Tensor | None, *, read_first: bool = False,
    position_rate: Tensor | None = None,
) -> Coefficients:  # fmt: skip
    """The coefficients of all chunks at once.

    Args:
        rate: [N, M, C], theta, the inner learning rate.
        keep: [N, M, C], the share of the old weights that a token keeps; None for 1.
        momentum: [N, M, C], eta; None for none.
        read_first: a token reads the weights of the token before it.
        position_rate: [C], a factor on the sum of all that a chunk has written up to a token (the rate of a mini-batch
            in TTT, Sun et al. 2024, arXiv 2407.04620); only without keep and momentum.

    Raises:
        ValueError: a position rate beside gates.
    """
    surprise = torch.diag_embed(rate) if momentum is None else products_between(momentum) * rate[..., None, :]
    kept = carried = faded = surprises_end = None
    if keep is None:
        writes = surprise.cumsum(-2) if momentum is not None else rate[..., None, :].expand(*rate.shape, -1).tril()
    else:
        between = products_between(keep)
        writes = between * rate[..., None, :] if momentum is None else between @ surprise
        kept = keep.cumprod(-1)[..., None]
    if momentum is not None:
        left = momentum.cumprod(-1)[..., None]
        carried = left.cumsum(-2) if keep is None else between @ left
        faded, surprises_end = left[..., -1:, :], surprise[..., -1, :, None]
    if position_rate is not None:
        if keep is not None or momentum is not None:
            raise ValueError("a position rate stands alone; it goes with neither a keep gate nor a momentum")
        writes = writes * position_rate[:, None]
    end = [None if x is None else x[..., -1:, :] for x in (kept, carried)]
    writes_end = writes[..., -1, :, None]
    if read_first:
        writes = F.pad(writes[..., :-1, :], (0, 0, 1, 0))
        kept = None if kept is None else F.pad(kept[..., :-1, :], (0, 0, 1, 0), value=1.0)
        carried = None if carried is None else F.pad(carried[..., :-1, :], (0, 0, 1, 0))
    return Coefficients(kept, carried, writes, end[0], end[1], writes_end, faded, surprises_end)
