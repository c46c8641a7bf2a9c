"""ReMamba: a prompt is read twice, the second time with the early part of it compressed to its most telling states.

Stage 1 reads the prompt. Final states h_t of a range of it are compared with that of the prompt's last token, L:
score_t = cos(key(h_t), query(h_L)), and the top rho of the range are kept in order. Stage 2 reads the prompt again with
value(h_t) for the embeddings of kept tokens, and without the others. In every layer, a kept token's step becomes
Δ = softplus(relu(score_t) · raw_t + offset + bias), with a trained offset per head; so the choice has a gradient. All
is trained end to end. Source: Yuan et al. 2024 (arXiv 2408.15496), and its code where the paper leaves something open.

Unlike the release, the range is a share of the context, found by the tokens that follow it, and it and rho are the same
in training and use; rows of a batch are compressed each by its own length; and Mamba-2 adapts its steps in use as in
training, where the release's does so in training alone.

Legend: B rows, T tokens of a call, K tokens left in stage 2, C width, V vocabulary.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Cache
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.models.host import MnemicModel
from mnemic.tasks.key_facts import ANSWER, NOTE, QUESTION
from mnemic.teaching.rwr.compressed_rows import CompressedRows, ReMambaConfig, compressed_rows, find_prompts
from mnemic.teaching.rwr.compression_file import read_compression_file, write_compression_file
from mnemic.teaching.rwr.steps import StepChange, change_steps, has_steps, heads_of

__all__ = ["ReMamba", "ReMambaConfig", "around_key_facts"]


class ReMamba(nn.Module):
    """A host of Mamba-2 layers that compresses every prompt it reads; it trains and answers as the host does.

    Raises:
        UsageError: another model, or a host with a layer of another kind.
    """

    reads_whole = True

    def __init__(self, host: MnemicForCausalLM, options: ReMambaConfig | None = None) -> None:
        if not isinstance(host, MnemicForCausalLM) or not all(map(has_steps, host.model.layers)):
            raise UsageError(
                "ReMamba stands around a mnemic host all of whose layers are mamba2, not around this model"
            )
        super().__init__()
        self.config, self.options = host.config, options or ReMambaConfig()
        self.model = TwoStages(host.model, self.options)
        self.lm_head = host.lm_head

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device

    def get_input_embeddings(self) -> nn.Embedding:
        return self.model.host.embed_tokens

    def new_memory(self, batch_size: int) -> Cache:
        """An empty memory for `batch_size` sequences, to be passed as `past_key_values`."""
        return self.model.host.new_memory(batch_size)

    def memory_bytes(self, length: int) -> int:
        """Bytes that one sequence's memory holds after `length` tokens."""
        return self.model.host.memory_bytes(length)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
    ) -> CausalLMOutputWithPast:
        """Logits [B, T, V], those of states that are zero where a token was compressed; see :class:`TwoStages`."""
        out = self.model(input_ids, attention_mask, position_ids, past_key_values, use_cache)
        logits = self.lm_head(out.last_hidden_state[:, -logits_to_keep:])
        return CausalLMOutputWithPast(logits=logits, past_key_values=out.past_key_values)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `model.safetensors`, which holds host, projections and options; whole, or not there.

        Raises:
            MnemicError: it cannot be written.
        """
        about = {"host": self.config.to_dict(), "remamba": self.options.model_dump(mode="json")}
        write_compression_file(Path(folder), self, about)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ReMamba:
        """
        Raises:
            UsageError: `folder` holds no ReMamba.
        """

        def make(about: dict[str, Any]) -> ReMamba:
            host = MnemicForCausalLM(MnemicConfig.from_dict(about["host"]))
            return cls(host, ReMambaConfig.model_validate(about["remamba"]))

        made: ReMamba = read_compression_file(Path(folder), make)
        return made.eval()


class TwoStages(nn.Module):
    """The host's body, run twice."""

    def __init__(self, host: MnemicModel, options: ReMambaConfig) -> None:
        super().__init__()
        self.host, self.options = host, options
        width = host.config.hidden_size
        hidden = options.hidden or width
        self.query, self.key, self.value = (
            nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width)) for _ in range(3)
        )
        for projection in (self.query, self.key, self.value):
            projection.to(host.embed_tokens.weight)
        device, heads = host.embed_tokens.weight.device, map(heads_of, host.layers) if options.adaptation else ()
        self.offsets = nn.ParameterList(nn.Parameter(torch.zeros(count, device=device)) for count in heads)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
    ) -> BaseModelOutputWithPast:
        """States [B, T, C] of [B, T] ids; of stage 2 where these start a sequence, and zero where that has no token.

        Args:
            attention_mask: [B, T], or with what came before; false on padding at either end.
            position_ids: are not looked at; layers of Mamba-2 know no positions.
            past_key_values: the memory to read and write; where something was read before, nothing is compressed.

        Raises:
            UsageError: a mask over keys; training without `prompt_end`.
        """
        mask = attention_mask
        if mask is not None and not (isinstance(mask, Tensor) and mask.ndim == 2):
            raise UsageError("attention_mask is no [rows, tokens]; ReMamba has no keys that could be hidden")
        if self.training and not self.options.prompt_end:
            raise UsageError("prompt_end is (); name the tokens that end a prompt, or its answer is read along with it")
        mask = None if mask is None else mask[:, -input_ids.shape[1] :].to(torch.bool)
        remember = {"past_key_values": past_key_values, "use_cache": use_cache}
        if past_key_values is not None and past_key_values.get_seq_length():
            return self.host(input_ids, mask, **remember)
        real = torch.ones_like(input_ids, dtype=torch.bool) if mask is None else mask
        prompts = find_prompts(input_ids, real, self.options)
        if not bool(prompts.range.any()):
            return self.host(input_ids, mask, **remember)
        read = int(prompts.last.max()) + 1
        states = self.host(input_ids[:, :read], real[:, :read], use_cache=False).last_hidden_state
        scores = F.pad(self._scores(states, prompts.last), (0, input_ids.shape[1] - read))
        rows = compressed_rows(prompts, real, scores)
        said = self.host.embed_tokens(rows.of(input_ids))
        x = torch.where(rows.compressed[..., None], self.value(rows.of(states)).to(said.dtype), said)
        with ExitStack() as stack:
            for layer, offset in zip(self.host.layers, self.offsets, strict=False):
                change = partial(_adapted, rows, rows.of(scores), offset)
                for handle in change_steps(layer, change):
                    stack.callback(handle.remove)
            out = self.host(inputs_embeds=x, attention_mask=rows.present, **remember)
        states = rows.back(out.last_hidden_state, input_ids.shape[1])
        return BaseModelOutputWithPast(last_hidden_state=states, past_key_values=out.past_key_values)

    def _scores(self, states: Tensor, last: Tensor) -> Tensor:
        """[B, T, C] and where the prompts end -> [B, T]."""
        asked = states.gather(1, last[:, None, None].expand(-1, 1, states.shape[2]))
        return F.cosine_similarity(self.key(states), self.query(asked), dim=-1, eps=1e-8)


def around_key_facts(host: MnemicForCausalLM) -> ReMamba:
    """For rows of the task key-facts: a quarter of the context's tokens is kept, which is as many as facts take."""
    return ReMamba(host, ReMambaConfig(rho=0.25, context_end=(QUESTION,), prompt_end=((NOTE,), (ANSWER,))))


def _adapted(rows: CompressedRows, scores: Tensor, offset: Tensor, steps: Tensor) -> StepChange:
    scale = torch.where(rows.compressed, scores.relu(), 1.0)
    return StepChange(rows.compressed.to(steps.dtype), offset, scale)
