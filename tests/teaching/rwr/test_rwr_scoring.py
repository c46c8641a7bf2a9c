"""Scores of answers, with and without a judge, and what many of them say together."""

import pytest

from mnemic.llm import BadReply, FakeLLM
from mnemic.teaching.rwr.evaluation.items import EvaluationItem, Passage, Turn
from mnemic.teaching.rwr.evaluation.judging import JUDGE_TAG, LLMJudge
from mnemic.teaching.rwr.evaluation.scoring import abstains, score
from mnemic.teaching.rwr.evaluation.summary import length_bucket, summarise
from mnemic.teaching.rwr.speed import Speed


def asked(answer="Oslo", **changes):
    context = (Passage("session 1", (Turn("user", "I live in Oslo."),), date="2024/01/08 (Mon) 09:00"),)
    return EvaluationItem(**{"id": "q", "context": context, "question": "Where do I live?", "answers": (answer,),
                             "question_type": "fact", "category": "test"} | changes)  # fmt: skip


def row(score, *, kind="fact", is_abstention=False, abstained=False, length=100):
    return {"question_type": kind, "category": "test", "is_abstention": is_abstention, "abstained": abstained,
            "length": length, "score": score, "scored_by": "exact", "metrics": {"exact": score}}  # fmt: skip


@pytest.mark.parametrize(
    ("said", "does"),
    [
        ("unanswerable", True),
        ("'Unanswerable.'", True),
        ("The history does not say.", True),
        ("You did not mention that", True),
        ("I don't know", True),
        ("There is no information about it.", True),
        ("Oslo", False),
        ("No, the blue one", False),
        ("You know Anna from school", False),
    ],
)
def test_what_counts_as_abstaining(said, does):
    assert abstains(said) is does


def test_without_a_judge_the_metric_of_the_item_decides():
    assert score(asked(), "In Oslo").score == 1
    assert score(asked(metric="exact"), "In Oslo").score == 0
    assert score(asked(), "You did not say Oslo").score == 0
    nothing = asked("unanswerable", is_abstention=True)
    assert (score(nothing, "I do not know").score, score(nothing, "Oslo").score) == (1, 0)
    assert score(nothing, "I do not know").scored_by == "abstained"


def test_the_judge_sees_the_rule_of_the_question_and_decides():
    llm = FakeLLM([(r"off by one", {"correct": True}), (r"cannot be answered from", {"correct": False})])
    judge = LLMJudge(llm)
    found = score(asked("12 days", judging="temporal"), "13 days", judge)
    assert (found.score, found.scored_by, found.metrics["judge"], found.metrics["exact"]) == (1, "judge", 1, 0)
    refused = score(asked(is_abstention=True, judging="abstention"), "unanswerable", judge)
    assert (refused.score, refused.abstained) == (0, False)
    assert [call.tag for call in llm.calls] == [JUDGE_TAG] * 2
    assert "13 days" in llm.calls[0].text
    assert "12 days" in llm.calls[0].text


def test_a_judge_that_will_not_decide_is_no_verdict():
    with pytest.raises(BadReply):
        score(asked(), "Oslo", LLMJudge(FakeLLM([(".", "perhaps")])))


def test_rankings_are_scored_by_their_order_with_or_without_a_judge():
    item = asked("1 0", answers=("1 0", "2 2", "3 1"), metric="ndcg@10")
    judge = LLMJudge(FakeLLM([]))
    assert score(item, "2 > 3 > 1", judge).score == 1
    assert 0 < score(item, "1 > 3 > 2").score < 1


def test_lengths_in_training_lengths():
    assert [length_bucket(n, 100) for n in (1, 100, 101, 400, 1600, 1601)] == ["1×", "1×", "2×", "4×", "16×", "32×"]
    assert [length_bucket(n, None) for n in (1, 1024, 1025, 5000)] == ["≤ 1,024", "≤ 1,024", "≤ 2,048", "≤ 8,192"]


def test_a_summary_by_type_and_length_with_intervals():
    rows = [row(1.0)] * 6 + [row(0.0, length=350)] * 2 + [row(0.5, kind="count", length=150)]
    rows += [row(1.0, is_abstention=True, abstained=True), row(0.0, is_abstention=True)]
    found = summarise([*rows, row(0.0, abstained=True)], 100, failed=3)
    means = {name: (group["n"], round(group["score"], 4)) for name, group in found.groups.items()}
    assert means == {
        "all": (12, round(7.5 / 12, 4)),
        "answerable": (10, 0.65),
        "abstention": (2, 0.5),
        "type fact": (9, round(6 / 9, 4)),
        "type count": (1, 0.5),
        "length 1×": (7, round(6 / 7, 4)),
        "length 2×": (1, 0.5),
        "length 4×": (2, 0.0),
    }
    assert list(found.groups)[-3:] == ["length 1×", "length 2×", "length 4×"]
    assert found.abstention == {"precision": 0.5, "recall": 0.5, "abstained": 2, "unanswerable": 2}
    assert found.failed == 3
    for group in found.groups.values():
        assert group["low"] <= group["score"] <= group["high"]
    assert found.groups["all"]["low"] < found.groups["all"]["high"]
    assert found.groups["type count"]["low"] == found.groups["type count"]["high"] == 0.5


def test_abstaining_by_length_is_of_all_questions_of_that_length():
    right, wrong = row(1.0, is_abstention=True, abstained=True), row(0.0, abstained=True)
    rows = [right, right, wrong, row(1.0)]
    rows += [one | {"length": 1700} for one in (right, wrong, row(0.0, is_abstention=True), row(1.0))]
    found = summarise(rows, 100)
    assert found.abstention == {"precision": 0.6, "recall": 0.75, "abstained": 5, "unanswerable": 4}
    assert found.abstention_by_length == {
        "length 1×": {"precision": 2 / 3, "recall": 1, "abstained": 3, "unanswerable": 2},
        "length 32×": {"precision": 0.5, "recall": 0.5, "abstained": 2, "unanswerable": 2},
    }
    assert (found.groups["length 1×"]["n"], found.groups["length 32×"]["n"]) == (2, 2)


def test_costs_are_added_up_and_what_nobody_knows_is_left_open():
    speed = Speed(100, 2.0, 10, 5.0, held_bytes=64).as_json()
    other = Speed(300, 2.0, 30, 5.0, held_bytes=32).as_json()
    known = {"prompt_tokens": 100, "completion_tokens": 10, "seconds": 7.5}
    rows = [row(1.0) | known | {"speed": one, "state_bytes": 16} for one in (speed, other)]
    cost = summarise(rows).cost
    assert (cost["prompt_tokens"], cost["completion_tokens"], cost["seconds"], cost["state_bytes"]) == (200, 20, 15, 16)
    assert (cost["speed"]["prefill_per_second"], cost["speed"]["decode_per_second"]) == (100, 4)
    assert cost["speed"]["held_bytes"] == 64
    served = summarise([row(1.0) | known | {"speed": None, "state_bytes": None}]).cost
    assert (served["seconds"], served["speed"], served["state_bytes"]) == (7.5, None, None)
    assert set(summarise([row(1.0)]).cost.values()) == {None}


def test_precision_and_recall_of_nothing_are_not_numbers():
    found = summarise([row(1.0)])
    assert (found.abstention["precision"], found.abstention["recall"]) == (None, None)
    assert set(found.groups) == {"all", "type fact", "length ≤ 1,024"}


def test_the_mean_of_categories_counts_each_once():
    found = summarise([row(1.0)] * 3 + [row(0.0) | {"category": "other"}])
    assert (found.groups["category test"]["score"], found.groups["category other"]["score"]) == (1, 0)
    assert found.category_mean == 0.5
    assert found.groups["all"]["score"] == 0.75
    assert summarise([row(1.0)]).category_mean is None
