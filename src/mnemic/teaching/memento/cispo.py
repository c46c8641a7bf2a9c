"""CISPO: policy gradients whose importance weights are clipped and held constant, under the rollout's own mask.

Source: Kontonis et al. 2026 (arXiv 2604.09852, section on RL): ratios clipped to 1 ± 0.2 under a stop-gradient, a KL of
0.001 to the model before, groups of 8, advantages normalised over the batch, losses over the tokens of a group.

Legend: R rollouts, T tokens of the longest, N written tokens of all, V vocabulary.
"""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mnemic.errors import MnemicError, UsageError
from mnemic.tasks.base import UNASKED, Examples
from mnemic.teaching.memento.blocks import visible_until
from mnemic.teaching.memento.chat import ChatTokens
from mnemic.teaching.memento.rollouts import Rollout, Rollouts
from mnemic.teaching.memento.rules import MarkerIds, MementoRules
from mnemic.teaching.packing import joined
from mnemic.teaching.row import Row
from mnemic.training.config import TrainConfig
from mnemic.training.objective import AskedLoss, training_batch
from mnemic.training.optimizer import build_optimizer

__all__ = ["CispoConfig", "RlPoint", "advantages", "cispo_loss", "group_weights", "reinforce", "rollout_examples"]


class CispoConfig(BaseModel):
    """The paper's settings; `prompts` and `steps` are a laptop's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(350, ge=1, description="rounds of rollouts, one optimiser step each; the paper's best is 350")
    prompts: int = Field(8, ge=1, description="prompts of a step; the paper's 240")
    group: int = Field(8, ge=2, description="rollouts of a prompt")
    clip: float = Field(0.2, gt=0, lt=1, description="importance ratios are clipped to 1 - clip and 1 + clip")
    kl: float = Field(0.001, ge=0, description="weight of the KL to the reference; without it lengths collapse")
    lr: float = Field(1e-6, gt=0, description="peak learning rate")
    warmup: int = Field(10, ge=0, description="steps of warm-up, at most a tenth of all")
    max_norm: float = Field(1.0, gt=0, description="largest norm of the gradient")
    rows_at_once: int = Field(8, ge=1, description="rollouts of one forward pass; the rest accumulates")
    most_gap: float | None = Field(
        None, gt=0, description="stop when the trainer's and the rollout's log-probabilities differ by more than this"
    )
    seed: int = Field(0, ge=0, description="of prompts and samples")


@dataclass(frozen=True)
class RlPoint:
    """
    Attributes:
        step: from 1.
        reward: mean of the rollouts.
        gap: mean absolute difference between the trainer's log-probabilities and the rollout's, before the update.
        most_gap: the largest of them. Where the mask is the rollout's own both are rounding errors.
        kl: mean KL to the reference.
        clipped: share of the tokens whose ratio was clipped.
        length: mean tokens written.
        norm: of the gradient.
    """

    step: int
    reward: float
    gap: float
    most_gap: float
    kl: float
    clipped: float
    length: float
    norm: float


def advantages(rollouts: Sequence[Rollout]) -> Tensor:
    """[R]: rewards less their group's mean, by the standard deviation of the whole batch."""
    reward, group = np.asarray([one.reward for one in rollouts]), _groups(rollouts)
    centred = reward - (np.bincount(group, reward) / np.bincount(group))[group]
    return torch.from_numpy(centred / (centred.std() + 1e-6)).float()


def group_weights(rollouts: Sequence[Rollout]) -> Tensor:
    """[R]: weight of each of a rollout's tokens: one over the chosen tokens of its group, and over the groups."""
    group = _groups(rollouts)
    tokens = np.bincount(group, [one.chosen.sum() for one in rollouts])
    return torch.from_numpy(1 / (np.maximum(tokens, 1) * len(tokens))[group]).float()


def _groups(rollouts: Sequence[Rollout]) -> NDArray[np.int64]:
    """[R]: each rollout's prompt, counted from 0 without gaps."""
    return np.unique([one.prompt for one in rollouts], return_inverse=True)[1]


def cispo_loss(
    logprobs: Tensor, old: Tensor, reference: Tensor | None, advantage: Tensor, weight: Tensor, config: CispoConfig
) -> tuple[Tensor, dict[str, Tensor]]:
    """-sg(clip(ratio)) * advantage * log pi + kl * KL(pi || reference), summed with `weight`.

    Args, all [N]:
        logprobs: of the model being trained; the only ones with a gradient.
        old: of the policy that wrote the tokens.
        reference: of the model before; None without a KL term.
        advantage, weight: of each token's rollout.

    Returns:
        the loss, and per token "clipped" and "kl" (its unbiased estimate that is never negative: e^d - d - 1 for
        d = log reference - log pi; Schulman 2020).
    """
    ratio = (logprobs - old).exp()
    clipped = ratio.clamp(1 - config.clip, 1 + config.clip).detach()
    objective = -clipped * advantage * logprobs
    kl = torch.zeros_like(logprobs)
    if reference is not None:
        difference = reference - logprobs
        kl = difference.exp() - difference - 1
    loss = ((objective + config.kl * kl) * weight).sum()
    return loss, {"clipped": (ratio.detach() != clipped).float(), "kl": kl.detach()}


def rollout_examples(rollouts: Sequence[Rollout], markers: MarkerIds, rules: MementoRules, pad: int = 0) -> Examples:
    """Rollouts as rows with the mask they were written under; asked are the tokens that the model chose."""
    rows = []
    for one in rollouts:
        labels = np.full(len(one.ids), UNASKED, np.int64)
        start = one.written_from
        labels[start - 1 : -1] = np.where(one.chosen, one.ids[start:], UNASKED)
        until = visible_until(one.ids, markers, rules, one.roles)
        rows.append([Row(one.ids, labels, np.arange(len(labels)), until)])
    return joined(rows, pad)


def reinforce(
    model: nn.Module,
    prompts: Sequence[ChatTokens],
    rollouts: Rollouts,
    markers: MarkerIds,
    rules: MementoRules,
    config: CispoConfig,
    *,
    reference: nn.Module | None = None,
    metrics: Path | None = None,
    on_point: Callable[[RlPoint], None] | None = None,
) -> list[RlPoint]:
    """Raise the reward of what `model` writes, in place, on one device.

    Args:
        rollouts: samples from this very model.
        reference: the model before, for the KL; needed where `config.kl` is above 0.
        metrics: JSON lines are appended there, one per step.

    Raises:
        UsageError: the options do not fit.
        MnemicError: the loss is not finite, or the trainer sees other probabilities than the rollout did.
    """
    if config.kl > 0 and reference is None:
        raise UsageError(f"kl={config.kl} needs the model before as reference=…; or set kl=0")
    if not prompts:
        raise UsageError("there are no prompts to write to")
    trainer = _Trainer(model, reference, markers, rules, config)
    generator = np.random.default_rng(config.seed)
    points: list[RlPoint] = []
    for step in range(1, config.steps + 1):
        chosen = generator.choice(len(prompts), config.prompts, replace=len(prompts) < config.prompts)
        batch = rollouts.rollout([prompts[int(i)] for i in chosen], config.group, config.seed + step)
        point = trainer.step(step, batch)
        points.append(point)
        if metrics is not None:
            _append(metrics, point)
        if on_point is not None:
            on_point(point)
    return points


class _Trainer:
    def __init__(
        self,
        model: nn.Module,
        reference: nn.Module | None,
        markers: MarkerIds,
        rules: MementoRules,
        config: CispoConfig,
    ) -> None:
        self.model, self.config, self.markers, self.rules = model, config, markers, rules
        self.objective = AskedLoss(model)
        self.reference = AskedLoss(reference).eval() if reference is not None and config.kl > 0 else None
        self.training = TrainConfig(
            steps=config.steps, lr=config.lr, warmup=config.warmup, weight_decay=0.0, betas=(0.9, 0.999)
        )
        self.optimizer = build_optimizer(model, self.training)
        self.device = next(model.parameters()).device

    def step(self, step: int, batch: Sequence[Rollout]) -> RlPoint:
        self._set_rate(step)
        advantage, weight = advantages(batch), group_weights(batch)
        seen: dict[str, list[Tensor]] = {"gap": [], "kl": [], "clipped": []}
        for start in range(0, len(batch), self.config.rows_at_once):
            place = slice(start, start + self.config.rows_at_once)
            found = self._backward(batch[place], advantage[place], weight[place])
            for name, values in seen.items():
                values.append(found[name])
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.max_norm))
        per_token = {name: torch.cat(values) for name, values in seen.items()}
        most = float(per_token["gap"].max()) if len(per_token["gap"]) else 0.0
        self._check(step, norm, most)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        mean = {name: float(values.mean()) if len(values) else 0.0 for name, values in per_token.items()}
        return RlPoint(
            step=step,
            reward=float(np.mean([one.reward for one in batch])),
            gap=mean["gap"],
            most_gap=most,
            kl=mean["kl"],
            clipped=mean["clipped"],
            length=float(np.mean([len(one.logprobs) for one in batch])),
            norm=norm,
        )

    def _backward(self, rollouts: Sequence[Rollout], advantage: Tensor, weight: Tensor) -> dict[str, Tensor]:
        batch = training_batch(rollout_examples(rollouts, self.markers, self.rules)).to(self.device)
        chosen = [one.chosen for one in rollouts]
        old = torch.from_numpy(np.concatenate([one.logprobs[c] for one, c in zip(rollouts, chosen, strict=True)]))
        counts = torch.tensor([int(c.sum()) for c in chosen])
        of_advantage, of_weight = (x.repeat_interleave(counts).to(self.device) for x in (advantage, weight))
        logprobs = self.objective.logprobs(batch)
        reference = None
        if self.reference is not None:
            with torch.no_grad():
                reference = self.reference.logprobs(batch)
        loss, seen = cispo_loss(logprobs, old.to(self.device), reference, of_advantage, of_weight, self.config)
        loss.backward()
        return {"gap": (logprobs.detach() - old.to(self.device)).abs(), **seen}

    def _check(self, step: int, norm: float, most_gap: float) -> None:
        if not math.isfinite(norm):
            raise MnemicError(
                f"the gradient of step {step} is not finite; try a learning rate below {self.config.lr:g}"
            )
        if self.config.most_gap is not None and most_gap > self.config.most_gap:
            raise MnemicError(
                f"at step {step} trainer and rollout disagree by {most_gap:.3g} in a token's log-probability, "
                f"most_gap={self.config.most_gap:g}: they see other weights, other masks or other precision"
            )

    def _set_rate(self, step: int) -> None:
        warm = min(self.training.warmup, self.config.steps // 10)
        rate = self.config.lr * min(1.0, step / (warm + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def _append(path: Path, point: RlPoint) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(vars(point)) + "\n")
        file.flush()
        os.fsync(file.fileno())
