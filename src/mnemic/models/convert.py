"""Checkpoints of transformers' own classes as host models, weight for weight."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from mnemic.errors import UsageError
from mnemic.models.config import MnemicConfig
from mnemic.models.host import MnemicForCausalLM

__all__ = ["from_transformers"]

Weights = dict[str, Tensor]


def from_transformers(model: PreTrainedModel) -> MnemicForCausalLM:
    """The same model in our host: same logits, same generations, with mixers that can be exchanged.

    Args:
        model: a `Mamba2ForCausalLM`, `LlamaForCausalLM` or `Qwen3ForCausalLM`; its weights are copied.

    Raises:
        UsageError: another class, or a variant of these that the host cannot express exactly.
    """
    kind = model.config.model_type
    if kind not in _CONVERTERS or not hasattr(model, "lm_head"):
        known = ", ".join(sorted(_CONVERTERS))
        raise UsageError(f"model is a {type(model).__name__}; causal models that can be converted: {known}")
    config, weights = _CONVERTERS[kind](model.config, dict(model.state_dict()))
    config.bos_token_id, config.eos_token_id = model.config.bos_token_id, model.config.eos_token_id
    config.pad_token_id = model.config.pad_token_id
    host = MnemicForCausalLM(config).to(device=model.device, dtype=model.dtype)
    host.load_state_dict({name: weight.clone() for name, weight in weights.items()}, strict=True)
    host.generation_config = model.generation_config
    return host.train(model.training)


def _shell(config: Any, layer: dict[str, Any], feed_forward: int, eps: float) -> MnemicConfig:
    return MnemicConfig(
        vocab_size=config.vocab_size, hidden_size=config.hidden_size, num_hidden_layers=config.num_hidden_layers,
        layers=[layer], feed_forward=feed_forward, norm_eps=eps, tie_word_embeddings=config.tie_word_embeddings,
        init="normal", initializer_range=config.initializer_range,
    )  # fmt: skip


def _from_mamba2(config: Any, old: Weights) -> tuple[MnemicConfig, Weights]:
    _only(config, "hidden_act", "silu")
    # with mixed layer types or another ratio of heads to width, expand would not describe the projection
    inner = int(config.expand * config.hidden_size)
    if inner != config.num_heads * config.head_dim or config.expand != int(config.expand):
        raise UsageError(f"this Mamba-2 has {config.num_heads} heads of {config.head_dim} in {inner} channels")
    lowest, highest = config.time_step_limit
    layer = {
        "mixer": "mamba2", "expand": int(config.expand), "head_width": config.head_dim, "state": config.state_size,
        "groups": config.n_groups, "conv_size": config.conv_kernel, "conv_bias": config.use_conv_bias,
        "bias": config.use_bias, "dt_limit": [lowest, highest if math.isfinite(highest) else None],
        "norm_eps": config.layer_norm_epsilon,
    }  # fmt: skip
    renamed = {
        "backbone.embeddings.weight": "model.embed_tokens.weight",
        "backbone.norm_f.weight": "model.norm.weight",
        "lm_head.weight": "lm_head.weight",
    }
    inside = {
        "norm.": "mixer_norm.", "mixer.in_proj.": "mixer.proj.", "mixer.conv1d.": "mixer.conv.",
        "mixer.out_proj.": "mixer.out.",
    }  # fmt: skip
    weights = {}
    for name, weight in old.items():
        if name in renamed:
            weights[renamed[name]] = weight
            continue
        _, _, index, rest = name.split(".", 3)
        rest = next((new + rest.removeprefix(start) for start, new in inside.items() if rest.startswith(start)), rest)
        weights[f"model.layers.{index}.{rest}"] = weight.squeeze(1) if rest == "mixer.conv.weight" else weight
    return _shell(config, layer, 0, config.layer_norm_epsilon), weights


def _from_llama(config: Any, old: Weights) -> tuple[MnemicConfig, Weights]:
    _only(config, "hidden_act", "silu")
    _only(config, "mlp_bias", False)
    return _decoder(config, old, qk_norm=False)


def _from_qwen3(config: Any, old: Weights) -> tuple[MnemicConfig, Weights]:
    _only(config, "hidden_act", "silu")
    if set(config.layer_types) != {"full_attention"}:
        raise UsageError(
            f"this Qwen3 has layers of {sorted(set(config.layer_types))}; only full attention is converted"
        )
    return _decoder(config, old, qk_norm=True)


def _decoder(config: Any, old: Weights, qk_norm: bool) -> tuple[MnemicConfig, Weights]:
    """Llama and what is built like it: one projection for queries, keys and values instead of three."""
    rope = dict(config.rope_parameters)
    if rope.get("rope_type", "default") not in ("default", "linear", "llama3"):
        raise UsageError(f"rope_type is '{rope['rope_type']}'; converted are default, linear and llama3")
    if config.attention_bias and "model.layers.0.self_attn.o_proj.bias" not in old:
        raise UsageError("attention_bias without a bias on the output projection is not converted")
    scaled = rope.get("rope_type", "default") != "default"
    layer = {
        "mixer": "attention", "heads": config.num_attention_heads, "kv_heads": config.num_key_value_heads,
        "head_width": config.head_dim, "rope_theta": rope["rope_theta"], "qk_norm": qk_norm,
        "bias": config.attention_bias, "norm_eps": config.rms_norm_eps, "rope_scaling": rope if scaled else None,
    }  # fmt: skip
    inside = {
        "input_layernorm.": "mixer_norm.", "post_attention_layernorm.": "feed_forward_norm.",
        "self_attn.o_proj.": "mixer.out.",
        "self_attn.q_norm.": "mixer.qkv.q_norm.", "self_attn.k_norm.": "mixer.qkv.k_norm.",
        "mlp.gate_proj.": "feed_forward.gate.", "mlp.up_proj.": "feed_forward.up.",
        "mlp.down_proj.": "feed_forward.down.",
    }  # fmt: skip
    weights = {}
    for name, weight in old.items():
        if not name.startswith("model.layers."):
            weights[name] = weight
            continue
        _, _, index, rest = name.split(".", 3)
        prefix = f"model.layers.{index}."
        if rest.startswith("self_attn.q_proj."):
            parts = [old[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            weights[f"{prefix}mixer.qkv.proj.{rest.rsplit('.', 1)[1]}"] = torch.cat(parts)
        elif not rest.startswith(("self_attn.k_proj.", "self_attn.v_proj.")):
            start = next(start for start in inside if rest.startswith(start))
            weights[prefix + inside[start] + rest.removeprefix(start)] = weight
    return _shell(config, layer, config.intermediate_size, config.rms_norm_eps), weights


def _only(config: Any, name: str, value: Any) -> None:
    if getattr(config, name) != value:
        raise UsageError(f"{name} is {getattr(config, name)!r}; only {value!r} is converted")


_CONVERTERS: dict[str, Callable[[Any, Weights], tuple[MnemicConfig, Weights]]] = {
    "mamba2": _from_mamba2,
    "llama": _from_llama,
    "qwen3": _from_qwen3,
}
