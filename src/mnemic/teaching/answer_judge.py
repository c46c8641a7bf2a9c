"""How often a model gives the held-out traces' answers, by generation under the attention that it is being taught.

Legend: B rows, T tokens of the longest prompt.
"""

from typing import Any

import torch

from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.rules import MementoRules
from mnemic.teaching.teaching_rows import TeachingRows
from mnemic.teaching.trace_rows import Attention, TraceRows
from mnemic.training.result import Judge

__all__ = ["answer_judge"]

_END = "</think>"


def answer_judge(
    rows: TeachingRows[TraceRows],
    tokenizer: Any,
    rules: MementoRules,
    *,
    max_new_tokens: int,
    most: int,
    rows_at_once: int,
) -> Judge:
    """A judge for `train`: the share of held-out prompts whose generated answer is the trace's, white space aside.

    Args:
        rules: of eviction, for memento attention; under full attention nothing is evicted.
        most: held-out prompts that are asked.
    """
    of_attention = _rules(rows.rows.options.attention, rules)
    traces = [rows.rows.trace(rows.held_out_row(number)) for number in range(min(most, rows.held_out))]
    wanted = [_answer(tokenizer, trace.ids[trace.answer_from :].tolist()) for trace in traces]

    def judge(model: Any) -> float:
        plain = model.get_base_model() if hasattr(model, "get_base_model") else model
        device = next(plain.parameters()).device
        right = 0
        for start in range(0, len(traces), rows_at_once):
            some = traces[start : start + rows_at_once]
            longest = max(trace.answer_from for trace in some)
            ids, real, roles = (torch.zeros(len(some), longest, dtype=torch.int64) for _ in range(3))
            for row, trace in enumerate(some):
                place = slice(longest - trace.answer_from, longest)
                ids[row, place] = torch.from_numpy(trace.ids[: trace.answer_from])
                roles[row, place] = torch.from_numpy(trace.roles[: trace.answer_from])
                real[row, place] = 1
            found = memento_generate(
                plain, ids.to(device), rules=of_attention, markers=rows.rows.traces.markers,
                attention_mask=real.to(device), roles=roles.to(device), max_new_tokens=max_new_tokens, do_sample=False,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=rows.rows.pad,
            )  # fmt: skip
            said = [_answer(tokenizer, row[longest:].tolist()) for row in found.sequences]
            right += sum(a is not None and a == b for a, b in zip(said, wanted[start:], strict=False))
        return right / len(traces)

    return judge


def _rules(attention: Attention, rules: MementoRules) -> MementoRules:
    if attention == "restart":
        return MementoRules(restart=True, max_block_tokens=rules.max_block_tokens)
    return rules if attention == "memento" else MementoRules(keep_last_n_blocks=-1)


def _answer(tokenizer: Any, ids: list[int]) -> str | None:
    """What stands after the reasoning, up to the end of the turn; None where the reasoning never ended."""
    if tokenizer.eos_token_id in ids:
        ids = ids[: ids.index(tokenizer.eos_token_id)]
    _, end, answer = tokenizer.decode(ids).partition(_END)
    return " ".join(answer.split()) if end else None
