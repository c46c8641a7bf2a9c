"""What holds the answer goes, the rest stays as it is, and the length does not tell."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.llm import FakeLLM
from mnemic.teaching.pipeline import Dropped
from mnemic.teaching.rwr.evidence import EVIDENCE_TAG, Distractors, passages_of, remove_evidence
from mnemic.teaching.rwr.verification import holds

LINES = ["Ann: hello there", "  Ben: my code is 4417 now", "", "Ann: fine weather today", "Ben: it is hot", ""]
CONTEXT = "\n".join(LINES)
OTHERS = Distractors(["Somebody: bicycles are cheap\nSomebody: it is 4417 or so\nNobody came by today, or did he"])

lines = st.lists(st.sampled_from(["red 7", "blue", "", " x y z ", "Long. " * 90, "7"]), max_size=8).map("\n".join)


def removed(context=CONTEXT, answers=("4417",), **options):
    options = {"distractors": OTHERS, "rng": random.Random(1), **options}
    return remove_evidence(context, "Which code?", answers, **options)


@given(st.one_of(lines, st.text()))
def test_passages_are_the_text(text):
    assert "".join(text[a:b] for a, b in passages_of(text)) == text
    assert all(a < b for a, b in passages_of(text))


def test_long_lines_go_by_sentences():
    assert len(passages_of("One of it. " * 60)) == 60


def test_a_distractor_of_equal_length_stands_in():
    found = removed()
    assert not holds(found, "4417")
    before, after = CONTEXT.split("\n"), found.split("\n")
    assert [b == a for b, a in zip(before, after, strict=True)] == [True, False, True, True, True, True]
    assert len(after[1].split()) == len(before[1].split())
    assert after[1].startswith("  ")
    assert removed() == found


def test_or_nothing_does():
    assert removed(replacement="drop") == CONTEXT.replace("Ben: my code is 4417 now\n\n", "")


def test_every_spelling_goes():
    assert not holds(removed(answers=("4417", "hot")), "hot")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"answers": ("9999",)}, "answer_not_in_context"),
        ({"context": "7 a\n7 b\n7 c\nd", "answers": ("7",)}, "answer_everywhere"),
        ({"context": "it is 4417"}, "answer_everywhere"),
        ({"context": "it is 4417", "most_removed": 1.0}, "answer_everywhere"),
        ({"distractors": Distractors([])}, "no_distractor"),
        ({"distractors": Distractors(["all say 4417", "and 4417"])}, "no_distractor"),
        ({"distractors": Distractors([CONTEXT])}, "no_distractor"),
        ({"context": "a 44\n17 b\nit is 44 17\nc\nd", "answers": ("44 17",)}, "answer_across_passages"),
    ],
)
def test_what_cannot_be_removed(options, reason):
    with pytest.raises(Dropped, match=f"^{reason}:"):
        removed(**options)


def test_a_model_finds_what_words_do_not_show():
    llm = FakeLLM([(".", {"passages": [2]})])
    found = removed(method="llm", llm=llm)
    assert "hello" in found
    assert "weather" not in found
    assert not holds(found, "4417")
    assert [call.tag for call in llm.calls] == [EVIDENCE_TAG]
    assert "weather" not in removed(method="llm", llm=llm, answers=("no such words",))


@given(lines, st.integers(0, 5))
def test_whatever_comes_out_is_without_the_answer_and_as_long(text, seed):
    try:
        found = removed(text, ("7",), rng=random.Random(seed), most_removed=0.9)
    except Dropped:
        return
    assert not holds(found, "7")
    assert len(found.split()) == len(text.split())
