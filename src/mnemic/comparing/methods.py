"""Recall methods as users write them, "hipporag2:filter=mention,encoder=minilm", and the extraction that each reads."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import NoneType
from typing import Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, create_model

from mnemic.catalogue import parse_spec, systems
from mnemic.comparing.shared_options import NAMED, SharedOptions
from mnemic.errors import UsageError, nearest
from mnemic.llm import LLM
from mnemic.options import validated
from mnemic.storage.corpora import Corpus
from mnemic.storage.encoders import DEFAULT_ENCODER
from mnemic.storage.llm_extraction import LLMNames
from mnemic.storage.recall import METHODS, method_class, open_method
from mnemic.storage.recall.fact_filters import LLMFilter
from mnemic.storage.view import Method

__all__ = ["Extraction", "MethodSpec", "parse_method"]

Extraction = Literal["none", "rules", "stored", "llm"]

# what of a graph each method can walk on; the first that is there is taken, "llm" only where it is asked for
_GRAPHS: Mapping[str, tuple[Extraction, ...]] = {
    "auto": ("rules",),
    "rule-graph": ("rules",),
    "hipporag": ("stored", "llm", "rules"),
    "hipporag2": ("stored", "llm"),
}


@dataclass(frozen=True)
class MethodSpec:
    """One recall method with its options.

    Attributes:
        text: as the user wrote it; the label in every table.
        options: of the method's class, checked; names where the class takes an object that asks a language model.
    """

    text: str
    name: str
    options: Mapping[str, Any]
    encoder: str
    extraction: str

    @property
    def asks_llm(self) -> bool:
        return self.extraction == "llm" or "llm" in self.options.values()

    def reads(self, corpus: Corpus) -> Extraction:
        """What is extracted from the passages for it.

        Raises:
            UsageError: the corpus does not have what it walks on.
        """
        able = _GRAPHS.get(self.name, ("none",))
        if self.extraction != "auto":
            if self.extraction not in able:
                what = "reads no graph" if able == ("none",) else f"cannot walk on it; {' or '.join(able)} would do"
                raise UsageError(f"method '{self.text}': extraction={self.extraction}, but {self.name} {what}")
            able = tuple(each for each in able if each == self.extraction)
        there = [each for each in able if each == self.extraction or each != "llm"]
        there = [each for each in there if each != "stored" or corpus.stored is not None]
        if not there:
            raise UsageError(
                f"method '{self.text}' walks over facts, and corpus '{corpus.name}' has none stored; triples.jsonl "
                f"would hold them, or a language model finds them: {self.name}:extraction=llm, --teacher and --model"
            )
        return there[0]

    def open(self, client: LLM | None) -> Method:
        """The method, ready to be asked; without a client, as it is where it asks nobody."""
        options = {key: value for key, value in self.options.items() if (self.name, key) not in NAMED}
        match self.options:
            case {"filter": "llm"} if client is not None:
                options["filter"] = LLMFilter(client)
            case {"filter": "mention" | "none" as filter_}:
                options["filter"] = filter_
            case {"recognise": "llm"} if client is not None:
                options["recognise"] = LLMNames(client)
        return open_method(self.name, **options)


def parse_method(text: str, encoder: str = DEFAULT_ENCODER) -> MethodSpec:
    """The method that `text` names.

    Args:
        encoder: where the text names none.

    Raises:
        UsageError: an unknown method or option, or a value that it refuses.
    """
    name, given = parse_spec(text.strip())
    if "" in given:
        raise UsageError(f"'{given['']}' in method '{text}' is not option=value")
    if name not in METHODS:
        if "+" in name:
            raise UsageError(f"'{name}' are layers of a model that take turns; name recall methods one by one")
        if name in systems():
            raise UsageError(
                f"memory '{name}' stands inside a model, and recalls nothing from a corpus or a conversation; "
                f"recall methods are {', '.join(METHODS)}"
            )
        raise UsageError(f"unknown recall method '{name}'{nearest(name, METHODS)}")
    shared = {key: given.pop(key) for key in SharedOptions.model_fields if key in given}
    chosen = validated(f"recall method '{name}'", SharedOptions, {"encoder": encoder, **shared})
    model, nullable = _options(name)
    read = {key: None if value == "none" and key in nullable else value for key, value in given.items()}
    options = validated(f"recall method '{name}'", model, read).model_dump(exclude_unset=True)
    spec = MethodSpec(text.strip(), name, options, chosen.encoder, chosen.extraction)
    spec.open(None)  # what the class itself refuses
    return spec


def _options(name: str) -> tuple[type[BaseModel], set[str]]:
    """The options of a method as a model that refuses what is wrong, and which of them may be "none"."""
    kind = method_class(name)
    hints = get_type_hints(kind)
    types = {f.name: hints[f.name] for f in fields(kind) if f.name != "name"}
    types |= {option: Literal[names] for (method, option), names in NAMED.items() if method == name}
    own: dict[str, Any] = {key: (hint, None) for key, hint in types.items()}
    shared: dict[str, Any] = dict.fromkeys(SharedOptions.model_fields, (Any, None))  # for "did you mean"
    model = create_model("Options", __config__=ConfigDict(extra="forbid"), **own, **shared)
    return model, {key for key, hint in types.items() if NoneType in get_args(hint)}
