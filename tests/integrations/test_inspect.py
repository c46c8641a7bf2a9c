"""inspect_ai on our tasks: found by name, asked question by question, scored as the page says."""

import json
import os
import runpy
import subprocess
import sys

import pytest
from inspect_ai import eval as run
from inspect_ai.model import ModelOutput, ModelUsage, get_model
from tiny_hosts import tiny_host

from mnemic.catalogue import TASKS
from mnemic.errors import MissingExtra, UsageError
from mnemic.integrations.inspect import INSTRUCTION, to_inspect
from mnemic.integrations.questions import questions
from mnemic.integrations.tokenizers import save_tokenizer
from mnemic.tasks import parse_task
from mnemic.training.evaluation import evaluate

TASK = parse_task("mqar:pairs=2,length=8,vocab=12")


def replies(*said: str):
    outputs = [ModelOutput.from_content("mockllm/model", text) for text in said]
    for output in outputs:
        output.usage = ModelUsage()  # which the mock would otherwise count by a tokenizer from the network
    return get_model("mockllm/model", custom_outputs=outputs)


def log_of(task, model, folder, **options):
    (log,) = run(task, model=model, log_dir=str(folder), display="none", max_connections=1, **options)
    assert log.status == "success", log.error
    return log


def values(log) -> dict[str, float]:
    return {score.name: score.metrics["mean"].value for score in log.results.scores}


def test_each_question_is_a_sample_with_what_makes_it_hard():
    samples = list(to_inspect(TASK, rows=5, seed=3).dataset)
    asked = questions(TASK, "test", 5, 3)
    assert [sample.id for sample in samples] == list(asked)
    assert len(asked) == 10
    for sample, question in zip(samples, asked.values(), strict=True):
        assert sample.input == f"{INSTRUCTION}{question.text} =?"
        assert sample.target == list(question.answers)
        assert sample.metadata["row"] == sample.id.rpartition("/")[0]
        assert sample.metadata["distance"] == question.slices["distance"]


def test_a_needle_is_asked_as_mnemic_asks_it_and_scored_as_mnemic_scores_it(tmp_path):
    task = parse_task("needle:preset=multivalue,length=1200")
    asked = task.questions("test", 2)
    made = to_inspect(task, rows=2)
    assert [sample.input for sample in made.dataset] == [question.text for question in asked]
    log = log_of(made, replies("They are " + ", ".join(asked[0].answers), "I see " + asked[1].answers[0]), tmp_path)
    assert values(log)["score"] == pytest.approx((1 + 1 / 4) / 2)
    assert values(log)["exact"] == 0.5


def test_a_model_that_knows_has_everything_and_half_a_model_half(tmp_path):
    answers = [question.answers[0] for question in questions(TASK, "test", 4).values()]
    whole = log_of(to_inspect(TASK, rows=4), replies(*(answer for answer in answers)), tmp_path)
    assert values(whole) == {"score": 1.0, "exact": 1.0, "f1": 1.0}
    said = [answer if number % 2 else f"not {answer}" for number, answer in enumerate(answers)]
    half = log_of(to_inspect(TASK, rows=4), replies(*said), tmp_path)
    assert values(half)["score"] == values(half)["exact"] == 0.5
    none = log_of(to_inspect(TASK, rows=4), replies(*["x"] * len(answers)), tmp_path)
    assert values(none) == {"score": 0.0, "exact": 0.0, "f1": 0.0}


def test_the_error_takes_the_questions_of_a_row_together(tmp_path):
    asked = questions(TASK, "test", 4)
    said = [
        q.answers[0] if int(n.split("/")[2]) < 2 else "x" for n, q in asked.items()
    ]  # rows are right or wrong as a whole
    log = log_of(to_inspect(TASK, rows=4), replies(*said), tmp_path)
    found = next(score for score in log.results.scores if score.name == "score")
    assert found.metrics["mean"].value == 0.5
    alone = (0.25 / 7) ** 0.5  # as if eight questions were independent
    assert found.metrics["stderr"].value > 1.3 * alone


def test_the_log_says_which_rows_of_which_version(tmp_path):
    log = log_of(to_inspect(TASK, rows=2, split="valid", seed=7), replies(*["x"] * 4), tmp_path)
    assert log.eval.task_version == TASK.version
    about = log.eval.metadata
    assert (about["spec"], about["hash"], about["split"], about["seed"]) == (TASK.spec(), TASK.hash(), "valid", 7)
    assert about["prompts"] != to_inspect(TASK, rows=2, split="valid", seed=8).metadata["prompts"]


def test_by_name_from_the_entry_point_with_options(tmp_path):
    log = log_of(
        "mnemic/mqar", replies(*["x"] * 8), tmp_path, task_args={"pairs": 2, "length": 8, "vocab": 12, "rows": 4}
    )
    assert log.eval.task == "mnemic/mqar"
    assert log.eval.metadata["hash"] == TASK.hash()
    assert log.results.total_samples == 8


def test_an_option_that_the_task_does_not_have_is_refused(tmp_path):
    with pytest.raises(UsageError, match="did you mean 'pairs'"):
        run("mnemic/mqar", model=replies("x"), log_dir=str(tmp_path), display="none", task_args={"pears": 2})
    with pytest.raises(UsageError, match="asks no questions in text"):
        to_inspect(parse_task("text:python-reference"))


def test_without_inspect_ai_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(MissingExtra, match=r"pip install 'mnemic\[inspect\]'"):
        runpy.run_module("mnemic.integrations.inspect", run_name="again")


@pytest.mark.parametrize("name", [name for name in TASKS if name != "text"])  # which asks nothing
def test_no_task_has_an_option_that_inspect_s_own_would_shadow(name):
    assert not {"rows", "split", "seed", "instruct"} & set(type(parse_task(TASKS[name].example)).model_fields)


def test_from_the_command_line_a_host_of_ours_has_the_accuracy_that_we_measure(tmp_path):
    host = tiny_host("mamba2", TASK.vocab_size)
    host.save_pretrained(tmp_path / "model")
    save_tokenizer(TASK, tmp_path / "model")
    options = {
        "-T": ["pairs=2", "length=8", "vocab=12", "rows=20", "instruct=false"],
        "-M": [f"model_path={tmp_path / 'model'}", "trust_remote_code=true", "do_sample=false", "device=cpu"],
    }
    command = [sys.executable, "-m", "inspect_ai", "eval", "mnemic/mqar", "--model", "hf/local", "--max-tokens", "1"]
    command += [part for flag, values in options.items() for value in values for part in (flag, value)]
    done = subprocess.run(
        [*command, "--display", "plain", "--log-format", "json", "--log-dir", str(tmp_path / "logs")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = (tmp_path / "logs").glob("*.json")
    log = json.loads(path.read_text())
    assert log["status"] == "success", log.get("error")
    assert log["eval"]["metadata"]["hash"] == TASK.hash()
    found = {score["name"]: score["metrics"]["mean"]["value"] for score in log["results"]["scores"]}
    wanted = evaluate(host, TASK, "test", 20).metrics["accuracy"]
    assert found["exact"] == pytest.approx(wanted)
    assert 0 < wanted < 1
