"""The skills of MAD: what their rows are drawn from, and what their slices say, against a slow reader."""

import itertools

import numpy as np
import pytest
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks import UNASKED, parse_task
from mnemic.tasks.fuzzy_recall import FuzzyRecall
from mnemic.tasks.in_context_recall import InContextRecall, NoisyRecall
from mnemic.tasks.mad import SKILLS, mad_settings
from mnemic.tasks.memorization import Memorization
from mnemic.tasks.mqar import MQAR
from mnemic.tasks.selective_copy import BLANK, DATA, NOISE, SelectiveCopy

ROWS = 20_000


def uniform(counts) -> bool:
    return chisquare(counts).pvalue > 1e-4


def test_in_context_recall_is_the_stream_of_mqar():
    ours = InContextRecall(vocab=16, length=128).draw(np.random.default_rng(0), 200)
    theirs = MQAR(form="mad", vocab=16, length=128).draw(np.random.default_rng(0), 200)
    assert (ours.input_ids == theirs.input_ids).all()
    assert (ours.labels == theirs.labels).all()


def test_noise_takes_its_share_of_the_places_and_never_the_last():
    task = NoisyRecall(length=64, noise=0.4)
    rows = task.sample("train", ROWS // 4)
    noisy = rows.input_ids[:, 0::2] > task.vocab
    assert abs(noisy[:, :-1].mean() - 0.4) < 0.01
    assert not noisy[:, -1].any()
    assert (noisy == (rows.input_ids[:, 1::2] > task.vocab)).all()
    ids = rows.input_ids[rows.input_ids > task.vocab] - task.vocab - 1
    assert uniform(np.bincount(ids, minlength=task.noise_ids))
    assert uniform(np.bincount(rows.input_ids[:, 0::2][~noisy], minlength=17)[1:17])


def pairs_with_noise(task, row):
    for t in range(0, len(row) - (0 if task.multi_query else 2), 2):
        if row[t] <= task.vocab:
            yield row[t], t, t + 1
    if not task.multi_query:
        yield row[-1], len(row) - 1, None


def fuzzy_pairs(task, row):
    """(key, places of the last key token, where the value's tokens stand)."""
    t = 0
    while t < len(row) and row[t]:
        start = t
        while t < len(row) and 1 <= row[t] <= task.vocab // 2:
            t += 1
        value = t
        while t < len(row) and row[t] > task.vocab // 2:
            t += 1
        yield tuple(row[start:value]), value - 1, value


@pytest.mark.parametrize("task", [NoisyRecall(length=48), NoisyRecall(length=48, multi_query=False, noise=0.6),
                                  InContextRecall(length=48, multi_query=False)])  # fmt: skip
def test_slices_of_noisy_recall(task):
    rows = task.sample("train", 300)
    for r, row in enumerate(rows.input_ids.tolist()):
        told: dict[int, int] = {}
        for key, at, value in pairs_with_noise(task, row):
            if rows.labels[r, at] != UNASKED:
                got = [rows.slices[name][r, at] for name in ("distance", "load", "age_rank")]
                assert got == [at - told[key], len(told), sum(other > told[key] for other in told.values())]
            told[key] = value


def test_slices_of_fuzzy_recall():
    task = FuzzyRecall(length=64)
    rows = task.sample("test", 300)
    for r, row in enumerate(rows.input_ids.tolist()):
        told: dict[tuple, int] = {}
        for key, at, value in fuzzy_pairs(task, row):
            if rows.labels[r, at] != UNASKED:
                got = [rows.slices[name][r, at] for name in ("distance", "load", "age_rank", "key_tokens")]
                rank = sum(other > told[key] for other in told.values())
                assert got == [at - told[key], len(told), rank, len(key)]
            else:
                assert key not in told
            told[key] = value


def test_fuzzy_keys_are_different_tokens_of_every_length_and_the_test_asks_the_longest():
    task = FuzzyRecall(length=64)
    sizes, firsts, probes = np.zeros(4), np.zeros(9), {"train": set(), "test": set()}
    for split in ("train", "test"):
        for row in task.sample(split, 1000).input_ids.tolist():
            pairs = list(fuzzy_pairs(task, row))
            probes[split].add(len(pairs[-1][0]))
            assert pairs[-1][0] in [key for key, _, _ in pairs[:-1]]
            if split == "train":
                for key, _, _ in pairs[:4]:
                    assert len(set(key)) == len(key)
                    sizes[len(key)] += 1
                    firsts[key[0]] += 1
    assert uniform(firsts[1:])
    assert sizes[0] == 0
    assert sizes[1:].min() > 0.3 * sizes.sum()  # rows that tell few pairs are a little likelier to have long ones
    assert probes == {"train": {1, 2, 3}, "test": {3}}


def test_keys_of_two_tokens_are_uniform_over_ordered_choices():
    task = FuzzyRecall(length=64, vocab=8, key_tokens=2)
    counts = dict.fromkeys(itertools.permutations(range(1, 5), 2), 0)
    for row in task.sample("train", 4000).input_ids.tolist():
        key = next(fuzzy_pairs(task, row))[0]
        if len(key) == 2:
            counts[key] += 1
    assert uniform(list(counts.values()))


@pytest.mark.parametrize("form", ["mamba", "mad", "mad_exact"])
def test_places_and_tokens_of_selective_copying(form):
    task = SelectiveCopy(form=form, length=24, data=4, ids=8)
    rows = task.sample("train", ROWS)
    places = 24 if form == "mamba" else 19
    told = rows.input_ids[:, :places]
    assert rows.input_ids.shape[1] == (28 if form == "mamba" else 24)
    assert (rows.input_ids[:, places:] == BLANK).all()
    assert ((told >= DATA).sum(axis=1) == 4).all()
    assert uniform(np.bincount(told[told != NOISE], minlength=8)[2:])
    at = (told >= DATA).sum(axis=0)
    if form == "mad_exact":
        assert at[-1] == ROWS, "no noise stands behind the last data token"
        assert uniform(at[:-1])
    else:
        assert uniform(at)


def test_compression_hides_the_tokens_from_the_questions_only():
    rows = parse_task("compression:length=8").sample("train", 3)
    until = rows.visible_until
    assert until.shape == rows.input_ids.shape
    query = np.arange(15)
    sees = (query[:, None] >= query) & (query[:, None] < until[0])
    assert sees[7, :8].all(), "the marker sees every token"
    assert not sees[8:, :7].any()
    assert sees[14, 7:].all()
    assert parse_task("compression:length=8,hide=false").sample("train", 3).visible_until is None


def test_facts_are_the_same_in_all_splits_and_others_with_another_seed():
    told = {}
    for split in ("train", "valid", "test"):
        rows = Memorization(vocab=64).sample(split, 500)
        pairs = zip(rows.input_ids[:, 0::2].ravel().tolist(), rows.labels[:, 1::2].ravel().tolist(), strict=True)
        for key, value in pairs:
            assert told.setdefault(key, value) == value
    assert len(told) == 31
    assert (Memorization(vocab=64, map_seed=1).facts() != Memorization(vocab=64).facts()).any()


def test_the_settings_of_mad():
    names = [task.name for task in mad_settings("mad")]
    assert tuple(names) == SKILLS
    every = mad_settings("mad:changes=true")
    assert [t.spec() for t in every[:6]] == [t.spec() for t in mad_settings("mad")]
    assert len({task.hash() for task in every}) == len(every)
    for task in every[6:]:
        base = next(other for other in every[:6] if other.name == task.name)
        changed = [n for n in type(task).model_fields if getattr(task, n) != getattr(base, n)]
        assert len(changed) == 1
    with pytest.raises(UsageError, match="mad:changes=true"):
        mad_settings("mad:change=true")


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("selective-copy:length=8,data=9", ["data=9", "length=9"]),
        ("selective-copy:form=mad,length=20,data=10", ["data=10", "length=21"]),
        ("fuzzy-recall:vocab=4", ["vocab=4", "2 tokens"]),
        ("fuzzy-recall:length=8", ["length=8", "at least 12"]),
        ("noisy-recall:noise=1", ["noise=1", "0.95"]),
        ("in-context-recall:length=7", ["length=7", "multiple of 2"]),
        ("memorization:vocab=5", ["vocab=5", "6"]),
    ],
)
def test_wrong_options_name_the_value_and_what_would_be_right(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec)
    for part in parts:
        assert part in str(raised.value)
