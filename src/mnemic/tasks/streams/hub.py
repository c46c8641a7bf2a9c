"""Datasets of the Hugging Face hub, or of a folder, as the datasets library streams them.

Documents come in the dataset's own order. A lane is a share of its files ("shards"), so a dataset of one file has one
lane, which every process reads.
"""

import hashlib
from collections.abc import Iterator
from functools import cached_property
from itertools import takewhile
from typing import Any

from mnemic.errors import UsageError, nearest
from mnemic.tasks.base import Split
from mnemic.tasks.streams.base import Cursor, StreamedDocument, held_out, joined, lanes_for, library

__all__ = ["HUB", "HubSource"]

HUB = "hf:"
_NAMES: dict[Split, tuple[str, ...]] = {"valid": ("validation", "valid", "val", "dev"), "test": ("test",)}


class HubSource:
    """Args:
    name: on the hub, or a folder.
    columns: of the text.
    config: of a dataset that has several.
    split: that trains; the dataset's own validation and test splits are used where it has them.

    Raises:
        UsageError: there is no such dataset, configuration or split, it cannot be reached, or it lacks a column.
    """

    def __init__(self, name: str, columns: tuple[str, ...], config: str | None, split: str) -> None:
        if not name:
            raise UsageError("text:hf: names no dataset; write text:hf:NAME")
        self.name, self.columns, self.config = name, columns, config
        known = self._ask(library(f"text:hf:{name}", "datasets").get_dataset_split_names)
        if split not in known:
            raise UsageError(f"dataset '{name}' has no split '{split}'{nearest(split, known)}")
        self.splits: dict[Split, str] = {"train": split}
        for ours, theirs in _NAMES.items():
            found = [own for own in theirs if own in known and own != split]
            if found:
                self.splits[ours] = found[0]
        first = next(iter(self._stream("train")), None)
        if first is None:
            raise UsageError(f"split '{split}' of dataset '{name}' is empty")
        joined(first, columns, f"dataset '{name}'")
        self.lanes = lanes_for(self._stream("train").num_shards)

    @cached_property
    def identity(self) -> str:
        info = self._stream("train").info
        said = [self.name, self.config, sorted(self.splits.items()), self.lanes, str(info.version), info.splits]
        return hashlib.sha256(repr([*said, info.download_checksums, str(info.features)]).encode()).hexdigest()

    @property
    def origin(self) -> str:
        own = ", ".join(f"{ours} from '{theirs}'" for ours, theirs in self.splits.items())
        rule = "" if len(self.splits) == 3 else "; what is missing is held out of it"
        return f"{own} of dataset '{self.name}', streamed{rule}"

    def read(self, lane: int, seed: int, cursor: Cursor | None = None) -> Iterator[StreamedDocument]:
        epoch, number, state = (
            (cursor["epoch"], cursor["number"], cursor["state"]) if cursor is not None else (0, 0, None)
        )
        while True:
            stream = self._stream("train")
            if self.lanes > 1:
                stream = stream.shard(self.lanes, lane)
            if state is not None:
                stream.load_state_dict(state)
            state = stream.state_dict()
            for row in stream:
                at = {"epoch": epoch, "number": number, "state": state}
                yield StreamedDocument(at, held_out(number, self.splits), self._text(row))
                number, state = number + 1, stream.state_dict()
            epoch, number, state = epoch + 1, 0, None

    def read_once(self, split: Split) -> Iterator[bytes]:
        has = self.splits.keys()
        if split != "train" and "valid" in has and "test" not in has:  # the odd documents of the one are the other
            odd = split == "test"
            yield from (self._text(row) for number, row in enumerate(self._stream("valid")) if number % 2 == odd)
        elif split != "train" and split in has:
            yield from map(self._text, self._stream(split))
        else:
            for lane in range(self.lanes):
                epoch = takewhile(lambda document: not document.cursor["epoch"], self.read(lane, 0))
                yield from (document.text for document in epoch if document.split == split)

    def _text(self, row: dict[str, Any]) -> bytes:
        return joined(row, self.columns, f"dataset '{self.name}'")

    def _stream(self, split: Split) -> Any:
        theirs = self.splits[split]
        return self._ask(library(f"text:hf:{self.name}", "datasets").load_dataset, split=theirs, streaming=True)

    def _ask(self, function: Any, **options: Any) -> Any:
        try:
            return function(self.name, self.config, **options)
        except (OSError, ValueError, RuntimeError) as error:
            said = " ".join(str(error).split())[:300]
            raise UsageError(
                f"dataset '{self.name}' cannot be opened: {said or type(error).__name__}; a name on the hub needs the "
                f"network, a folder its path, and a dataset of several parts config=NAME"
            ) from error
