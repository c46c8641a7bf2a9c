"""Every number of an evaluation against the plainest way to work it out."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mnemic.errors import UsageError
from mnemic.tasks import parse_task
from mnemic.training.evaluation import evaluate


class SaysByTable(torch.nn.Module):
    """Logits depend on the token and the position alone, so that an oracle can compute them too."""

    def __init__(self, vocabulary: int, length: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.table = torch.nn.Parameter(torch.randn(vocabulary, length, vocabulary, generator=generator))

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        return SimpleNamespace(logits=self.table[input_ids, torch.arange(input_ids.shape[1])])


class KnowsAll(torch.nn.Module):
    """Answers right, except in rows that start with an even id."""

    def __init__(self, task) -> None:
        super().__init__()
        self.task, self.weight = task, torch.nn.Parameter(torch.zeros(1))

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        answers = torch.from_numpy(self.task.oracle(input_ids.numpy())).clamp(min=0)
        wrong = (input_ids[:, :1] % 2 == 0).expand_as(answers)
        answers = torch.where(wrong, (answers + 1) % self.task.vocab_size, answers)
        return SimpleNamespace(logits=20.0 * torch.nn.functional.one_hot(answers, self.task.vocab_size).float())


def questions(model, examples):
    """(row, position, correct, loss) of every question, one by one."""
    for row, (ids, labels) in enumerate(zip(examples.input_ids, examples.labels, strict=True)):
        logits = model(torch.from_numpy(ids)[None]).logits[0].double()
        for t, label in enumerate(labels):
            if label != -100:
                probability = torch.softmax(logits[t], -1)[label].item()
                yield row, t, int(logits[t].argmax()) == label, -math.log(probability)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_metrics_and_slices_are_the_counts_of_single_questions(batch_size):
    task = parse_task("mqar:pairs=3,length=24,vocab=40")
    model = SaysByTable(task.vocab_size, task.max_length)
    with torch.no_grad():
        model.table[:, :, 20:] += 2  # so that some answers are right
    found = evaluate(model, task, "test", 50, seed=4, batch_size=batch_size)
    examples = task.sample("test", 50, seed=4)
    all_questions = list(questions(model, examples))
    assert found.metrics["accuracy"] == pytest.approx(np.mean([q[2] for q in all_questions]))
    assert 0 < found.metrics["accuracy"] < 1
    assert found.metrics["loss"] == pytest.approx(np.mean([q[3] for q in all_questions]), rel=1e-5)
    assert found.metrics["accuracy_low"] <= found.metrics["accuracy"] <= found.metrics["accuracy_high"]
    assert found.metrics["loss_low"] <= found.metrics["loss"] <= found.metrics["loss_high"]
    for point in found.slices["distance"]:
        first, _, last = point["value"].partition("-")
        inside = [
            q for q in all_questions if int(first) <= examples.slices["distance"][q[0], q[1]] <= int(last or first)
        ]
        assert point["count"] == len(inside)
        assert point["accuracy"] == pytest.approx(np.mean([q[2] for q in inside]))
        assert point["loss"] == pytest.approx(np.mean([q[3] for q in inside]), rel=1e-5)
        assert point["low"] <= point["accuracy"] <= point["high"]
    assert sum(point["count"] for point in found.slices["distance"]) == len(all_questions)


def test_row_accuracy_counts_rows_whose_every_answer_is_right():
    task = parse_task("mqar:pairs=3,length=24,vocab=40")
    found = evaluate(KnowsAll(task), task, "valid", 60, seed=1)
    odd = float((task.sample("valid", 60, seed=1).input_ids[:, 0] % 2 == 1).mean())
    assert found.metrics["row_accuracy"] == found.metrics["accuracy"] == pytest.approx(odd)


def test_text_is_cut_into_recall_hits_and_the_rest(tmp_path):
    words = np.random.default_rng(0).integers(97, 123, size=(400, 7), dtype=np.uint8)
    text = b" ".join(bytes(words[i]) for i in np.random.default_rng(1).integers(0, 400, 4000))
    (tmp_path / "words.txt").write_bytes(text)
    task = parse_task(f"text:{tmp_path}/words.txt,length=64")
    model = SaysByTable(task.vocab_size, 64)
    found = evaluate(model, task, "test", 10)
    examples = task.sample("test", 10)
    losses = {True: [], False: []}
    for row, t, _, loss in questions(model, examples):
        losses[bool(examples.slices["recall_hit"][row, t])].append(loss)
    metrics, count = found.metrics, len(losses[True]) + len(losses[False])
    assert metrics["recall_hit_loss"] == pytest.approx(np.mean(losses[True]), rel=1e-5)
    assert metrics["other_loss"] == pytest.approx(np.mean(losses[False]), rel=1e-5)
    assert metrics["recall_hit_share"] == pytest.approx(len(losses[True]) / count)
    assert metrics["bits_per_byte"] == pytest.approx(metrics["loss"] / math.log(2)), "one token is one byte"
    assert "accuracy" not in metrics
    hits = sum(point["count"] for point in found.slices["distance"])
    assert hits == len(losses[True]), "only hits have a distance"


def test_model_is_left_in_the_mode_it_was_in(make_model, task):
    model = make_model().train()
    evaluate(model, task, "valid", 4)
    assert model.training


def test_split_without_rows_is_refused(make_model, task, monkeypatch):
    empty = task.sample("valid", 0)
    monkeypatch.setattr(type(task), "sample", lambda *args, **kwargs: empty)
    with pytest.raises(UsageError, match="no rows in its valid split"):
        evaluate(make_model(), task, "valid", 4)


def test_variants_with_hardly_any_rows_are_left_out():
    """compression:length=4 has loads of 4 and 16 rows, which three splits cannot share."""
    from mnemic.training.variants import measure_variants

    task = parse_task("compression:length=4,ids=4,hide=false")
    assert task.loads()
    assert measure_variants(torch.nn.Linear(1, 1), task, {"accuracy": 1.0}, 10, 0, 4, "fp32") == ({}, [])
