"""The causal language model that hosts mixers: embed, blocks, norm, head.

Legend: B batch, T time of a call, P time since the start of the sequence, V vocabulary.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import Cache, GenerationMixin, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.modules.feed_forward import SwiGLU
from mnemic.modules.memory import LayerMemory, Step
from mnemic.modules.mixer import Mixer
from mnemic.modules.norms import RMSNorm
from mnemic.modules.short_convolution import ShortConvolution

__all__ = ["MnemicForCausalLM", "MnemicModel", "MnemicOutput"]

SMALL_EMBEDDING_STD = 0.1
UNASKED = -100  # the label that cross-entropies leave out


@dataclass
class MnemicOutput(CausalLMOutputWithPast):
    """What transformers' causal models return, and the mixers' auxiliary losses by name; `loss` holds their sum too."""

    losses: dict[str, Tensor] | None = None


@dataclass
class MnemicModelOutput(BaseModelOutputWithPast):
    losses: dict[str, Tensor] | None = None


class Block(GradientCheckpointingLayer):
    """norm -> mixer -> add -> norm -> feed-forward -> add."""

    def __init__(self, config: MnemicConfig, index: int) -> None:
        super().__init__()
        self.mixer_norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.mixer = config.mixer(index)
        self.feed_forward_norm = RMSNorm(config.hidden_size, config.norm_eps) if config.feed_forward else None
        self.feed_forward = SwiGLU(config.hidden_size, config.feed_forward) if config.feed_forward else None

    def forward(self, x: Tensor, step: Step) -> Tensor:
        """x: [B, T, width] -> [B, T, width]."""
        x = x + self.mixer(self.mixer_norm(x), step)
        if self.feed_forward is not None and self.feed_forward_norm is not None:
            x = x + self.feed_forward(self.feed_forward_norm(x))
        return x


class MnemicPreTrainedModel(PreTrainedModel):
    config_class = MnemicConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ("Block",)
    _supports_sdpa = True
    _supports_cache_class = True

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoModel") -> None:
        """Nothing, see :meth:`MnemicConfig.register_for_auto_class`."""

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        small, std = self.config.resolved_init == "small", self.config.initializer_range
        if isinstance(module, nn.Linear):
            if small:
                bound = module.in_features**-0.5  # PyTorch's default
                init.uniform_(module.weight, -bound, bound)
                if module.bias is not None:
                    init.uniform_(module.bias, -bound, bound)
            else:
                init.normal_(module.weight, std=std)
                if module.bias is not None:
                    init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=SMALL_EMBEDDING_STD if small else std)
        elif isinstance(module, ShortConvolution):
            if small:
                module.reset_parameters()
            else:
                init.normal_(module.weight, std=std)
                if module.bias is not None:
                    init.zeros_(module.bias)
        elif isinstance(module, RMSNorm):
            init.ones_(module.weight)
        elif isinstance(module, Mixer):
            module.init_own_parameters()
            if module.rescales_out and not small:
                init.normal_(cast(nn.Linear, module.out).weight, std=std * self.config.num_hidden_layers**-0.5)


class MnemicModel(MnemicPreTrainedModel):
    """Embedding, blocks and final norm; see :class:`MnemicForCausalLM`."""

    def __init__(self, config: MnemicConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config, index) for index in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed_tokens

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.embed_tokens = value

    @property
    def mixers(self) -> list[Mixer]:
        return [cast(Block, block).mixer for block in self.layers]

    def new_memory(self, batch_size: int) -> Cache:
        """An empty memory for `batch_size` sequences, one layer's memory per block."""
        dtype, device = self.embed_tokens.weight.dtype, self.embed_tokens.weight.device
        return Cache(layers=[mixer.new_memory(batch_size, device=device, dtype=dtype) for mixer in self.mixers])

    def memory_bytes(self, length: int) -> int:
        """Bytes that one sequence's memory holds after `length` tokens, all layers together."""
        return sum(mixer.memory_bytes(length, self.embed_tokens.weight.dtype) for mixer in self.mixers)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | Mapping[str, Tensor | None] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> MnemicModelOutput:
        """Run the blocks over [B, T] ids, or [B, T, width] embeddings.

        Args:
            attention_mask: [B, P], false on padding; padding stands at either end of what one call reads. Or, as in
                transformers, who sees whom: [B or 1, 1, T, S] of bool over the S keys that layers of full attention
                hold after this call, alone or as "full_attention" beside the padding as "linear_attention".
            position_ids: [B, T], logical positions; None to count real tokens.
            past_key_values: the memory to read and write, from :meth:`new_memory`.
            use_cache: True makes a memory where none is given; otherwise the sequence is run in parallel.

        Raises:
            UsageError: neither or both of ids and embeddings, a mask of a wrong shape, or a foreign cache.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise UsageError("give either input_ids or inputs_embeds, not both and not neither")
        x = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        memory = past_key_values
        if memory is None and use_cache:
            memory = self.new_memory(x.shape[0])
        memories = self._layer_memories(memory)
        visible, attention_mask = _visible_and_padding(attention_mask)
        padding_mask = self._padding_mask(attention_mask, x, memories[0].seen if memories[0] is not None else 0)
        if position_ids is None and padding_mask is not None:
            position_ids = (padding_mask.to(torch.int64).cumsum(1) - 1).clamp(min=0)[:, -x.shape[1] :]
        losses: dict[str, Tensor] = {}
        for block, layer_memory in zip(self.layers, memories, strict=True):
            x = block(x, Step(input_ids, position_ids, padding_mask, layer_memory, losses, visible))
        return MnemicModelOutput(last_hidden_state=self.norm(x), past_key_values=memory, losses=losses)

    def _layer_memories(self, memory: Cache | None) -> list[LayerMemory | None]:
        if memory is None:
            return [None] * len(self.layers)
        if len(memory.layers) != len(self.layers) or not all(isinstance(layer, LayerMemory) for layer in memory.layers):
            raise UsageError(
                f"past_key_values is a {type(memory).__name__} of {len(memory.layers)} layers; "
                f"this model needs one from its own new_memory(batch_size), of {len(self.layers)} layers"
            )
        return list(memory.layers)

    @staticmethod
    def _padding_mask(attention_mask: Tensor | None, x: Tensor, seen: int) -> Tensor | None:
        if attention_mask is None:
            return None
        if attention_mask.shape == x.shape[:2] and seen:  # a mask of this call only: what was read before is real
            attention_mask = torch.cat([attention_mask.new_ones(x.shape[0], seen), attention_mask], dim=1)
        if attention_mask.shape != (x.shape[0], seen + x.shape[1]):
            raise UsageError(
                f"attention_mask is {tuple(attention_mask.shape)}; "
                f"want [batch {x.shape[0]}, {seen} read + {x.shape[1]} new]"
            )
        mask = attention_mask.to(torch.bool)
        return None if bool(mask.all()) else mask


def _visible_and_padding(
    attention_mask: Tensor | Mapping[str, Tensor | None] | None,
) -> tuple[Tensor | None, Tensor | None]:
    """The two things that an attention mask may say, apart."""
    if isinstance(attention_mask, Mapping):
        visible, padding = attention_mask.get("full_attention"), attention_mask.get("linear_attention")
    elif attention_mask is not None and attention_mask.ndim == 4:
        visible, padding = attention_mask, None
    else:
        visible, padding = None, attention_mask
    if visible is not None and visible.dtype != torch.bool:
        raise UsageError(f"attention_mask over keys is {visible.dtype}; want bool, True where a query sees a key")
    return visible, padding


def _share_of_step(asked: Tensor, items: Tensor | int | None) -> Tensor | float:
    """Of what is asked in one step, which a trainer may spread over several calls, the share of this one."""
    return 1.0 if items is None else (asked != UNASKED).sum() / items


class MnemicForCausalLM(MnemicPreTrainedModel, GenerationMixin):
    """A transformers causal language model whose layers remember by mixers of the catalogue.

    Works with the auto classes, `save_pretrained`, `from_pretrained` and `generate` like any other; the memory that
    `generate` carries is made by the mixers themselves.
    """

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012  # transformers reads it so

    def __init__(self, config: MnemicConfig) -> None:
        super().__init__(config)
        self.model = MnemicModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, value: nn.Linear) -> None:
        self.lm_head = value

    def new_memory(self, batch_size: int) -> Cache:
        """An empty memory for `batch_size` sequences, to be passed as `past_key_values`."""
        return self.model.new_memory(batch_size)

    def memory_bytes(self, length: int) -> int:
        """Bytes that one sequence's memory holds after `length` tokens, all layers together."""
        return self.model.memory_bytes(length)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | Mapping[str, Tensor | None] | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs: Any,
    ) -> MnemicOutput:
        """Logits [B, T, V] and, with `labels` [B, T] (not shifted, as in transformers), the next-token loss.

        Arguments as :meth:`MnemicModel.forward`; `logits_to_keep`: only the last so many positions, or these indices.
        """
        out = self.model(input_ids, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache)
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(out.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
            share = _share_of_step(kwargs.get("shift_labels", labels[:, 1:]), kwargs.get("num_items_in_batch"))
            loss = sum((share * auxiliary for auxiliary in out.losses.values()), loss)
        return MnemicOutput(loss=loss, logits=logits, past_key_values=out.past_key_values, losses=out.losses)

    def _prepare_cache_for_generation(
        self,
        generation_config: Any,
        model_kwargs: dict[str, Any],
        generation_mode: Any,
        batch_size: int,
        max_cache_length: int,
    ) -> None:
        given = model_kwargs.get("past_key_values")
        if given is not None:
            given._is_user_defined = True
        elif generation_config.use_cache is not False:
            copies = max(generation_config.num_beams or 1, generation_config.num_return_sequences or 1)
            model_kwargs["past_key_values"] = self.new_memory(batch_size * copies)
