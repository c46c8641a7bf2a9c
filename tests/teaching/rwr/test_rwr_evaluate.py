"""An evaluation as a whole: who is asked, in which layout, what is kept, and how it goes on."""

import json
import re
import subprocess
import sys

import pytest

from mnemic.errors import MnemicError, UsageError
from mnemic.llm import BudgetExhausted, FakeLLM
from mnemic.teaching.pipeline import BuildStopped
from mnemic.teaching.rwr.evaluation.answerers import LLMAnswerer, Predictions
from mnemic.teaching.rwr.evaluation.evaluate import evaluate
from mnemic.teaching.rwr.evaluation.miniatures import miniatures
from mnemic.teaching.rwr.evaluation.rule_reader import RuleReader
from mnemic.teaching.tokens import ApproximateTokens

COUNTER = ApproximateTokens()


def oracle(asks=None):
    """A model that reads notes and contexts of miniatures by rule; what it is asked goes to `asks`."""

    def reply(call):
        context = re.search(r"<context>\n(.*)\n</context>", call.text, re.DOTALL)[1]
        attribute = re.search(r"What is my (.+)\?", call.text)[1]
        found = re.findall(rf"my {attribute} is (\w+)", context)
        if asks is not None:
            asks.append(context)
        note = f"Summary: my {attribute} is {found[-1]}." if found else "Summary: empty"
        answer = f"Answer: {found[-1]}" if found else "Answer: unanswerable"
        if "Do not answer" in call.text:
            return note
        return f"{note}\n{answer}" if "Note first" in call.text else answer

    return FakeLLM([(".", reply)], model="rules")


ITEMS = list(miniatures(12, length=500, types=("single-session-user", "knowledge-update", "abstention")))


@pytest.mark.parametrize("mode", ["note", "direct", "segments"])
def test_a_model_behind_the_protocol_is_asked_in_each_mode(tmp_path, mode):
    asks = []
    found = evaluate(ITEMS, LLMAnswerer(oracle(asks), mode=mode, segment_tokens=200), tmp_path, workers=2)
    assert found.summary.groups["all"]["score"] == 1
    assert found.summary.abstention["precision"] == found.summary.abstention["recall"] == 1
    assert [row["id"] for row in found.rows] == [item.id for item in ITEMS]
    # this model does not count its tokens, and nobody guesses them
    assert all(row["prompt_tokens"] is None and row["seconds"] > 0 for row in found.rows)
    if mode == "segments":
        assert max(map(COUNTER.count, asks)) <= 200 + 10
        assert all((row["notes"] == []) == row["is_abstention"] for row in found.rows)
    else:
        assert all(len(row["notes"]) == (mode == "note") for row in found.rows)


def test_notes_that_do_not_fit_are_condensed_until_they_do():
    def reply(call):
        context = re.search(r"<context>\n(.*)\n</context>", call.text, re.DOTALL)[1]
        if "Do not answer" not in call.text:
            return f"Answer: {len(context.split())}"
        return "Summary: " + " ".join(context.split()[: max(1, len(context.split()) // 2)])

    item = next(miniatures(1, length=2000, types=("single-session-user",)))
    answered = LLMAnswerer(FakeLLM([(".", reply)]), mode="segments", segment_tokens=100)(item)
    assert sum(COUNTER.count(note) for note in answered.notes) <= 100
    assert int(answered.answer) > 0


def test_what_was_answered_is_not_asked_again(tmp_path):
    model = oracle()
    calls = 0

    def reply(call):
        nonlocal calls
        calls += 1
        return BudgetExhausted("nothing left") if calls == 6 else model.rules[0][1](call)

    with pytest.raises(BuildStopped):
        evaluate(ITEMS, LLMAnswerer(FakeLLM([(".", reply)], model="rules")), tmp_path, workers=1)
    found = evaluate(ITEMS, LLMAnswerer(model), tmp_path, workers=1)
    assert len(model.calls) == len(ITEMS) - 5
    assert found.summary.groups["all"]["n"] == len(ITEMS)
    before = (tmp_path / "results.jsonl").read_bytes()
    evaluate(ITEMS, LLMAnswerer(model), tmp_path, workers=1)
    assert len(model.calls) == len(ITEMS) - 5
    assert (tmp_path / "results.jsonl").read_bytes() == before
    with pytest.raises(UsageError):
        evaluate(ITEMS, LLMAnswerer(model, mode="direct"), tmp_path)


def test_the_files_say_what_was_found(tmp_path):
    found = evaluate(ITEMS, RuleReader(recent=60), tmp_path, training_length=100)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert lines == list(found.rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["groups"]["all"]["n"] == len(ITEMS)
    assert summary["training_length"] == 100
    assert any(name.startswith("length 8×") for name in summary["groups"])


def test_predictions_are_scored_and_those_that_lack_are_counted(tmp_path):
    rows = [{"question_id": item.id, "hypothesis": item.answers[0]} for item in ITEMS[:-2]]
    path = tmp_path / "said.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = evaluate(ITEMS, Predictions(path), tmp_path / "scores")
    assert (found.summary.groups["all"]["score"], found.summary.failed) == (1, 2)
    path.write_text("\n".join(map(json.dumps, [rows[0], rows[0]])))
    with pytest.raises(UsageError, match=r"record 2 .*already"):
        Predictions(path)
    path.write_text(json.dumps({"question_id": "q"}))
    with pytest.raises(UsageError, match=r"record 1 .*missing"):
        Predictions(path)


def test_nothing_to_ask_and_nothing_answered_are_errors(tmp_path):
    with pytest.raises(MnemicError, match="no question to ask"):
        evaluate([], RuleReader(), tmp_path)
    path = tmp_path / "said.jsonl"
    path.write_text(json.dumps({"id": "other", "answer": "x"}))
    with pytest.raises(MnemicError, match="no question was answered"):
        evaluate(ITEMS, Predictions(path), tmp_path / "scores")
    with pytest.raises(UsageError, match="twice"):
        evaluate([ITEMS[0], ITEMS[0]], RuleReader(), tmp_path / "twice")


def test_no_torch_is_needed():
    code = (
        "import importlib, pkgutil, sys, mnemic.teaching.rwr.evaluation as package\n"
        "for found in pkgutil.iter_modules(package.__path__, package.__name__ + '.'):\n"
        "    importlib.import_module(found.name)\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
