"""Text tasks in a closed vocabulary."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from mnemic.tasks import UNASKED, Examples, parse_task
from mnemic.tasks.needle import PRESETS
from mnemic.tasks.variable_tracking import VariableTracking

SPECS = [
    *(f"needle:form=tokens,preset={preset},length=96" for preset in PRESETS),
    "needle:form=tokens,preset=multivalue,length=64,values=5,keys=2,queries=2",
    "variable-tracking:form=tokens,chains=3,hops=2",
    "variable-tracking:form=tokens,chains=2,hops=4,ask_for=chain",
    "phonebook:form=tokens,entries=7",
    "frequent-words:form=tokens,length=128,top=4",
    "frequent-words:form=tokens,length=400,kind=zipf",
]
every_task = pytest.mark.parametrize("spec", SPECS)


@every_task
def test_the_oracle_answers_every_row_and_slices_hold(spec):
    task = parse_task(spec)
    for split in ("train", "valid", "test"):
        rows = task.sample(split, 300)
        assert rows.input_ids.shape == (300, task.max_length)
        assert (task.oracle(rows.input_ids) == rows.labels).all()
        asked = rows.labels != UNASKED
        assert asked.any(axis=1).all()
        assert rows.input_ids.max() < task.vocab_size
        assert (rows.slices["distance"][asked] >= 1).all()
        assert (rows.slices["age_rank"][asked] < rows.slices["load"][asked]).all()


@every_task
def test_samples_are_the_same_however_they_are_cut(spec):
    task = parse_task(spec)
    whole = task.sample("valid", 500, seed=2)
    parts = Examples.concat([task.sample("valid", 50, 2, start) for start in range(0, 500, 50)])
    assert (whole.input_ids == parts.input_ids).all()
    assert (whole.labels == parts.labels).all()


@every_task
def test_half_the_memory_is_not_enough(spec):
    task = parse_task(spec)
    rows = task.sample("test", 500)
    asked = rows.labels != UNASKED
    forgotten = np.unique(rows.labels[asked])[::2]
    told = rows.input_ids.copy()
    context = told[:, : task.told]
    context[np.isin(context, forgotten)] = 0
    assert (task.oracle(told) == rows.labels)[asked].mean() < 0.7


@every_task
def test_the_commonest_answer_is_rare(spec):
    task = parse_task(spec)
    train, test = (task.sample(split, 3000) for split in ("train", "test"))
    best = np.bincount(train.labels[train.labels != UNASKED]).argmax()
    at_place = {}
    for t in np.flatnonzero((train.labels != UNASKED).any(axis=0)):
        seen = train.labels[:, t][train.labels[:, t] != UNASKED]
        at_place[t] = np.bincount(seen).argmax()
    asked = test.labels != UNASKED
    ceiling = 0.25 if "phonebook" in spec else task.chance  # a number begins with 6, 7, 8 or 9
    assert (test.labels[asked] == best).mean() < ceiling + 0.02
    guess = np.zeros(test.labels.shape[1], np.int64)
    guess[list(at_place)] = list(at_place.values())
    assert (test.labels == guess)[asked].mean() < ceiling + 0.02


@pytest.mark.parametrize("spec", [spec for spec in SPECS if "frequent" not in spec and "ask_for=chain" not in spec])
def test_the_answer_stands_where_the_distance_says(spec):
    task = parse_task(spec)
    rows = task.sample("train", 200)
    r, at = np.nonzero(rows.labels != UNASKED)
    back = rows.input_ids[r, at - rows.slices["distance"][r, at]]
    if "variable" in spec:  # what is told there is the variable's own statement
        assert (back == rows.input_ids[r, at]).all()
    else:
        assert (back == rows.labels[r, at]).all()


@settings(max_examples=40, deadline=None)
@given(chains=st.integers(1, 4), hops=st.integers(0, 6), ask=st.sampled_from(["variable", "chain"]))
def test_chains_of_any_size(chains, hops, ask):
    task = VariableTracking(form="tokens", chains=chains, hops=hops, ask_for=ask, variables=40)
    rows = task.sample("test", 30)
    assert (task.oracle(rows.input_ids) == rows.labels).all()
    statements = rows.input_ids[:, : task.told].reshape(30, -1, 2)
    for row in statements.tolist():
        told = set()
        for name, source in row:
            assert source < 2 + task.values or source in told, "a variable is set before it is read"
            told.add(name)
        assert len(told) == chains * (hops + 1)


def test_turns_and_hops_are_uniform():
    task = VariableTracking(form="tokens", chains=2, hops=1)
    rows = task.sample("train", 20_000)
    is_value = rows.input_ids[:, 1:8:2] < 2 + task.values
    patterns = is_value @ np.array([8, 4, 2, 1])
    # two chains of two in any order of turns: v v . . four ways of six, v . v . the other two
    assert chisquare(np.bincount(patterns, minlength=16)[[12, 10]], [20_000 * 2 / 3, 20_000 / 3]).pvalue > 1e-4
    assert chisquare(np.bincount(rows.slices["hops"][:, -1], minlength=2)).pvalue > 1e-4


def test_needles_stand_anywhere():
    task = parse_task("needle:form=tokens,preset=single_2,length=43")
    rows = task.sample("train", 20_000)
    at = (rows.input_ids[:, :-2] >= 34).argmax(axis=1)
    assert chisquare(np.bincount(at, minlength=40)).pvalue > 1e-4


def test_counts_of_words_are_what_the_options_say():
    task = parse_task("frequent-words:form=tokens,length=128,top=4")
    for row in task.sample("train", 50).input_ids.tolist():
        counts = np.bincount(row[: task.told])
        assert sorted(counts[counts > 0])[-5:] == [1, 6, 6, 6, 6]
