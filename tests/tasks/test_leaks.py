"""Nothing but remembering which value belongs to which key answers a task: models that only count must fail."""

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from mnemic.tasks import UNASKED, parse_task

SPECS = [
    "mqar:vocab=64,length=32,pairs=4",
    "mqar:vocab=64,length=32,pairs=4,filler=random",
    "mqar:vocab=64,length=32,pairs=4,passes=2",
    "mqar:form=mad,vocab=32,length=32",
    "mqar:form=compositional,vocab=96,length=32,pairs=4",
    "mqar:form=forgetting,vocab=64,length=32,pairs=4,updates=4",
    "associative-recall:pairs=8,vocab=64",
    "induction:length=128",
    "induction:length=64,form=repeat",
    "joint-recall:contexts=4,keys=3",
    "joint-recall:contexts=3,keys=3,queries=3,sample_ids=true",
    "noisy-recall:length=64",
    "fuzzy-recall:length=64",
    "selective-copy:length=48,data=12",
    "copy:length=16",
    "suffix-lookup:length=32",
    "compression:length=16",
    "needle:form=tokens,preset=multikey_2,length=48,pool=48",
    "variable-tracking:form=tokens",
]
TRAIN_ROWS, TEST_ROWS, QUESTIONS_PER_ROW = 8_000, 4_000, 2

every_task = pytest.mark.parametrize("spec", SPECS)


class Questions(NamedTuple):
    ids: np.ndarray
    at: np.ndarray
    answers: np.ndarray
    load: np.ndarray

    @property
    def asking(self):
        return self.ids[np.arange(len(self.ids)), self.at]

    @property
    def before(self):
        return self.ids[np.arange(len(self.ids)), self.at - 1]


@cache
def questions(spec, split):
    rows = {"train": TRAIN_ROWS, "test": TEST_ROWS}[split]
    examples = parse_task(spec).sample(split, rows)
    row, at = np.nonzero(examples.labels != UNASKED)
    some = np.random.default_rng(0).permutation(len(row))[: QUESTIONS_PER_ROW * rows]
    row, at = row[some], at[some]
    return Questions(examples.input_ids[row], at, examples.labels[row, at], examples.slices["load"][row, at])


def accuracy_of_counting(train_feature, train, test_feature, test):
    """The most frequent training answer of each feature's value; where it is new, the most frequent of all."""
    best = np.full(max(train_feature.max(), test_feature.max()) + 1, np.bincount(train.answers).argmax())
    size = train.answers.max() + 1
    seen, counts = np.unique(train_feature * size + train.answers, return_counts=True)
    rising = seen[counts.argsort(kind="stable")]
    best[rising // size] = rising % size  # of repeated indices the last, most frequent, stays
    return np.mean(best[test_feature] == test.answers)


def bags(asked, vocab, hidden=()):
    """[Q, 2C] which ids stand in the row up to the question, and which one asks."""
    bag = np.zeros((len(asked.ids), 2 * vocab), dtype=np.float32)
    row, column = np.nonzero(np.arange(asked.ids.shape[1]) <= asked.at[:, None])
    bag[row, asked.ids[row, column]] = 1
    bag[:, list(hidden)] = 0
    bag[np.arange(len(bag)), vocab + asked.asking] = 1
    return bag


def accuracy_of_bags(train, test, vocab, hidden=()):
    """Naive Bayes on the bag of tokens, fitted by counting with half a count added."""
    kinds, which = np.unique(train.answers, return_inverse=True)
    one_hot = np.eye(len(kinds), dtype=np.float32)[which]
    total = one_hot.sum(axis=0)
    present = (one_hot.T @ bags(train, vocab, hidden) + 0.5) / (total[:, None] + 1)
    weight = np.log(present) - np.log1p(-present)
    base = np.log(total) + np.log1p(-present).sum(axis=1)
    guesses = kinds[(bags(test, vocab, hidden) @ weight.T + base).argmax(axis=1)]
    return np.mean(guesses == test.answers)


def features(asked, hidden=()):
    """The asking token, the last two tokens and the position; hidden tokens all look alike."""
    asking, before = (np.where(np.isin(x, hidden), -1, x) + 1 for x in (asked.asking, asked.before))
    return asking, before * (asked.ids.max() + 2) + asking, asked.at


@every_task
def test_without_the_values_counting_stays_at_chance(spec):
    task, train, test = parse_task(spec), questions(spec, "train"), questions(spec, "test")
    values = np.unique(train.answers)
    for fitted, judged in zip(features(train, values), features(test, values), strict=True):
        assert accuracy_of_counting(fitted, train, judged, test) < task.chance + 0.02
    assert accuracy_of_bags(train, test, task.vocab_size, hidden=values) < task.chance + 0.02


@every_task
def test_with_the_values_counting_does_no_better_than_guessing_among_those_told(spec):
    """Values are drawn alike, so knowing which ones were told leaves each of them as likely as the others."""
    task, train, test = parse_task(spec), questions(spec, "train"), questions(spec, "test")
    guess = np.mean(1 / bags(test, task.vocab_size)[:, np.unique(train.answers)].sum(axis=1))
    assert accuracy_of_bags(train, test, task.vocab_size) < guess + 0.02
    if "mad" in spec:  # naming the pair before: the right fact, or another one that happens to have the same value
        guess = np.mean(1 / test.load + (1 - 1 / test.load) * task.chance)
    for fitted, judged in zip(features(train), features(test), strict=True):
        assert accuracy_of_counting(fitted, train, judged, test) < guess + 0.02


def test_counting_does_find_a_leak():
    """The same models, given rows in which every key has its one value for ever, answer them."""
    train, test = (
        questions("mqar:vocab=64,length=32,pairs=4", "train"),
        questions("mqar:vocab=64,length=32,pairs=4", "test"),
    )
    train, test = (asked._replace(answers=32 + asked.asking * 5 % 32) for asked in (train, test))
    for fitted, judged in list(zip(features(train), features(test), strict=True))[:2]:
        assert accuracy_of_counting(fitted, train, judged, test) > 0.9
    assert accuracy_of_bags(train, test, 64) > 0.9
