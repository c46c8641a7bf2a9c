"""Names by their capitals, and what rules make of a passage."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.storage.names import names, query_names, sentences
from mnemic.storage.phrases import cleaned, fact_text, normalised
from mnemic.storage.rule_extraction import extract_by_rules


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Who is the mother of Ermengarde of Tours?", ["Ermengarde of Tours"]),
        ("When did John F. Kennedy visit St. Louis?", ["John F. Kennedy", "St. Louis"]),
        (
            "The Bank of the West and Marie Curie's brother met in São Paulo.",
            ["Bank of the West", "Marie Curie", "São Paulo"],
        ),
        ("What is AT&T, or Procter & Gamble?", ["AT&T", "Procter & Gamble"]),
        ("She was born on 7 November 1867, he in 1859.", ["7 November 1867"]),
        ("In Oslo, Norway the O'Brien-Smith Trio played.", ["Oslo", "Norway", "O'Brien-Smith Trio"]),
        ("Вчера мы ждали Анну Петрову в Таллине.", ["Вчера", "Анну Петрову", "Таллине"]),
        ("why does it rain?", []),
        ("It is. The. He", []),
        ("", []),
    ],
)
def test_names(text, expected):
    assert names(text) == expected


def test_a_question_names_each_once():
    assert query_names("Is Oslo near Bergen, and is Oslo large?") == ["Oslo", "Bergen"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?\nFour", ["One.", "Two!", "Three?", "Four"]),
        ("J. R. Smith met Dr. Jones. They left.", ["J. R. Smith met Dr. Jones.", "They left."]),
        ('"Stop." He ran.', ['"Stop.', "He ran."]),
        ("", []),
    ],
)
def test_sentences(text, expected):
    assert sentences(text) == expected


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_taken(text):
    assert all(name in text for name in names(text))
    extracted = extract_by_rules(text[:20], text)
    assert all(normalised(e.name) == e.norm_name for e in extracted.mentions)
    assert {e for pair in extracted.pairs for e in pair} <= set(extracted.mentions)


def test_phrases():
    assert cleaned(" São  Paulo's (city)! ") == "são  paulo s  city"
    assert normalised("Blue  Harbour (film)") == "blue harbour"
    assert normalised("(film)") == "film"
    assert fact_text("a", "b", "c") == "('a', 'b', 'c')"


def test_rules_count_sentences():
    found = extract_by_rules("Oslo (city)", "Oslo lies in Norway. Norway and Sweden share a border. It is cold.")
    mentions = {entity.norm_name: count for entity, count in found.mentions.items()}
    assert mentions == {"oslo": 2, "norway": 2, "sweden": 1}
    pairs = {(a.norm_name, b.norm_name): count for (a, b), count in found.pairs.items()}
    assert pairs == {("norway", "oslo"): 2, ("norway", "sweden"): 1, ("oslo", "sweden"): 1}
    assert {entity.type for entity in found.mentions} == {"span"}
    assert found.facts == ()


def test_a_list_of_names_stays_cheap():
    text = ", ".join(f"Name{chr(97 + i % 26)}{chr(97 + i // 26)}" for i in range(600))
    assert len(extract_by_rules("", text).pairs) == 40 * 39 // 2
