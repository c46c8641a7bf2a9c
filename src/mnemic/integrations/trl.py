"""MEMENTO's attention in TRL's SFTTrainer, for those who train with it already.

The rows are ours, the trainer is theirs. What is hidden travels as integers and becomes a mask on the device, just
before the model runs, so it survives whatever moves, wraps and accumulates in between.

Legend: B rows, T time.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from mnemic.errors import MissingExtra, UsageError
from mnemic.integrations.transformers import hide_keys, model_inputs
from mnemic.ops.visibility import TILE
from mnemic.teaching.packing import joined
from mnemic.teaching.trace_rows import TraceRows

__all__ = ["Collator", "sft_trainer"]

_FIXED: dict[str, Any] = {
    "packing": False,
    "padding_free": False,
    "remove_unused_columns": False,
    "dataset_kwargs": {"skip_prepare_dataset": True},
    "max_length": None,
}


def sft_trainer(model: Any, rows: TraceRows, args: Any, *, valid: TraceRows | None = None, **more: Any) -> Any:
    """TRL's SFTTrainer over rendered traces, blocks hidden as the rows say.

    Args:
        model: a transformers causal model with the markers' rows; its attention must be sdpa, eager or flex_attention.
        args: an SFTConfig; what it says of packing, padding and columns is set here.
        valid: rows to evaluate on.
        more: what SFTTrainer takes besides: processing_class, peft_config, callbacks…

    Raises:
        UsageError: args or more ask for something that would undo the mask.
    """
    try:
        from datasets import Dataset
        from trl import SFTTrainer
    except ModuleNotFoundError:
        raise MissingExtra("training by TRL", "trl") from None
    for name in ("data_collator", "train_dataset", "eval_dataset"):
        if name in more:
            raise UsageError(f"{name} is made from the rows; leave it out")
    if args.packing or args.padding_free:
        raise UsageError("packing and padding_free keep no mask of single keys in TRL; leave both off")
    for name, value in _FIXED.items():
        setattr(args, name, value)
    sources = [rows] if valid is None else [rows, valid]
    named = [[{"source": number, "row": row} for row in range(len(one))] for number, one in enumerate(sources)]
    train, *held_out = [Dataset.from_list(items) for items in named]
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=train, eval_dataset=held_out[0] if held_out else None,
        data_collator=Collator(sources, _multiple(model)), **more,
    )  # fmt: skip
    hide_keys(trainer.model)
    return trainer


class Collator:
    """Rows by their numbers, rendered and padded when a batch asks for them."""

    def __init__(self, sources: Sequence[TraceRows], multiple: int = 1) -> None:
        self.sources, self.multiple = sources, multiple

    def __call__(self, items: Sequence[dict[str, int]]) -> dict[str, Tensor]:
        """input_ids, labels, position_ids, visible_until: [B, T] each; labels as transformers wants them, not shifted.

        Without a mask the model runs its own causal attention: so it is where nothing is hidden.
        """
        rows = [self.sources[item["source"]][item["row"]] for item in items]
        pad = self.sources[0].traces.pad
        batch = model_inputs(joined([[row] for row in rows], pad, self.multiple), answers_last=False)
        time = torch.arange(batch["input_ids"].shape[1]).expand_as(batch["input_ids"])
        return {"position_ids": time, **batch}


def _multiple(model: Any) -> int:
    return TILE if getattr(model.config, "_attn_implementation", None) == "flex_attention" else 1
