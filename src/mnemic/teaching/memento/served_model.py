"""A checkpoint, loaded as a server needs it, and its prompts."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from mnemic.errors import UsageError
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.decoding import Prompt
from mnemic.teaching.memento.marker_text import MARKERS, MarkerStrings
from mnemic.teaching.memento.memento_file import NAME, MementoFile, check_may_evict, read_memento_file

__all__ = ["ServedModel", "load_served_model"]


@dataclass
class ServedModel:
    """
    Attributes:
        name: what clients call it.
        about: its memento.json, None where it has none.
        note: how it is served, for people.
    """

    name: str
    model: Any
    tokenizer: Any
    about: MementoFile | None
    note: str
    loaded: int = field(default_factory=lambda: int(time.time()))
    _encoding: Any = field(default_factory=threading.Lock)

    @property
    def end_ids(self) -> list[int]:
        """Tokens that end a text, by the model's generation config and the tokenizer."""
        given = self.model.generation_config.eos_token_id
        several = given if isinstance(given, list) else [given]
        return sorted({int(token) for token in (*several, self.tokenizer.eos_token_id) if token is not None})

    def chat(self, messages: Sequence[dict[str, str]]) -> tuple[Prompt, bool]:
        """The prompt of a chat, and whether it ends inside <think>.

        Raises:
            UsageError: no chat template that can be used.
        """
        markers = MarkerStrings(*self.about.markers) if self.about is not None else MARKERS
        with self._encoding:
            encoded = encode_chat(self.tokenizer, messages, markers=markers)
            opened = self.tokenizer.decode(encoded.ids[-16:].tolist()).rstrip().endswith("<think>")
        return Prompt(encoded.ids.tolist(), encoded.roles.tolist()), opened

    def text(self, prompt: str | Sequence[int]) -> Prompt:
        """The prompt of a plain completion, all of it protected.

        Raises:
            UsageError: no tokens, or ids that are none.
        """
        with self._encoding:
            ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else list(prompt)
        size = self.model.get_input_embeddings().num_embeddings
        wrong = next((token for token in ids if not 0 <= token < size), None)
        if wrong is not None:
            raise UsageError(f"prompt: there is no token {wrong}; ids go from 0 to {size - 1}")
        return Prompt(ids)


def load_served_model(
    checkpoint: str, *, name: str | None = None, device: str = "auto", dtype: str = "auto", force: bool = False
) -> ServedModel:
    """
    Args:
        checkpoint: a folder, or a name on the hub.
        name: what clients call it; None for the folder's own.
        device: "auto" for an accelerator if there is one.
        force: evict although memento.json says that the model was never taught to do without its blocks.

    Raises:
        UsageError: nothing to load there, or a model that must not evict.
    """
    folder = Path(checkpoint)
    if (folder / "model" / "config.json").is_file():
        folder = folder / "model"
    about = read_memento_file(folder) if (folder / NAME).is_file() else None
    if about is not None:
        check_may_evict(about, force=force)
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = str(folder) if folder.is_dir() else checkpoint
    try:
        tokenizer = AutoTokenizer.from_pretrained(where)
        model = AutoModelForCausalLM.from_pretrained(where, dtype=dtype).to(device)
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot load a model from '{checkpoint}': {' '.join(str(error).split())}") from error
    return ServedModel(name or Path(checkpoint).name, model, tokenizer, about, _note(about))


def _note(about: MementoFile | None) -> str:
    if about is None:
        return f"no {NAME}: served with full attention, nothing is evicted"
    if about.rules.keep_last_n_blocks < 0:
        return f"{NAME} keeps all blocks: nothing is evicted"
    return f"blocks are evicted as {NAME} says: {about.rules}"
