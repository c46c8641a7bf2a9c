"""The same model around every memory, and memories as users write them turned into its layers."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mnemic.catalogue import find_system, parse_spec, resolve
from mnemic.errors import UsageError
from mnemic.models import MnemicConfig
from mnemic.modules.mixer import Mixer

__all__ = ["Shell", "layers_of", "model_config"]

Layer = dict[str, Any]


class Shell(BaseModel):
    """What a comparison holds equal around the memories."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: int = Field(64, ge=1, description="size of the residual stream")
    depth: int = Field(2, ge=1, description="layers")
    feed_forward: int | None = Field(None, ge=0, description="SwiGLU's inner size; 0: none; unset: 4 times the width")
    conv: int | None = Field(4, ge=0, description="taps of every memory's short convolution; 0: none; unset: its own")
    init: Literal["auto", "small", "normal"] = Field("auto", description="initial weights; auto: small below width 256")
    tied: bool = Field(True, description="the head shares the embedding's weights")


def layers_of(memory: str | Sequence[Layer], conv: int | None = None) -> list[Layer]:
    """ "mamba2:heads=4+attention" -> one {"mixer": ..., options} per part: the pattern that repeats up to the depth.

    Args:
        memory: as written by the user, or the layers themselves.
        conv: sets `conv_size` wherever a memory has that option and the user has not set it.

    Raises:
        UsageError: an unknown memory, or one that is no layer of a model.
    """
    layers = [_parsed(part) for part in memory.split("+")] if isinstance(memory, str) else memory
    return [_with_convolution(layer, conv) for layer in layers]


def _parsed(part: str) -> Layer:
    name, options = parse_spec(part.strip())
    if "" in options:
        raise UsageError(f"'{options['']}' in memory '{part}' is not option=value")
    return {"mixer": name, **options}


def _with_convolution(layer: Layer, conv: int | None) -> Layer:
    name = str(layer["mixer"])
    mixer = resolve(find_system(name).target)
    if not (isinstance(mixer, type) and issubclass(mixer, Mixer)):
        asked = (
            f"; ask it of a corpus: mnemic compare corpus:DIR {name}" if find_system(name).place == "storage" else ""
        )
        raise UsageError(f"memory '{name}' is no layer of a language model, so it cannot be trained on a task{asked}")
    if conv is not None and "conv_size" in mixer.config_class.model_fields:
        return {"conv_size": conv, **layer}
    return dict(layer)


def model_config(layers: list[Layer], shell: Shell, vocab_size: int, **more: Any) -> MnemicConfig:
    """The host model for these layers, with every layer's options checked and defaults filled in.

    Raises:
        UsageError: an option that the memory does not have, or a value that it refuses.
    """
    if len(layers) > shell.depth:
        raise UsageError(
            f"{len(layers)} memories take turns, but depth is {shell.depth}; set depth to {len(layers)} or more"
        )
    config = MnemicConfig(
        vocab_size=vocab_size,
        hidden_size=shell.width,
        num_hidden_layers=shell.depth,
        layers=layers,
        # four times the width learns recall in half the steps that 8/3 takes (Gated DeltaNet, MQAR of 8 pairs)
        feed_forward=4 * shell.width if shell.feed_forward is None else shell.feed_forward,
        tie_word_embeddings=shell.tied,
        init=shell.init,
        **more,
    )
    config.layers = [_resolved(config, index) for index in range(shell.depth)]
    return config


def _resolved(config: MnemicConfig, index: int) -> Layer:
    options: Mapping[str, Any] = config.mixer_options(index)[1].model_dump(mode="json", exclude={"width"})
    return {"mixer": config.layers[index]["mixer"], **options}
