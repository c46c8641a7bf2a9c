from itertools import permutations as all_orders

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.tasks import UNASKED
from mnemic.tasks.mqar import MQAR

ROWS = 100_000


def slot_weights(slots: int, power: float):
    weights = power * np.arange(1, slots + 1) ** (power - 1.0)
    return weights / weights.sum()


def slots_of_keys(task: MQAR, rows):
    """[B, D] the slot at which each key of the context is asked, in the order of the context."""
    told = 2 * task.pairs * task.passes
    region = rows.input_ids[:, told::2]
    keys = rows.input_ids[:, 0 : 2 * task.pairs : 2]
    return (region[:, None, :] == keys[:, :, None]).argmax(axis=2)


def uniform(counts) -> bool:
    return chisquare(counts).pvalue > 1e-4


def test_a_row_of_the_published_form_reads_as_the_page_says():
    task = MQAR(pairs=4, length=32, vocab=64, passes=2)
    rows = task.sample("train", 200)
    for ids, labels in zip(rows.input_ids.tolist(), rows.labels.tolist(), strict=True):
        context, region = ids[:16], ids[16:]
        keys, values = context[0:8:2], context[1:8:2]
        assert context == context[:8] * 2
        assert len(set(keys)) == len(set(values)) == 4
        assert set(keys) <= set(range(1, 32))
        assert set(values) <= set(range(32, 64))
        assert sorted(filter(None, region)) == sorted(keys)
        assert not any(region[1::2]), "the value is not written behind the question"
        answers = dict(zip(keys, values, strict=True))
        assert labels == [UNASKED] * 16 + [answers.get(token, UNASKED) for token in region]


@pytest.mark.parametrize(
    "task", [MQAR(vocab=256), MQAR(vocab=64, length=48, pairs=12), MQAR(filler="random", vocab=128)]
)
def test_keys_and_values_are_uniform_at_every_place(task):
    ids = task.sample("train", ROWS).input_ids
    half = task.vocab // 2
    for pair in (0, task.pairs // 2, task.pairs - 1):
        assert uniform(np.bincount(ids[:, 2 * pair], minlength=half)[1:half])
        assert uniform(np.bincount(ids[:, 2 * pair + 1] - half, minlength=task.vocab - half))


@pytest.mark.parametrize("power", [0.01, 0.5, 1.0])
def test_slots_follow_the_law_of_sequential_draws_exactly(power):
    """All ordered choices of 3 of 5 slots, against the product of the chances of drawing one after the other."""
    task = MQAR(pairs=3, length=16, vocab=256, power=power)
    weights = slot_weights(5, power)
    orders = list(all_orders(range(5), 3))
    law = []
    for order in orders:
        left, chance = 1.0, 1.0
        for slot in order:
            chance *= weights[slot] / left
            left -= weights[slot]
        law.append(chance)
    code = slots_of_keys(task, task.sample("train", ROWS)) @ np.array([25, 5, 1])
    counts = np.bincount(code, minlength=125)[[25 * a + 5 * b + c for a, b, c in orders]]
    assert counts.sum() == ROWS
    assert chisquare(counts, ROWS * np.array(law)).pvalue > 1e-4


@pytest.mark.parametrize("task", [MQAR(vocab=256), MQAR(vocab=256, length=128, pairs=4, power=0.3)])
def test_the_first_and_second_slot_follow_their_law_at_full_size(task):
    slots = slots_of_keys(task, task.sample("train", ROWS))
    first = slot_weights((task.length - 2 * task.pairs) // 2, task.power)
    second = first * ((first / (1 - first)).sum() - first / (1 - first))
    for column, law in ((0, first), (1, second)):
        counts = np.bincount(slots[:, column], minlength=len(law))
        assert chisquare(counts, ROWS * law / law.sum()).pvalue > 1e-4


def test_random_filler_is_uniform_over_all_that_is_no_key_of_the_row():
    task = MQAR(pairs=2, length=12, vocab=14, filler="random")
    rows = task.sample("train", ROWS)
    told = rows.input_ids[:, :4]
    region, asked = rows.input_ids[:, 4:], rows.labels[:, 4:] != UNASKED
    is_key = (region[..., None] == told[:, None, 0::2]).any(axis=-1)
    assert (is_key == asked).all(), "a key in the questions' part is a question"
    # averaged over rows, an id is filler as often as it is no key: 0 and the values always, a key id in 4 of 6 rows
    expected = np.array([12] + 6 * [12 * 4 / 6] + 7 * [12])
    counts = np.bincount(region[~asked], minlength=14)
    assert chisquare(counts, counts.sum() * expected / expected.sum()).pvalue > 1e-4
    assert (MQAR(pairs=2, length=12, vocab=14).sample("train", 100).input_ids[:, 4:] == 0).any()


def test_forgetting_asks_for_the_new_value_of_a_random_part_of_the_keys():
    task = MQAR(form="forgetting", pairs=6, updates=2, length=32, vocab=64)
    rows = task.sample("train", 20_000)
    keys, values = rows.input_ids[:, 0:12:2], rows.input_ids[:, 1:12:2]
    again, new = rows.input_ids[:, 12:16:2], rows.input_ids[:, 13:16:2]
    assert (np.diff(np.sort(np.concatenate([values, new], axis=1), axis=1), axis=1) > 0).all()
    which = (keys[:, None, :] == again[:, :, None]).argmax(axis=2)
    assert uniform(np.bincount(which @ np.array([6, 1]), minlength=36)[[6 * a + b for a, b in all_orders(range(6), 2)]])
    asked = rows.labels != UNASKED
    updated = (rows.input_ids[..., None] == again[:, None]).any(axis=-1)
    assert (rows.slices["updated"][asked] == updated[asked]).all()
    assert rows.slices["updated"][asked].mean() == pytest.approx(2 / 6)


def test_compositional_facts_are_a_full_grid_in_random_order():
    task = MQAR(form="compositional", pairs=4, length=30, vocab=60)
    rows = task.sample("train", 20_000)
    first, second, value = (rows.input_ids[:, j:12:3] for j in range(3))
    assert first.min() >= 1
    assert first.max() < 20
    assert second.min() >= 20
    assert second.max() < 40 <= value.min()
    for a, b, v in zip(first.tolist(), second.tolist(), value.tolist(), strict=True):
        assert len(set(zip(a, b, strict=True))) == len(set(v)) == 4
        assert len(set(a)) == len(set(b)) == 2
    same_first = (first[:, 1:] == first[:, :1]).argmax(axis=1)
    assert uniform(np.bincount(same_first, minlength=3))
    at = np.nonzero(rows.labels != UNASKED)
    assert (rows.input_ids[at[0], at[1] - 1] < 20).all()
    assert (rows.input_ids[at] >= 20).all()
    assert set(at[1] % 3) == {1}


def test_the_stream_asks_exactly_the_keys_it_has_shown_and_ends_with_one():
    task = MQAR(form="mad", vocab=16, length=32)
    rows = task.sample("train", 20_000)
    keys = rows.input_ids[:, 0::2]
    assert (keys >= 1).all()
    assert (keys <= 8).all()
    assert (rows.input_ids[:, 1::2] >= 9).all()
    shown = np.array([[k in row[:i] for i, k in enumerate(row)] for row in keys[:500].tolist()])
    assert ((rows.labels[:500, 0::2] != UNASKED) == shown).all()
    assert (rows.labels[:, -2] == rows.input_ids[:, -1]).all()
    for place in (0, 7, 14):
        assert uniform(np.bincount(keys[:, place], minlength=9)[1:])
    assert uniform(np.bincount(rows.input_ids[:, 1], minlength=17)[9:])


def test_stacked_steps_hold_unit_embeddings_and_questions_hold_no_value():
    task = MQAR(form="stacked", pairs=4, passes=2, vocab=64, width=16)
    rows = task.sample("train", 2000)
    table = task.embeddings()
    assert table.shape == (64, 16)
    np.testing.assert_allclose(np.linalg.norm(table, axis=1), 1, rtol=1e-6)
    assert rows.inputs.shape == (2000, 12, 32)
    assert not rows.inputs[:, 8:, 16:].any()
    np.testing.assert_array_equal(rows.inputs[..., :16], table[rows.input_ids])
    assert (
        np.sort(rows.input_ids.reshape(2000, 3, 4), axis=2) == np.sort(rows.input_ids[:, :4], axis=1)[:, None]
    ).all()
    orders = (rows.input_ids[:, None, :4] == rows.input_ids[:, 4:8, None]).argmax(axis=2)
    codes = orders @ np.array([64, 16, 4, 1])
    assert uniform(
        np.bincount(codes, minlength=256)[[64 * a + 16 * b + 4 * c + d for a, b, c, d in all_orders(range(4))]]
    )
    # the label is the value's place among the values, to be scored against the upper half of the table
    scores = rows.inputs[:, :8, 16:] @ table[32:].T
    for keys, values, labels in zip(rows.input_ids, scores.argmax(axis=-1), rows.labels, strict=True):
        told = dict(zip(keys[:8].tolist(), values.tolist(), strict=True))
        assert [told[key] for key in keys[8:].tolist()] == labels[8:].tolist()
    assert (rows.labels[:, :8] == UNASKED).all()


def test_one_map_for_all_rows_is_one_map():
    task = MQAR(form="stacked", pairs=4, vocab=32, width=8, per_sequence_mapping=False)
    pairs = set()
    for split in ("train", "test"):
        rows = task.sample(split, 500, seed=1)
        pairs |= set(zip(rows.input_ids[:, 4:].ravel().tolist(), rows.labels[:, 4:].ravel().tolist(), strict=True))
    assert len(pairs) == 16
    assert task.information_bits() == 0


@pytest.mark.parametrize(
    ("task", "bits", "chance"),
    [
        (MQAR(vocab=256), 56, 1 / 128),
        (MQAR(), 96, 1 / 4096),
        (MQAR(form="mad", vocab=16, length=128), 24, 1 / 8),
        (MQAR(form="forgetting", vocab=256, updates=4), 56, 1 / 128),
        (MQAR(form="compositional", pairs=4, vocab=192), 24, 1 / 64),
        (MQAR(form="stacked", pairs=4, vocab=64), 20, 1 / 32),
    ],
)
def test_bits_and_chance(task, bits, chance):
    assert task.information_bits() == pytest.approx(bits)
    assert task.chance == pytest.approx(chance)


def test_loads_are_powers_of_two_that_fit_and_longer_rows():
    assert [load.spec() for load in MQAR(vocab=256, pairs=4).loads()] == [
        "mqar:pairs=2,vocab=256",
        "mqar:vocab=256",
        "mqar:pairs=16,vocab=256",
        "mqar:pairs=4,length=128,vocab=256",
    ]
    assert [load.length for load in MQAR(pairs=16).loads()[-2:]] == [128, 256]
