"""Before and after: differences are of the same questions, and what cannot be compared is refused."""

import json

import numpy as np
import pytest

from mnemic.errors import UsageError
from mnemic.teaching.rwr.evaluation.comparing import compare, read_results
from mnemic.teaching.rwr.evaluation.evaluate import evaluate
from mnemic.teaching.rwr.evaluation.rule_reader import RuleReader
from mnemic.teaching.rwr.evaluation.short_tasks import short_tasks


def row(name, score, **changes):
    return {"id": name, "question": f"{name}?", "expected": ("x",), "question_type": "fact", "category": "test",
            "is_abstention": False, "length": 100, "score": score, "scored_by": "exact"} | changes  # fmt: skip


def rows(scores, **changes):
    return [row(f"q{number}", float(score), **changes) for number, score in enumerate(scores)]


def test_the_interval_is_of_the_pairs_and_not_of_two_samples():
    """40 of 200 questions gain, none loses: the standard error of the difference is that of one proportion."""
    before = np.arange(200) % 2
    after = before | (np.arange(200) % 5 == 0)
    gained = float((after - before).mean())
    found = compare(rows(before), rows(after)).groups["all"]
    assert (found["n"], found["before"], found["after"]) == (200, 0.5, 0.5 + gained)
    assert found["difference"] == pytest.approx(gained)
    error = 1.96 * np.sqrt(gained * (1 - gained) / 200)
    assert found["low"] == pytest.approx(gained - error, abs=0.012)
    assert found["high"] == pytest.approx(gained + error, abs=0.012)


def test_what_did_not_change_has_no_interval_and_order_does_not_matter():
    same = rows([0, 1, 1, 0, 1])
    found = compare(same, same[::-1])
    assert all((group["difference"], group["low"], group["high"]) == (0, 0, 0) for group in found.groups.values())


def test_groups_are_those_of_a_summary_of_the_questions_of_both():
    before = [*rows([1, 0, 1]), row("gone", 1.0)]
    after = [*rows([1, 1, 0], length=350)[:2], row("q2", 0.0, is_abstention=True), row("new", 1.0), row("newer", 0.0)]
    found = compare(before, after, 100)
    assert {name: (group["n"], group["difference"]) for name, group in found.groups.items()} == {
        "all": (3, 0.0), "answerable": (2, 0.5), "abstention": (1, -1.0), "type fact": (2, 0.5), "length 4×": (2, 0.5),
    }  # fmt: skip
    assert (found.only_before, found.only_after) == (1, 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"question": "another?"}, "'q1' has another 'question'"),
        ({"expected": ("y",)}, "'q1' has another 'expected'"),
        ({"scored_by": "judge"}, "'q1' has another 'scored_by' in each evaluation: 'exact' and 'judge'"),
    ],
)
def test_what_is_not_the_same_is_refused(change, said):
    with pytest.raises(UsageError, match=said):
        compare(rows([1, 1]), [row("q0", 1.0), row("q1", 1.0) | change])


def test_results_are_read_back_as_they_were_written(tmp_path):
    found = evaluate(short_tasks(9), RuleReader(), tmp_path)
    for folder in (tmp_path, tmp_path / "summary.json"):
        change = compare(read_results(folder), found.rows)
        assert change.groups["all"]["n"] == 9
        assert change.groups["all"]["difference"] == 0


def test_what_is_no_evaluation_is_named(tmp_path):
    with pytest.raises(UsageError, match="no finished evaluation"):
        read_results(tmp_path)
    with pytest.raises(UsageError, match="share no question"):
        compare(rows([1]), [row("other", 1.0)])
    (tmp_path / "results.jsonl").write_text(json.dumps({"id": "q"}))
    with pytest.raises(UsageError, match=r"record 1 of .*field 'question' is missing"):
        read_results(tmp_path)
