"""Closed forms beside trained models: the numbers of their records, and errors of numbers read from a distribution."""

import numpy as np
import pytest
import torch

from mnemic.models import MnemicConfig, MnemicForCausalLM
from mnemic.report.findings import headline, warnings_about
from mnemic.report.html import page
from mnemic.report.summary import group_runs
from mnemic.tasks import UNASKED, parse_task
from mnemic.training.baselines import baseline_records
from mnemic.training.evaluation import evaluate

TASK = parse_task("in-context-regression:dims=2,points=6")


def test_records_hold_the_errors_of_the_closed_forms():
    records = {record.memory: record for record in baseline_records(TASK, 300, seed=3)}
    rows = TASK.sample("test", 300, 3)
    _, y = TASK.numbers(rows.input_ids)
    for name, said in TASK.baselines(rows).items():
        record, error = records[name], (said - y) ** 2
        assert record.metrics["squared_error"] == pytest.approx(error.mean(), rel=1e-5)
        by_point = {point.value: point.loss for point in record.slices["examples"]}
        assert by_point == {str(i): pytest.approx(error[:, i].mean(), rel=1e-5) for i in range(6)}
    assert records["zero"].metrics["squared_error"] > records["ridge"].metrics["squared_error"]
    assert baseline_records(TASK, 300, seed=3)[0].run == records["zero"].run
    assert baseline_records(parse_task("mqar:vocab=256"), 10, seed=0) == []


def test_a_model_is_judged_by_the_mean_of_the_numbers_under_its_distribution():
    torch.manual_seed(0)
    layers = [{"mixer": "attention"}]
    model = MnemicForCausalLM(
        MnemicConfig(vocab_size=TASK.vocab_size, hidden_size=16, num_hidden_layers=1, layers=layers)
    ).eval()
    found = evaluate(model, TASK, "test", 40, seed=1)
    rows, numbers = TASK.sample("test", 40, 1), TASK.label_values()
    with torch.no_grad():
        logits = model(torch.from_numpy(rows.input_ids)).logits[..., ~np.isnan(numbers)].double()
    said = logits.softmax(-1).numpy() @ numbers[~np.isnan(numbers)].astype(np.float64)
    asked = rows.labels != UNASKED
    error = (said[asked] - numbers[rows.labels[asked]]) ** 2
    assert found.metrics["loss"] == found.metrics["squared_error"] == pytest.approx(error.mean(), rel=1e-4)
    assert "accuracy" not in found.metrics


def test_the_report_has_them_in_the_plot_of_the_models():
    records = baseline_records(TASK, 100, seed=0)
    trained = records[0].model_copy(
        update={"run": "x", "memory": "attention", "shell": {"width": 64}, "layers": ({"mixer": "attention"},)}
    )
    html = page([*records, trained], "regression")
    assert "squared error" in html
    assert "nats per token" not in html
    assert html.count("least squares") > 3
    assert not any("equal terms" in warning for warning in warnings_about([*records, trained]))
    assert "text" not in headline(group_runs([*records, trained]))


def test_macro_accuracy_counts_every_answer_alike():
    from mnemic.training.evaluation import Answers, report

    row = np.arange(10)
    correct = np.array([1] * 8 + [0, 1], bool)
    wanted = np.array([5] * 8 + [7, 7])
    answers = Answers(row, correct, np.zeros(10), {}, 10, 10, 1.0, wanted)
    metrics = report(answers, 0, has_answers=True).metrics
    assert metrics["accuracy"] == pytest.approx(0.9)
    assert metrics["class_accuracy"] == pytest.approx(0.75)
