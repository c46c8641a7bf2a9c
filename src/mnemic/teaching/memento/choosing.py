"""The next token of every row: sampled as transformers' own loop does it, or given.

Legend: B rows, T tokens so far, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from mnemic.errors import UsageError
from mnemic.teaching.memento.decoding import Row
from mnemic.teaching.memento.marker_logits import BlockCap, WellFormed
from mnemic.teaching.memento.rules import MementoRules

__all__ = ["Choice", "Forced", "Sampled"]


class Choice(Protocol):
    def tokens(self, input_ids: Tensor, logits: Tensor, prompts: int) -> tuple[Tensor, Tensor]:
        """(next tokens [B], scores [B, V] that they were chosen by) after [B, T]; the prompts are T at first."""

    def going_on(self, input_ids: Tensor, scores: Sequence[Tensor], prompts: int) -> Tensor:
        """[B] of bool: the rows that want another token, the one just chosen being the last of [B, T]."""


class Sampled:
    """The order of operations, and so the random draws, of transformers' loop."""

    def __init__(
        self, processors: Any, stopping: Any, config: Any, rows: Sequence[Row], rules: MementoRules, well_formed: bool
    ) -> None:
        self.processors, self.stopping, self.config = LogitsProcessorList(processors), stopping, config
        if well_formed:
            self.processors.append(WellFormed(rows))
        if rules.max_block_tokens:
            self.processors.append(BlockCap(rows, rules.max_block_tokens))
        self.pads = any(hasattr(criterion, "eos_token_id") for criterion in stopping)
        self.unfinished = torch.ones(len(rows), dtype=torch.bool)

    def tokens(self, input_ids: Tensor, logits: Tensor, prompts: int) -> tuple[Tensor, Tensor]:
        scores = self.processors(input_ids, logits)
        if self.config.do_sample:
            tokens = torch.multinomial(torch.softmax(scores, dim=-1), num_samples=1).squeeze(1)
        else:
            tokens = scores.argmax(dim=-1)
        if self.pads:
            self.unfinished = self.unfinished.to(tokens.device)
            tokens = tokens.where(self.unfinished, self.config._pad_token_tensor.to(tokens.device))
        return tokens, scores

    def going_on(self, input_ids: Tensor, scores: Sequence[Tensor], prompts: int) -> Tensor:
        stopped = self.stopping(input_ids, tuple(scores) or None)
        self.unfinished = self.unfinished.to(stopped.device) & ~stopped
        return self.unfinished


class Forced:
    """Rows that go on with tokens which are known; a row ends with the last of its own."""

    def __init__(self, rows: Sequence[Sequence[int]], config: Any, count: int) -> None:
        if len(rows) != count or not all(map(len, rows)):
            raise UsageError(f"forced holds {[len(row) for row in rows]} tokens for {count} rows; give each row some")
        pad = config._pad_token_tensor
        self.rows, self.filler = rows, 0 if pad is None else int(pad.flatten()[0])

    def tokens(self, input_ids: Tensor, logits: Tensor, prompts: int) -> tuple[Tensor, Tensor]:
        step = input_ids.shape[1] - prompts
        tokens = [row[step] if step < len(row) else self.filler for row in self.rows]
        return torch.tensor(tokens, device=input_ids.device), logits

    def going_on(self, input_ids: Tensor, scores: Sequence[Tensor], prompts: int) -> Tensor:
        written = input_ids.shape[1] - prompts
        return torch.tensor([written < len(row) for row in self.rows])
