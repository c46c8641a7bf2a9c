"""A context read once, and copies of its memory from which many questions go on.

Legend: B rows, T tokens of a call, P tokens since the start, V vocabulary.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.modules.memory import LayerMemory
from mnemic.teaching.rwr.continuation import Continuation, continuation_of

__all__ = ["ReadContext", "read", "tensors_of"]

PIECE = 2048  # tokens that are read at once where reading in pieces is exact, so that activations stay small


@dataclass
class ReadContext:
    """What a model holds after reading B rows, and what it would say next.

    Attributes:
        memory: the model's cache.
        logits: [B, V] after the last token of every row.
        real: [B, P] of bool, False on padding; None where there is none or no key of it is held.
        seen: P.
    """

    model: Any
    how: Continuation
    memory: Any
    logits: Tensor
    real: Tensor | None
    seen: int

    @property
    def rows(self) -> int:
        return self.logits.shape[0]

    @property
    def bytes(self) -> int:
        """Bytes that the memory really holds, all rows together."""
        return sum(tensor.nbytes for layer in self.memory.layers for tensor in tensors_of(layer))

    def fork(self, rows: int | Sequence[int] = 1) -> "ReadContext":
        """A copy that goes on apart from this one.

        Args:
            rows: so many copies of every row, one row's copies side by side; or the indices of the rows to copy.

        Raises:
            UsageError: no rows, or a row that there is not.
        """
        chosen = [row for row in range(self.rows) for _ in range(rows)] if isinstance(rows, int) else list(rows)
        wrong = next((row for row in chosen if not 0 <= row < self.rows), None)
        if not chosen or wrong is not None:
            raise UsageError(f"rows is {rows}; {self.rows} were read, and at least one is wanted")
        index = torch.tensor(chosen, device=self.logits.device)
        real = None if self.real is None else self.real[index]
        return ReadContext(self.model, self.how, _chosen(self.memory, index), self.logits[index], real, self.seen)

    @torch.no_grad()
    def go_on(self, ids: Tensor) -> Tensor:
        """Read [B, T] more and remember them; logits [B, T, V].

        Raises:
            UsageError: another number of rows, or no tokens.
        """
        if ids.ndim != 2 or ids.shape[0] != self.rows or not ids.shape[1]:
            raise UsageError(f"ids is {tuple(ids.shape)}; want [{self.rows} rows, at least one token]")
        pieces = ids.split(1, dim=1) if self.how.steps else (ids,)
        return torch.cat([self._feed(piece) for piece in pieces], dim=1)

    @torch.no_grad()
    def go_on_ragged(self, rows: Sequence[Sequence[int]]) -> Tensor:
        """The same for rows of different lengths: logits [B, V] after the last token of each.

        Raises:
            UsageError: rows of different lengths where the model allows none together; `Continuation.together` says
                which may go on at once.
        """
        lengths = [len(row) for row in rows]
        if len(rows) != self.rows or min(lengths, default=0) < 1:
            raise UsageError(f"rows has lengths {lengths}; want {self.rows} rows of at least one token")
        device = self.logits.device
        if len(set(lengths)) == 1:
            self.go_on(torch.tensor([list(row) for row in rows], device=device))
        elif self.how.pads_later:
            ids, real = _padded(rows, device, left=False)
            logits = self._feed(ids, real)
            self.logits = logits[torch.arange(self.rows, device=device), torch.tensor(lengths, device=device) - 1]
        elif self.how.merges:
            self._in_steps_of_length(rows, lengths)
        else:
            raise UsageError(
                f"{type(self.model).__name__} cannot read rows of different lengths ({min(lengths)} to {max(lengths)} "
                "tokens) after a context; let rows of one length go on together"
            )
        return self.logits

    def _in_steps_of_length(self, rows: Sequence[Sequence[int]], lengths: list[int]) -> None:
        """Without padding: all rows up to the shortest's end, the rest of them up to the next one's, and so on."""
        for start, end in pairwise([0, *sorted(set(lengths))]):
            alive = [index for index, length in enumerate(lengths) if length >= end]
            part = self.fork(alive)
            index = torch.tensor(alive, device=self.logits.device)
            part.go_on(torch.tensor([list(rows[row][start:end]) for row in alive], device=index.device))
            self.logits = self.logits.index_copy(0, index, part.logits)
            for mine, theirs in zip(self.memory.layers, part.memory.layers, strict=True):
                for kept, new in zip(tensors_of(mine), tensors_of(theirs), strict=True):
                    kept.index_copy_(0, index, new)
        self.seen += max(lengths)

    def _feed(self, ids: Tensor, real: Tensor | None = None, keep: int = 0) -> Tensor:
        """One call of the model; logits of the last `keep` tokens, of all with 0."""
        batch, time = ids.shape
        options: dict[str, Any] = {self.how.argument: self.memory, "use_cache": True}
        if real is not None or self.real is not None:
            before = self.real if self.real is not None else ids.new_ones(batch, self.seen, dtype=torch.bool)
            now = real if real is not None else ids.new_ones(batch, time, dtype=torch.bool)
            whole = torch.cat([before, now], dim=1)
            options["attention_mask"] = whole.to(torch.int64)
            if "position_ids" in self.how.takes:
                options["position_ids"] = (options["attention_mask"].cumsum(1) - 1).clamp(min=0)[:, -time:]
            self.real = whole if self.how.holds_keys else None
        if keep and "logits_to_keep" in self.how.takes:
            options["logits_to_keep"] = keep
        out = self.model(input_ids=ids, **options)
        self.memory, self.seen = getattr(out, self.how.argument), self.seen + time
        logits: Tensor = out.logits[:, -keep:] if keep else out.logits
        self.logits = logits[:, -1].clone()
        return logits


@torch.no_grad()
def read(model: Any, ids: Tensor | Sequence[Sequence[int]]) -> ReadContext:
    """Let a model read contexts from nothing, and keep what it remembers.

    Args:
        model: the host, or a causal model of transformers, out of training mode.
        ids: [B, T], or rows of different lengths where `Continuation.together` allows them.

    Raises:
        UsageError: a model that cannot be forked or is training, no tokens, rows that cannot be read together.
    """
    how = continuation_of(model)
    if model.training:
        raise UsageError("the model is in training mode, in which it forgets at random; call model.eval() first")
    device = model.get_input_embeddings().weight.device
    real = None
    if not isinstance(ids, Tensor):
        lengths = [len(row) for row in ids]
        if min(lengths, default=0) < 1:
            raise UsageError(f"ids has rows of lengths {lengths}; want at least one row, and a token in each")
        if len(how.together(lengths, fresh=True)) > 1:
            raise UsageError(
                f"{type(model).__name__} cannot read rows of different lengths ({min(lengths)} to {max(lengths)} "
                "tokens) at once; read those of one length together"
            )
        ids, real = _padded(ids, device, left=True)
    if ids.ndim != 2 or not ids.numel():
        raise UsageError(f"ids is {tuple(ids.shape)}; want [rows, tokens], at least one of each")
    ids = ids.to(device)
    context = ReadContext(model, how, None, torch.empty(ids.shape[0], 0, device=device), None, 0)
    if hasattr(model, "new_memory"):
        context.memory = model.new_memory(ids.shape[0])
    whole = how.steps or real is not None
    for piece in (ids,) if whole else ids.split(PIECE, dim=1):
        context._feed(piece, real, keep=1)
    return context


def tensors_of(layer: Any) -> list[Tensor]:
    """The tensors of one layer's cache, the batch first in all of them, always in the same order."""
    if isinstance(layer, LayerMemory):
        return list(layer.tensors().values())
    held: list[Tensor] = []
    for name, value in sorted(vars(layer).items()):
        if name in ("keys", "values", "conv_states", "recurrent_states"):
            held += [part for part in (value.values() if isinstance(value, dict) else [value]) if part is not None]
    return held


def _chosen(memory: Any, index: Tensor) -> Any:
    """A cache of these rows of another, which shares nothing with it."""
    twin = copy(memory)
    twin.layers = []
    for layer in memory.layers:
        one = copy(layer)
        if not isinstance(layer, LayerMemory):  # ours copy what they are made of
            for name, value in vars(layer).items():
                if isinstance(value, dict):
                    setattr(one, name, dict(value))
        twin.layers.append(one)
    twin.reorder_cache(index)
    return twin


def _padded(rows: Sequence[Sequence[int]], device: torch.device, *, left: bool) -> tuple[Tensor, Tensor | None]:
    """[B, T] ids and which are real; None where all are."""
    lengths = [len(row) for row in rows]
    longest = max(lengths)
    fill = [[0] * (longest - length) for length in lengths]
    filled = [[*pad, *row] if left else [*row, *pad] for row, pad in zip(rows, fill, strict=True)]
    ids = torch.tensor(filled, device=device)
    if min(lengths) == longest:
        return ids, None
    real = torch.arange(longest, device=device) < torch.tensor(lengths, device=device)[:, None]
    return ids, real.flip(1) if left else real
