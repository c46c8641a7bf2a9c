"""MemGAS: its mixture against its definition, its router and walk against their definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recall_worlds import CHAT, SUMMARIES, BagOfWords, chat

from mnemic.storage.corpus_view import corpus_view
from mnemic.storage.keyphrases import keyphrases
from mnemic.storage.recall import open_method
from mnemic.storage.recall.memgas import LEVELS, MemGAS, _associated, _levels
from mnemic.storage.recall.mixture import upper_component
from mnemic.storage.view import Passage, Query


def fitted(numbers):
    """Expectation maximisation of two Gaussians, number by number, from the best split of the sorted numbers."""
    ordered = sorted(numbers)
    cuts = [np.var(ordered[:i]) * i + np.var(ordered[i:]) * (len(ordered) - i) for i in range(1, len(ordered))]
    cut = ordered[int(np.argmin(cuts))]
    shares = [(1.0, 0.0) if number <= cut else (0.0, 1.0) for number in numbers]
    before = -math.inf
    for _ in range(100):
        parts = []
        for g in range(2):
            mass = sum(share[g] for share in shares)
            mean = sum(share[g] * x for share, x in zip(shares, numbers, strict=True)) / mass
            spread = sum(share[g] * (x - mean) ** 2 for share, x in zip(shares, numbers, strict=True)) / mass + 1e-6
            parts.append((mass / len(numbers), mean, spread))
        heights = [
            [w * math.exp(-((x - m) ** 2) / 2 / v) / math.sqrt(2 * math.pi * v) for w, m, v in parts] for x in numbers
        ]
        shares = [tuple(height / sum(pair) for height in pair) for pair in heights]
        likelihood = sum(math.log(sum(pair)) for pair in heights) / len(numbers)
        if abs(likelihood - before) < 1e-3:
            break
        before = likelihood
    upper = int(parts[1][1] > parts[0][1])
    return [share[upper] > 0.5 for share in shares]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(3, 30))
def test_the_mixture_is_its_definition(seed, width):
    numbers = np.random.default_rng(seed).random(width) ** 2
    assert upper_component(numbers[None])[0].tolist() == fitted(numbers.tolist())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(5, 30))
def test_groups_far_apart_are_told_apart(seed, width):
    random = np.random.default_rng(seed)
    low, high = random.normal(0.2, 0.03, width), random.normal(0.7, 0.03, max(width // 2, 3))
    order = random.permutation(len(low) + len(high))
    expected = np.repeat([False, True], [len(low), len(high)])[order]
    assert (upper_component(np.concatenate([low, high])[order][None])[0] == expected).all()


def test_rows_do_not_change_each_other():
    random = np.random.default_rng(0)
    rows = random.random((40, 20)) ** 2
    rows[7] = 0.5
    together = upper_component(rows)
    assert (together == np.concatenate([upper_component(row[None]) for row in rows])).all()
    assert together[7].all()
    assert upper_component(rows[:, :2]).all()
    assert upper_component(np.zeros((0, 5))).shape == (0, 5)


def test_keyphrases():
    texts = ["The piano lesson, the piano concert", "a lesson on the lake", "the lake and the heron", "the heron"]
    found = keyphrases(texts, 3)
    assert found[0][0] == "piano"
    assert "lesson lake" in found[1]
    assert keyphrases(["one text"], 5) == [["one", "one text", "text"]]
    assert keyphrases(["", "x y"]) == [[], []]


def test_levels_are_what_the_session_has():
    view = chat(summaries=True)
    levels = _levels(view)
    assert levels.vectors.shape == (4, 4, 512)
    for place, day in enumerate(CHAT):
        if day in SUMMARIES:
            np.testing.assert_allclose(levels.vectors[place, 2], view.encoder.encode([SUMMARIES[day]])[0], rtol=1e-6)
        whole = view.encoder.encode(["\n".join(CHAT[day])])[0]
        np.testing.assert_allclose(levels.vectors[place, 0], whole, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(levels.vectors, axis=2), 1, rtol=1e-5)


def test_stored_levels_are_used():
    passages = [
        Passage("0", "Ann: hello", level="turn", session="s"),
        Passage("1", "greeting", level="keyword", session="s"),
        Passage("2", "They greet.", level="session", session="s"),
    ]
    view = corpus_view(passages, encoder=BagOfWords())
    [[session, _, _, keyword]] = _levels(view).vectors
    np.testing.assert_allclose(session, view.encoder.encode(["They greet."])[0], rtol=1e-6)
    np.testing.assert_allclose(keyword, view.encoder.encode(["greeting"])[0], rtol=1e-6)


def conversation(sessions=9, seed=0):
    random = np.random.default_rng(seed)
    words = [f"w{i}" for i in range(40)]
    return [
        Passage(f"{s}/{t}", " ".join(random.choice(words, 6)), level="turn", session=f"s{s}", time=s)
        for s in range(sessions)
        for t in range(3)
    ]


def test_the_walk_is_its_definition():
    view = corpus_view(conversation(), encoder=BagOfWords())
    query = "w1 w2 w3"
    vectors = _levels(view).vectors
    flat = vectors.reshape(-1, vectors.shape[-1]).astype(float)
    edges = np.zeros((36, 36))
    for node in range(4 * 5, 36):
        earlier = flat[: node // 4 * 4] @ flat[node]
        near = np.argsort(-earlier, kind="stable")[:30]
        for other in near[upper_component(earlier[near][None])[0]]:
            edges[node, other] = edges[other, node] = 1
    close = (flat @ view.encoder.encode([query])[0]).reshape(9, 4)
    shares = np.exp(close / 0.2) / np.exp(close / 0.2).sum(axis=0)
    entropy = -(shares * np.log(shares)).sum(axis=0)
    for router, trust in (
        ("inverse-entropy", 1 / entropy),
        ("one-minus-entropy", 1 - entropy),
        ("uniform", np.ones(4)),
    ):
        weighted = (close * trust / trust.sum()).ravel()
        seeds = np.zeros(36)
        best = np.argsort(-weighted, kind="stable")[:15]
        seeds[best] = np.maximum(weighted[best], 0)
        degrees = edges.sum(axis=0)
        step = np.where(degrees > 0, edges / np.where(degrees > 0, degrees, 1), np.eye(36))
        mass = np.linalg.solve(np.eye(36) - 0.1 * step, 0.9 * seeds / seeds.sum()).reshape(9, 4).sum(axis=1)
        hits = open_method("memgas", router=router).recall(view, Query(query), 27)
        best_of = {}
        for hit in hits:
            best_of.setdefault(view.passages[hit.index].session, hit.score)
        assert best_of == pytest.approx({f"s{s}": mass[s] for s in range(9)}, abs=1e-4)


def test_early_sessions_have_no_edges():
    vectors = _levels(corpus_view(conversation(), encoder=BagOfWords())).vectors
    graph = _associated(vectors[:5], candidates=30, warmup=5)
    assert graph.nodes == 20
    assert len(graph.neighbours) == 0
    assert len(_associated(vectors, candidates=30, warmup=5).neighbours) > 0


def test_the_best_session_comes_first_and_others_are_there():
    view = chat(summaries=True)
    found = [view.passages[hit.index].session for hit in MemGAS().recall(view, Query("puppy dog"), 4)]
    assert found[0] == "friday"
    assert len(set(found)) > 1


def test_one_level_alone_is_its_cosine():
    view = chat(summaries=True)
    levels = _levels(view).vectors
    question = view.encoder.encode(["knee rest"])[0]
    for place, level in enumerate(LEVELS):
        found = {}
        for hit in MemGAS(level=level).recall(view, Query("knee rest"), 20):
            found.setdefault(view.passages[hit.index].session, hit.score)
        assert found == pytest.approx({day: 1 + levels[s, place] @ question for s, day in enumerate(CHAT)}, abs=1e-5)


def test_a_single_session():
    view = corpus_view([Passage("0", "hello there", level="turn", session="s")], encoder=BagOfWords())
    for router in ("inverse-entropy", "one-minus-entropy", "uniform"):
        [hit] = MemGAS(router=router).recall(view, Query("hello"), 3)
        assert hit.index == 0
