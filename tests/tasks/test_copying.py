"""Strings that are copied and looked up in."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mnemic.errors import UsageError
from mnemic.tasks import UNASKED, parse_task
from mnemic.tasks.copying import BAR, FIRST, Copy, PrefixLookup, SuffixLookup


def test_letters_are_uniform_and_independent():
    string = Copy(length=24, ids=4).sample("train", 40_000).input_ids[:, :2] - FIRST
    assert chisquare(np.bincount(4 * string[:, 0] + string[:, 1], minlength=16)).pvalue > 1e-4


@settings(max_examples=40, deadline=None)
@given(length=st.integers(6, 40), ngram=st.integers(1, 3), answer=st.integers(1, 3), ids=st.integers(12, 40))
def test_the_ngram_stands_once_and_the_answer_follows_it(length, ngram, answer, ids):
    for kind in (PrefixLookup, SuffixLookup):
        task = kind(length=length, ngram=ngram, answer=answer, ids=ids)
        rows = task.sample("test", 20)
        assert (task.oracle(rows.input_ids) == rows.labels).all()
        for r, row in enumerate(rows.input_ids.tolist()):
            at = [i for i, token in enumerate(row) if token == BAR]
            string = row[at[0] + 1 : at[1]] if kind is PrefixLookup else row[: at[0]]
            gram = row[:ngram] if kind is PrefixLookup else row[at[0] + 1 : at[0] + 1 + ngram]
            starts = [i for i in range(length - ngram + 1) if string[i : i + ngram] == gram]
            assert len(starts) == 1
            want = string[starts[0] + ngram : starts[0] + ngram + answer]
            assert rows.labels[r][rows.labels[r] != UNASKED].tolist() == want


@pytest.mark.parametrize("spec", ["copy:length=12", "prefix-lookup:length=20,answer=3", "suffix-lookup:answer=2"])
def test_the_answer_stands_where_the_distance_says(spec):
    task = parse_task(spec)
    rows = task.sample("train", 200)
    r, at = np.nonzero(rows.labels != UNASKED)
    assert (rows.input_ids[r, at - rows.slices["distance"][r, at]] == rows.labels[r, at]).all()


def test_every_place_is_asked_for_alike():
    task = SuffixLookup(length=12, ngram=2, ids=26)
    rows = task.sample("train", 20_000)
    assert chisquare(np.bincount(rows.slices["age_rank"].max(axis=1), minlength=10)).pvalue > 1e-4


@pytest.mark.parametrize(
    ("spec", "parts"),
    [
        ("suffix-lookup:length=3", ["ngram=3", "answer=1", "length=4"]),
        ("prefix-lookup:ids=2,ngram=1,length=40", ["length=40", "larger ngram"]),
        ("copy:length=1", ["length=1"]),
    ],
)
def test_wrong_options_say_what_would_be_right(spec, parts):
    with pytest.raises(UsageError) as raised:
        parse_task(spec)
    for part in parts:
        assert part in str(raised.value)
