"""What histories say of themselves is so: their length, their facts, and where the answers stand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.teaching.rwr.canon import UNANSWERABLE
from mnemic.teaching.rwr.histories import QUESTION_KINDS, HistoryRules, histories, history_rules
from mnemic.teaching.rwr.verification import holds
from mnemic.teaching.tokens import ApproximateTokens


def one(**rules):
    return next(histories(HistoryRules(count=1, **rules)))


@pytest.mark.parametrize("style", ["dialogue", "notes"])
@pytest.mark.parametrize("tokens", [200, 1000, 20_000])
def test_they_are_as_long_as_asked_for(tokens, style):
    found = ApproximateTokens().count(one(tokens=tokens, style=style).context)
    assert tokens * 0.98 <= found <= tokens * 1.05 + 40


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["dialogue", "notes"]), st.integers(200, 3000), st.integers(5, 15))
def test_answers_follow_from_their_evidence_and_from_nothing_else(seed, style, tokens, questions):
    history = one(seed=seed, style=style, tokens=tokens, questions=questions)
    context = history.context
    said = {fact.turn: fact for fact in history.facts}
    for question in history.questions:
        if question.kind == "absent":
            assert (question.answer, question.evidence) == (UNANSWERABLE, ())
            continue
        assert all(history.turns[turn].text in context for turn in question.evidence)
        if question.kind == "temporal":
            assert history.heading_of(question.evidence[0]) == f"[{question.answer}]"
        else:
            assert all(holds(history.turns[t].text, said[t].value) for t in question.evidence)
            assert all(holds(question.answer, said[t].value) for t in question.evidence)
        for turn in question.evidence:
            later = [f for f in history.facts if f.turn > turn and f.person == said[turn].person]
            assert said[turn].attribute not in [fact.attribute for fact in later]


def test_updates_change_what_was_said_before():
    history = one(tokens=4000)
    updates = [question for question in history.questions if question.kind == "update"]
    assert updates
    values = {fact.turn: fact.value for fact in history.facts}
    for question in updates:
        assert question.earlier[0] < question.evidence[0]
        assert values[question.earlier[0]] != question.answer


def test_kinds_come_in_turn_and_what_is_absent_was_never_said():
    history = one(questions=10)
    assert {question.kind for question in history.questions} == set(QUESTION_KINDS)
    asked = {fact.attribute.question(fact.person) for fact in history.facts}
    assert not asked & {question.query for question in history.questions if question.kind == "absent"}


def test_days_go_forward_and_are_written_above_their_turns():
    history = one(tokens=2000)
    days = [turn.day for turn in history.turns]
    assert days == sorted(days)
    lines = history.context.split("\n")
    assert lines[0] == history.heading_of(0)
    assert lines.count(history.heading_of(0)) == 1


def test_more_of_them_change_none():
    few, many = (list(histories(HistoryRules(count=count, seed=3))) for count in (2, 4))
    assert many[:2] == few
    assert few != list(histories(HistoryRules(count=2, seed=4)))


def test_specs():
    assert history_rules("histories:count=3,tokens=500,style=notes") == HistoryRules(count=3, tokens=500, style="notes")
    with pytest.raises(UsageError, match="unknown option 'token'; did you mean 'tokens'"):
        history_rules("histories:token=5")
    with pytest.raises(UsageError, match="facts is 9999"):
        one(facts=9999)
