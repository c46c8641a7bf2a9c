"""Synonyms against brute force; old and new phrases together give what all at once give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.storage.synonyms import synonym_links


def phrases(seed, count):
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(count // 4, 1), 8))
    vectors = centres[random.integers(0, len(centres), count)] + 0.4 * random.normal(size=(count, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return ["ab" if random.random() < 0.2 else f"phrase {i}" for i in range(count)], vectors


def edges(links):
    return dict(zip(zip(links.first.tolist(), links.second.tolist(), strict=True), links.weights.tolist(), strict=True))


def brute(names, vectors, threshold, most):
    able = [sum(map(str.isalnum, name)) > 2 for name in names]
    found = set()
    for i in range(len(names)):
        near = [(-float(vectors[i] @ vectors[j]), j) for j in range(len(names)) if j != i and able[i] and able[j]]
        found |= {(min(i, j), max(i, j)) for c, j in sorted(near)[:most] if -c >= threshold}
    return found


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 60), st.sampled_from([0.5, 0.8, 0.95]), st.sampled_from([2, 100]))
def test_pairs_are_those_of_brute_force(seed, count, threshold, most):
    names, vectors = phrases(seed, count)
    links = synonym_links(names, vectors, threshold, most=most)
    assert set(edges(links)) == brute(names, vectors, threshold, most)
    for (i, j), weight in edges(links).items():
        assert weight == pytest.approx(float(vectors[i] @ vectors[j]), abs=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60), st.data())
def test_adding_in_parts_gives_the_same_edges(seed, count, data):
    names, vectors = phrases(seed, count)
    cut = data.draw(st.integers(0, count))
    parts = {}
    parts |= edges(synonym_links(names[:cut], vectors[:cut], 0.7, most=None))
    parts |= edges(synonym_links(names, vectors, 0.7, most=None, new_from=cut))
    assert parts == edges(synonym_links(names, vectors, 0.7, most=None))


def test_wrong_threshold():
    for threshold in (0, -1, 1.1):
        with pytest.raises(UsageError, match="above 0 and at most 1"):
            synonym_links([], np.zeros((0, 8), np.float32), threshold)
