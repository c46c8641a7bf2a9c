"""CISPO against its formula, the rollout's mask against the trainer's, and a reward that really rises."""

import json
import math
from copy import deepcopy

import numpy as np
import pytest
import torch

from mnemic.errors import MnemicError, UsageError
from mnemic.teaching.memento.blocks import parse_blocks
from mnemic.teaching.memento.chat import ChatTokens
from mnemic.teaching.memento.cispo import (
    CispoConfig,
    advantages,
    cispo_loss,
    group_weights,
    reinforce,
    rollout_examples,
)
from mnemic.teaching.memento.rollouts import EvictingRollouts, Rollout
from mnemic.teaching.memento.rules import MarkerIds, MementoRules, Role
from mnemic.training.objective import AskedLoss, training_batch

MARKERS = MarkerIds(3, 4, 5, 6)
EOS = 2


def prompt(*ids: int) -> ChatTokens:
    return ChatTokens(np.asarray(ids), np.full(len(ids), int(Role.PROTECTED)))


PROMPTS = [prompt(7, 8, 1), prompt(1, 7), prompt(8, 7, 7, 1, 8)]


def written(group: int, reward: float, length: int = 2) -> Rollout:
    ids = np.arange(7, 7 + 2 + length)
    return Rollout(
        group, ids, np.full(len(ids), 2), np.zeros(length, np.float32), np.ones(length, bool), reward
    )  # fmt: skip


@pytest.fixture
def writer(make_model):
    """A model of few words, all about as likely, so that a random one writes whole blocks and mementos."""
    model = make_model(vocab=9)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.3)
    return model


def rollouts(model, rules=None, *, reward=lambda _: 0.0, length=60, eos=99) -> EvictingRollouts:
    """By default with an end that no model can write, so that streams get long."""
    return EvictingRollouts(model, MARKERS, rules or MementoRules(), reward, max_new_tokens=length, eos=eos)


def test_advantages_are_centred_by_group_and_scaled_by_the_batch():
    batch = [written(0, r) for r in (1.0, 0.0, 0.0, 1.0)] + [written(1, r) for r in (5.0, 5.0, 5.0, 9.0)]
    centred = np.array([0.5, -0.5, -0.5, 0.5, -1, -1, -1, 3])
    np.testing.assert_allclose(advantages(batch), centred / centred.std(), rtol=1e-4)
    assert torch.equal(advantages([written(0, 1.0)] * 4), torch.zeros(4))


def test_every_group_weighs_the_same_however_much_it_wrote():
    batch = [written(0, 0, 3), written(0, 0, 5), written(1, 0, 30), written(1, 0, 2)]
    weight = group_weights(batch)
    tokens = torch.tensor([3, 5, 30, 2])
    np.testing.assert_allclose([float((weight * tokens)[i : i + 2].sum()) for i in (0, 2)], [0.5, 0.5], rtol=1e-6)


def test_the_gradient_is_that_of_the_clipped_ratio_held_constant():
    torch.manual_seed(0)
    logprobs = (-torch.rand(50, dtype=torch.float64) * 3).requires_grad_()
    old, reference = logprobs.detach() + torch.randn(50).double() * 0.4, logprobs.detach() + 0.3
    advantage, weight = torch.randn(50).double(), torch.rand(50).double()
    config = CispoConfig()
    loss, seen = cispo_loss(logprobs, old, reference, advantage, weight, config)
    loss.backward()
    wanted = []
    for p, o, a, w in zip(logprobs.tolist(), old.tolist(), advantage.tolist(), weight.tolist(), strict=True):
        ratio = min(max(math.exp(p - o), 0.8), 1.2)
        wanted.append(w * (-ratio * a + 0.001 * (1 - math.exp(0.3))))  # d/dp of e^(r-p) - (r-p) - 1 is 1 - e^(r-p)
    np.testing.assert_allclose(logprobs.grad, wanted, rtol=1e-8)
    assert 0 < seen["clipped"].mean() < 1
    assert (seen["kl"] >= 0).all()


@pytest.mark.parametrize(
    "rules", [MementoRules(), MementoRules(mask_delimiters=True), MementoRules(max_block_tokens=4)], ids=str
)
def test_the_trainer_sees_what_the_rollout_saw_and_only_under_its_mask(writer, rules):
    batch = rollouts(writer, rules).rollout(PROMPTS, 4, seed=1)
    assert sum(len(parse_blocks(one.ids, MARKERS, one.roles)) for one in batch) >= 3

    def gap(rules):
        examples = rollout_examples(batch, MARKERS, rules)
        asked = training_batch(examples)
        with torch.no_grad():
            found = AskedLoss(writer).logits(asked).log_softmax(-1).gather(-1, asked.targets[:, None])[:, 0]
        return np.abs(found.numpy() - np.concatenate([one.logprobs[one.chosen] for one in batch])).max()

    assert gap(rules) < 1e-4
    assert gap(MementoRules(keep_last_n_blocks=-1)) > 1e-2


def test_blocks_are_capped_and_what_was_forced_is_not_trained(writer):
    capped = rollouts(writer, MementoRules(max_block_tokens=3)).rollout(PROMPTS, 8, seed=2)
    inside = [
        one.ids[block.start + 1 : block.end] for one in capped for block in parse_blocks(one.ids, MARKERS, one.roles)
    ]
    lengths = [len(ids) for ids in inside if MARKERS.block_start not in ids]  # a nested block starts counting anew
    assert max(lengths) == 3
    forced = [one.ids[one.written_from :][~one.chosen] for one in capped]
    assert sum(map(len, forced)) > 0
    assert all((ids == MARKERS.block_end).all() for ids in forced)
    examples = rollout_examples(capped, MARKERS, MementoRules())
    assert int((examples.labels != -100).sum()) == sum(int(one.chosen.sum()) for one in capped)


def test_rollouts_of_one_prompt_stand_together_and_differ(writer):
    batch = rollouts(writer, eos=EOS).rollout(PROMPTS, 3, seed=3)
    assert [one.prompt for one in batch] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    for one in batch:
        np.testing.assert_array_equal(one.ids[: one.written_from], PROMPTS[one.prompt].ids)
        assert (one.ids[one.written_from : -1] != EOS).all()
    assert len({one.ids.tobytes() for one in batch[:3]}) == 3
    again = rollouts(writer, eos=EOS).rollout(PROMPTS, 3, seed=3)
    assert [one.ids.tolist() for one in again] == [one.ids.tolist() for one in batch]


def test_the_reward_rises_under_eviction(writer, tmp_path):
    def reward(said) -> float:
        """The share of the written tokens that is word 8: any model can learn that."""
        return float((said.ids == 8).mean())

    config = CispoConfig(steps=25, prompts=3, group=8, lr=3e-3, warmup=2, most_gap=1e-3)
    before, file = deepcopy(writer), tmp_path / "rl.jsonl"
    sampler = rollouts(writer, reward=reward, length=16)
    points = reinforce(
        writer, PROMPTS, sampler, MARKERS, MementoRules(), config, reference=before, metrics=file
    )  # fmt: skip
    first, last = (np.mean([p.reward for p in some]) for some in (points[:3], points[-3:]))
    assert last > first + 0.3
    assert max(p.most_gap for p in points) < 1e-3
    assert points[0].kl < 1e-6 < points[-1].kl
    assert [json.loads(line)["step"] for line in file.read_text().splitlines()] == list(range(1, 26))


def test_a_rollout_by_other_weights_is_noticed(writer, make_model):
    config = CispoConfig(steps=1, prompts=1, kl=0, most_gap=1e-3)
    other = rollouts(make_model(vocab=9, seed=1))
    with pytest.raises(MnemicError, match="disagree"):
        reinforce(writer, PROMPTS, other, MARKERS, MementoRules(), config)


def test_wrong_use_is_refused(writer):
    with pytest.raises(UsageError, match="reference"):
        reinforce(writer, PROMPTS, rollouts(writer), MARKERS, MementoRules(), CispoConfig())
    with pytest.raises(UsageError, match="restart"):
        rollouts(writer, MementoRules(restart=True))
