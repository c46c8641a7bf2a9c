"""The laws that rows of associative recall, induction and joint recall are drawn from."""

from itertools import permutations as all_orders

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.tasks.associative_recall import AssociativeRecall
from mnemic.tasks.induction import MARKER, Induction
from mnemic.tasks.joint_recall import BOS, PAD, SEP, JointRecall

ROWS = 100_000


def uniform(counts) -> bool:
    return chisquare(counts).pvalue > 1e-4


def test_associative_recall_draws_keys_values_and_the_question_evenly():
    task = AssociativeRecall(pairs=5, vocab=12)
    rows = task.sample("train", ROWS)
    ids = rows.input_ids
    for pair in range(5):
        assert uniform(np.bincount(ids[:, 2 * pair], minlength=6)[1:])
        assert uniform(np.bincount(ids[:, 2 * pair + 1] - 6, minlength=6))
    # the question is one of the different keys told, whatever their number of repeats
    keys = ids[:, 0:-1:2]
    three = np.array([len(set(row)) == 3 for row in keys.tolist()])
    ranks = (np.sort(keys[three], axis=1)[:, :, None] < ids[three, -1][:, None, None]).squeeze(2)
    rank = [len(set(np.sort(k)[s].tolist())) for k, s in zip(keys[three], ranks, strict=True)]
    assert uniform(np.bincount(rank, minlength=3))
    assert (ids[:, -1:] == keys).any(axis=1).all()


def test_the_marker_and_the_tokens_are_uniform():
    task = Induction(length=20, ids=6)
    ids = task.sample("train", ROWS).input_ids
    marked = (ids[:, :-1] == MARKER).argmax(axis=1)
    assert ((ids == MARKER).sum(axis=1) == 2).all()
    assert (ids[:, -1] == MARKER).all()
    assert uniform(np.bincount(marked, minlength=18))
    assert uniform(np.bincount(ids[:, :-1][ids[:, :-1] != MARKER], minlength=7)[2:])
    assert uniform(np.bincount(task.sample("train", ROWS).labels[:, -1], minlength=7)[2:])


def test_the_second_half_repeats_the_first():
    ids = Induction(length=20, ids=6, form="repeat").sample("train", ROWS // 10).input_ids
    assert (ids[:, :10] == ids[:, 10:]).all()
    assert uniform(np.bincount(ids[:, :10].ravel(), minlength=7)[2:])


@pytest.mark.parametrize(
    ("task", "bits", "chance"),
    [
        (AssociativeRecall(pairs=4, vocab=64), 20, 1 / 32),
        (AssociativeRecall(pairs=100, vocab=32), 15 * 4, 1 / 16),
        (Induction(ids=17), 4, 1 / 16),
        (Induction(ids=17, form="repeat", length=32), 64, 1 / 16),
        (JointRecall(), 1024, 1 / 16),
        (JointRecall(contexts=2, keys=3, levels=3), 96, 1 / 16),
        (JointRecall(contexts=(2, 4), keys=3), 48, 1 / 16),
    ],
)
def test_bits_and_chance(task, bits, chance):
    assert task.information_bits() == pytest.approx(bits)
    assert task.chance == pytest.approx(chance)


def test_the_published_joint_recall_row():
    """Zhan et al.: 16 contexts and keys make 1058 tokens over at most 100 ids; both sections tell the same table."""
    task = JointRecall()
    assert (task.max_length, task.vocab_size) == (1058, 100)
    for row in task.sample("train", 3).input_ids.tolist():
        assert (row[0], row[1 + 528]) == (BOS, SEP)
        tables = []
        for section in (row[1:529], row[530:]):
            blocks = [section[i : i + 33] for i in range(0, 528, 33)]
            assert sorted(block[0] for block in blocks) == list(range(42, 58))
            for block in blocks:
                assert sorted(block[1::2]) == list(range(26, 42))
                assert all(10 <= value < 26 for value in block[2::2])
            tables.append({(b[0], key): value for b in blocks for key, value in zip(b[1::2], b[2::2], strict=True)})
        assert tables[0] == tables[1]


def test_joint_recall_orders_and_values_are_uniform_and_independent_between_sections():
    ids = JointRecall(contexts=3, keys=2, values=4).sample("train", ROWS).input_ids
    orders = list(all_orders(range(3)))
    contexts = ids[:, [1, 6, 11, 17, 22, 27]] - ids[:, [1, 6, 11]].min()
    first, second = (contexts[:, part] @ np.array([9, 3, 1]) for part in (slice(3), slice(3, 6)))
    codes = np.array([9 * a + 3 * b + c for a, b, c in orders])
    joint = np.bincount(27 * first + second, minlength=729)[(27 * codes[:, None] + codes).ravel()]
    assert joint.sum() == ROWS
    assert uniform(joint)
    assert uniform(np.bincount(ids[:, 3] - 10, minlength=4))
    key_orders = (ids[:, [2, 7, 18]] == ids[:, [2]].min()) @ np.array([4, 2, 1])
    assert uniform(np.bincount(key_orders, minlength=8))


def test_drawn_sizes_are_uniform_and_padded_on_the_right():
    task = JointRecall(contexts=(2, 3), keys=(1, 4), values=4)
    rows = task.sample("train", 20_000)
    contexts, keys = (rows.slices[name].max(axis=1) for name in ("contexts", "keys"))
    assert uniform(np.bincount(4 * (contexts - 2) + keys - 1, minlength=8))
    lengths = rows.attention_mask.sum(axis=1)
    assert (lengths == 2 * contexts * (2 * keys + 1) + 2).all()
    assert (rows.input_ids[~rows.attention_mask] == PAD).all()
    assert not (rows.input_ids[rows.attention_mask] == PAD).any()
    assert (rows.labels[~rows.attention_mask] < 0).all()


def test_drawn_names_use_every_id():
    task = JointRecall(contexts=2, keys=2, sample_ids=True, queries=1)
    ids = task.sample("train", 20_000).input_ids
    assert uniform(np.bincount(ids[:, 1] - 42, minlength=16))
    assert uniform(np.bincount(ids[:, 2] - 26, minlength=16))
    assert (ids[:, 1] != ids[:, 6]).all()


def test_single_questions_fall_evenly_on_all_facts():
    task = JointRecall(contexts=3, keys=2, values=4, queries=1)
    ids = task.sample("train", ROWS).input_ids
    assert ids.shape[1] == task.max_length == 1 + 3 * 5 + 1 + 2
    asked = 2 * (ids[:, -2] - ids[:, -2].min()) + ids[:, -1] - ids[:, -1].min()
    assert uniform(np.bincount(asked, minlength=6))
