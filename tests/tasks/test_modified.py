"""Modifiers: rows with more around them, and rows of several sizes, are those of the plain task."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks import UNASKED, Examples, parse_task
from mnemic.tasks.modified import Modified

SPECS = [
    "mqar:vocab=256,order=question_first",
    "mqar:pairs=4,vocab=256,length=32/64@3",
    "mqar:vocab=256,pairs=2-8,length=48/64",
    "selective-copy:length=32,data=4,passes=2,noise_between=0.5",
    "suffix-lookup:answer=2,train_length=16-32,test_length=64/128,order=question_first",
    "joint-recall:contexts=3,keys=3,passes=3,order=question_first",
    "copy:length=10-14,passes=2,train_on=all",
    "noisy-recall:length=32,noise=0.2/0.5",
    "associative-recall:noise_between=2",
]

every_task = pytest.mark.parametrize("spec", SPECS)


def same(a, b):
    pairs = [(a.input_ids, b.input_ids), (a.labels, b.labels), (a.loss_mask, b.loss_mask)]
    pairs += [(a.slices[name], b.slices[name]) for name in a.slices]
    return all(np.array_equal(x, y) for x, y in pairs)


@every_task
@pytest.mark.parametrize("split", ["train", "test"])
def test_the_oracle_of_each_row_answers_it(spec, split):
    task = parse_task(spec)
    rows, of = task.sample(split, 400), task.variant_of_rows(split, 400)
    assert rows.input_ids.max() < task.vocab_size
    for r, variant in enumerate(of):
        length = int(rows.attention_mask[r].sum()) if rows.attention_mask is not None else rows.labels.shape[1]
        assert (task.oracle_of(variant, rows.input_ids[r : r + 1, :length]) == rows.labels[r, :length]).all()
        assert (rows.labels[r, length:] == UNASKED).all()


@every_task
def test_a_row_depends_on_its_number_alone(spec):
    task = parse_task(spec)
    whole = task.sample("train", 600, seed=3)
    assert same(whole, Examples.concat([task.sample("train", 60, 3, start) for start in range(0, 600, 60)]))
    assert same(whole, Examples.concat(list(islice(task.stream("train", 50, seed=3), 12))))
    assert not same(whole, task.sample("train", 600, seed=4))


@every_task
def test_a_task_is_read_back_from_its_spec(spec):
    task = parse_task(spec)
    assert isinstance(task, Modified)
    assert parse_task(task.spec()) == task
    assert parse_task(task.spec()).hash() == task.hash()
    assert task.hash() != task.base.hash()


def test_questions_come_first_without_their_answers_and_contexts_are_told_again():
    task = parse_task("joint-recall:contexts=2,keys=2,passes=2,order=question_first")
    text, answers = task.render(task.sample("train", 1))[0].text, task.render(task.sample("train", 1))[0].answers
    first, told, again, asked = (part.split() for part in text.split(" | ")[0:1] + text.split("| ")[2:])
    assert told == again
    assert not any(word.startswith("v") for word in first)
    assert [word for word in asked if word != "=?"] == [word for word in first if word not in (".", "|")]
    assert len(answers) == 4


@pytest.mark.parametrize("noise", ["0.5", "2"])
def test_noise_moves_the_questions_away_by_its_length(noise):
    plain = parse_task("copy:length=12").sample("train", 50)
    far = parse_task(f"copy:length=12,noise_between={noise}").sample("train", 50)
    asked, far_asked = plain.labels != UNASKED, far.labels != UNASKED
    more = far.labels.shape[1] - plain.labels.shape[1]
    assert more == round(12 * float(noise))
    assert (far.slices["distance"][far_asked] == plain.slices["distance"][asked] + more).all()
    for r in range(50):
        at = np.flatnonzero(far_asked[r])
        back = far.input_ids[r, at - far.slices["distance"][r, at]]
        assert (back == far.labels[r, at]).all(), "the answer stands where the distance says"


def test_weights_are_the_shares_of_the_values():
    task = parse_task("mqar:pairs=4,vocab=256,length=32/64@3")
    asked = task.sample("train", 4000).slices["length"].max(axis=1)
    assert chisquare([(asked == 32).sum(), (asked == 64).sum()], [1000, 3000]).pvalue > 1e-4


def test_train_and_test_take_their_own_sizes_and_valid_those_of_train():
    task = parse_task("suffix-lookup:train_length=16-32,test_length=64")
    sizes = {split: task.sample(split, 500).slices.get("length") for split in ("train", "valid")}
    assert {split: (s.max(axis=1).min(), s.max()) for split, s in sizes.items()} == dict.fromkeys(sizes, (16, 32))
    assert task.sample("test", 5).labels.shape[1] == task.max_length == 64 + 1 + 3


def test_a_plain_value_holds_where_only_one_split_varies():
    task = parse_task("copy:length=8,test_length=16/32")
    assert task.sample("train", 3).labels.shape[1] == 16
    assert task.sample("test", 3).labels.shape[1] == 64


@settings(max_examples=30, deadline=None)
@given(
    spec=st.sampled_from(["mqar:vocab=256", "copy:length=9", "selective-copy:length=20,data=3", "joint-recall:keys=2"]),
    passes=st.integers(1, 4),
    first=st.booleans(),
    noise=st.sampled_from([0, 0.25, 1.5]),
)
def test_any_modifiers_leave_the_plain_rows_inside(spec, passes, first, noise):
    own_passes = spec.startswith("mqar")
    order = "question_first" if first else "document_first"
    changes = f"order={order},noise_between={noise}" + ("" if own_passes else f",passes={passes}")
    task, plain = parse_task(f"{spec},{changes}"), parse_task(spec)
    rows = task.sample("test", 20)
    assert (task.oracle_of(plain, rows.input_ids) == rows.labels).all()
    inside = task.plain(plain, rows.input_ids)
    assert (plain.oracle(inside) == rows.labels[:, task._columns(plain)[0]]).all()


@pytest.mark.parametrize("spec", ["needle:length=900", "phonebook:entries=6", "variable-tracking:length=800"])
def test_a_text_is_told_twice_and_asked_before_it(spec):
    plain = parse_task(spec).questions("test", 4)
    for question, old in zip(parse_task(f"{spec},passes=2").questions("test", 4), plain, strict=True):
        assert question.context.count(old.context) == 2
        assert (question.query, question.answers) == (old.query, old.answers)
        said = [question.context[a:b] for a, b in question.evidence]
        assert said == [old.context[a:b] for a, b in old.evidence]
    for question, old in zip(parse_task(f"{spec},order=question_first").questions("test", 4), plain, strict=True):
        assert question.text.startswith(old.query.strip())
        assert question.text.endswith(old.text)
    with pytest.raises(UsageError, match="form=tokens for rows"):
        parse_task(f"{spec},passes=2").sample("test", 1)


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("needle:length=900/1000", ["several sizes"]),
        ("needle:noise_between=1", ["noise_between", "haystack"]),
        ("in-context-recall:passes=2", ["in-context-recall", "passes", "first and then ask"]),
        ("copy:passes=0", ["passes=0", "greater than or equal to 1"]),
        ("copy:order=last", ["order=last", "'question_first'"]),
        ("copy:length=32-16", ["length=32-16", "smaller to the larger"]),
        ("copy:length=0/8", ["length=0", "greater than or equal to 2"]),
        ("copy:length=8@0/9", ["length=8@0/9", "more than 0"]),
        ("copy:length=8/9,train_length=4", ["train_length", "not both"]),
        ("copy:train_length=x", ["length=x", "32/64/128"]),
        ("copy:train_len=8", ["train_len"]),
        ("compression:passes=2", ["compression", "first and then ask"]),
        ("text:python-reference,length=32/64", ["text", "cannot be modified"]),
    ],
)
def test_wrong_modifiers_name_the_option_and_what_would_be_right(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec)
    for part in parts:
        assert part in str(raised.value)
