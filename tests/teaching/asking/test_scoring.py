"""What answers are worth, by hand."""

import pytest

from mnemic.errors import UsageError
from mnemic.tasks.prompts import Question
from mnemic.teaching.asking.scoring import effective_length, score


def question(*answers, scoring="all", context="", query="\nWhat is it?", prefix=""):
    return Question(context, query, prefix, answers, (), {}, scoring)


UUID = "8d4a2151-31f9-46e8-86d1-8b8e47bb8cb3"
OTHER = "00000000-31f9-46e8-86d1-8b8e47bb8cb3"


@pytest.mark.parametrize(
    ("answers", "said", "score_", "exact", "precision"),
    [
        (["1234567"], " 1234567.", 1, 1, 1),
        (["1234567"], "It is 1234567, I think.", 1, 1, 1),
        (["1234567"], "7654321", 0, 0, 0),
        (["1234567"], "I do not know.", 0, 0, None),
        (["1234567"], "1234567, 2222222, 3333333, 4444444", 1, 0, 0.25),
        (["1111111", "2222222"], "1111111", 0.5, 0, 1),
        (["1111111", "2222222"], "2222222 and 1111111", 1, 1, 1),
        (["1111111", "2222222", "3333333", "4444444"], "1111111 2222222 9999999", 0.5, 0, 2 / 3),
        ([UUID], UUID.upper(), 1, 1, 1),
        ([UUID], f"{OTHER}", 0, 0, 0),
        (["ABCDE", "FGHIJ"], "ABCDE, FGHIJ, KLMNO", 1, 0, 2 / 3),
        (["ABCDE", "FGHIJ"], "abcde", 0.5, 0, None),
    ],
)
def test_share_of_the_answers_said(answers, said, score_, exact, precision):
    found = score(question(*answers), said)
    assert (found.score, found.exact) == (score_, exact)
    assert found.precision == pytest.approx(precision)
    if not precision or not score_:
        assert found.f1 == 0


def test_words_of_the_question_are_no_answers_and_words_must_stand_in_the_context():
    asked = question("river", "stone", context="river stone river cloud", query="\nWhich words come most often?")
    assert score(asked, "The words are river and stone, often.").precision == 1
    assert score(asked, "river cloud").precision == 0.5


def test_f1_is_of_precision_and_recall():
    found = score(question("1111111", "2222222"), "1111111 3333333")
    assert found.f1 == pytest.approx(0.5)
    assert score(question("1111111", "2222222"), "1111111").f1 == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("scoring", "said", "worth"),
    [
        ("any", "The colour is Blue.", 1),
        ("any", "red", 0),
        ("exact", "  blue\nred", 1),
        ("exact", "blue.", 0),
        ("exact", "Blue", 0),
    ],
)
def test_any_and_exact(scoring, said, worth):
    assert score(question("blue", "azure", scoring=scoring, context="blue azure red"), said).score == worth


LENGTHS = [4096, 8192, 16384, 32768, 65536, 131072]


@pytest.mark.parametrize(
    ("published", "effective"),
    [
        ([95.5, 93.8, 91.6, 87.4, 84.7, 77.0], 32768),  # Llama-3.1-8B, RULER's table
        ([96.5, 95.8, 95.4, 94.8, 88.4, 66.6], 65536),  # Llama-3.1-70B
        ([80.0, 70.0, 60.0, 50.0, 40.0, 30.0], 0),
    ],
)
def test_effective_length(published, effective):
    assert effective_length(dict(zip(LENGTHS, published, strict=True))) == effective


def test_no_scores_have_no_effective_length():
    with pytest.raises(UsageError, match="scores is empty"):
        effective_length({})
