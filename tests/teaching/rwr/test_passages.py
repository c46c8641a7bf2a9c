"""Passages are the whole text in order, fit their room, and keep their dates."""

import itertools
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.rwr.passages import passages

DIALOGUE = """Session 1, 2023-05-01
User: I adopted a cat. She is grey.
Assistant: What is her name?
User: Her name is Nimbus.

Session 2, 12 June 2023
User: I moved to Oslo on 2023-06-10, which was the busiest day of the whole of this year.
Assistant: Noted."""


def words(text: str) -> int:
    return len(text.split())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(["a ", "bb ", "ccc. ", "\n", "\n\n", "User: ", "2024-01-02\n", "é", "dddddd"]), max_size=60
    ),
    st.integers(1, 12),
    st.sampled_from([words, len]),
)
def test_spans_follow_each_other_and_fit(parts: list[str], room: int, count) -> None:
    text = "".join(parts)
    found = list(passages(text, room, count))
    assert "".join("".join(text[p.start : p.end].split()) for p in found) == "".join(text.split())
    for one, following in itertools.pairwise(found):
        assert one.end <= following.start
        assert not text[one.end : following.start].strip()
    for one in found:
        assert one.text.endswith(text[one.start : one.end].strip("\n"))
        assert count(one.text) <= room


def test_turns_stay_whole_and_carry_the_date_of_their_session() -> None:
    found = [p.text for p in passages(DIALOGUE, 17, words)]
    assert all(text.splitlines()[0].startswith("Session ") for text in found)
    turns = [line for text in found for line in text.splitlines() if re.match("User|Assistant", line)]
    assert turns[:4] == DIALOGUE.splitlines()[1:4] + turns[3:4]  # short turns were not cut
    nimbus = next(text for text in found if "Nimbus" in text)
    oslo = next(text for text in found if "Oslo" in text)
    assert "2023-05-01" in nimbus and "12 June" not in nimbus  # noqa: PT018
    assert oslo.startswith("Session 2, 12 June 2023")


def test_a_sentence_with_a_date_heads_nothing() -> None:
    text = "We met on 2023-05-01.\n\none two three\n\nfour five six"
    assert [p.text for p in passages(text, 4, words)] == ["We met on 2023-05-01.", "one two three", "four five six"]


def test_no_text_has_no_passages_and_no_room_is_refused() -> None:
    assert list(passages(" \n\n ", 5, words)) == []
    with pytest.raises(UsageError, match="room is 0"):
        list(passages("a", 0, words))
