"""What the study's models do when they write by themselves, with blocks really evicted.

Legend: B problems, T tokens.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from mnemic.models import MnemicForCausalLM
from mnemic.studies.memento_runs import Key
from mnemic.tasks.rounds import END_THINK, EOS, MARKERS, Rounds
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.rules import MarkerIds, MementoRules

__all__ = ["MODES", "Case", "Generated", "Measured", "Mode", "generated"]

Mode = Literal["full", "evicting", "restart", "bare restart"]
MODES: dict[Mode, MementoRules] = {
    "full": MementoRules(keep_last_n_blocks=-1),
    "evicting": MementoRules(),
    "restart": MementoRules(restart=True),
    "bare restart": MementoRules(restart=True, mask_delimiters=True),
}
_SLACK = 8  # tokens beyond a whole trace, for models that write more


class Generated(BaseModel):
    """How a model did on problems that it solved by writing.

    Attributes:
        accuracy: share of the problems whose answer is right.
        answered: share that came to an answer at all.
        peak, area, tokens: keys held at once, token-steps and tokens written; means over the problems.
        malformed: markers out of order, all problems together.
        trace: keys held after each token of the first problem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float
    answered: float
    peak: float
    area: float
    tokens: float
    malformed: int
    trace: tuple[int, ...]


Case = tuple[Key, Mode]
Measured = Mapping[Case, list[Generated]]
"""What the models wrote, one entry per seed."""


def generated(model: MnemicForCausalLM, task: Rounds, mode: Mode, problems: int, seed: int) -> Generated:
    """Let a model write its traces, greedily, on test problems."""
    rows = task.sample("test", problems, seed)
    prompt = torch.from_numpy(rows.input_ids[:, : task.prompt_length]).to(model.device)
    most = task.max_length - task.prompt_length + _SLACK
    out = memento_generate(
        model, prompt, rules=MODES[mode], markers=MarkerIds(*MARKERS),
        max_new_tokens=most, do_sample=False, eos_token_id=EOS, pad_token_id=0,
    )  # fmt: skip
    written = out.sequences[:, task.prompt_length :].cpu().numpy()
    answered = (written[:, :-1] == END_THINK).any(axis=1)
    at = (written[:, :-1] == END_THINK).argmax(axis=1) + 1
    right = answered & (written[np.arange(len(written)), at] == rows.input_ids[:, -2])
    return Generated(
        accuracy=float(right.mean()),
        answered=float(answered.mean()),
        peak=float(np.mean(out.peak_tokens)),
        area=float(np.mean(out.area)),
        tokens=float(np.mean([len(trace) - task.prompt_length for trace in out.kv_trace])),
        malformed=sum(out.malformed),
        trace=tuple(out.kv_trace[0]),
    )
