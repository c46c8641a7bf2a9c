"""HippoRAG and HippoRAG 2 against their definitions, written out densely."""

import numpy as np
import pytest
from recall_worlds import FACTS, WIKI, BagOfWords, wiki, wiki_facts

from mnemic.llm import FakeLLM
from mnemic.storage.llm_extraction import LLMNames
from mnemic.storage.phrases import cleaned, fact_text
from mnemic.storage.recall import open_method
from mnemic.storage.recall.fact_filters import LLMFilter, MentionFilter
from mnemic.storage.recall.hipporag2 import HippoRAG2
from mnemic.storage.view import Query

QUESTION = "Where was the director of Blue Harbour born?"


def minmax(values):
    return (values - values.min()) / (values.max() - values.min())


def walk(weights, seeds, damping=0.5):
    degrees = weights.sum(axis=0)
    step = np.where(degrees > 0, weights / np.where(degrees > 0, degrees, 1), np.eye(len(weights)))
    return np.linalg.solve(np.eye(len(weights)) - damping * step, (1 - damping) * seeds / seeds.sum())


def distinct_facts():
    """Cleaned fact -> passages that state it."""
    found = {}
    for passage, facts in FACTS.items():
        for fact in facts:
            found.setdefault(tuple(map(cleaned, fact)), set()).add(passage)
    return found


def phrases():
    return list(dict.fromkeys(p for s, _, o in distinct_facts() for p in (s, o)))


def fact_weights(names):
    weights = np.zeros((len(names), len(names)))
    for (s, _, o), passages in distinct_facts().items():
        if s != o:
            weights[names.index(s), names.index(o)] += len(passages)
            weights[names.index(o), names.index(s)] += len(passages)
    return weights


def tied(names):
    """Passage x phrase: facts of the passage that hold the phrase."""
    table = np.zeros((len(WIKI), len(names)))
    for (s, _, o), passages in distinct_facts().items():
        for passage in passages:
            for phrase in {s, o}:
                table[passage, names.index(phrase)] += 1
    return table


def scores(hits):
    return {hit.index: hit.score for hit in hits}


def test_hipporag_is_its_definition():
    names, ties = phrases(), tied(phrases())
    seeds = np.zeros(len(names))
    seeds[names.index("blue harbour")] = 1 / np.count_nonzero(ties[:, names.index("blue harbour")])
    expected = minmax(ties @ walk(fact_weights(names), seeds))
    hits = open_method("hipporag").recall(wiki_facts(), Query(QUESTION), 7)
    assert scores(hits) == pytest.approx(dict(enumerate(expected)), abs=1e-4)
    assert [WIKI[hit.index].title for hit in hits[:2]] == ["Blue Harbour (film)", "Anna Petrova"]
    assert hits[0].path == ("blue harbour → Blue Harbour (1.00)",)


def test_specific_phrases_weigh_more():
    names, ties = phrases(), tied(phrases())
    question = "Did Anna Petrova visit Oslo?"
    for specific in (True, False):
        seeds = np.zeros(len(names))
        for name in ("anna petrova", "oslo"):
            seeds[names.index(name)] = 1 / np.count_nonzero(ties[:, names.index(name)]) if specific else 1
        expected = minmax(ties @ walk(fact_weights(names), seeds))
        hits = open_method("hipporag", node_specificity=specific).recall(wiki_facts(), Query(question), 7)
        assert scores(hits) == pytest.approx(dict(enumerate(expected)), abs=1e-4)


def test_synonyms_are_edges():
    view = wiki_facts(synonym_threshold=0.4)
    pairs = {
        frozenset((view.entities[i].norm_name, view.entities[j].norm_name))
        for i, j in zip(view.synonyms.first, view.synonyms.second, strict=True)
    }
    assert frozenset(("lothair ii", "lothair i")) in pairs
    found = open_method("hipporag").recall(view, Query("Who married Lothair II?"), 2)
    assert {WIKI[hit.index].title for hit in found} == {"Lothair II", "Ermengarde of Tours"}


def test_ensemble_and_least_similarity():
    view = wiki_facts()
    walked = open_method("hipporag").recall(view, Query("Anna and Oslo"), 7)
    blended = open_method("hipporag", ensemble="always").recall(view, Query("Anna and Oslo"), 7)
    unsure = open_method("hipporag", ensemble="auto").recall(view, Query("Anna and Oslo"), 7)
    dense = minmax(view.similarities("Anna and Oslo"))
    assert scores(blended) == pytest.approx({i: (s + dense[i]) / 2 for i, s in scores(walked).items()}, abs=1e-9)
    assert scores(unsure) == scores(blended)  # "anna" is not quite "anna petrova"
    assert scores(open_method("hipporag", ensemble="auto").recall(view, Query("Oslo"), 7)) == scores(
        open_method("hipporag").recall(view, Query("Oslo"), 7)
    )
    [hit, *_] = open_method("hipporag", min_link_similarity=0.9).recall(view, Query("Anna"), 7)
    assert hit.path[0].startswith("fallback: dense")


def test_rules_serve_where_there_are_no_facts():
    found = [hit.index for hit in open_method("hipporag").recall(wiki(), Query(QUESTION), 2)]
    assert found == [2, 3]


def second(question, kept, weight=0.05):
    """HippoRAG 2's scores by hand, with these facts kept."""
    encoder, names = BagOfWords(), phrases()
    facts = list(distinct_facts())
    ties = tied(names)
    vectors = encoder.encode([fact_text(*fact) for fact in facts])
    likeness = minmax(vectors @ encoder.encode([question])[0])
    dense = minmax(encoder.encode([p.indexed for p in WIKI]) @ encoder.encode([question])[0])
    given = {}
    for fact in kept:
        for phrase in {fact[0], fact[2]}:
            share = likeness[facts.index(fact)] / np.count_nonzero(ties[:, names.index(phrase)])
            given.setdefault(phrase, []).append(share)
    seeds = np.concatenate([weight * dense, np.zeros(len(names))])
    for phrase, parts in given.items():
        seeds[len(WIKI) + names.index(phrase)] = np.mean(parts)
    size = len(WIKI) + len(names)
    weights = np.zeros((size, size))
    weights[len(WIKI) :, len(WIKI) :] = 2 * fact_weights(names)
    weights[: len(WIKI), len(WIKI) :] = ties > 0
    weights[len(WIKI) :, : len(WIKI)] = (ties > 0).T
    return dict(enumerate(walk(weights, seeds)[: len(WIKI)]))


def test_hipporag2_is_its_definition():
    kept = [("blue harbour", "directed by", "anna petrova"), ("blue harbour", "is", "blue harbour")]
    hits = open_method("hipporag2").recall(wiki_facts(), Query(QUESTION), 7)
    assert scores(hits) == pytest.approx(second(QUESTION, kept), abs=1e-4)
    assert {part.split(" (")[0] for part in hits[0].path[:2]} == {f"fact: {' | '.join(fact)}" for fact in kept}
    lighter = open_method("hipporag2", passage_weight=0.5).recall(wiki_facts(), Query(QUESTION), 7)
    assert scores(lighter) == pytest.approx(second(QUESTION, kept, weight=0.5), abs=1e-4)


def test_a_language_model_keeps_facts():
    client = FakeLLM([("born", lambda call: {"helpful": [1, 1]})])
    hits = HippoRAG2(filter=LLMFilter(client)).recall(wiki_facts(), Query(QUESTION), 7)
    shown = client.calls[0].text
    assert QUESTION in shown
    assert '"5"' in shown
    assert '"6"' not in shown
    assert len([part for part in hits[0].path if part.startswith("fact: ")]) == 1


@pytest.mark.parametrize(
    "reply", [{"helpful": []}, {"helpful": [6]}, {"helpful": [0]}, "nonsense", '{"helpful": ["1"]}']
)
def test_a_model_that_keeps_none_or_answers_nonsense_leaves_the_dense_ranking(reply):
    view = wiki_facts()
    hits = HippoRAG2(filter=LLMFilter(FakeLLM([("", reply)]))).recall(view, Query(QUESTION), 7)
    dense = open_method("dense").recall(view, Query(QUESTION), 7)
    assert [hit.index for hit in hits] == [hit.index for hit in dense]
    assert hits[0].path[0].startswith("fallback: dense")


def test_the_mention_filter():
    facts = [
        ("blue harbour", "directed by", "anna petrova"),
        ("oslo", "in", "norway"),
        ("is", "a", "in"),
        ("our", "", "our"),
    ]
    assert MentionFilter().kept("Who directed Blue  Harbour?", facts) == [0]
    assert MentionFilter().kept("Is Norway's capital in it?", facts) == [1]
    assert MentionFilter().kept("", facts) == []


def test_without_facts_it_says_so():
    [hit, *_] = open_method("hipporag2").recall(wiki(), Query(QUESTION), 3)
    assert hit.path == ("fallback: dense, as no facts are stored",)


def test_the_order_of_the_passages_changes_no_score():
    from mnemic.storage.corpus_view import corpus_view
    from mnemic.storage.rule_extraction import extract_by_rules

    for name in ("rule-graph", "hipporag"):
        found = []
        for passages in (WIKI, WIKI[::-1]):
            extracted = [extract_by_rules(p.title, p.text) for p in passages]
            view = corpus_view(passages, encoder=BagOfWords(), extracted=extracted)
            hits = open_method(name).recall(view, Query(QUESTION), 7)
            found.append({passages[hit.index].id: hit.score for hit in hits})
        assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_a_language_model_names_what_is_asked_for():
    named = LLMNames(FakeLLM([("capital", {"entities": ["Oslo"]})]))
    [hit, *_] = open_method("hipporag", recognise=named).recall(wiki_facts(), Query("the norwegian capital"), 1)
    assert WIKI[hit.index].title == "Oslo"
    failing = LLMNames(FakeLLM([("", "nonsense")]))
    [hit, *_] = open_method("hipporag", recognise=failing).recall(wiki_facts(), Query("the norwegian capital"), 1)
    assert hit.path[0].startswith("fallback: dense, as the names of the question could not be had")
