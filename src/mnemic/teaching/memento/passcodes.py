"""A passcode in one block of a trace, for the probe: something that the rest of the trace neither tells nor needs.

Source: Kontonis et al. 2026 (arXiv 2604.09852), its section on probing: a random passcode of five digits in block 2.

Legend: B rows, T tokens, M tokens of a memento, P digits.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mnemic.errors import UsageError
from mnemic.teaching.memento.blocks import NEVER, Block, parse_blocks, visible_until
from mnemic.teaching.memento.markers import marker_ids
from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.memento.sentences import split_sentences
from mnemic.teaching.records import TraceRecord
from mnemic.teaching.tokenised_traces import encoded

__all__ = ["PasscodeTraces", "passcode_traces", "with_passcode"]


@dataclass(frozen=True)
class PasscodeTraces:
    """What `probe_kv` reads.

    Attributes:
        input_ids, visible_until: [B, T], padded on the right.
        places: distance in blocks to [B, M], the last tokens of that memento before its end marker.
        digits: [B, P].
    """

    input_ids: Tensor
    visible_until: Tensor
    places: dict[int, Tensor]
    digits: NDArray[np.int64]


def with_passcode(record: TraceRecord, block: int, digits: Sequence[int]) -> TraceRecord:
    """The record with a sentence in the middle of a block that names a passcode; blocks count from 0.

    Raises:
        UsageError: the record has no such block.
    """
    segments = list(record.segments)
    at = next((i for i, s in enumerate(segments) if s.kind == "block" and s.block == block), None)
    if at is None:
        raise UsageError(f"trace '{record.id}' has no block {block}")
    text = segments[at].text
    ends = [span.end for span in split_sentences(text)]
    place = ends[len(ends) // 2 - 1] if len(ends) > 1 else len(text)
    sentence = f"The passcode is {' '.join(map(str, digits))}. "
    segments[at] = segments[at].model_copy(update={"text": text[:place] + sentence + text[place:], "tokens": None})
    return record.model_copy(update={"segments": tuple(segments)})


def passcode_traces(
    records: Sequence[TraceRecord],
    tokenizer: Any,
    rules: MementoRules,
    *,
    block: int = 1,
    count: int = 2000,
    digits: int = 5,
    after: int = 2,
    seed: int = 0,
) -> PasscodeTraces:
    """Traces with random passcodes, the records taken in turn.

    Args:
        tokenizer: with the markers and a chat template.
        block: which block gets the passcode; the memento before it is the control, so it must not be the first.
        count: B.
        digits: P.
        after: how many later mementos are read.

    Raises:
        UsageError: the first block was chosen, or no record has enough blocks.
    """
    if block < 1:
        raise UsageError(f"block={block} has no memento before it to compare with; take 1 or a later one")
    needed = block + after + 1
    usable = [r for r in records if sum(s.kind == "memento" for s in r.segments) >= needed]
    if not usable:
        raise UsageError(f"no trace has {needed} blocks with mementos; take fewer with after=, or an earlier block")
    codes = np.random.default_rng(seed).integers(10, size=(count, digits))
    made = [with_passcode(usable[i % len(usable)], block, code.tolist()) for i, code in enumerate(codes)]
    markers = marker_ids(tokenizer)
    rows: list[tuple[NDArray[np.int64], NDArray[np.int64], list[Block]]] = []
    for trace in encoded(made, tokenizer, "marked", int(tokenizer.eos_token_id)):
        blocks = parse_blocks(trace.ids, markers, trace.roles)
        stop = blocks[needed - 1].summary_end + 1  # what comes later is not read
        until = visible_until(trace.ids, markers, rules, trace.roles)
        rows.append((trace.ids[:stop], until[:stop], blocks))
    read = range(block - 1, needed)
    tokens = min(b.summary_end - b.summary_start for _, _, blocks in rows for b in blocks[read.start : read.stop])
    longest = max(len(ids) for ids, _, _ in rows)
    input_ids, until = np.full((count, longest), rows[0][0][0]), np.full((count, longest), NEVER)
    for row, (ids, hidden, _) in enumerate(rows):
        input_ids[row, : len(ids)], until[row, : len(ids)] = ids, hidden
    places = {
        index - block: torch.tensor(
            [list(range(blocks[index].summary_end - tokens, blocks[index].summary_end)) for _, _, blocks in rows]
        )
        for index in read
    }
    return PasscodeTraces(torch.from_numpy(input_ids), torch.from_numpy(until), places, codes)
