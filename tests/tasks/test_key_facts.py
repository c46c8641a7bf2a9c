"""Key facts in noise (task key-facts): what is told, asked, written and trained."""

from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks.key_facts import ANSWER, EOS, KEY, NONE, NOTE, UNANSWERABLE, VALUE, KeyFacts


@pytest.mark.parametrize(
    "task",
    [
        KeyFacts(),
        KeyFacts(form="note"),
        KeyFacts(length=(16, 64), form="mixed"),
        KeyFacts(length=512, form="note"),
        KeyFacts(length=128, facts=5),
        KeyFacts(length=(16, 64), form="mixed", query="before", absent_direct=0.0),
    ],
    ids=lambda task: task.spec(),
)
@pytest.mark.parametrize("split", ["train", "valid", "test"])
def test_the_oracle_answers_every_question_and_no_other(task, split) -> None:
    rows = task.sample(split, 300)
    np.testing.assert_array_equal(task.oracle(rows.input_ids), rows.labels)
    assert ((rows.labels >= 0).sum(1) == 1).all()
    assert rows.input_ids.max() < task.vocab_size
    assert rows.input_ids.shape[1] == task.max_length


def test_a_note_says_what_was_told_and_the_answer_follows_from_it() -> None:
    task = KeyFacts(length=32, form="note", absent=0.5)
    for ids in task.sample("train", 200).input_ids.tolist():
        told = {a: b for a, b in pairwise(ids[:32]) if a >= KEY}
        assert len(told) == 4
        question, written = ids[32:36], ids[36:43]
        assert question[3] == NOTE
        assert written[0:3:2] == question[1:3]
        assert [written[1], written[3]] == [told.get(key, NONE) for key in question[1:3]]
        known = [value - VALUE for value in (written[1], written[3]) if value != NONE]
        assert written[4:] == [ANSWER, VALUE + sum(known) % 10 if len(known) == 2 else UNANSWERABLE, EOS]


def test_every_form_tells_the_same_contexts() -> None:
    """Models that learn different forms of the task are compared on equal contexts."""
    one, length = KeyFacts(length=32), 32
    for other in (KeyFacts(length=32, form="note"), KeyFacts(length=32, form="mixed", notes=0.4)):
        for split in ("train", "test"):
            a, b = one.sample(split, 300, 3).input_ids, other.sample(split, 300, 3).input_ids
            np.testing.assert_array_equal(a[:, : length + 3], b[:, : length + 3])
    for other in (KeyFacts(length=32, absent=0.0), KeyFacts(length=32, form="mixed", absent_direct=0.1)):
        fewer = other.sample("train", 300, 3).input_ids
        np.testing.assert_array_equal(one.sample("train", 300, 3).input_ids[:, :32], fewer[:, :32])
    first = KeyFacts(length=32, query="before").sample("train", 300, 3).input_ids
    after = one.sample("train", 300, 3).input_ids
    np.testing.assert_array_equal(first[:, 3 : length + 3], after[:, :length])
    np.testing.assert_array_equal(first[:, :3], after[:, length : length + 3])
    assert (KeyFacts(length=40).sample("train", 300, 3).input_ids[:, :32] != after[:, :32]).any()


def test_trained_is_what_follows_the_question_and_padding_stands_on_the_right() -> None:
    task = KeyFacts(length=(16, 48), form="mixed")
    rows = task.sample("train", 400)
    for ids, mask, trained in zip(rows.input_ids.tolist(), rows.attention_mask, rows.loss_mask, strict=True):
        end = ids.index(EOS)
        assert mask[: end + 1].all()
        assert not mask[end + 1 :].any()
        wanted = next(i for i in range(len(ids)) if ids[i] in (NOTE, ANSWER))
        assert np.flatnonzero(trained).tolist() == list(range(wanted, end))
        assert [rows.targets[0, i] for i in np.flatnonzero(rows.loss_mask[0])][-1] == EOS


def test_lengths_notes_absent_keys_and_places_follow_their_laws() -> None:
    task = KeyFacts(length=(16, 64), form="mixed", notes=0.7, absent=0.3)
    rows = task.sample("train", 20_000)
    lengths = rows.attention_mask.sum(1)
    noted = (rows.input_ids == NOTE).any(1)
    assert abs(noted.mean() - 0.7) < 0.02
    context = lengths - np.where(noted, 11, 6)
    assert chisquare(np.bincount(context // 8, minlength=9)[2:]).pvalue > 1e-4
    absent = rows.slices["absent"].max(1)
    assert chisquare(np.bincount(absent, minlength=3), 20_000 * np.array([0.49, 0.42, 0.09])).pvalue > 1e-4
    fixed = KeyFacts(length=16).sample("train", 30_000).input_ids[:, :16]
    first = (fixed >= KEY).argmax(1)
    # of 14 units two are facts: the first of them stands at unit i in 13 - i of 91 choices
    assert chisquare(np.bincount(first, minlength=13), 30_000 * np.arange(13, 0, -1) / 91).pvalue > 1e-4
    assert chisquare(np.bincount(fixed[fixed >= KEY] - KEY, minlength=64)).pvalue > 1e-4


def test_rows_without_a_note_may_have_a_chance_of_their_own() -> None:
    rows = KeyFacts(length=32, form="mixed", notes=0.5, absent=0.4, absent_direct=0.0).sample("train", 4000)
    noted, absent = (rows.input_ids == NOTE).any(1), rows.slices["absent"].max(1)
    assert not absent[~noted].any()
    assert abs(absent[noted].mean() / 2 - 0.4) < 0.03


def test_where_every_key_is_told_none_can_be_absent() -> None:
    rows = KeyFacts(length=512, absent=1.0).sample("test", 50)
    assert (rows.slices["absent"] == 0).all()
    assert (KeyFacts(length=512 - 16, absent=1.0).sample("test", 50).slices["absent"].max(1) == 2).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"length": 1024}, "length=1024 has 128 facts, there are 64 keys; set facts"),
        ({"length": (64, 32)}, "from the smaller to the larger"),
        ({"length": 16, "facts": 9}, "facts=9 need 18 tokens"),
        ({"length": 20}, "multiple of 8"),
        ({"form": "essay"}, "form=essay"),
    ],
)
def test_wrong_options_are_named(options, said) -> None:
    with pytest.raises(UsageError, match=said):
        KeyFacts(**options)
