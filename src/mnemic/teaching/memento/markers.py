"""The four markers in a tokenizer and a model, and out of everybody else's text.

Source: Kontonis et al. 2026 (arXiv 2604.09852): four added special tokens, their embeddings started from related words.
"""

from dataclasses import astuple
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AddedToken

from mnemic.errors import UsageError
from mnemic.teaching.memento.marker_text import MARKERS, MarkerStrings
from mnemic.teaching.memento.rules import MarkerIds

__all__ = ["add_markers", "marker_ids"]

_WORDS = {
    "block_start": ("block", "start", "begin", "section", "step"),
    "block_end": ("block", "end", "finish", "section", "done"),
    "summary_start": ("summary", "summarize", "brief", "recap", "overview"),
    "summary_end": ("summary", "end", "finish", "done", "complete"),
}


def marker_ids(tokenizer: Any, markers: MarkerStrings = MARKERS) -> MarkerIds:
    """The markers' ids in a transformers tokenizer.

    Raises:
        UsageError: it does not know one of them as a single token.
    """
    found = []
    for text in astuple(markers):
        ids = tokenizer.encode(text, add_special_tokens=False)
        if len(ids) != 1 or tokenizer.convert_ids_to_tokens(ids[0]) != text:  # unknown words too are one token
            name = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
            raise UsageError(
                f"tokenizer '{name}' has no token {text} (it reads it as {len(ids)} tokens); add_markers(tokenizer, "
                "model) adds the four, or take a checkpoint that was taught with them"
            )
        found.append(int(ids[0]))
    return MarkerIds(*found)


@torch.no_grad()
def add_markers(
    tokenizer: Any,
    model: Any = None,
    markers: MarkerStrings = MARKERS,
    *,
    noise_std: float = 0.01,
    generator: torch.Generator | None = None,
) -> MarkerIds:
    """Add the markers to a tokenizer and their rows to a model; those that are there already stay as they are.

    A new row is the mean of the rows of related words (each the mean over its pieces) plus N(0, `noise_std`^2), in the
    embedding and, where the head has weights of its own, in the head.

    Args:
        model: a transformers causal model, resized where its embedding is too small; None to leave it.
        generator: of the noise; None for one with seed 0.

    Returns:
        the four ids.
    """
    new = [text for text in astuple(markers) if text not in tokenizer.get_vocab()]
    rows_of = {text: _related(tokenizer, name) for name, text in vars(markers).items() if text in new}
    tokenizer.add_tokens([AddedToken(text, special=True, normalized=False) for text in new], special_tokens=True)
    ids = marker_ids(tokenizer, markers)
    if model is None:
        return ids
    if model.get_input_embeddings().num_embeddings < len(tokenizer):
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    generator = generator or torch.Generator().manual_seed(0)
    for table in _tables(model):
        for text, words in rows_of.items():
            mean = torch.stack([table[pieces].float().mean(0) for pieces in words]).mean(0)
            noise = torch.randn(mean.shape, generator=generator).to(mean.device)
            table[tokenizer.convert_tokens_to_ids(text)] = (mean + noise_std * noise).to(table.dtype)
    return ids


def _related(tokenizer: Any, name: str) -> list[list[int]]:
    """Per related word its pieces; read before the markers are added, so that none can be a piece."""
    pieces = [tokenizer.encode(f" {word}", add_special_tokens=False) for word in _WORDS[name]]
    return [ids for ids in pieces if ids]


def _tables(model: nn.Module) -> list[Tensor]:
    """The embedding's weights and, if they are others, the head's."""
    embedding = model.get_input_embeddings().weight.data  # type: ignore[operator]
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is None or head.weight.data_ptr() == embedding.data_ptr():
        return [embedding]
    return [embedding, head.weight.data]
