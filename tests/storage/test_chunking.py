from hypothesis import given
from hypothesis import strategies as st

from mnemic.storage.chunking import chunks

TEXT = st.text(alphabet="ab .\n!", max_size=300)


@given(TEXT, st.integers(4, 60))
def test_pieces_hold_all_but_the_space_between_them_and_none_is_long(text: str, longest: int) -> None:
    pieces = chunks(text, longest)
    assert all(0 < end - begin <= longest for begin, end in pieces)
    outside, last = "", 0
    for begin, end in pieces:
        assert begin >= last
        outside, last = outside + text[last:begin], end
    assert not (outside + text[last:]).strip()


def test_a_text_is_cut_where_a_paragraph_ends_and_else_where_a_sentence_does() -> None:
    text = "One two three. Four five.\n\nSix seven. Eight nine ten."
    assert [text[a:b] for a, b in chunks(text, 40)] == ["One two three. Four five.", "Six seven. Eight nine ten."]
    assert chunks("One two three. Four five six.", 20)[0] == (0, len("One two three."))


def test_a_word_longer_than_a_piece_is_cut_hard() -> None:
    assert chunks("x" * 25, 10) == [(0, 10), (10, 20), (20, 25)]
