"""Records of recall methods in tables and findings: compared question by question, and with costs of their own."""

import pytest
from method_records import method
from rich.console import Console

from mnemic.report.charts import task_charts
from mnemic.report.columns import COLUMNS, columns_for
from mnemic.report.details import run_details
from mnemic.report.figure import styles
from mnemic.report.findings import headline, leaders, warnings_about
from mnemic.report.summary import group_runs
from mnemic.report.tables import results_table


def test_pairs_tell_apart_what_intervals_do_not():
    groups = group_runs([method("plain", 0.0), method("better", 0.1)])
    plain, better = groups
    assert plain.score.overlaps(better.score)
    assert better.beside_best is None
    assert plain.beside_best.mean == pytest.approx(plain.score.mean - better.score.mean)
    assert plain.beside_best.high < 0
    assert leaders(groups) == [better]
    said = headline(groups)
    assert said.startswith("better recalled best: recall@5 0.575")
    assert "holding 2 KiB a passage. Next: plain, recall@5 0.500" in said
    assert "; it is 0.075 behind (" in said


def test_questions_that_differ_are_not_paired():
    groups = group_runs([method("plain", 0.0, "others"), method("better", 0.1)])
    assert [group.beside_best for group in groups] == [None, None]
    assert len(leaders(groups)) == 2, "by their intervals"


def test_no_difference_question_by_question_is_said_so():
    groups = group_runs([method("a", 0.0), method("b", 0.0)])
    assert "question by question, the 95 % intervals hold 0" in headline(groups)


def test_columns_are_those_of_methods():
    groups = group_runs([method("plain", 0.0), method("better", 0.1, cost={"llm_calls": 3, "llm_prompt_tokens": 1200})])
    titles = [column.title for column in columns_for(groups)]
    assert {"recall@5", "beside the best", "held per passage", "read", "LLM calls", "LLM tokens"} <= set(titles)
    assert {"recall", "loss", "parameters", "seeds"}.isdisjoint(titles)
    assert COLUMNS["ask"].text(groups[0]) == ("4 ms", "")
    assert COLUMNS["beside best"].text(groups[0])[0] == "−0.075"
    assert COLUMNS["calls"].text(groups[0]) == ("", "")
    console = Console(width=80, record=True)
    console.print(results_table([method("plain", 0.0), method("better", 0.1)]))
    assert "plain" in console.export_text()


def test_warnings_are_those_of_methods():
    found = warnings_about(
        [
            method("plain", 0.0, metrics={"recall@5": 0.5, "fallback_share": 0.25}),
            method("other", 0.1, layers=[{"mixer": "other", "encoder": "minilm"}], cost={"passages_without_text": 3}),
        ]
    )
    assert found == [
        "Not the same encoder everywhere (plain wordllama, other minilm): methods and encoders are compared at once.",
        "plain gave up on 25.0 % of the questions and answered them by vectors.",
        "other: 3 passages have no text and are in no store.",
    ]


def test_charts_and_details_hold_what_there_is():
    records = [method("plain", 0.0), method("better", 0.1)]
    groups = group_runs(records)
    look = styles([group.label for group in groups])
    titles = [chart.title for chart in task_charts("t", groups, records, look)]
    assert titles == [
        "Recall against memory",
        "Recall against kind of question",
        "Recall against depth",
        "Time of a method",
    ]
    page = run_details(records, groups, look)
    assert "wordllama · none" in page
    assert "40 questions with an answer." in page
    assert "Learning rate" not in page
