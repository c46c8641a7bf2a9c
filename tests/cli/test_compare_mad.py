"""The six tasks of MAD through one command: all are run, failures do not stop the others, the score is printed."""

import json

import pytest

from mnemic.cli.compare_mad import compare_mad
from mnemic.errors import MnemicError, UsageError
from mnemic.report.records import Record, append_record
from mnemic.tasks.mad import SKILLS


def runs(directory, fails=()):
    """Something that compares two memories on a task at once; `asked` are the tasks."""
    asked = []

    def compare(task):
        asked.append(task)
        for memory, accuracy in (("a", 0.5), ("b", 0.25 if task.startswith("compression") else 0.75)):
            run = f"{task} {memory}"
            append_record(
                directory / "results.jsonl",
                Record(run=run, task=task, memory=memory, metrics={"accuracy": accuracy}),
            )
        if task.partition(":")[0] in fails:
            raise MnemicError(f"not every run finished: {task}")

    return compare, asked


def test_all_skills_are_asked_and_the_score_is_their_mean(tmp_path, capsys):
    compare, asked = runs(tmp_path)
    compare_mad("mad", compare, tmp_path, as_json=True)
    assert [task.partition(":")[0] for task in asked] == list(SKILLS)
    best, other = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (best["memory"], best["score"]) == ("b", pytest.approx((5 * 0.75 + 0.25) / 6))
    assert (other["memory"], other["score"]) == ("a", 0.5)
    compare_mad("mad", runs(tmp_path)[0], tmp_path, as_json=False)
    assert "MAD score" in capsys.readouterr().out


def test_a_task_that_fails_does_not_stop_the_others(tmp_path):
    compare, asked = runs(tmp_path, fails=("noisy-recall", "copy"))
    with pytest.raises(MnemicError, match="1 of the tasks"):
        compare_mad("mad", compare, tmp_path, as_json=True)
    assert len(asked) == 6


def test_what_cannot_begin_is_said_at_once(tmp_path):
    def refuses(task):
        raise UsageError("memory 'x' is unknown")

    with pytest.raises(UsageError, match="memory 'x'"):
        compare_mad("mad", refuses, tmp_path, as_json=False)
