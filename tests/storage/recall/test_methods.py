"""What holds for every recall method, and what each finds in a small world."""

import subprocess
import sys

import numpy as np
import pytest
from recall_worlds import CHAT, WIKI, BagOfWords, chat, wiki

from mnemic.errors import UsageError
from mnemic.storage.corpus_view import corpus_view
from mnemic.storage.recall import METHODS, open_method
from mnemic.storage.view import Method, Passage, Query, View

QUESTIONS = [
    "Who is the mother of Lothair II?", "What was the weather like at the lake?", "puppy", "", "the of and", "zzz qqq",
    'NEAR("Oslo" -Norway) OR *', "When did Ermengarde of Tours die?", "\x00", "🐕",
]  # fmt: skip


def ids(view, method, question, k=5):
    return [view.passages[hit.index].id for hit in open_method(method).recall(view, Query(question), k)]


def test_the_names_are_those_of_the_design():
    assert set(METHODS) == {
        "auto", "best-turn", "bm25", "dense", "hipporag", "hipporag2", "hybrid", "memgas", "rule-graph"
    }  # fmt: skip
    assert all(open_method(name).name == name for name in METHODS)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(
    "world", [wiki, chat, lambda: chat(summaries=True), lambda: corpus_view([], encoder=BagOfWords())]
)
def test_every_method_is_orderly(name, world):
    view, again = world(), world()
    method: Method = open_method(name)
    for question in QUESTIONS:
        hits = method.recall(view, Query(question), 6)
        assert len(hits) <= min(6, len(view.passages))
        assert len({hit.index for hit in hits}) == len(hits)
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        assert all(np.isfinite([hit.score, *hit.parts.values()]).all() for hit in hits)
        assert all(view.passages[hit.index].level in ("turn", "chunk") for hit in hits)
        assert list(hits) == list(open_method(name).recall(again, Query(question), 6))
        assert [h.index for h in hits[:2]] == [h.index for h in method.recall(view, Query(question), 2)]


def test_words():
    assert ids(wiki(), "bm25", "harbour in Norway") == ["6", "5", "2"]
    assert ids(wiki(), "bm25", "the of and zzz") == []


def test_equal_scores_keep_the_order():
    view = corpus_view([Passage(str(i), "the same text") for i in range(5)], encoder=BagOfWords())
    for name in ("bm25", "dense", "hybrid", "best-turn", "auto"):
        assert ids(view, name, "same text") == ["0", "1", "2", "3", "4"]


def test_dense_is_the_cosine():
    view = wiki()
    [first, *_] = open_method("dense").recall(view, Query("ships are moored in water"), 3)
    assert view.passages[first.index].id == "5"
    assert first.score == pytest.approx(float(view.vectors[5] @ view.encoder.encode(["ships are moored in water"])[0]))


def test_a_walk_crosses_passages():
    question = "Who directed Blue Harbour, and in which country was the director born?"
    assert ids(wiki(), "rule-graph", question)[:2] == ["2", "3"]
    found = ids(wiki(), "rule-graph", "Where was the director of the film Blue Harbour born?", 7)
    assert found.index("3") < found.index("6")  # shares no word with the question that others do not have too
    [hit, *_] = open_method("rule-graph").recall(wiki(), Query(question), 1)
    assert hit.path == ("names of the question: blue harbour",)
    assert set(hit.parts) == {"graph", "dense"}


def test_without_a_known_name_vectors_and_words_decide():
    view = wiki()
    hits = open_method("rule-graph").recall(view, Query("ships in sheltered water"), 7)
    assert view.passages[hits[0].index].id == "5"
    assert hits[0].path[0].startswith("fallback: vectors and words")
    assert set(hits[0].parts) == {"dense", "keyword"}
    alone = open_method("rule-graph", fallback_keywords=0.0).recall(view, Query("ships in sheltered water"), 7)
    dense = open_method("dense").recall(view, Query("ships in sheltered water"), 7)
    assert [hit.index for hit in alone] == [hit.index for hit in dense]


def test_titles_are_known_without_capitals():
    [hit, *_] = open_method("rule-graph").recall(wiki(), Query("who directed blue harbour?"), 1)
    assert hit.path == ("names of the question: blue harbour",)


def test_of_a_longer_name_the_known_parts_count():
    [hit, *_] = open_method("rule-graph").recall(wiki(), Query("Is Greater Tallinn Area near Oslo?"), 1)
    assert hit.path == ("names of the question: tallinn, oslo",)


def test_an_answer_is_found_by_its_question():
    """ "Biscuit." shares no word with the question; the turn before it does."""
    assert ids(chat(), "hybrid", "What name did the puppy get?")[0] in ("friday/1", "friday/2")
    assert "friday/2" in ids(chat(), "hybrid", "What is the name?", 2)
    assert ids(chat(), "best-turn", "rest for the knee")[0].startswith("tuesday")


def test_summaries_help_and_are_no_answers():
    found = ids(chat(summaries=True), "hybrid", "birds", 3)
    assert all(identity.startswith("monday") for identity in found)
    assert set(open_method("hybrid").recall(chat(summaries=True), Query("birds"), 1)[0].parts) == {
        "keyword", "vector", "session keyword", "summary keyword", "summary vector"
    }  # fmt: skip


def test_time_orders_the_turns_of_a_session():
    """Added in another order, with the times that they had, the turns make the same units."""
    turns = [Passage(f"{i}", text, level="turn", session="s", time=i) for i, text in enumerate(CHAT["tuesday"])]
    forward = corpus_view(turns, encoder=BagOfWords())
    backward = corpus_view(turns[::-1], encoder=BagOfWords())
    for question in ("knee", "the doctor", "fine"):
        scores = [
            {view.passages[hit.index].id: hit.score for hit in open_method("hybrid").recall(view, Query(question), 9)}
            for view in (forward, backward)
        ]
        assert scores[0] == pytest.approx(scores[1])


def test_auto_says_what_it_chose():
    for view, chosen in ((wiki(), "rule-graph"), (chat(), "hybrid")):
        [hit] = open_method("auto").recall(view, Query("Where is Oslo?"), 1)
        assert hit.path[0].startswith(f"auto: {chosen}, as ")
        plain = open_method(chosen).recall(view, Query("Where is Oslo?"), 1)
        assert hit.index == plain[0].index


def test_fusing_by_rank_is_an_option():
    hits = open_method("hybrid", rank_constant=60.0).recall(wiki(), Query("harbour of Oslo"), 7)
    best, *others = hits
    assert WIKI[best.index].title == "Oslo"
    assert best.parts == {"keyword": pytest.approx(1 / 61), "vector": pytest.approx(1 / 61)}
    assert all(hit.score < best.score for hit in others)


def test_a_graph_is_made_once():
    view = wiki(encoder := BagOfWords())
    method = open_method("hipporag")
    method.recall(view, Query("Oslo"), 3)
    before = encoder.encoded
    method.recall(view, Query("Oslo"), 3)
    assert encoder.encoded - before == 2  # the question and its name


def test_no_method_loads_torch():
    code = (
        "import sys\n"
        "from mnemic.storage.corpus_view import corpus_view\n"
        "from mnemic.storage.encoders import open_encoder\n"
        "from mnemic.storage.recall import METHODS, open_method\n"
        "from mnemic.storage.view import Passage, Query\n"
        "view = corpus_view([Passage('0', 'Oslo is in Norway.')], encoder=open_encoder())\n"
        "found = [len(open_method(name).recall(view, Query('Where is Oslo?'), 1)) for name in METHODS]\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules or found != [1] * len(METHODS))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bm52", {}, "unknown recall method 'bm52'; did you mean 'bm25'"),
        ("hybrid", {"damping": 1}, "'hybrid' has no option 'damping'"),
        ("hipporag", {"dampin": 1}, "no option 'dampin'; did you mean 'damping'"),
        ("hipporag", {"ensemble": "often"}, "ensemble is 'often'"),
        ("hipporag2", {"filter": "menton"}, "filter is 'menton'; must be mention, none, or an LLMFilter"),
        ("memgas", {"router": "inverse"}, "router is 'inverse'; did you mean 'inverse-entropy'"),
        ("memgas", {"level": "sesion"}, "level is 'sesion'; did you mean 'session'"),
        ("memgas", {"temperature": 0}, "temperature is 0; it must be above 0"),
    ],
)
def test_wrong_use(name, options, message):
    with pytest.raises(UsageError, match=message):
        open_method(name, **options)


def test_a_view_whose_parts_do_not_fit():
    view = wiki()
    with pytest.raises(UsageError, match=r"vectors has shape \(6, 512\)"):
        View(view.passages, view.encoder, view.vectors[:6], view.keywords)
    with pytest.raises(UsageError, match="level 'page' of a passage; known: turn"):
        corpus_view([Passage("0", "text", level="page")], encoder=BagOfWords())
    with pytest.raises(UsageError, match="extracted has 0 items for 1 passages"):
        corpus_view([Passage("0", "text")], encoder=BagOfWords(), extracted=[])
