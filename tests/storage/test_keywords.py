"""Keyword search in memory says what SQLite's full text index says."""

import sqlite3

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.storage.keywords import Groups, KeywordIndex, Matches, bm25
from mnemic.storage.stemming import stem
from mnemic.storage.terms import STOP_WORDS, query_terms, terms, words

LETTERS = "abeilnorstuyz"
ENDINGS = [
    "", "s", "es", "ies", "sses", "ed", "eed", "ing", "ational", "tional", "enci", "anci", "izer", "bli", "alli",
    "entli", "eli", "ousli", "ization", "ation", "ator", "alism", "iveness", "fulness", "ousness", "aliti", "iviti",
    "biliti", "logi", "icate", "ative", "alize", "iciti", "ical", "ful", "ness", "al", "ance", "ence", "er", "ic",
    "able", "ible", "ant", "ement", "ment", "ent", "sion", "tion", "ion", "ou", "ism", "ate", "iti", "ous", "ive",
    "ize", "e", "ll", "y", "ly", "ably", "atted", "ized", "bling", "hopping",
]  # fmt: skip
WORDS = st.builds(str.__add__, st.text(LETTERS, min_size=1, max_size=7), st.sampled_from(ENDINGS)).filter(
    lambda word: word != "eed"  # SQLite sees "ed" at its end, the paper "eed"
)


def full_text(texts):
    """A database whose table `t` holds the texts, and `v` every word of them."""
    db = sqlite3.connect(":memory:")
    db.execute("CREATE VIRTUAL TABLE t USING fts5(text, tokenize='porter unicode61')")
    db.executemany("INSERT INTO t(rowid, text) VALUES (?, ?)", enumerate(texts, 1))
    db.execute("CREATE VIRTUAL TABLE v USING fts5vocab(t, instance)")
    return db


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=60))
def test_stems_are_those_of_sqlite(several):
    found = full_text([" ".join(several)]).execute("SELECT term FROM v ORDER BY offset").fetchall()
    assert [stem(word) for word in several] == [term for (term,) in found]


def test_stems_of_the_paper():
    pairs = {
        "caresses": "caress", "ponies": "poni", "agreed": "agre", "plastered": "plaster", "motoring": "motor",
        "hopping": "hop", "filing": "file", "happy": "happi", "sky": "sky", "relational": "relat",
        "vietnamization": "vietnam", "triplicate": "triplic", "adjustment": "adjust", "controll": "control",
    }  # fmt: skip
    assert {word: stem(word) for word in pairs} == pairs


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Café São Tomé, naïve!", ["cafe", "sao", "tome", "naive"]),
        ("don't snake_case 3.14", ["don", "t", "snake", "case", "3", "14"]),
        ("東京 Ελλάδα ΣΊΣΥΦΟΣ", ["東京", "ελλαδα", "σισυφος"]),
        ("a\x00b\ud800c", ["a", "b", "c"]),
        ("", []),
    ],
)
def test_words(text, expected):
    assert words(text) == expected


def test_questions_lose_stop_words_unless_nothing_is_left():
    assert query_terms("Where did the cats of the cat go?") == ["cat", "go"]
    assert query_terms("Who is who?") == ["who", "is"]
    assert query_terms("?!") == []
    assert {"is", "who", "when"} <= STOP_WORDS


TEXTS = st.lists(
    st.lists(st.sampled_from(["runs", "running", "cat", "cats", "lake", "née", "7"]), max_size=8).map(" ".join),
    min_size=1,
    max_size=12,
)


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.lists(st.sampled_from(["run", "cat", "lake", "nee", "absent"]), min_size=1, max_size=4, unique=True))
def test_scores_are_those_of_sqlite(texts, asked):
    query = " OR ".join(f'"{term}"' for term in asked)
    found = full_text(texts).execute("SELECT rowid, -bm25(t) FROM t WHERE t MATCH ?", [query]).fetchall()
    expected = np.zeros(len(texts))
    for row, score in found:
        expected[row - 1] = score
    index = KeywordIndex(texts)
    np.testing.assert_allclose(bm25(index.matches(" ".join(asked)), index.lengths), expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.data())
def test_a_group_counts_as_one_text(texts, data):
    groups = st.lists(st.integers(0, len(texts) - 1), max_size=4, unique=True)
    held = data.draw(st.lists(groups, min_size=1, max_size=5))
    table = np.array([[g if p in passages else -1 for g, passages in enumerate(held)] for p in range(len(texts))])
    index = KeywordIndex(texts)
    joined = KeywordIndex([" ".join(texts[p] for p in passages) for passages in held])
    query = "the running cat at the lake"
    grouped = bm25(index.matches(query), index.lengths, Groups.of(table, len(held)))
    np.testing.assert_allclose(grouped, bm25(joined.matches(query), joined.lengths), rtol=1e-12)


@pytest.mark.parametrize("query", ['cat AND "dog', "NEAR(cat dog)", "cat* -dog", "text:cat OR dog", "cat\x00dog'--"])
def test_operators_in_a_question_are_words(query):
    index = KeywordIndex(["cat", "cat dog", "dog", "a bird", "a fish"])
    assert {"cat", "dog"} <= set(query_terms(query))
    scores = bm25(index.matches(query), index.lengths)
    assert np.argmax(scores) == 1
    assert (scores[3:] == 0).all()


def test_nothing_to_search():
    assert bm25(KeywordIndex([]).matches("cat"), np.zeros(0)).tolist() == []
    empty = KeywordIndex(["", "  "])
    assert bm25(empty.matches("cat"), empty.lengths).tolist() == [0, 0]
    none = Matches(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 0)
    assert bm25(none, np.ones(3)).tolist() == [0, 0, 0]
    assert terms("!") == []
