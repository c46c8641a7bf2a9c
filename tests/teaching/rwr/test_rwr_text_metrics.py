"""Scores of texts against values worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.teaching.rwr.evaluation import text_metrics as metrics

TEXT = st.text(alphabet="ab the,.N ", max_size=30)


@pytest.mark.parametrize(
    ("said", "references", "same", "exact", "substring", "f1"),
    [
        ("Oslo", ["Oslo"], 1, 1, 1, 1),
        ("  Oslo ", ["Oslo"], 1, 1, 1, 1),
        ("the oslo.", ["Oslo"], 0, 1, 1, 1),
        ("I live in Oslo", ["Oslo"], 0, 0, 1, 2 / 5),
        ("Bergen", ["Oslo", "Bergen!"], 0, 1, 1, 1),
        ("red green", ["green blue"], 0, 0, 0, 1 / 2),
        ("", ["Oslo"], 0, 0, 0, 0),
        ("Osl", ["Oslo"], 0, 0, 0, 0),
    ],
)
def test_answers_against_references(said, references, same, exact, substring, f1):
    assert metrics.same_text(said, references) == same
    assert metrics.exact(said, references) == exact
    assert metrics.substring(said, references) == substring
    assert metrics.f1(said, references) == pytest.approx(f1)


def test_longest_common_subsequence_and_recall():
    assert metrics.rouge_l("police killed gunman", ["police kill gunman"]) == pytest.approx(2 / 3)
    assert metrics.rouge_l("gunman kill police", ["police kill gunman"]) == pytest.approx(1 / 3)
    assert metrics.recall("It is 12, then 34", ["34", "56"]) == 0.5
    assert metrics.phrases("first open-menu then save", ["Open menu, Save"]) == 1
    assert metrics.phrases("first reopen menus then save", ["Open menu, Save"]) == 0


def test_ranking_takes_the_longest_chain():
    assert metrics.ranking("I think a > b.\nRanking: [3] > [1] > [3] > [2]") == ["3", "1", "2"]


def test_ndcg_by_hand():
    labels = {"a": 2.0, "b": 1.0, "c": 0.0}
    assert metrics.ndcg(["a", "b", "c"], labels) == 1
    assert metrics.ndcg(["c", "b", "a"], labels) == pytest.approx((1 / math.log2(3) + 2 / 2) / (2 + 1 / math.log2(3)))
    assert metrics.ndcg(["a", "b", "c"], {"b": 1.0}) == pytest.approx(0.6309, abs=1e-4)
    assert metrics.ndcg([], labels) == 0


@given(TEXT, TEXT)
def test_what_is_the_same_is_exact_and_what_is_exact_is_contained(said, reference):
    same, exact = metrics.same_text(said, [reference]), metrics.exact(said, [reference])
    assert same <= exact
    if metrics.normalised(reference):
        assert exact <= metrics.substring(said, [reference])
    for metric in (metrics.f1, metrics.rouge_l, metrics.substring, metrics.recall):
        assert 0 <= metric(said, [reference]) <= 1
    assert metrics.rouge_l(said, [reference]) <= metrics.f1(said, [reference]) + 1e-9
