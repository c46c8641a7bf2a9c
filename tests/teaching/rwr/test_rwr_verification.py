"""A note is judged by words first, and by a model only where words leave it open."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.llm import BadReply, FakeLLM
from mnemic.teaching.rwr.canon import EMPTY
from mnemic.teaching.rwr.summaries import NOTE_TAG, write_note
from mnemic.teaching.rwr.verification import holds, overlap, verify_free, verify_note

words = st.lists(st.sampled_from(["red", "17", "7", "Lisbon", "the", "3.5", "x"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("text", "answer", "there"),
    [
        ("Room 17 is closed", "7", False),
        ("Room 7, closed", "7", True),
        ("It costs 3.5 euros", "5", False),
        ("She moved to the City of Lisbon.", "city of lisbon", True),
        ("the oboe", "The Oboe!", True),
        ("A", "a", True),
        ("moved to Porto", "", False),
        ("moved to Porto", "...", False),
        ("Ólafur grüßte", "ÓLAFUR GRÜSSTE", True),
    ],
)
def test_words_of_an_answer_in_a_text(text, answer, there):
    assert holds(text, answer) is there


@given(words, st.sampled_from(["red", "7", "red 7", "3.5 x Lisbon"]), words)
def test_what_is_in_a_part_is_in_the_whole(before, answer, after):
    assert holds(f"{before} {answer} {after}", answer)


@given(words, words)
def test_overlap_is_a_share_and_symmetric(one, other):
    assert overlap(one, other) == overlap(other, one)
    assert 0 <= overlap(one, other) <= 1
    if holds(one, one):
        assert overlap(one, one) == 1


def test_overlap_by_hand():
    assert overlap("red blue blue", "blue green") == pytest.approx(2 * 1 / 5)


def test_an_alias_is_enough():
    assert verify_free("He lives in NYC", ["New York", "NYC"]).method == "contains"
    assert not verify_free("He lives in NYC", ["New York"]).ok


def test_words_that_agree_are_enough():
    found = verify_free("code four seven nine", ["code seven four nine"])
    assert (found.method, found.ok) == ("f1", True)


@pytest.mark.parametrize("said", [True, False])
def test_a_model_is_asked_only_for_the_rest(said):
    llm = FakeLLM([(".", {"holds": said})])
    assert verify_note("Which?", "It is 7", ["7"], llm).method == "contains"
    assert llm.calls == []
    found = verify_note("Which?", "It is seven", ["7"], llm)
    assert (found.method, found.ok, found.score) == ("llm", said, float(said))
    assert len(llm.calls) == 1
    assert verify_note("Which?", "It is seven", ["7"], None).method == "f1"


@pytest.mark.parametrize("said", ["Empty.", "EMPTY", ' "empty" '])
def test_notes_that_hold_nothing_are_one_word(said):
    assert write_note("c", "q", FakeLLM([(".", {"summary": said})])) == EMPTY


def test_notes_are_one_line_and_never_blank():
    llm = FakeLLM([(lambda call: call.asked_again > 0, {"summary": "one\n two"}), (".", {"summary": " "})])
    assert write_note("c", "q", llm) == "one two"
    assert [call.tag for call in llm.calls] == [NOTE_TAG] * 2
    with pytest.raises(BadReply, match=r"<\|block_end\|>"):
        write_note("c", "q", FakeLLM([(".", {"summary": "x <|block_end|>"})]))
