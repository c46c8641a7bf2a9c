"""Traces as token ids, made once and kept on the disk.

A trace becomes the prompt through the tokenizer's chat template, then what the model is to write: <think>, blocks and
mementos in markers, </think>, the answer, the end of the turn; or, for the control, the raw trace without mementos.

Legend: R traces, N tokens of all of them, T tokens of one.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.teaching.exporters import marker_string
from mnemic.teaching.memento.chat import encode_chat
from mnemic.teaching.memento.marker_text import MARKERS
from mnemic.teaching.memento.markers import marker_ids
from mnemic.teaching.memento.rules import MarkerIds, Role
from mnemic.teaching.records import TraceRecord, read_jsonl
from mnemic.teaching.token_file import digest_of_file, read_tokens, rules_of, write_tokens

__all__ = ["TokenisedTraces", "Trace", "encoded", "tokenise_traces"]

_VERSION = 1  # raised when the same records and tokenizer give other tokens
_AT_ONCE = 256  # records; fast tokenizers encode them on all cores
_THINK, _THINK_END = "<think>", "</think>"
_ARRAYS = ("ids", "roles", "starts", "answers_from")


class Trace(NamedTuple):
    """One conversation as tokens.

    Attributes:
        ids, roles: [T].
        answer_from: the first token that the model writes.
    """

    ids: NDArray[np.int64]
    roles: NDArray[np.int64]
    answer_from: int


@dataclass(frozen=True)
class TokenisedTraces:
    """
    Attributes:
        ids, roles: [N].
        starts: [R + 1], where each trace starts.
        answers_from: [R], counted from the trace's start.
        names: [R], the records' ids.
        dropped: reason -> records that are left out.
        markers: their ids; for the control too, though none occurs there.
        vocab_size: one more than the tokenizer's largest id.
        pad: the id that fills rows up.
        key: equal for equal contents.
    """

    ids: NDArray[np.int32]
    roles: NDArray[np.int8]
    starts: NDArray[np.int64]
    answers_from: NDArray[np.int64]
    names: tuple[str, ...]
    dropped: dict[str, int]
    markers: MarkerIds
    vocab_size: int
    pad: int
    key: str

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Trace:
        place = slice(int(self.starts[index]), int(self.starts[index + 1]))
        ids, roles = self.ids[place].astype(np.int64), self.roles[place].astype(np.int64)
        return Trace(ids, roles, int(self.answers_from[index]))


def tokenise_traces(
    path: Path,
    tokenizer: Any,
    *,
    form: Literal["marked", "plain"] = "marked",
    cache: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> TokenisedTraces:
    """Tokenise a file of `mnemic.trace/1`, or read what an earlier call kept.

    Args:
        tokenizer: of transformers, with the markers and with a chat template that only appends.
        form: "plain" leaves markers and mementos out.
        cache: folder to keep the tokens in; None to keep nothing.
        on_progress: told how many records are done.

    Raises:
        UsageError: no such file, no record in it, or a tokenizer that cannot be used.
        MnemicError: the cache cannot be written.
    """
    markers, end = marker_ids(tokenizer), tokenizer.eos_token_id
    if end is None:
        raise UsageError("the tokenizer has no eos token, so nothing would end the model's turn; set one")
    key = _key(path, tokenizer, form)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    same = {"markers": markers, "vocab_size": len(tokenizer), "pad": int(pad), "key": key}
    kept = cache / f"{key[:24]}.npz" if cache is not None else None
    found = _read(kept, same) if kept is not None else None
    if found is not None:
        return found
    made = _tokenise(path, tokenizer, form, int(end), same, on_progress)
    if kept is not None:
        _write(kept, made)
    return made


def _tokenise(
    path: Path,
    tokenizer: Any,
    form: str,
    end: int,
    same: dict[str, Any],
    on_progress: Callable[[int], None] | None,
) -> TokenisedTraces:
    ids: list[NDArray[np.int32]] = []
    roles: list[NDArray[np.int8]] = []
    names: list[str] = []
    answers_from: list[int] = []
    failed = done = 0
    for records in _chunks(read_jsonl(path)):
        good = [record for record in records if record.status == "ok"]
        failed += len(records) - len(good)
        for record, trace in zip(good, encoded(good, tokenizer, form, end), strict=True):
            ids.append(trace.ids.astype(np.int32))
            roles.append(trace.roles.astype(np.int8))
            names.append(record.id)
            answers_from.append(trace.answer_from)
        done += len(records)
        if on_progress is not None:
            on_progress(done)
    if not names:
        raise UsageError(f"'{path}' holds no trace that can be trained on ({failed} failed)")
    starts = np.cumsum([0, *map(len, ids)])
    dropped = {"failed": failed} if failed else {}
    return TokenisedTraces(
        np.concatenate(ids), np.concatenate(roles), starts, np.asarray(answers_from), tuple(names), dropped, **same
    )  # fmt: skip


def encoded(records: Sequence[TraceRecord], tokenizer: Any, form: str, end: int) -> Iterator[Trace]:
    """Each record as tokens, ended by the token `end`; `form` as in :func:`tokenise_traces`."""
    if not records:
        return
    prompts = [encode_chat(tokenizer, [turn.model_dump() for turn in record.prompt]) for record in records]
    texts = []
    for record, prompt in zip(records, prompts, strict=True):
        text = marker_string(record) if form == "marked" else f"{_THINK}{record.reasoning}{_THINK_END}{record.answer}"
        opened = tokenizer.decode(prompt.ids[-8:].tolist()).rstrip().endswith(_THINK)  # by some templates
        texts.append(text.removeprefix(_THINK) if opened else text)
    for prompt, answer in zip(prompts, tokenizer(texts, add_special_tokens=False)["input_ids"], strict=True):
        ids = np.r_[prompt.ids, np.asarray([*answer, end], np.int64)]
        roles = np.r_[prompt.roles, np.full(len(answer) + 1, int(Role.ASSISTANT))]
        yield Trace(ids, roles, len(prompt.ids))


def _chunks(records: Iterator[TraceRecord]) -> Iterator[list[TraceRecord]]:
    while chunk := list(islice(records, _AT_ONCE)):
        yield chunk


def _key(path: Path, tokenizer: Any, form: str) -> str:
    """Digest of the records, of what the tokenizer does, and of the options."""
    content, rules = digest_of_file(path), rules_of(tokenizer)
    decides = [_VERSION, content, rules, tokenizer.chat_template, tokenizer.eos_token_id, astuple(MARKERS), form]
    return hashlib.sha256(json.dumps(decides).encode()).hexdigest()


def _write(path: Path, made: TokenisedTraces) -> None:
    arrays = {name: getattr(made, name) for name in _ARRAYS}
    write_tokens(path, arrays, {"names": made.names, "dropped": made.dropped})


def _read(path: Path, same: dict[str, Any]) -> TokenisedTraces | None:
    found = read_tokens(path)
    if found is None or found[0].keys() != set(_ARRAYS):
        return None
    arrays, about = found
    given: dict[str, Any] = {**arrays, **same}
    return TokenisedTraces(**given, names=tuple(about["names"]), dropped=about["dropped"])
