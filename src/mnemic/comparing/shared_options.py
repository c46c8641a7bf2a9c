"""The options that every recall method takes in a comparison."""

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, Field

from mnemic.storage.encoders import DEFAULT_ENCODER

__all__ = ["NAMED", "SharedOptions"]

NAMED: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("hipporag", "recognise"): ("rules", "llm"),
    ("hipporag2", "filter"): ("mention", "none", "llm"),
}
"""(method, option) -> what users write where Python takes an object; the first is the default."""


class SharedOptions(BaseModel, frozen=True, extra="forbid"):
    """Options that every recall method takes beside its own."""

    encoder: str = Field(
        DEFAULT_ENCODER, description="what embeds texts: wordllama, minilm, model2vec:NAME, openai:MODEL, OWNER/NAME"
    )
    extraction: Literal["auto", "rules", "stored", "llm"] = Field(
        "auto", description="where names and facts come from: rules, the corpus's stored triples, a language model"
    )
