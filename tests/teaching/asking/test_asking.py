"""A model of a few weights and a server that solves by rule are asked; both ways, twice, and with wrong input."""

import json

import pytest
import torch
from byte_text import VOCABULARY, byte_tokenizer
from click.testing import CliRunner
from tiny_hosts import tiny_host
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from mnemic import cli as command_line
from mnemic.errors import MnemicError, UsageError
from mnemic.llm import LLMClient
from mnemic.tasks import parse_task
from mnemic.teaching.asking.answerers import ModelAnswerer, Reply
from mnemic.teaching.asking.asking import ask_task


def run(*arguments):
    return CliRunner().invoke(command_line.cli, ["ask", *map(str, arguments)])


class ByRule:
    """Knows every answer, or forgets all but the first of several; `asked` counts."""

    def __init__(self, task, forgets=False):
        self.task, self.forgets, self.asked, self.settings = task, forgets, 0, {"rule": forgets}

    def __call__(self, question):
        self.asked += 1
        answers = self.task.solve(question.text)[1]
        return Reply(", ".join(answers[:1] if self.forgets else answers))


@pytest.mark.parametrize(
    "spec", ["needle:preset=multivalue,length=900", "variable-tracking:length=700", "phonebook:entries=9",
             "frequent-words:length=900"],
)  # fmt: skip
def test_who_knows_the_answers_has_all_points_and_who_forgets_most_has_few(spec, tmp_path):
    task = parse_task(spec)
    best = ask_task(task, ByRule(task), tmp_path / "best", count=12).summary
    assert (best.score.mean, best.exact, best.precision, best.f1) == (100, 100, 100, 100)
    assert (best.count, best.failed) == (12, 0)
    if "phonebook" not in spec:
        least = ask_task(task, ByRule(task, forgets=True), tmp_path / "least", count=12).summary
        assert least.score.mean == pytest.approx(100 / len(task.questions("test", 1)[0].answers))
        assert least.precision == 100


def test_rows_say_what_was_asked_and_a_second_run_asks_nothing(tmp_path):
    task = parse_task("needle:length=900")
    answerer = ByRule(task)
    first = ask_task(task, answerer, tmp_path, count=8)
    again = ask_task(task, answerer, tmp_path, count=8)
    assert answerer.asked == 8
    assert again == first
    more = ask_task(task, answerer, tmp_path, count=11)
    assert (answerer.asked, len(more.rows)) == (11, 11)
    row, question = first.rows[3], task.questions("test", 4)[3]
    assert row["expected"] == list(question.answers)
    assert row["slices"] == dict(question.slices)
    assert len({row["prompt_sha256"] for row in first.rows}) == 8
    assert json.loads((tmp_path / "summary.json").read_text())["score"]["mean"] == 100
    with pytest.raises(UsageError, match=r"another|differ"):
        ask_task(parse_task("needle:length=1000"), answerer, tmp_path, count=8)


def test_an_answer_may_hold_any_character(tmp_path):
    task, said = parse_task("phonebook:entries=5"), "a\u2028b\x85c\x0bd"

    def odd(question):
        return Reply(said)

    odd.settings = {}
    assert [row["said"] for row in ask_task(task, odd, tmp_path, count=3).rows] == [said] * 3


def test_a_question_that_fails_is_counted_and_can_be_asked_again(tmp_path):
    task = parse_task("phonebook:entries=5")
    broken = ByRule(task)
    broken.settings = {"rule": "the same"}

    def sometimes(question):
        if len(question.answers[0]) and broken.asked == 2:
            broken.asked += 1
            raise MnemicError("no answer today")
        return ByRule.__call__(broken, question)

    sometimes.settings = broken.settings
    assert ask_task(task, sometimes, tmp_path, count=6, workers=1).summary.failed == 1
    assert ask_task(task, sometimes, tmp_path, count=6, workers=1, retry_failed=True).summary.failed == 0


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of an attention model and a recurrent one, which read bytes."""
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    llama = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=2048, **small))
    folders = {}
    for name, model in (("llama", llama), ("gdn", tiny_host("gated-deltanet", VOCABULARY))):
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        byte_tokenizer().save_pretrained(folders[name])
    return folders


@pytest.mark.parametrize("name", ["llama", "gdn"])
def test_any_causal_model_is_asked(models, name, tmp_path):
    done = run(
        "needle:length=900", "needle:length=1000", "phonebook:entries=4", "--model", models[name], "--count", 3,
        "--output", tmp_path, "--max-new-tokens", 8, "--json", "--device", "cpu",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [task["count"] for task in told["tasks"]] == [3, 3, 3]
    assert told["tasks"][0]["completion_tokens"] <= 24
    assert f"tokenizer={models[name]}" in told["tasks"][0]["task"], "length is counted in the model's tokens"
    rows = [json.loads(line) for path in tmp_path.rglob("results.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == 9
    assert all(row["seconds"] > 0 and row["prompt_tokens"] > 50 for row in rows)


def test_the_model_goes_on_with_the_prompt(models):
    """What is said is the greedy continuation that transformers' own generate gives."""
    model, tokenizer = LlamaForCausalLM.from_pretrained(models["llama"]).eval(), byte_tokenizer()
    question = parse_task("phonebook:entries=5").questions("test", 1)[0]
    said = ModelAnswerer(model, tokenizer, name="llama", max_tokens=12)(question)
    ids = torch.tensor([tokenizer(question.text)["input_ids"]])
    want = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False, eos_token_id=256
    )
    assert said.text == tokenizer.decode(want[0, ids.shape[1] :], skip_special_tokens=True)
    assert (said.prompt_tokens, said.completion_tokens) == (ids.shape[1], 12)


def test_a_chat_template_is_used_where_there_is_one():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "<U>{{ messages[0]['content'] }}<A>"
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=16, n_layer=1, n_head=1, n_positions=2000))
    question = parse_task("needle:length=600").questions("test", 1)[0]
    answerer = ModelAnswerer(model, tokenizer, name="gpt2")
    text = tokenizer.decode(answerer._prompt(question))
    assert text == f"<U>{question.context}{question.query}<A>{question.prefix.lstrip()}"
    assert ModelAnswerer(model, tokenizer, name="gpt2", chat=False).settings["chat"] is False
    plain = byte_tokenizer()
    with pytest.raises(UsageError, match="no chat template"):
        ModelAnswerer(model, plain, name="gpt2", chat=True)


def test_a_prompt_beyond_the_models_positions_fails_with_the_number(models, tmp_path):
    done = run("needle:length=4000", "--model", models["llama"], "--count", 2, "--output", tmp_path)
    assert done.exit_code == 1
    assert "no question was answered" in done.output
    rejected = next(tmp_path.rglob("results.rejected.jsonl")).read_text()
    assert "2,048 positions" in rejected


@pytest.fixture
def solver(stub_server, completion):
    """A server that answers by rule."""
    tasks = [parse_task(spec) for spec in ("needle", "phonebook", "variable-tracking", "frequent-words")]

    def solve(number, body):
        text = body["messages"][-1]["content"]
        found = next((answers for task in tasks if (answers := task.solve(text)[1])), ("nothing",))
        return completion(", ".join(found))

    return stub_server(solve)


def test_a_server_is_asked_and_not_twice(solver, tmp_path):
    arguments = (
        "needle:preset=multikey_1,length=400", "needle:preset=multikey_1,length=700", "phonebook:entries=12",
        "--endpoint", solver.base_url, "--model", "m", "--count", 6, "--output", tmp_path,
    )  # fmt: skip
    done = run(*arguments)
    assert done.exit_code == 0, done.output
    assert "100.0" in done.output
    assert "up to 700 tokens it reaches RULER's bar" in done.output
    assert "score by depth of the needle" in done.output
    assert len(solver.bodies) == 18
    told = json.loads(run(*arguments, "--json").stdout)
    assert len(solver.bodies) == 18
    assert told["effective_length"] == 700
    assert [task["score"]["mean"] for task in told["tasks"]] == [100, 100, 100]
    assert told["tasks"][0]["prompt_tokens"] == 60


def test_replies_that_were_paid_for_are_not_asked_again(solver, tmp_path):
    """Another folder for the same answers: what is kept is the client's cache."""
    arguments = (
        "phonebook:entries=6",
        "--endpoint",
        solver.base_url,
        "--model",
        "m",
        "--count",
        4,
        "--output",
        tmp_path,
    )
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--max-new-tokens", 600, "--force").exit_code == 0
    assert len(solver.bodies) == 8, "other options are other questions"
    assert run(*arguments, "--force").exit_code == 0
    assert len(solver.bodies) == 8


def test_a_text_that_is_told_twice_is_asked_in_the_tokens_of_the_server(solver, tmp_path):
    arguments = ("needle:length=400,passes=2,order=question_first", "--count", 2, "--json", "--output", tmp_path)
    done = run(*arguments, "--endpoint", solver.base_url, "--model", "m")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["tasks"][0]
    assert "tokenizer=approximate" in told["task"]
    assert told["score"]["mean"] == 100
    asked = solver.bodies[0]["messages"][0]["content"]
    assert asked.count("Some special values are hidden") == 2
    assert asked.startswith("What are all the special values")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["needle"], 2, "--model is missing"),
        (["mqar", "--model", "x", "--endpoint", "http://127.0.0.1:9/v1"], 2, "asks no questions in text"),
        (["needle:form=tokens,length=64", "--model", "x", "--endpoint", "http://127.0.0.1:9/v1"], 2, "form=tokens"),
        (["needle", "needle", "--model", "x", "--endpoint", "http://127.0.0.1:9/v1"], 2, "given twice"),
        (["needel", "--model", "x"], 2, "did you mean 'needle'"),
        (["phonebook", "--model", "./nowhere"], 2, "nowhere"),
        (["mqar", "--model", "./nowhere"], 2, "asks no questions in text"),
        (["phonebook", "--model", "x", "--endpoint", "ftp://a"], 2, "http://"),
        (["phonebook", "--model", "x", "--endpoint", "http://127.0.0.1:9/v1", "--chat"], 2, "--chat"),
    ],
)
def test_wrong_use_says_what_would_be_right(arguments, code, said, tmp_path):
    done = run(*arguments, "--output", tmp_path / "out")
    assert done.exit_code == code, done.output
    assert said in done.output


def test_one_client_can_be_given_from_python(solver, tmp_path):
    from mnemic.llm import Endpoint
    from mnemic.teaching.asking.answerers import ServerAnswerer

    with LLMClient(Endpoint(base_url=solver.base_url), "m") as client:
        found = ask_task(parse_task("variable-tracking:length=700"), ServerAnswerer(client), tmp_path, count=3)
    assert found.summary.score.mean == 100
