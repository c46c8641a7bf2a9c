"""lm-evaluation-harness on our checkpoints and our tasks: it computes what we compute."""

import json
import os
import subprocess
import sys

import pytest
import torch
import yaml
from click.testing import CliRunner
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from tiny_hosts import FAMILIES, tiny_host

from mnemic.errors import UsageError
from mnemic.integrations import lm_eval as adapter
from mnemic.integrations.exported import scores
from mnemic.integrations.questions import questions
from mnemic.integrations.tokenizers import save_tokenizer, task_tokenizer
from mnemic.tasks import parse_task
from mnemic.training.evaluation import evaluate

pytestmark = pytest.mark.usefixtures("one_thread")
TASK = parse_task("mqar:pairs=2,length=8,vocab=12")
PADDED = parse_task("key-facts:length=16-32,form=mixed")
TEXT = parse_task("text:python-reference")
SENTENCES = ["A list.", "Of many words, more than before", "été", "x"]


def harness(model, tokenizer, **options) -> HFLM:
    return HFLM(pretrained=model, tokenizer=tokenizer, device="cpu", **options)


def results_of(model, task, folder, rows=20, **options):
    (name,) = adapter.export([task], folder, rows=rows, **options)
    return simple_evaluate(
        model=harness(model, task_tokenizer(task), batch_size=7),
        tasks=[name], task_manager=TaskManager(include_path=str(folder), include_defaults=False), bootstrap_iters=0,
    ), name  # fmt: skip


@pytest.mark.parametrize("task", [TASK, PADDED], ids=["mqar", "key-facts"])
def test_its_accuracy_on_an_exported_task_is_ours(tmp_path, task):
    model = tiny_host("mamba2+attention", task.vocab_size)
    found, name = results_of(model, task, tmp_path, rows=40)
    wanted = evaluate(model, task, "test", 40).metrics
    assert 0 < wanted["accuracy"] < 1
    assert found["results"][name]["acc,none"] == pytest.approx(wanted["accuracy"])
    assert found["results"][name]["perplexity,none"] == pytest.approx(
        torch.tensor(wanted["loss"]).exp().item(), rel=1e-4
    )
    assert found["n-samples"][name]["original"] == len(questions(task, "test", 40))


@pytest.mark.parametrize(("family", "batch"), [*((family, 3) for family in FAMILIES), ("mamba2+attention", 1)])
def test_likelihoods_and_continuations_are_those_of_the_model_alone(family, batch):
    model, tokenizer = tiny_host(family, 256).eval(), task_tokenizer(TEXT)
    lm = harness(model, tokenizer, batch_size=batch)
    pairs = list(zip(SENTENCES, [" one", "Two!", "ü", " yes"], strict=True))
    asked = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    for (context, continuation), (likelihood, greedy) in zip(
        pairs, lm.loglikelihood(asked, disable_tqdm=True), strict=True
    ):
        before, after = (torch.tensor(list(part.encode())) for part in (context, continuation))
        with torch.no_grad():
            logprobs = model(torch.cat([before, after])[None]).logits[0, len(before) - 1 : -1].log_softmax(-1)
        assert likelihood == pytest.approx(float(logprobs.gather(1, after[:, None]).sum()), abs=1e-3)
        assert greedy == bool((logprobs.argmax(-1) == after).all())
    options = {"until": ["§§"], "max_gen_toks": 9, "do_sample": False}
    said = lm.generate_until(
        [Instance("generate_until", {}, (text, options), i) for i, text in enumerate(SENTENCES)], disable_tqdm=True
    )
    for text, got in zip(SENTENCES, said, strict=True):
        ids = torch.tensor([list(text.encode())])
        alone = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=9, do_sample=False, pad_token_id=0, eos_token_id=0
        )
        assert got == tokenizer.decode(alone[0, ids.shape[1] :], skip_special_tokens=True)


def test_rolling_likelihood_counts_every_token_once():
    model, text = tiny_host("gated-deltanet", 256).eval(), "Lists are mutable sequences."
    lm = harness(model, task_tokenizer(TEXT), max_length=len(text) + 1)
    (found,) = lm.loglikelihood_rolling([Instance("loglikelihood_rolling", {}, (text,), 0)], disable_tqdm=True)
    ids = torch.tensor([0, *text.encode()])
    with torch.no_grad():
        logprobs = model(ids[None, :-1]).logits[0].log_softmax(-1)
    assert found == pytest.approx(float(logprobs.gather(1, ids[1:, None]).sum()), abs=1e-3)


def test_from_the_command_line_in_a_process_that_never_imports_mnemic(tmp_path):
    model = tiny_host("gated-deltanet", TASK.vocab_size)
    model.save_pretrained(tmp_path / "model")
    save_tokenizer(TASK, tmp_path / "model")
    exported = CliRunner().invoke(adapter._main, [str(tmp_path / "tasks"), TASK.spec(), "--rows", "20"])
    assert exported.exit_code == 0, exported.output
    name = adapter.task_name(TASK)
    assert f"--include_path {tmp_path / 'tasks'} --tasks {name}" in exported.output
    command = [
        sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", name, "--include_path", str(tmp_path / "tasks"),
        "--model_args", f"pretrained={tmp_path / 'model'},trust_remote_code=True", "--device", "cpu",
        "--batch_size", "4", "--output_path", str(tmp_path / "out"),
    ]  # fmt: skip
    offline = {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **offline, "OMP_NUM_THREADS": "1"}, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (report,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(report.read_text())
    assert found["results"][name]["acc,none"] == pytest.approx(evaluate(model, TASK, "test", 20).metrics["accuracy"])
    assert found["versions"][name] == TASK.version
    assert found["configs"][name]["metadata"]["hash"] == TASK.hash()


def test_replies_are_generated_and_scored(tmp_path):
    model, tokenizer, got = tiny_host("attention", TASK.vocab_size).eval(), task_tokenizer(TASK), []
    found, name = results_of(model, TASK, tmp_path, rows=30, form="reply")
    for question in questions(TASK, "test", 30).values():
        ids = tokenizer(question.text, return_tensors="pt")["input_ids"]
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=question.max_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        got.append(scores(question, tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)))
    for measure in ("score", "exact", "f1"):
        wanted = sum(one[measure] for one in got) / len(got)
        assert found["results"][name][f"{measure},none"] == pytest.approx(wanted)


def test_an_export_is_the_same_again_and_says_what_it_is(tmp_path):
    for folder in ("one", "two"):
        names = adapter.export([TASK, PADDED], tmp_path / folder, rows=5, split="valid", seed=3)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    plain = (tmp_path / "one" / f"{names[0]}.yaml").read_text().replace("!function ", "")
    about = yaml.safe_load(plain)["metadata"]
    assert (about["task"], about["seed"], about["split"], about["rows"]) == (TASK.spec(), 3, "valid", 5)
    first = json.loads((tmp_path / "one" / f"{names[0]}.jsonl").read_text().splitlines()[0])
    examples = TASK.sample("valid", 1, 3)
    t = int((examples.labels[0] != -100).argmax())
    assert first["context"] == " ".join(TASK.word(token) for token in examples.input_ids[0, : t + 1].tolist())
    assert first["answers"] == [TASK.word(int(examples.labels[0, t]))]
    assert first["slices"]["distance"] == examples.slices["distance"][0, t]


def test_a_text_may_hold_any_character(tmp_path):
    path = tmp_path / "asked.jsonl"
    items = [{"question": f"What is {n}?", "answers": ["it"], "context": f"{n}\u2028is it."} for n in range(20)]
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")
    task = parse_task(f"question-answering:{path},length=300")
    (name,) = adapter.export([task], tmp_path, rows=3)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = simple_evaluate(model=Reader(1.0, 32), tasks=[name], task_manager=manager, bootstrap_iters=0)
    assert found["results"][name]["score,none"] == 1.0


def test_what_cannot_be_exported_is_refused(tmp_path):
    with pytest.raises(UsageError, match="asks no questions"):
        adapter.export([TEXT], tmp_path)
    with pytest.raises(UsageError, match="two tasks would be called"):
        adapter.export([TASK, TASK], tmp_path)
    refused = CliRunner().invoke(adapter._main, [str(tmp_path), "mqar:pears=2"])
    assert refused.exit_code == 2


class Reader(LM):
    """Says a share of the answers, having looked them up."""

    def __init__(self, share: float, most: int) -> None:
        super().__init__()
        self.share, self.most = share, most

    def generate_until(self, requests):
        assert all(request.args[1]["max_gen_toks"] == self.most for request in requests)
        said = [list(request.doc["answers"]) for request in requests]
        return [", ".join(answers[: round(self.share * len(answers))]) for answers in said]

    def loglikelihood(self, requests):
        raise AssertionError("a text task is answered by a reply")

    loglikelihood_rolling = loglikelihood


@pytest.mark.parametrize(
    ("spec", "most"),
    [
        ("needle:preset=multiquery,length=1200", 128),
        ("needle:preset=multivalue,length=1200", 128),
        ("variable-tracking:length=600", 34),
    ],
)
@pytest.mark.parametrize("share", [1.0, 0.0])
def test_a_text_task_is_one_prompt_a_row_answered_by_a_reply(tmp_path, spec, most, share):
    task = parse_task(spec)
    (name,) = adapter.export([task], tmp_path, rows=4)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    found = simple_evaluate(model=Reader(share, most), tasks=[name], task_manager=manager, bootstrap_iters=0)
    assert found["results"][name]["score,none"] == share
    assert found["results"][name]["exact,none"] == share
    assert found["n-samples"][name]["original"] == 4
    samples = {sample["arguments"][0][0] for sample in found["samples"][name]}
    assert samples == {question.text for question in task.questions("test", 4)}


def test_a_phonebook_is_read_by_a_model_of_bytes(tmp_path):
    task = parse_task("phonebook:entries=3")
    model = tiny_host("gated-deltanet", task.vocab_size)
    found, name = results_of(model, task, tmp_path, rows=3)
    assert found["results"][name]["score,none"] == 0.0
    assert task_tokenizer(task)(task.questions("test", 1)[0].text)["input_ids"] == list(
        task.questions("test", 1)[0].text.encode()
    )
