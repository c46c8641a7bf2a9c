"""What a taught model holds, writes and takes for each of many prompts, beside full attention on the same tokens."""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mnemic.errors import UsageError
from mnemic.options import explain
from mnemic.teaching.memento.generation import MementoOutput, memento_generate
from mnemic.teaching.memento.measuring import ArmSpeed, area_gb_ktok, kv_bytes_per_token, throughput
from mnemic.teaching.memento.prompt_files import AskedPrompt
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic.teaching.memento.served_model import ServedModel

__all__ = ["MeasuredPrompt", "generate_prompt", "measure_prompts"]


class MeasuredPrompt(BaseModel):
    """One prompt's figures; those called full are of full attention, forced to the same tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(description="of the prompt")
    settings: dict[str, Any] = Field(description="how it was generated")
    prompt_tokens: int = Field(description="tokens of the prompt")
    tokens: int = Field(description="tokens written")
    blocks: int = Field(description="blocks completed")
    evictions: int = Field(description="times that a span left")
    malformed: int = Field(description="markers out of order")
    forced_block_ends: int = Field(description="blocks that the cap has ended")
    peak: int = Field(description="most tokens held at once")
    full_peak: int
    area: int = Field(description="token-steps")
    full_area: int
    gb_ktok: float = Field(description="gigabytes held times thousands of tokens")
    full_gb_ktok: float
    speed: dict[str, float] = Field(description="tokens per second, by arm")
    seconds: dict[str, float] = Field(description="from the first token to the last, by arm")
    eviction_share: float = Field(description="of the decoding time")
    trace: tuple[int, ...] = Field(description="tokens held after each token that was fed")


def generate_prompt(
    served: ServedModel, asked: AskedPrompt, rules: MementoRules, markers: MarkerIds, seed: int, **generate: Any
) -> MementoOutput:
    """Let the model write, the same on every call with the same seed."""
    prompt = asked.encoded(served)
    device = served.model.device
    torch.manual_seed(seed)
    ends = served.end_ids
    return memento_generate(
        served.model,
        torch.tensor([prompt.ids], device=device),
        roles=None if prompt.roles is None else torch.tensor([prompt.roles], device=device),
        attention_mask=torch.ones(1, len(prompt.ids), dtype=torch.int64, device=device),
        rules=rules,
        markers=markers,
        eos_token_id=ends or None,
        pad_token_id=ends[0] if ends else 0,
        **generate,
    )


def measure_prompts(
    served: ServedModel,
    asked: Sequence[AskedPrompt],
    rules: MementoRules,
    markers: MarkerIds,
    path: Path,
    settings: Mapping[str, Any],
    *,
    repeats: int,
    seed: int,
    on_measured: Callable[[MeasuredPrompt], None] | None = None,
    **generate: Any,
) -> list[MeasuredPrompt]:
    """Measure each prompt and keep it in a file at once; what the file holds already is not done again.

    Args:
        path: a .jsonl file, appended to.
        settings: what the figures depend on; a file made with others is refused.
        repeats: timed turns of each arm.

    Raises:
        UsageError: the file holds something else.
    """
    known = {row.id: row for row in _held(path, settings)}
    measured = []
    for one in asked:
        row = known.get(one.id)
        if row is None:
            out = generate_prompt(served, one, rules, markers, seed, **generate)
            row = _row(served, one, out, rules, markers, dict(settings), repeats)
            with path.open("a", encoding="utf-8") as file:
                file.write(row.model_dump_json() + "\n")
                file.flush()
                os.fsync(file.fileno())
            if on_measured is not None:
                on_measured(row)
        measured.append(row)
    return measured


def _row(
    served: ServedModel,
    asked: AskedPrompt,
    out: MementoOutput,
    rules: MementoRules,
    markers: MarkerIds,
    settings: dict[str, Any],
    repeats: int,
) -> MeasuredPrompt:
    written, trace = out.sequences[0, out.prompts :].tolist(), out.kv_trace[0]
    arms: dict[str, ArmSpeed] = throughput(
        served.model, [asked.encoded(served)], [written], rules=rules, markers=markers, repeats=repeats
    )
    per_token = kv_bytes_per_token(served.model.config, served.model.dtype).per_token
    full = range(1, len(trace) + 1)
    return MeasuredPrompt(
        id=asked.id,
        settings=settings,
        prompt_tokens=out.prompts,
        tokens=len(written),
        blocks=len(out.blocks[0]),
        evictions=out.evictions[0],
        malformed=out.malformed[0],
        forced_block_ends=out.forced_block_ends[0],
        peak=out.peak_tokens[0],
        full_peak=len(trace),
        area=out.area[0],
        full_area=sum(full),
        gb_ktok=area_gb_ktok(trace, per_token),
        full_gb_ktok=area_gb_ktok(full, per_token),
        speed={name: arm.tokens_per_second for name, arm in arms.items()},
        seconds={name: len(written) / arm.tokens_per_second for name, arm in arms.items()},
        eviction_share=arms["evicting"].eviction_share,
        trace=tuple(trace),
    )


def _held(path: Path, settings: Mapping[str, Any]) -> Iterable[MeasuredPrompt]:
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    if not text.endswith("\n"):  # a writer was killed in the middle of its last line
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    try:
        rows = [MeasuredPrompt.model_validate_json(line) for line in text.split("\n")[:-1]]
    except ValidationError as wrong:
        raise UsageError(explain(str(path), MeasuredPrompt, wrong)) from None
    for row in rows:
        if row.settings != json.loads(json.dumps(settings)):
            raise UsageError(f"'{path}' was measured with {row.settings}, not {dict(settings)}; name another --output")
    return rows
