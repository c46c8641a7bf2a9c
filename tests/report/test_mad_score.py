"""The MAD score, by hand."""

import pytest

from mnemic.report.html import page
from mnemic.report.mad_score import mad_scores, mad_sheet
from mnemic.report.records import Record


def run(task, memory, accuracy, seed=0):
    return Record(run=f"{task}{memory}{seed}", task=task, memory=memory, seed=seed, metrics={"accuracy": accuracy})


def test_settings_are_averaged_within_a_skill_and_skills_in_the_score():
    records = [
        run("in-context-recall", "a", 1.0),
        run("in-context-recall:length=256", "a", 0.5),
        run("compression", "a", 0.25, seed=0),
        run("compression", "a", 0.75, seed=1),
        run("mqar", "a", 0.0),
    ]
    (score,) = mad_scores(records)
    assert score.skills == {"in-context-recall": 0.75, "compression": 0.5}
    assert score.score == 0.625
    assert (score.settings, score.is_whole) == (3, False)
    assert "Only 2 of the 6 skills" in mad_sheet(records).note


def test_memories_are_compared_on_what_all_were_asked():
    records = [
        run("copy", "a", 1.0),
        run("memorization", "a", 1.0),
        run("memorization", "b", 0.4),
        run("noisy-recall", "a", 0.5),
        run("noisy-recall", "b", 0.8),
        run("fuzzy-recall", "a", 0.0),
    ]
    scores = {score.memory: score for score in mad_scores(records)}
    assert list(scores) == ["a", "b"]
    assert scores["a"].score == pytest.approx(0.75)
    assert scores["b"].skills == {"noisy-recall": 0.8, "memorization": 0.4}


def test_without_two_skills_there_is_no_score():
    assert mad_sheet([run("compression", "a", 0.5), run("mqar", "a", 0.5)]) is None
    assert "MAD" not in page([run("compression", "a", 0.5)], "one")
    assert "MAD score" in page([run("compression", "a", 0.5), run("noisy-recall", "a", 0.5)], "two")
