"""The configuration of the host model: which mixer stands in which layer, and the shell around them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from transformers import PretrainedConfig

from mnemic.catalogue import find_system, resolve
from mnemic.errors import UsageError
from mnemic.models.loader_file import AUTO_MAP, write_loader
from mnemic.modules.feed_forward import default_inner_size
from mnemic.modules.mixer import Mixer, MixerConfig
from mnemic.options import validated

__all__ = ["MnemicConfig"]

SMALL_WIDTH = 256  # below it, N(0, 0.02) leaves recurrent mixers unable to learn recall in thousands of steps


class MnemicConfig(PretrainedConfig):
    """A causal language model whose layers are mixers of the catalogue.

    Args:
        vocab_size: ids of the embedding.
        hidden_size: width of the residual stream.
        num_hidden_layers: number of blocks.
        layers: {"mixer": name, ...options} per layer; a shorter list is a pattern that repeats up to the depth.
        feed_forward: inner size of the SwiGLU; None for 8/3 of the width rounded up, 0 for no feed-forward.
        norm_eps: epsilon of the RMS norms.
        tie_word_embeddings: the head shares the embedding's weights.
        init: "small" (PyTorch's defaults for linear layers and convolutions, embeddings N(0, 0.1)), "normal" (N(0,
            initializer_range)), or "auto": small below width 256.
        initializer_range: standard deviation of "normal".
        max_position_embeddings: longest sequence the model is meant for; None for no bound.

    Raises:
        UsageError: an unknown mixer, or options that its config refuses.
    """

    model_type = "mnemic"
    keys_to_ignore_at_inference = ["past_key_values", "losses"]  # noqa: RUF012  # transformers appends to it

    def __init__(
        self,
        vocab_size: int = 256,
        hidden_size: int = 64,
        num_hidden_layers: int = 2,
        layers: Sequence[Mapping[str, Any]] | None = None,
        feed_forward: int | None = None,
        norm_eps: float = 1e-6,
        tie_word_embeddings: bool = True,
        init: str = "auto",
        initializer_range: float = 0.02,
        max_position_embeddings: int | None = None,
        use_cache: bool = True,
        **kwargs: Any,
    ) -> None:
        if init not in ("auto", "small", "normal"):
            raise UsageError(f"init is '{init}'; known: auto, small, normal")
        pattern = [dict(layer) for layer in layers or [{"mixer": "attention"}]]
        if len(pattern) > num_hidden_layers:
            raise UsageError(f"layers names {len(pattern)} layers, but num_hidden_layers is {num_hidden_layers}")
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.layers = [pattern[index % len(pattern)] for index in range(num_hidden_layers)]
        self.feed_forward = default_inner_size(hidden_size) if feed_forward is None else feed_forward
        self.norm_eps = norm_eps
        self.init = init
        self.initializer_range = initializer_range
        self.max_position_embeddings = max_position_embeddings
        self.use_cache = use_cache
        super().__init__(tie_word_embeddings=tie_word_embeddings, **kwargs)

    def save_pretrained(self, save_directory: Any, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As in transformers, with the file that lets a process load it that has not imported mnemic."""
        self.auto_map = dict(AUTO_MAP)
        folder = Path(save_directory)
        if not folder.is_file():  # which transformers refuses
            folder.mkdir(parents=True, exist_ok=True)
            write_loader(folder)
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Nothing: transformers would then save a copy of this file, but what is saved names the package."""

    @property
    def resolved_init(self) -> str:
        """ "small" or "normal"."""
        return ("small" if self.hidden_size < SMALL_WIDTH else "normal") if self.init == "auto" else self.init

    def mixer(self, index: int) -> Mixer:
        """Build the mixer of one layer, imported by its name in the catalogue."""
        mixer_class, options = self.mixer_options(index)
        return mixer_class(options, index)

    def mixer_options(self, index: int) -> tuple[type[Mixer], MixerConfig]:
        """The class of one layer's mixer and its options, defaults filled in."""
        layer = dict(self.layers[index])
        name = layer.pop("mixer", None)
        if not isinstance(name, str):
            raise UsageError(f"layer {index} is {self.layers[index]}; it must name a 'mixer'")
        if "width" in layer:
            raise UsageError(f"memory '{name}': width is the model's own, set hidden_size instead")
        mixer_class = resolve(find_system(name).target)
        if not (isinstance(mixer_class, type) and issubclass(mixer_class, Mixer)):
            raise UsageError(f"memory '{name}' is no layer of a language model")
        options = {**layer, "width": self.hidden_size}
        return mixer_class, validated(f"memory '{name}'", mixer_class.config_class, options)
