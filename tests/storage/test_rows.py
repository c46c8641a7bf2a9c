"""Sparse rows agree with scipy's and do not depend on the order in which entries came."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array

from mnemic.storage.rows import Rows, segments

ENTRIES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.floats(0.1, 9, allow_subnormal=False)), max_size=40
)


def made(entries):
    rows, columns, values = zip(*entries, strict=True) if entries else ((), (), ())
    return Rows.of(np.array(rows, np.int64), np.array(columns, np.int64), np.array(values, np.float64), (5, 7))


def dense(rows):
    table = np.zeros((rows.height, rows.width))
    table[rows.row_of_entry, rows.columns] = rows.values
    return table


@settings(max_examples=80, deadline=None)
@given(ENTRIES, st.randoms(use_true_random=False))
def test_rows_are_those_of_scipy(entries, random):
    rows = made(entries)
    parts = [np.array(part) for part in zip(*entries, strict=True)] if entries else [np.zeros(0, int)] * 3
    expected = coo_array((parts[2], (parts[0], parts[1])), shape=(5, 7)).toarray()
    np.testing.assert_allclose(dense(rows), expected, rtol=1e-12)
    np.testing.assert_allclose(dense(rows.transposed()), expected.T, rtol=1e-12)
    vector = np.arange(7.0)
    np.testing.assert_allclose(rows.times(vector), expected @ vector, rtol=1e-12)
    shuffled = list(entries)
    random.shuffle(shuffled)
    again = made(shuffled)
    assert all((getattr(rows, part) == getattr(again, part)).all() for part in ("starts", "columns", "values"))


@settings(max_examples=50, deadline=None)
@given(ENTRIES, st.lists(st.integers(0, 4), max_size=6))
def test_segments_are_the_entries_of_the_rows(entries, picked):
    rows = made(entries)
    places, owner = segments(rows.starts, np.array(picked, np.int64))
    expected = [(at, c) for at, row in enumerate(picked) for c in rows.row(row)[0]]
    assert list(zip(owner, rows.columns[places], strict=True)) == expected


def test_nothing():
    empty = Rows.empty(3, 2)
    assert (empty.height, empty.width, len(empty.columns)) == (3, 2, 0)
    assert empty.times(np.ones(2)).tolist() == [0, 0, 0]
    assert empty.transposed().height == 2
