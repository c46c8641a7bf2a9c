"""Sentences of a trace as spans of characters: the source is sliced, never rewritten, so that nothing is lost."""

from mnemic.teaching.memento.atoms import Span
from mnemic.teaching.memento.merging import merge
from mnemic.teaching.memento.splitting import split

__all__ = ["Span", "split_sentences"]


def split_sentences(text: str) -> list[Span]:
    """The sentences of a text, in order, each from where the one before it ended: together they are the text.

    Code, display mathematics and what stands in brackets is never cut; fragments and steps of one calculation are
    kept together. Source: MEMENTO (arXiv 2604.09852), stage 1.
    """
    return merge(text, split(text)) if text else []
