"""What the studies of recall methods share: every method is an arm, and all arms meet the same questions, once.

Nothing is trained. What an arm found for each question is kept in `asked.jsonl`, vectors that are slow to make in
`vectors.db`, so that a study that was stopped goes on where it was.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.storage.corpora import Corpus
from mnemic.storage.encoder import Encoder
from mnemic.storage.encoders import DEFAULT_ENCODER, open_encoder
from mnemic.storage.encoders.cached_vectors import CachedEncoder
from mnemic.storage.evaluating import Asked, Evaluation, evaluate
from mnemic.storage.recall import open_method
from mnemic.storage.view import Method, View
from mnemic.studies.measuring import Told, kept_or
from mnemic.studies.retrieval_data import Data

__all__ = ["ENCODER", "FIRST_WINDOW", "RecallArm", "Seen", "World", "ask", "opened_encoder", "refuse_options"]

ENCODER = "minilm"
"""That of the studies, for it is the one that their reference figures come from."""

FIRST_WINDOW = "minilm, first window"
"""As sentence-transformers runs it: what is longer than 256 word pieces is cut off."""

_MEASURED_BY = ("storage", "studies")
_TOLD_EVERY = 64  # texts embedded

Seen = Sequence[tuple[Corpus, View]]
World = Callable[[Encoder], Seen]
"""Corpora as some arms see them: which passages, extracted by whom."""


@dataclass(frozen=True)
class RecallArm:
    """A recall method with its options.

    Attributes:
        label: its name in tables.
        method: of the house.
        sees: which of the study's worlds.
        derived: options that are made from the data, such as a filter that knows the evidence.
    """

    label: str
    method: str
    sees: str
    options: Mapping[str, Any] = field(default_factory=dict)
    encoder: str = ENCODER
    derived: Mapping[str, Callable[[Corpus, View], Any]] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """All that sets it apart, in plain values."""
        made = {name: make.__name__ for name, make in self.derived.items()}
        return {"method": self.method, "encoder": self.encoder, "sees": self.sees, **self.options, **made}

    def opened(self, seen: Seen) -> Method:
        """
        Raises:
            UsageError: an option that is made from data, where there is more than one corpus.
        """
        if self.derived and len(seen) != 1:
            raise UsageError(f"arm '{self.label}' derives options from one corpus, but there are {len(seen)}")
        made = {name: make(*seen[0]) for name, make in self.derived.items()}
        return open_method(self.method, **self.options, **made)


def ask(
    arms: Mapping[str, RecallArm], worlds: Mapping[str, World], data: Data, directory: Path, cache: Path, tell: Told
) -> dict[str, Evaluation]:
    """Put every question to every arm; what was asked before, by this code on these data, is not asked again.

    Args:
        cache: the file of vectors.
    """
    directory.mkdir(parents=True, exist_ok=True)
    seen = _Worlds(worlds, cache, tell)

    def asked(arm: RecallArm) -> dict[str, Any]:
        corpora = seen(arm.sees, arm.encoder)
        return asdict(evaluate(arm.opened(corpora), corpora))

    found = {}
    for key, arm in arms.items():
        tell(f"{arm.label}, {arm.encoder}")
        name = f"{data.digest} {json.dumps(arm.settings, sort_keys=True)}"
        held = kept_or(directory / "asked.jsonl", name, partial(asked, arm), _MEASURED_BY)
        found[key] = Evaluation(held["method"], [Asked(**one) for one in held["asked"]])
    return found


def refuse_options(study: str, *, jobs: int | None, search: bool) -> None:
    """
    Raises:
        UsageError: an option for studies that train.
    """
    if search:
        raise UsageError(f"{study} trains nothing, so there is no rate to choose; leave --search out")
    if jobs is not None:
        raise UsageError(f"the arms of {study} are asked one after another, in seconds; leave --jobs out")


class _Worlds:
    """Views, each made when the first arm asks for it."""

    def __init__(self, worlds: Mapping[str, World], cache: Path, tell: Told) -> None:
        self.worlds, self.cache, self.tell = worlds, cache, tell
        self.made: dict[tuple[str, str], Seen] = {}
        self.encoders: dict[str, Encoder] = {}

    def __call__(self, sees: str, encoder: str) -> Seen:
        if encoder not in self.encoders:
            self.encoders[encoder] = opened_encoder(encoder, self.cache, self.tell)
        if (sees, encoder) not in self.made:
            self.made[sees, encoder] = self.worlds[sees](self.encoders[encoder])
        return self.made[sees, encoder]


def opened_encoder(name: str, vectors: Path, tell: Told) -> Encoder:
    """An encoder that says how far it is and keeps its vectors, if they are slow to make."""
    made = _encoder(name)
    return made if name == DEFAULT_ENCODER else CachedEncoder(_Watched(made, tell), vectors)


def _encoder(name: str) -> Encoder:
    if name == FIRST_WINDOW:
        from mnemic.storage.encoders.transformer import TransformerEncoder

        return TransformerEncoder(ENCODER, windows=1)
    return open_encoder(name)


class _Watched:
    """An encoder that says how far it is."""

    def __init__(self, encoder: Encoder, tell: Told) -> None:
        self.name, self.revision, self.dim = encoder.name, encoder.revision, encoder.dim
        self.encoder, self.tell, self.done = encoder, tell, 0

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Encoder.encode`."""
        parts = [np.zeros((0, self.dim), np.float32)]
        for first in range(0, len(texts), _TOLD_EVERY):
            parts.append(self.encoder.encode(texts[first : first + _TOLD_EVERY]))
            self.done += len(parts[-1])
            self.tell.still(f"{self.done:,} texts embedded by {self.name}")
        return np.concatenate(parts)
