"""The probe finds what a memento's keys and values carry, and finds nothing where nothing is."""

import numpy as np
import pytest
import torch

from mnemic.errors import UsageError
from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.tasks.running_sum import RunningSum
from mnemic.teaching.memento.kv_probe import keys_and_values, probe_kv, probe_score

TASK = RunningSum(blocks=3, digits=2, hide=True)


@pytest.fixture(scope="module")
def model() -> MnemicForCausalLM:
    torch.manual_seed(0)
    layers = [*[{"mixer": "attention", "heads": 2}] * 3, {"mixer": "sliding-window", "window": 4}]
    return MnemicForCausalLM(
        MnemicConfig(vocab_size=TASK.vocab_size, hidden_size=16, num_hidden_layers=4, layers=layers)
    ).eval()


def rows(count: int):
    examples = TASK.sample("test", count)
    return torch.from_numpy(examples.input_ids), torch.from_numpy(examples.visible_until), examples


def places(block: int, count: int) -> torch.Tensor:
    where = TASK.memento(block)
    return torch.arange(where.start, where.stop - 1).expand(count, -1)


@pytest.mark.parametrize(
    ("block", "layers_that_change"),
    [
        (0, [2]),  # gone before memento 1 is written: told by memento 0's own states, so one layer later
        (1, [1, 2]),
        (2, []),
    ],
)
def test_a_memento_holds_its_block_and_what_earlier_mementos_carried_on(model, block, layers_that_change) -> None:
    ids, until, _ = rows(8)
    changed = ids.clone()
    digit = TASK.block_start(block) + 1
    changed[:, digit] = 9 + (changed[:, digit] - 8) % 10
    at = places(1, 8)
    before, after = (keys_and_values(model, x, until, at, [0, 1, 2]) for x in (ids, changed))
    assert before.shape == (8, 3, 2 * 16 * at.shape[1])
    for layer in range(3):
        assert np.allclose(before[:, layer], after[:, layer]) == (layer not in layers_that_change)


def test_a_code_that_stands_in_the_features_is_found_and_noise_is_not() -> None:
    generator = np.random.default_rng(0)
    digits = generator.integers(10, size=(700, 2))
    noise = generator.normal(size=(700, 20)).astype(np.float32)
    told = np.concatenate([noise, np.eye(10, dtype=np.float32)[digits].reshape(700, -1)], axis=1)
    found, nothing = probe_score(told, digits), probe_score(noise, digits)
    assert found.accuracy > 0.9
    assert abs(nothing.accuracy - nothing.chance) < 4 * nothing.standard_error + 0.03
    assert found.rows == nothing.rows < 350


def test_tested_passcodes_were_never_seen() -> None:
    """Features that name the passcode as a whole, and no digit of it, help only where passcodes repeat."""
    generator = np.random.default_rng(1)
    codes = generator.permutation(1000)[:60]
    which = generator.integers(60, size=900)
    digits = np.stack([codes // 100, codes // 10 % 10, codes % 10], axis=1)[which]
    score = probe_score(np.eye(60, dtype=np.float32)[which], digits)
    assert score.accuracy < 0.35


def test_the_report_holds_every_distance_and_layer(model) -> None:
    ids, until, examples = rows(240)
    digits = examples.input_ids[:, [TASK.block_start(1) + 1, TASK.block_start(1) + 2]] - 9
    seen: list[tuple[int, int]] = []
    report = probe_kv(
        model, ids, until, {-1: places(0, 240), 0: places(1, 240), 1: places(2, 240)}, digits,
        layers=[0], on_progress=lambda done, steps: seen.append((done, steps)),
    )  # fmt: skip
    assert report.layers == (0,)
    assert set(report.by_distance) == set(report.per_layer) == set(report.text) == {-1, 0, 1}
    assert report.direct is report.by_distance[0]
    assert report.control is report.by_distance[-1]
    assert seen[-1][0] == seen[-1][1] == len(seen)
    assert set(report.as_json()) == {"layers", "by_distance", "per_layer", "text"}


def test_wrong_use_is_named(model) -> None:
    ids, until, _ = rows(10)
    with pytest.raises(UsageError, match=r"layer 3 keeps no key of every token; layers that do: \[0, 1, 2\]"):
        keys_and_values(model, ids, until, places(0, 10), [3])
    with pytest.raises(UsageError, match="10 rows"):
        probe_kv(model, ids, until, {0: places(0, 10)}, np.zeros((10, 1), int))
    with pytest.raises(UsageError, match="0, the memento of the passcode's block"):
        probe_kv(model, ids, until, {1: places(0, 10)}, np.zeros((10, 1), int))
