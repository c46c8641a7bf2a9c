"""Recall records as token ids, made once and kept on the disk.

A prompt is tokenised exactly as `answering` does it, and what is to be written by itself behind it, for that is how it
will be written: token by token after a prompt that ended.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mnemic.errors import UsageError
from mnemic.teaching.records import RecallRecord, read_jsonl
from mnemic.teaching.rwr.answering import prompts_ids
from mnemic.teaching.rwr.families import Families
from mnemic.teaching.rwr.layout import Mode, prompt_text, target_text
from mnemic.teaching.rwr.mixture import mode_of
from mnemic.teaching.rwr.recall_rows import RecallRowOptions, RecallRows
from mnemic.teaching.token_file import digest_of_file, read_tokens, rules_of, write_tokens

__all__ = ["mode_asked", "tokenise_recall"]

_VERSION = 1  # raised when the same records, tokenizer and options give other tokens
_AT_ONCE = 256  # records; fast tokenizers encode them on all cores
_LONGEST: Mode = "summary+answer"
_ARRAYS = ("ids", "starts", "completions_from")


class _Written(NamedTuple):
    """A row before it is joined with the others: its prompt, and what follows it with the end."""

    prompt: list[int]
    completion: list[int]

    @property
    def size(self) -> int:
        return len(self.prompt) + len(self.completion)


def mode_asked(record: RecallRecord, options: RecallRowOptions) -> Mode:
    """What a record is asked for; of one without a note, always the answer."""
    if record.kind == "plain":
        return "answer"
    if options.target == "mixed":
        return mode_of(record.id, record.kind, summary_share=options.summary_share)
    return options.target


def tokenise_recall(
    path: Path,
    tokenizer: Any,
    options: RecallRowOptions,
    *,
    cache: Path | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RecallRows:
    """Tokenise a file of `mnemic.recall/1`, or read what an earlier call kept.

    Whether a record is too long does not depend on what is asked of it, so that runs with different targets have the
    same records: its row with note and answer must fit.

    Args:
        tokenizer: of transformers; its eos token ends what is written.
        cache: folder to keep the tokens in; None to keep nothing.
        on_progress: told how many records are done.

    Raises:
        UsageError: no such file, no row in it, no note in it though notes are to be taught, or no eos token.
        MnemicError: the cache cannot be written.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise UsageError("the tokenizer has no eos token, so nothing would end what the model writes; set one")
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else end
    decides = [_VERSION, digest_of_file(path), rules_of(tokenizer), tokenizer.bos_token_id, end, options.model_dump()]
    key = hashlib.sha256(json.dumps(decides).encode()).hexdigest()
    same = {"options": options, "vocab_size": len(tokenizer), "pad": int(pad), "key": key}
    kept = cache / f"{key[:24]}.npz" if cache is not None else None
    found = _read(kept, same) if kept is not None else None
    if found is None:
        found = _tokenised(path, tokenizer, options, int(end), same, on_progress)
        if kept is not None:
            _write(kept, found)
    return found


def _tokenised(
    path: Path,
    tokenizer: Any,
    options: RecallRowOptions,
    end: int,
    same: dict[str, Any],
    on_progress: Callable[[int], None] | None,
) -> RecallRows:
    rows: list[_Written] = []
    families, asked, dropped = Families(), Counter[Mode](), Counter[str]()
    done, shortest = 0, None
    for records in _chunks(_records(path)):
        good = [record for record in records if record.status == "ok"]
        dropped["failed"] += len(records) - len(good)
        modes = [mode_asked(record, options) for record in good]
        longest = [_LONGEST if record.summary is not None else mode for record, mode in zip(good, modes, strict=True)]
        written = _encoded(good, modes, tokenizer, options, end)
        measured = written if modes == longest else _encoded(good, longest, tokenizer, options, end)
        for record, mode, row, most in zip(good, modes, written, measured, strict=True):
            shortest = most.size if shortest is None else min(shortest, most.size)
            if len(row.completion) < 2:
                dropped["no tokens to learn"] += 1
            elif max(row.size, most.size) > options.max_length:
                dropped["longer than max_length"] += 1
            else:
                rows.append(row)
                families.add(record)
                asked[mode] += 1
        done += len(records)
        if on_progress is not None:
            on_progress(done)
    reasons = {reason: count for reason, count in dropped.items() if count}
    _check(path, options, asked, reasons, shortest)
    return RecallRows(
        ids=np.concatenate([np.asarray([*row.prompt, *row.completion], np.int32) for row in rows]),
        starts=np.cumsum([0, *(row.size for row in rows)]),
        completions_from=np.asarray([len(row.prompt) for row in rows]),
        families=families.names(),
        asked=dict(asked),
        dropped=reasons,
        **same,
    )


def _encoded(
    records: Sequence[RecallRecord], modes: Sequence[Mode], tokenizer: Any, options: RecallRowOptions, end: int
) -> list[_Written]:
    if not records:
        return []
    pairs = list(zip(records, modes, strict=True))
    prompts = prompts_ids(
        tokenizer,
        [prompt_text(r.context, r.query, mode=mode, query_position=options.query_position) for r, mode in pairs],
    )
    targets = [target_text(r.summary, r.answer, mode=mode) for r, mode in pairs]
    completions = tokenizer(targets, add_special_tokens=False)["input_ids"]
    return [_Written(prompt, [*written, end]) for prompt, written in zip(prompts, completions, strict=True)]


def _check(
    path: Path, options: RecallRowOptions, asked: Counter[Mode], dropped: dict[str, int], shortest: int | None
) -> None:
    why = ", ".join(f"{count:,} {reason}" for reason, count in sorted(dropped.items()))
    if not asked:
        hint = f"; the shortest has {shortest:,} tokens" if shortest is not None else ""
        raise UsageError(
            f"no record of '{path}' gives a row of at most max_length={options.max_length} tokens: "
            f"{why or 'it holds none'}{hint}"
        )
    if options.target != "answer" and not asked["summary"] and not asked["summary+answer"]:
        raise UsageError(
            f"no record of '{path}' has a note{f' ({why})' if why else ''}, so there is none to learn to write: build "
            "them with `mnemic teach rwr build`, or train with target=answer"
        )


def _records(path: Path) -> Iterator[RecallRecord]:
    try:
        yield from read_jsonl(path, RecallRecord)
    except UsageError as wrong:
        raise UsageError(f"{wrong}; what is wanted is recall.jsonl as `mnemic teach rwr build` leaves it") from None


def _chunks(records: Iterator[RecallRecord]) -> Iterator[list[RecallRecord]]:
    while chunk := list(islice(records, _AT_ONCE)):
        yield chunk


def _write(path: Path, made: RecallRows) -> None:
    about = {"families": made.families, "asked": made.asked, "dropped": made.dropped}
    write_tokens(path, {name: getattr(made, name) for name in _ARRAYS}, about)


def _read(path: Path, same: dict[str, Any]) -> RecallRows | None:
    found = read_tokens(path)
    if found is None or found[0].keys() != set(_ARRAYS):
        return None
    arrays, about = found
    given: dict[str, Any] = {**arrays, **about, **same, "families": tuple(about["families"])}
    return RecallRows(**given)
