"""Rollouts for reinforcement learning: what a model wrote, how likely each token was then, and what it earned.

Legend: T tokens of one rollout, prompt included, P of the prompt, B prompts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mnemic.errors import UsageError
from mnemic.teaching.memento.chat import ChatTokens
from mnemic.teaching.memento.generation import memento_generate
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role

__all__ = ["EvictingRollouts", "Reward", "Rollout", "Rollouts", "Written"]


class Written(NamedTuple):
    """What a reward is given for.

    Attributes:
        prompt: its number among the prompts.
        ids: [T - P], what the model wrote.
    """

    prompt: int
    ids: NDArray[np.int64]


Reward = Callable[[Written], float]


@dataclass(frozen=True)
class Rollout:
    """
    Attributes:
        prompt: number of its prompt; the rollouts of one prompt are a group.
        ids, roles: [T].
        logprobs: [T - P], of each written token when it was sampled, at temperature 1.
        chosen: [T - P] of bool, False where the token was forced and so is no choice of the model.
        reward: what it earned.
    """

    prompt: int
    ids: NDArray[np.int64]
    roles: NDArray[np.int64]
    logprobs: NDArray[np.float32]
    chosen: NDArray[np.bool_]
    reward: float

    @property
    def written_from(self) -> int:
        """P."""
        return len(self.ids) - len(self.logprobs)


class Rollouts(Protocol):
    """Whatever samples: this process, or servers elsewhere."""

    def rollout(self, prompts: Sequence[ChatTokens], n: int, seed: int) -> list[Rollout]:
        """`n` rollouts of each prompt, those of one prompt beside each other."""


class EvictingRollouts:
    """Samples from a model in this process, blocks evicted as when it is served.

    Args:
        model: the one that is trained; its weights as they are when asked.
        rules: `max_block_tokens` caps a block by force.
        reward: asked once per rollout.
        max_new_tokens: of a rollout.
        eos: the id that ends one.
    """

    def __init__(
        self, model: Any, markers: MarkerIds, rules: MementoRules, reward: Reward, *, max_new_tokens: int, eos: int
    ) -> None:
        if rules.restart:
            raise UsageError("rules.restart: rollouts are trained under the memento mask, which has no second pass")
        self.model, self.markers, self.rules, self.reward = model, markers, rules, reward
        self.max_new_tokens, self.eos = max_new_tokens, eos

    @torch.no_grad()
    def rollout(self, prompts: Sequence[ChatTokens], n: int, seed: int) -> list[Rollout]:
        was_training = self.model.training
        self.model.eval()
        device = next(self.model.parameters()).device
        longest = max(len(prompt.ids) for prompt in prompts)
        ids, real, roles = (torch.zeros(len(prompts), longest, dtype=torch.int64) for _ in range(3))
        for row, prompt in enumerate(prompts):
            place = slice(longest - len(prompt.ids), longest)
            ids[row, place], roles[row, place] = torch.from_numpy(prompt.ids), torch.from_numpy(prompt.roles)
            real[row, place] = 1
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            found = memento_generate(
                self.model, ids.to(device), rules=self.rules, markers=self.markers, attention_mask=real.to(device),
                roles=roles.to(device), max_new_tokens=self.max_new_tokens, do_sample=True, temperature=1.0, top_k=0,
                top_p=1.0, num_return_sequences=n, eos_token_id=self.eos, pad_token_id=self.eos,
                output_logits=True, output_scores=True,
            )  # fmt: skip
        self.model.train(was_training)
        assert found.logits is not None
        assert found.scores is not None
        written = found.sequences[:, longest:]
        logits, scores = torch.stack(found.logits, dim=1), torch.stack(found.scores, dim=1)
        logprobs = logits.log_softmax(-1).gather(-1, written[..., None])[..., 0].cpu().numpy()
        free = (torch.isfinite(scores).sum(-1) > 1).cpu().numpy()  # where a cap leaves one token, nothing is chosen
        rows = zip(written.cpu().numpy(), logprobs, free, strict=True)
        return [self._one(prompts[row // n], row // n, *values) for row, values in enumerate(rows)]

    def _one(
        self,
        prompt: ChatTokens,
        number: int,
        written: NDArray[np.int64],
        logprobs: NDArray[np.float32],
        free: NDArray[np.bool_],
    ) -> Rollout:
        ends = np.flatnonzero(written == self.eos)
        length = int(ends[0]) + 1 if len(ends) else len(written)
        ids = np.r_[prompt.ids, written[:length]]
        roles = np.r_[prompt.roles, np.full(length, int(Role.ASSISTANT))]
        reward = float(self.reward(Written(number, written[:length])))
        return Rollout(number, ids, roles, logprobs[:length], free[:length], reward)
