"""What is trained and what is scored: cross-entropy where a task asks, computed nowhere else.

Legend: B rows, T time, N positions asked for, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mnemic.models.visibility import attention_masks
from mnemic.tasks.base import UNASKED, BoolArray, Examples, IntArray

__all__ = ["AskedLoss", "Batch", "scored_batch", "training_batch"]

_OfTargets = Callable[[Tensor, Tensor, nn.Module | None], Tensor]
_BETWEEN_HEAD_AND_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")
"""Options of models whose logits are not what their head says; those run whole."""

_LOGITS_AT_ONCE = 2**27  # half a GiB in float32; a row of 32,768 tokens over 151,936 ids would take 18.5


@dataclass(frozen=True)
class Batch:
    """Rows as tensors.

    Attributes:
        input_ids: [B, T].
        asked: [N], indices into the B * T positions, row by row.
        targets: [N], the id to be predicted after each of them.
        attention_mask: [B, T] of bool, or None where nothing is padded.
        positions, visible_until, documents: [B, T] as in the rows, or None.
    """

    input_ids: Tensor
    asked: Tensor
    targets: Tensor
    attention_mask: Tensor | None = None
    positions: Tensor | None = None
    visible_until: Tensor | None = None
    documents: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(None if tensor is None else tensor.to(device) for tensor in vars(self).values()))  # type: ignore[arg-type]


def training_batch(examples: Examples) -> Batch:
    """The rows of `examples`, asked wherever training predicts something."""
    return _batch(examples, examples.targets)


def scored_batch(examples: Examples) -> Batch:
    """The rows of `examples`, asked wherever there is a label."""
    return _batch(examples, examples.labels)


def _batch(examples: Examples, targets: IntArray) -> Batch:
    flat = targets.reshape(-1)
    asked = np.flatnonzero(flat != UNASKED)
    return Batch(
        torch.from_numpy(np.ascontiguousarray(examples.input_ids)),
        torch.from_numpy(asked),
        torch.from_numpy(flat[asked]),
        _tensor(examples.attention_mask),
        _tensor(examples.positions),
        _tensor(examples.visible_until),
        _tensor(examples.documents),
    )


def _tensor(values: IntArray | BoolArray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(np.ascontiguousarray(values))


class AskedLoss(nn.Module):
    """The model with its loss, so that one `forward` is all that a wrapper for many processes has to see."""

    def __init__(self, model: nn.Module, precision: str = "fp32") -> None:
        super().__init__()
        self.model = model
        self.precision = precision

    def forward(self, batch: Batch) -> Tensor:
        """The sum, in nats, of the cross-entropies of the N targets."""
        x, head, auxiliary = self._asked(batch)
        pieces = self._in_pieces(self._cross_entropy, x, batch.targets, head)
        summed = sum(pieces[1:], start=pieces[0])
        return summed + auxiliary * len(batch.targets)

    def logits(self, batch: Batch) -> Tensor:
        """[N, V] in float32."""
        x, head, _ = self._asked(batch)
        return self._logits(x, head)

    def logprobs(self, batch: Batch) -> Tensor:
        """[N], the log-probability of each target."""
        x, head, _ = self._asked(batch)
        return torch.cat(self._in_pieces(self._logprobs, x, batch.targets, head))

    def scores(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """[N] each: the log-probability of each target, and whether no other id is likelier."""
        x, head, _ = self._asked(batch)
        both = torch.cat(self._in_pieces(self._scores, x, batch.targets, head), dim=1)
        return both[0], both[1] > 0

    def errors(self, batch: Batch, values: Tensor) -> tuple[Tensor, Tensor]:
        """[N] each: the squared error of the mean of `values` [V] under the model, and whether its label is likeliest.

        Labels that stand for no number (nan) are left out of the distribution.
        """
        logits = self.logits(batch).masked_fill(values.isnan(), -torch.inf)
        said = logits.softmax(-1) @ values.nan_to_num()
        return (said - values[batch.targets]) ** 2, logits.argmax(-1) == batch.targets

    @property
    def base(self) -> nn.Module:
        """The model without what adapters wrap around it; they also stand inside its layers, and work from there."""
        unwrap = getattr(self.model, "get_base_model", None)
        return unwrap() if unwrap is not None else self.model

    @property
    def vocab_size(self) -> int:
        return int(self.base.config.get_text_config().vocab_size)  # type: ignore[operator, union-attr]

    def _asked(self, batch: Batch) -> tuple[Tensor, nn.Module | None, Tensor | float]:
        """States [N, C] with the head that makes logits of them, or those [N, V] and None; and auxiliary losses.

        The head is applied only where the task asks: with thousands of ids and a few questions a row it would
        otherwise be nine tenths of the work.
        """
        base = self.base
        body, head = getattr(base, _body_name(base), None), getattr(base, "lm_head", None)
        arguments = {"input_ids": batch.input_ids, "attention_mask": self._mask(batch), "use_cache": False}
        if batch.positions is not None:
            arguments["position_ids"] = batch.positions
        with torch.autocast(batch.input_ids.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if isinstance(body, nn.Module) and isinstance(head, nn.Module) and _says_logits(base):
                out = body(**arguments)
                return _chosen(out.last_hidden_state, batch.asked), head, _auxiliary(out)
            out = self.model(**arguments)
            return _chosen(out.logits, batch.asked), None, _auxiliary(out)

    def _logits(self, x: Tensor, head: nn.Module | None) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            return (x if head is None else head(x)).float()

    def _in_pieces(self, compute: _OfTargets, x: Tensor, targets: Tensor, head: nn.Module | None) -> list[Tensor]:
        """So that logits of all positions never stand in memory together, not even for their gradients."""
        most = max(1, _LOGITS_AT_ONCE // self.vocab_size) if head is not None else len(x)
        if len(x) <= most:
            return [compute(x, targets, head)]
        pieces = zip(x.split(most), targets.split(most), strict=True)
        return [checkpoint(compute, *piece, head, use_reentrant=False) for piece in pieces]

    def _cross_entropy(self, x: Tensor, targets: Tensor, head: nn.Module | None) -> Tensor:
        return F.cross_entropy(self._logits(x, head), targets, reduction="sum")

    def _logprobs(self, x: Tensor, targets: Tensor, head: nn.Module | None) -> Tensor:
        return -F.cross_entropy(self._logits(x, head), targets, reduction="none")

    def _scores(self, x: Tensor, targets: Tensor, head: nn.Module | None) -> Tensor:
        logits = self._logits(x, head)
        nll = F.cross_entropy(logits, targets, reduction="none")
        return torch.stack([-nll, (logits.argmax(-1) == targets).to(nll.dtype)])

    def _mask(self, batch: Batch) -> Any:
        if batch.visible_until is None:
            return batch.attention_mask
        return attention_masks(self.base.config, batch.visible_until, batch.documents, batch.attention_mask)


def _body_name(base: nn.Module) -> str:
    """What a model calls all but its head: "model", "backbone" in transformers' Mamba."""
    return str(getattr(base, "base_model_prefix", "") or "model")


def _says_logits(base: nn.Module) -> bool:
    config: Any = base.config
    return all(getattr(config.get_text_config(), name, None) in (None, 1, 1.0) for name in _BETWEEN_HEAD_AND_LOGITS)


def _auxiliary(out: object) -> Tensor | float:
    losses: dict[str, Tensor] = getattr(out, "losses", None) or {}
    return torch.stack(list(losses.values())).sum() if losses else 0.0


def _chosen(x: Tensor, asked: Tensor) -> Tensor:
    """[B, T, C] -> [N, C]."""
    flat = x.flatten(0, 1)
    return flat if len(asked) == len(flat) else flat.index_select(0, asked)
