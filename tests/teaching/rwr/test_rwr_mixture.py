"""Shares of kinds: as asked for where there is enough, the same for one seed, nested for one kind."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.rwr.mixture import mix, mode_of
from mnemic.teaching.rwr.options import MixtureRules

counts = st.integers(0, 40)
shares = st.sampled_from([0, 0.1, 0.3, 0.5, 0.9, 1])


def pool(valid, empty, plain):
    kinds = ["valid"] * valid + ["empty"] * empty + ["plain"] * plain
    return [(f"{number}/{kind}", kind) for number, kind in enumerate(kinds)]


def taken(candidates, **rules):
    return Counter(candidates[place][1] for place in mix(candidates, MixtureRules(**rules)))


def test_defaults_are_met_where_there_is_enough():
    assert taken(pool(70, 100, 500)) == {"valid": 70, "empty": 30, "plain": 100}


def test_notes_are_cut_for_the_plain_share():
    assert taken(pool(80, 60, 100)) == {"valid": 70, "empty": 30, "plain": 100}


def test_few_empty_rows_cost_no_valid_ones():
    assert taken(pool(80, 1, 100)) == {"valid": 80, "empty": 1, "plain": 81}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"empty_ratio": 0, "plain_ratio": 0}, {"valid": 10}),
        ({"empty_ratio": 1, "plain_ratio": 0}, {"empty": 8}),
        ({"plain_ratio": 1}, {"plain": 10}),
        ({"empty_ratio": 0, "plain_ratio": 0.5}, {"valid": 10, "plain": 10}),
    ],
)
def test_ends_of_the_shares(rules, wanted):
    assert +taken(pool(10, 8, 10), **rules) == wanted


@given(counts, counts, counts, shares, shares, st.integers(0, 3))
def test_no_share_is_exceeded_by_what_is_cheap(valid, empty, plain, of_notes, of_rows, seed):
    candidates = pool(valid, empty, plain)
    rules = MixtureRules(empty_ratio=of_notes, plain_ratio=of_rows, seed=seed)
    places = mix(candidates, rules)
    assert places == mix(candidates, rules)
    assert len(set(places)) == len(places)
    found = Counter(candidates[place][1] for place in places)
    notes = found["valid"] + found["empty"]
    assert found["plain"] <= (notes + 2) * of_rows / (1 - of_rows) + 1e-6 if of_rows < 1 else notes == 0
    if of_notes < 1:
        assert found["empty"] <= (found["valid"] + 1) * of_notes / (1 - of_notes) + 1e-6


def test_another_share_takes_more_or_fewer_of_the_same():
    candidates = pool(50, 50, 100)
    few = set(mix(candidates, MixtureRules(empty_ratio=0.1, plain_ratio=0)))
    more = set(mix(candidates, MixtureRules(empty_ratio=0.4, plain_ratio=0)))
    assert few < more


def test_order_does_not_show_the_kind():
    candidates = pool(50, 21, 71)
    first = mix(candidates, MixtureRules())[:40]
    assert len({candidates[place][1] for place in first}) == 3


def test_modes():
    assert mode_of("x", "plain") == "answer"
    modes = Counter(mode_of(f"{n}", "valid") for n in range(400))
    assert set(modes) == {"summary", "summary+answer"}
    assert 150 < modes["summary"] < 250
    assert {mode_of(f"{n}", "empty", summary_share=0) for n in range(9)} == {"summary+answer"}
    assert {mode_of(f"{n}", "empty", summary_share=1) for n in range(9)} == {"summary"}
    with pytest.raises(UsageError, match="summary_share is 2"):
        mode_of("x", "valid", summary_share=2)
