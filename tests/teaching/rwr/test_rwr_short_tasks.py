"""Short tasks: one right answer each, which stands in the text or follows from it, and none that a guess would give."""

import re
from collections import Counter
from dataclasses import replace

import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.items import Passage, Turn
from mnemic.teaching.rwr.evaluation.questions import open_questions
from mnemic.teaching.rwr.evaluation.rule_reader import RuleReader
from mnemic.teaching.rwr.evaluation.scoring import score
from mnemic.teaching.rwr.evaluation.short_tasks import KINDS, short_tasks


def of(kind, count, **options):
    return list(short_tasks(count, kinds=(kind,), **options))


@pytest.mark.parametrize("kind", KINDS)
def test_the_text_is_short_and_suffices_and_without_it_there_is_no_answer(kind):
    for item in of(kind, 60):
        assert item.length() <= 40
        assert score(item, RuleReader()(item).answer).score == 1
        blank = replace(item, context=(Passage("text 1", (Turn("", ""),)),))
        assert score(item, RuleReader()(blank).answer).score == 0


def test_what_follows_is_what_an_order_of_people_says():
    """Who is more by the sentence must be more by a question that is to be answered with yes."""
    more = {"older", "taller", "faster", "richer"}

    def order(text):
        first, word, second = re.search(r"(\w+) (?:is )?(\w+) than (\w+)", text).groups()
        return [first, second] if word in more else [second, first]

    items = of("qa", 300)
    for item in items:
        asked = re.sub(r"^Is ", "", item.question)
        assert item.answers == ("yes" if order(item.context_text) == order(asked) else "no",)
    counts = Counter(item.answers[0] for item in items)
    assert all(120 <= count <= 180 for count in counts.values())
    # no word of the question gives the answer away
    by_word = Counter((re.search(r"(\w+) than", item.question)[1], item.answers[0]) for item in items)
    assert len(by_word) == 16


def test_a_fact_is_asked_for_among_one_or_two_and_a_list_in_its_order():
    facts = of("recall", 40)
    sentences = Counter(item.context_text.count(".") for item in facts)
    assert set(sentences) == {1, 2}
    assert all(item.answers[0] in item.context_text and item.answers[0] not in item.question for item in facts)
    for item in of("copy", 20):
        words = item.answers[0].split(", ")
        assert 4 <= len(set(words)) == len(words) <= 8
        assert score(item, ", ".join(reversed(words))).score == 0


def test_tasks_do_not_depend_on_how_many_are_made():
    assert list(short_tasks(3, start=2)) == list(short_tasks(9))[2:5]
    assert [item.question_type for item in short_tasks(4)] == ["copy", "recall", "qa", "copy"]
    assert len({item.digest for item in short_tasks(90)}) == 90
    assert of("copy", 5, seed=1) != of("copy", 5)


def test_they_are_opened_by_name():
    assert open_questions("short:like=recall-copy,count=4,seed=3") == list(
        short_tasks(4, seed=3, kinds=("recall", "copy"))
    )
    assert open_questions("short") == list(short_tasks(60))


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("short:like=riddle", "'copy', 'recall' or 'qa'"),
        ("short:count=0", "count=0"),
        ("short:length=9", "unknown option 'length'"),
    ],
)
def test_wrong_options_are_named(source, said):
    with pytest.raises(UsageError, match=said):
        open_questions(source)
