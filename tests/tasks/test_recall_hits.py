import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.tasks.recall_hits import ArHitSlicer, count_ngrams, gap_share, scaled_threshold


def brute_force(window, training, context, threshold):
    """The definition, pair by pair: (hit, distance, occurrences) of each token of one window."""
    counts = Counter(tuple(training[i : i + context + 1]) for i in range(len(training) - context))
    answer = []
    for t in range(len(window)):
        gram = tuple(window[t - context : t + 1])
        earlier = [s for s in range(context, t) if t >= context and tuple(window[s - context : s + 1]) == gram]
        hit = bool(earlier) and counts[gram] <= threshold
        answer.append((hit, t - earlier[-1] if hit else 0, len(earlier) if hit else 0))
    return answer


@st.composite
def problems(draw):
    vocab = draw(st.integers(1, 6))
    token = st.integers(0, vocab - 1)
    training = draw(st.lists(token, max_size=60))
    length = draw(st.integers(1, 40))
    windows = draw(st.lists(st.lists(token, min_size=length, max_size=length), min_size=1, max_size=4))
    return vocab, training, windows, draw(st.integers(1, 4)), draw(st.integers(0, 6))


@settings(max_examples=300, deadline=None)
@given(problems())
def test_the_slice_equals_the_definition_pair_by_pair(problem):
    vocab, training, windows, context, threshold = problem
    slicer = ArHitSlicer(count_ngrams(np.array(training, np.int64), vocab, context), threshold=threshold)
    got = slicer.hits(windows)
    for row, window in enumerate(windows):
        want = brute_force(window, training, context, threshold)
        assert list(zip(got.mask[row], got.distance[row], got.occurrences[row], strict=True)) == want
    np.testing.assert_array_equal(slicer.mask(windows), got.mask)
    np.testing.assert_array_equal(slicer.distance(windows), got.distance)
    np.testing.assert_array_equal(slicer.occurrences(windows), got.occurrences)


def test_published_bigrams_on_a_text_where_rare_names_come_back():
    """Claim C of the Zoology page: rare bigrams that repeat in a generated text are the slice, common ones are not."""
    rng = np.random.default_rng(3)
    training = rng.integers(0, 50, 5000)
    window = rng.integers(0, 50, (8, 400))
    names = 50 + np.arange(40).reshape(20, 2)  # bigrams that training has not
    for row in window:
        for at in rng.choice(200, 12, replace=False) * 2:
            row[at : at + 2] = names[rng.integers(20)]
    slicer = ArHitSlicer(count_ngrams(training, 90), threshold=1)
    got = slicer.hits(window)
    for row in range(len(window)):
        want = brute_force(window[row].tolist(), training.tolist(), 1, 1)
        assert list(zip(got.mask[row], got.distance[row], got.occurrences[row], strict=True)) == want
    second_halves = np.isin(window, names[:, 1])
    assert got.mask[second_halves].mean() > 0.2
    assert got.share == got.mask.mean() > 0


def test_large_ids_are_told_apart():
    ids = np.array([70_000, 149_999, 3, 70_000, 149_999, 149_999, 3], np.int32)
    slicer = ArHitSlicer(count_ngrams(ids[:0], 150_000, 2), threshold=0)
    assert not slicer.mask(ids).any()
    assert ArHitSlicer(count_ngrams(ids[:0], 150_000, 1), threshold=0).distance(ids).tolist() == [[0, 0, 0, 0, 3, 0, 4]]


def test_bytes_do_not_overflow():
    text = np.array([255] * 9 + [254] * 9, np.uint8)
    counts = count_ngrams(text, 256, 6)
    assert counts.codes.min() >= 0
    assert counts.counts.tolist() == [3, 1, 1, 1, 1, 1, 1, 3]
    with pytest.raises(UsageError, match=r"context=7 .* vocabulary of 256; at most 6"):
        count_ngrams(text, 256, 7)


def test_counts_of_ngrams():
    training = np.array([1, 2, 1, 2, 3])
    counts = count_ngrams(training, 10)
    assert counts.of(np.array([[12, 21], [23, 31]])).tolist() == [[2, 1], [1, 0]]
    assert count_ngrams(training[:1], 10).of(np.array([12])).tolist() == [0]


@pytest.mark.parametrize(("tokens", "threshold"), [(10**10, 1250), (10**9, 125), (8 * 10**6, 1), (10, 1), (0, 1)])
def test_the_published_threshold_scales_with_the_text(tokens, threshold):
    assert scaled_threshold(tokens) == threshold


def test_the_default_threshold_is_the_scaled_one():
    assert ArHitSlicer(count_ngrams(np.arange(100), 100)).threshold == 1


@given(st.lists(st.integers(0, 4), min_size=2, max_size=80), st.floats(0.01, 1))
def test_a_fraction_is_met_by_the_largest_threshold_that_keeps_it(training, fraction):
    counts = count_ngrams(np.array(training), 5)
    threshold = ArHitSlicer(counts, fraction=fraction).threshold
    share = [counts.counts[counts.counts <= bound].sum() / counts.counts.sum() for bound in range(len(training) + 1)]
    assert share[threshold] <= fraction
    higher = counts.counts[counts.counts > threshold]
    assert not len(higher) or share[higher.min()] > fraction


@pytest.mark.parametrize(
    "options", [{"threshold": 1, "fraction": 0.1}, {"threshold": -1}, {"fraction": 0.0}, {"fraction": 1.5}]
)
def test_a_wrong_bound_is_named(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        ArHitSlicer(count_ngrams(np.arange(5), 5), **options)


def test_gap_share_is_the_published_ratio():
    rng = np.random.default_rng(0)
    model, reference = rng.gamma(2, 1, (2, 4, 50))
    mask = rng.random((4, 50)) < 0.2
    on_hits = (model[mask].mean() - reference[mask].mean()) * mask.sum()
    overall = (model.mean() - reference.mean()) * mask.size
    assert gap_share(model, reference, mask) == pytest.approx(on_hits / overall)
    assert gap_share(model, reference, mask) + gap_share(model, reference, ~mask) == pytest.approx(1)


def test_gap_share_of_equal_models_is_undefined():
    assert math.isnan(gap_share([1.0, 2.0], [1.0, 2.0], [True, False]))
