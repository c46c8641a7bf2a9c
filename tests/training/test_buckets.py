"""Buckets of distances and loads hold what their names say."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mnemic.training.buckets import buckets


@given(values=st.lists(st.integers(-3, 5000), min_size=1, max_size=200), name=st.sampled_from(["distance", "load"]))
def test_each_value_lies_in_the_bucket_that_names_it(values, name):
    names, index = buckets(name, np.array(values))
    assert len(set(names)) == len(names)
    assert set(index[index >= 0]) == set(range(len(names))), "no bucket is empty"
    for value, bucket in zip(values, index, strict=True):
        if name == "distance" and value <= 0:
            assert bucket == -1
            continue
        first, last = _ends(names[bucket])
        assert first <= value <= last
    ends = [_ends(name) for name in names]
    assert all(a[1] < b[0] for a, b in pairwise(ends)), "in order, without overlap"


def test_distances_are_cut_as_published():
    names, _ = buckets("distance", np.arange(1, 1001))
    assert names == ["1-16", "17-64", "65-256", "257-1024"]


def _ends(name: str) -> tuple[int, int]:
    sign = -1 if name.startswith("-") else 1
    first, _, last = name.removeprefix("-").partition("-")
    return sign * int(first), int(last) if last else sign * int(first)
