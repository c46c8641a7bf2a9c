"""Counts of tokens: by rule near to a real vocabulary's, or by the tokenizer that is named."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.tokens import ApproximateTokens, token_counter

# Counts of cl100k_base, known from its published examples and the vocabulary's own words.
KNOWN = {"hello world": 2, "tiktoken is great!": 6, "2 + 2 = 4": 7, "": 0, "12345": 2, "The quick brown fox": 4}


@pytest.mark.parametrize(("text", "count"), KNOWN.items())
def test_close_to_cl100k(text, count):
    assert abs(ApproximateTokens().count(text) - count) <= max(2, count // 3)


@given(st.text(), st.text())
@example("¹¹", "AAAAAA")
@example("A" * 8, "é")
@example("!", "\n" * 12)
@example(" ", "'s" + "A" * 8)
def test_every_character_is_counted_and_order_hardly_matters(a, b):
    count = ApproximateTokens().count
    assert (count(a) == 0) == (a == "")
    assert count(a + b) <= count(a) + count(b) + 1
    assert count(f"{a}\n\nword") > count(a)


def test_scripts_other_than_latin_take_more():
    count = ApproximateTokens().count
    assert count("слово " * 20) > count("words " * 20)


def test_a_tokenizer_that_is_named_counts(tmp_path, make_tokenizer):
    make_tokenizer(markers=False).save_pretrained(tmp_path)
    for spec in (tmp_path, tmp_path / "tokenizer.json"):
        counter = token_counter(str(spec))
        assert counter.count("w1 w2 <think> w3") == 4
        assert counter.name == f"tokenizer:{spec.name}"


def test_what_counted_is_named():
    assert token_counter().name == "approximate-cl100k/1"


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="no tokenizer"):
        token_counter(str(tmp_path))
