"""Text that comes in pieces is the text that would have come whole."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from taught_checkpoint import byte_tokenizer

from mnemic.teaching.memento.text_stream import Detokeniser, Piece, Splitter, StopStrings, Watch

TOKENIZER = byte_tokenizer()
TAGS = ["<think>", "</think>", "<|block_start|>", "<|block_end|>", "<|summary_start|>", "<|summary_end|>"]
WORDS = st.lists(st.sampled_from(["a", "b ", "<", "<|", "think", "é", "\n", *TAGS]), max_size=12)


@given(st.lists(st.integers(0, 255), max_size=30))
def test_pushed_and_flushed_text_is_the_whole_text(ids: list[int]) -> None:
    words = Detokeniser(TOKENIZER)
    assert "".join(words.push(token) for token in ids) + words.flush() == TOKENIZER.decode(ids)


@given(st.text(max_size=20))
def test_no_piece_holds_half_a_character(text: str) -> None:
    words = Detokeniser(TOKENIZER)
    pieces = [words.push(token) for token in TOKENIZER.encode(text)]
    assert words.flush() == ""
    assert "".join(pieces) == text
    if "\N{REPLACEMENT CHARACTER}" not in text:
        assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), st.data())
def test_a_watch_cuts_at_what_it_looks_for_however_the_text_comes(
    text: str, wanted: list[str], data: st.DataObject
) -> None:
    watch, said, found = Watch(wanted), "", []
    for piece in cut(text, data):
        for before, hit in watch.push(piece):
            assert not any(w in before for w in wanted)
            said += before + (hit or "")
            found += [hit] if hit else []
    assert said + watch.flush() == text
    assert bool(found) == any(w in text for w in wanted)


@settings(max_examples=200)
@given(WORDS, st.booleans(), st.data())
def test_thinking_and_answer_are_split_the_same_however_the_text_comes(
    words: list[str], thinking: bool, data: st.DataObject
) -> None:
    text = "".join(words)
    whole = joined(Splitter("split", thinking), [text])
    assert joined(Splitter("split", thinking), cut(text, data)) == whole
    assert not any(tag in said for said in whole.values() for tag in TAGS)


@pytest.mark.parametrize(
    ("text", "thinking", "reasoning", "content"),
    [
        ("<think>a<|block_start|>b<|block_end|>c</think>\n\nd", False, "abc", "d"),
        ("b</think>d", True, "b", "d"),
        ("plain", False, "", "plain"),
        ("<|block_start|>b<|block_end|><|summary_start|>m<|summary_end|>answer", False, "bm", "answer"),
        ("<think>never closed", False, "never closed", ""),
        ("</thinks a < b", True, "</thinks a < b", ""),
        ("  \n x <|im_end|>y", False, "", "x y"),
    ],
)
def test_what_counts_as_thinking(text: str, thinking: bool, reasoning: str, content: str) -> None:
    said = joined(Splitter("split", thinking, special=["<|im_end|>"]), list(text))
    assert said == {"reasoning": reasoning, "content": content}


@given(st.text("abc", max_size=20), st.lists(st.text("abc", min_size=1, max_size=3), max_size=2), st.data())
def test_text_ends_before_the_first_stop_string(text: str, stop: list[str], data: st.DataObject) -> None:
    stops, said = StopStrings(stop), ""
    for piece in cut(text, data):
        said += "".join(shown for _, shown in stops.push([Piece("content", piece)]))
        if stops.found:
            break
    else:
        said += "".join(shown for _, shown in stops.flush())
    ends = [at for at in (text.find(one) for one in stop) if at >= 0]
    if not ends:
        assert (said, stops.found) == (text, None)
    else:
        assert stops.found in stop
        assert text.startswith(said + str(stops.found))
        assert not any(one in said for one in stop)


@given(WORDS, st.data())
def test_plain_text_has_no_markers_and_raw_text_has_all(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    assert joined(Splitter("raw"), cut(text, data)) == {"reasoning": "", "content": text}
    plain = joined(Splitter("plain", thinking=True), cut(text, data))
    assert plain == {"reasoning": "", "content": joined(Splitter("plain"), [text])["content"]}
    assert not any(tag in plain["content"] for tag in TAGS if "|" in tag)


def test_a_stop_string_does_not_reach_from_the_thinking_into_the_answer() -> None:
    stops = StopStrings(["ab"])
    assert stops.push([Piece("reasoning", "xa"), Piece("content", "b")]) == [
        Piece("reasoning", "x"),
        Piece("reasoning", "a"),
        Piece("content", "b"),
    ]


def joined(splitter: Splitter, pieces: Sequence[str]) -> dict[str, str]:
    said = {"reasoning": "", "content": ""}
    for piece in pieces:
        for channel, text in splitter.push(piece):
            said[channel] += text
    for channel, text in splitter.flush():
        said[channel] += text
    return said


def cut(text: str, data: st.DataObject) -> list[str]:
    edges = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=8))})
    return [text[start:end] for start, end in pairwise(edges)]
