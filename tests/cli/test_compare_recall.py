"""`mnemic compare` on corpora and conversations, as a user and a script meet it."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result
from small_corpora import write_chat, write_corpus

from mnemic.cli import cli
from mnemic.report.records import read_records


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["compare", *arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("wiki"))


def test_json_is_one_object_per_method_and_the_folder_holds_the_report(tmp_path, corpus):
    out = tmp_path / "out"
    methods = ("bm25", "rule-graph", "hipporag2:filter=mention")
    done = compare(f"corpus:{corpus}", *methods, "--json", "--output", str(out))
    assert done.exit_code == 0, done.stderr
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run["memory"] for run in runs] == list(methods)
    for run in runs:
        assert {"recall@1", "recall@5", "recall@5_low", "all@5", "ndcg@5"} <= set(run["metrics"])
        assert {"bytes_per_passage", "build_seconds", "write_seconds", "read_seconds", "read_seconds_p95"} <= set(
            run["cost"]
        )
        assert run["cost"]["llm_calls"] == 0
    assert runs[2]["options"]["extraction"] == "stored"
    page = (out / "report.html").read_text()
    assert "hipporag2:filter=mention" in page
    assert "beside the best" in page
    assert "Recall against kind of question" in page
    assert "Recall against depth" in page
    records = read_records(out / "results.jsonl")
    assert len({record.asked for record in records}) == 1
    assert records[0].task_config["questions"] == 16

    again = compare(f"corpus:{corpus}", "bm25", "--output", str(out))
    assert again.exit_code == 2
    assert "already holds 3 runs" in again.stderr
    more = compare(f"corpus:{corpus}", *methods, "dense", "--resume", "--output", str(out))
    assert more.exit_code == 0
    assert more.stderr.count("(kept)") == 3
    assert "dense" in more.stdout
    assert "beside best" in more.stdout
    assert len((out / "results.jsonl").read_text().splitlines()) == 4


def test_conversations_are_judged_by_session(tmp_path):
    chat = write_chat(tmp_path / "chat.jsonl")
    done = compare(
        f"conversation:{chat}", "hybrid", "memgas:router=uniform", "--json", "--output", str(tmp_path / "out")
    )
    assert done.exit_code == 0, done.stderr
    hybrid, _ = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"recall@5", "all@5", "ndcg@5", "turn_recall@5", "unanswerable_recall@5"} <= set(hybrid["metrics"])
    assert hybrid["metrics"]["recall@5"] == 1
    assert "6 questions" not in done.stderr
    assert "7 questions with known evidence" in done.stderr


def test_every_question_of_longmemeval_has_a_history_of_its_own(tmp_path):
    def asked(number: int, thing: str) -> dict[str, object]:
        turns = [{"role": "user", "content": f"I bought a {thing}.", "has_answer": True}]
        filler = [{"role": "user", "content": "How is the weather?"}, {"role": "assistant", "content": "Fine. " * 500}]
        return {
            "question_id": f"q{number}", "question_type": "single-session-user", "question": f"Who bought a {thing}?",
            "answer": 1, "question_date": "2023/05/30 (Tue) 23:40", "haystack_session_ids": ["s1", "answer_1"],
            "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 02:21"],
            "haystack_sessions": [filler, turns], "answer_session_ids": ["answer_1"],
        }  # fmt: skip

    (tmp_path / "lme.json").write_text(json.dumps([asked(1, "kettle"), asked(2, "ladder")]))
    done = compare(f"conversation:{tmp_path / 'lme.json'}", "hybrid", "--json", "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.stderr
    run = json.loads(done.stdout)
    assert "2 conversations, 6 passages, 2 questions" in done.stderr
    assert run["metrics"]["recall@1"] == run["metrics"]["turn_recall@1"] == 1


def test_a_language_model_is_asked_once_and_its_replies_are_kept(tmp_path, corpus, stub_server, completion):
    server = stub_server(lambda number, body: completion({"helpful": [1]}))
    asked = ["--teacher", server.base_url, "--model", "tiny"]
    out = tmp_path / "out"
    done = compare(f"corpus:{corpus}", "hipporag2:filter=llm", *asked, "--json", "--output", str(out))
    assert done.exit_code == 0, done.stderr
    cost = json.loads(done.stdout)["cost"]
    assert cost["llm_calls"] >= 16
    assert cost["llm_prompt_tokens"] == 10 * cost["llm_calls"]
    before = len(server.bodies)
    more = compare(f"corpus:{corpus}", "hipporag2:filter=llm,damping=0.4", *asked, "--resume", "--output", str(out))
    assert more.exit_code == 0, more.stderr
    assert len(server.bodies) == before, "the same questions about the same facts"


def test_a_language_model_that_is_gone_fails_its_method_and_no_other(tmp_path, corpus, stub_server, answer):
    server = stub_server(lambda number, body: answer(status=401, body="no"))
    asked = ["--teacher", server.base_url, "--model", "tiny"]
    done = compare(
        f"corpus:{corpus}", "hipporag2:filter=llm", "bm25", *asked, "--json", "--output", str(tmp_path / "out")
    )
    assert done.exit_code == 1
    failed, kept = [json.loads(line) for line in done.stdout.splitlines()]
    assert "could not be asked" in failed["error"]
    assert kept["metrics"]["recall@5"] > 0
    assert "not every run finished: hipporag2:filter=llm" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["corpus:{corpus}", "mamba2"], "memory 'mamba2' stands inside a model"),
        (["corpus:{corpus}", "bm52"], "unknown recall method 'bm52'; did you mean 'bm25'"),
        (["corpus:{corpus}", "bm25", "bm25"], "method bm25 is given twice"),
        (
            ["corpus:{corpus}", "bm25", "--seeds", "0,1", "--lr-grid", "1e-3"],
            "--seeds, --lr-grid: of models that are trained",
        ),
        (["mqar:pairs=2,length=16,vocab=32", "attention", "--encoder", "minilm"], "--encoder: of recall methods"),
        (["mqar:pairs=2,length=16,vocab=32", "bm25"], "memory 'bm25' is no layer of a language model"),
        (["corpora:{corpus}", "bm25"], "unknown task 'corpora'; did you mean 'corpus'"),
        (["corpus:no-such-folder", "bm25"], "corpus 'no-such-folder' is no folder"),
        (
            ["corpus:{corpus}", "hipporag2:filter=llm"],
            "asks a language model; say which with --teacher URL --model NAME",
        ),
        (
            ["corpus:{corpus}", "bm25", "--teacher", "http://localhost:1/v1"],
            "--teacher URL and --model NAME belong together",
        ),
        (["corpus:{corpus}", "dense:encoder=wordlama"], "unknown encoder 'wordlama'; did you mean 'wordllama'"),
        (["corpus:{corpus}", "bm25", "--output", "/dev/null/out"], "cannot write to the folder '/dev/null/out'"),
    ],
)
def test_wrong_use_exits_2_with_one_line(tmp_path, monkeypatch, corpus, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = compare(*(argument.format(corpus=corpus) for argument in arguments))
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert done.stdout == ""
    assert not list(tmp_path.iterdir())


def test_no_torch_is_needed(tmp_path, corpus):
    arguments = ["compare", f"corpus:{corpus}", "bm25", "rule-graph", "--output", str(tmp_path / "out")]
    code = (
        f"import sys; sys.modules['torch'] = None\nfrom mnemic.cli import cli\ncli({arguments}, standalone_mode=False)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "rule-graph" in done.stdout
