"""One layout for training, answering and evaluation: what is written can be read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.rwr.canon import EMPTY, UNANSWERABLE, is_abstention, is_empty_note
from mnemic.teaching.rwr.layout import (
    MODES,
    QUERY_POSITIONS,
    Reply,
    parse_reply,
    prompt_parts,
    prompt_text,
    target_text,
)

texts = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: bool(text.strip()))


@given(texts, texts, st.sampled_from(MODES))
def test_targets_are_read_back(summary: str, answer: str, mode: str) -> None:
    reply = parse_reply(target_text(summary, answer, mode=mode), mode=mode)
    assert reply.summary == (None if mode == "answer" else " ".join(summary.split()))
    assert reply.answer == (None if mode == "summary" else answer.strip())


def test_empty_rows_are_canonical() -> None:
    text = target_text(EMPTY, UNANSWERABLE)
    assert text == "Summary: empty\nAnswer: unanswerable"
    assert parse_reply(text) == Reply(EMPTY, UNANSWERABLE, is_empty=True, is_abstention=True)


@pytest.mark.parametrize("said", ["empty", "Empty.", ' "EMPTY" ', "**empty**", "", "  "])
def test_empty_notes(said: str) -> None:
    assert is_empty_note(said)
    assert parse_reply(f"Summary: {said}\nAnswer: x").is_empty


@pytest.mark.parametrize("said", ["the fridge is empty", "empty: nothing", "nothing"])
def test_notes_that_say_something(said: str) -> None:
    assert not is_empty_note(said)


def test_abstention_is_the_one_word() -> None:
    assert is_abstention("Unanswerable.")
    assert not is_abstention("It is unanswerable")
    assert not is_abstention("")


@pytest.mark.parametrize(
    ("text", "mode", "summary", "answer"),
    [
        ("Paris", "summary+answer", None, "Paris"),
        ("Paris", "summary", "Paris", None),
        ("", "answer", None, None),
        ("Answer: a\nSummary: late", "summary+answer", None, "a\nSummary: late"),
        ("Sure!\nsummary: one\ntwo\nANSWER: b\nAnswer: c", "summary+answer", "one\ntwo", "b\nAnswer: c"),
        ("Summary: cut off befo", "summary+answer", "cut off befo", None),
        ("Summary: x\nAnswer:", "summary+answer", "x", None),
    ],
)
def test_what_untaught_models_write(text: str, mode: str, summary: str | None, answer: str | None) -> None:
    reply = parse_reply(text, mode=mode)
    assert (reply.summary, reply.answer) == (summary, answer)


@given(texts, texts, texts, st.sampled_from(MODES))
def test_a_state_that_read_the_context_serves_all_questions(context: str, one: str, other: str, mode: str) -> None:
    assert prompt_parts(context, one, mode=mode)[0] == prompt_parts(context, other, mode=mode)[0]


@given(texts, texts, st.sampled_from(MODES), st.sampled_from(QUERY_POSITIONS))
def test_parts_are_the_prompt(context: str, query: str, mode: str, position: str) -> None:
    whole = prompt_text(context, query, mode=mode, query_position=position)
    read, asked = prompt_parts(context, query, mode=mode, query_position=position)
    assert whole == read + asked
    assert context.strip() in read
    assert query.strip() in (asked if position == "after" else read)
    assert bool(asked) == (position != "before")


def test_each_mode_asks_for_something_else() -> None:
    assert len({prompt_text("c", "q", mode=mode) for mode in MODES}) == len(MODES)


def test_wrong_use() -> None:
    with pytest.raises(UsageError, match="mode is 'sumary'; did you mean 'summary'"):
        prompt_text("c", "q", mode="sumary")
    with pytest.raises(UsageError, match="query_position is 'first'"):
        prompt_text("c", "q", mode="answer", query_position="first")
    with pytest.raises(UsageError, match="'empty'"):
        target_text(" ", "a")
    with pytest.raises(UsageError, match="'unanswerable'"):
        target_text("s", None)
