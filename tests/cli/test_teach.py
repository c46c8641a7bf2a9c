"""The data pipeline as a user meets it: one command from traces to teaching data, stopped and gone on with."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from mnemic import cli as command_line
from mnemic.llm.fake import Call
from mnemic.teaching.memento.boundaries import BOUNDARY_TAG
from mnemic.teaching.memento.oracle import OracleTeacher
from mnemic.teaching.memento.synthetic import synthetic_traces
from mnemic.teaching.memento.writing import JUDGEMENT_TAG, MEMENTO_TAG, REFINEMENT_TAG
from mnemic.teaching.records import read_jsonl, write_jsonl

SOURCE = "synthetic:count=3,blocks=3"
TAGS = {"scores": BOUNDARY_TAG, "summaries": MEMENTO_TAG, "feedback": JUDGEMENT_TAG, "summary": REFINEMENT_TAG}


def run(*arguments):
    return CliRunner().invoke(command_line.cli, ["teach", "memento", *map(str, arguments)])


def build(output, *options, source=SOURCE, teacher="oracle"):
    return run("build", source, "--teacher", teacher, "--output", output, "--workers", 2, *options)


@pytest.fixture
def server():
    """The oracle behind an OpenAI-compatible server; `server.requests` are the bodies it was sent."""
    oracle = OracleTeacher(synthetic_traces(SOURCE))

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.server.requests.append(body)
            self.server.keys.add(self.headers["authorization"])
            keys = body["response_format"]["json_schema"]["schema"]["properties"]
            tag = next(TAGS[key] for key in reversed(list(keys)))
            call = Call(tuple(body["messages"]), tag, None, None, 0)
            text = "nonsense" if self.server.is_mad else json.dumps(oracle.answer(call))
            usage = {"prompt_tokens": 1000, "completion_tokens": 100}
            reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
            sent = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.requests, served.keys, served.is_mad = [], set(), False
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{served.server_port}/v1"
    yield served
    served.shutdown()
    served.server_close()


def test_oracle_build_validate_and_stats(tmp_path):
    done = build(tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "expected:" in done.stderr
    assert "3 of 3 traces" in done.stderr
    assert "usable traces" in done.stdout
    records = list(read_jsonl(tmp_path / "out/traces.jsonl"))
    assert [r.reasoning for r in records] == [t.record.reasoning for t in synthetic_traces(SOURCE)]
    checked = run("validate", tmp_path / "out/traces.jsonl", "--json")
    assert checked.exit_code == 0
    assert json.loads(checked.stdout)["ok"] == 3
    assert "usable traces" in run("validate", tmp_path / "out/traces.jsonl").stdout
    figures = json.loads(run("stats", tmp_path / "out/traces.jsonl", "--json").stdout)
    assert figures["domains"]["math"]["blocks"] == 3
    assert "teachers: oracle (3)" in run("stats", tmp_path / "out/traces.jsonl").stdout


def test_json_is_one_object_on_stdout(tmp_path):
    done = build(tmp_path / "out", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["counts"]["ok"] == 3
    assert said["calls"]["requests"] > 0
    assert said["traces"]["histograms"]["block"]["n"] == 9


def test_folder_with_a_build_is_gone_on_with_only_if_asked(tmp_path):
    assert build(tmp_path / "out").exit_code == 0
    refused = build(tmp_path / "out")
    assert refused.exit_code == 2
    assert "add --resume" in refused.stderr
    resumed = build(tmp_path / "out", "--resume", "--json")
    assert resumed.exit_code == 0
    assert json.loads(resumed.stdout)["calls"]["requests"] == 0
    assert build(tmp_path / "out", "--resume", "--min-tokens", 100).exit_code == 2
    assert build(tmp_path / "out", "--force", "--min-tokens", 100).exit_code == 0


def test_budget_stops_the_build_and_what_was_paid_for_is_kept(tmp_path, server):
    options = ("--model", "m", "--max-requests", 7, "--price", "1,10")
    stopped = build(tmp_path / "out", *options, teacher=server.url)
    assert stopped.exit_code == 1
    assert "max_requests is 7" in stopped.stderr
    assert "--resume" in stopped.stderr
    assert len(server.requests) == 7
    assert not (tmp_path / "out/traces.jsonl").exists()
    done = build(tmp_path / "out", "--model", "m", "--price", "1,10", "--resume", "--json", teacher=server.url)
    assert done.exit_code == 0, done.stderr
    assert "cost" in done.stderr
    assert json.loads(done.stdout)["calls"]["requests"] == len(server.requests) - 7
    asked = [json.dumps(body["messages"]) for body in server.requests]
    assert len(set(asked)) == len(asked)
    again = build(tmp_path / "other", "--json")
    assert again.exit_code == 0
    assert [r.segments for r in read_jsonl(tmp_path / "out/traces.jsonl")] == [
        r.segments for r in read_jsonl(tmp_path / "other/traces.jsonl")
    ]


def test_cost_stops_the_build(tmp_path, server):
    stopped = build(tmp_path / "out", "--model", "m", "--max-cost", 0.02, "--price", "1,10", teacher=server.url)
    assert stopped.exit_code == 1
    assert "max_cost is 0.02" in stopped.stderr
    spent = 0.002 * len(server.requests)
    assert 0 < spent <= 0.02


def test_server_that_answers_nonsense(tmp_path, server):
    server.is_mad = True
    done = build(tmp_path / "out", "--model", "m", teacher=server.url)
    assert done.exit_code == 1
    assert "no trace came through: BadReply (3)" in done.stderr
    assert not list(read_jsonl(tmp_path / "out/traces.jsonl"))
    server.is_mad = False
    assert build(tmp_path / "out", "--model", "m", "--retry-failed", teacher=server.url).exit_code == 0


def test_key_is_sent_and_never_kept(tmp_path, server, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    done = build(tmp_path / "out", "--model", "m", "--api-key-env", "TEACHER_KEY", teacher=server.url)
    assert done.exit_code == 0
    assert server.keys == {"Bearer sk-very-secret"}
    assert "very-secret" not in done.output
    assert not [f for f in (tmp_path / "out").iterdir() if f.is_file() and b"very-secret" in f.read_bytes()]
    assert build(tmp_path / "b", "--model", "m", "--api-key-env", "NO_SUCH", teacher=server.url).exit_code == 2


def test_own_traces_with_faults_are_counted(tmp_path, server):
    rows = [
        {"id": t.record.id, "messages": [{"role": "user", "content": t.record.prompt[0].content},
         {"role": "assistant", "content": f"<think>{t.record.reasoning}</think>{t.record.answer}"}]}
        for t in synthetic_traces(SOURCE)
    ]  # fmt: skip
    rows.append({"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "no thought"}]})
    rows.append(
        {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "<think>中</think>a"}]}
    )
    file = tmp_path / "chats.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = build(tmp_path / "out", "--model", "m", "--json", source=file, teacher=server.url)
    assert done.exit_code == 0, done.stderr
    assert "3 traces (2 more cannot be used)" in done.stderr
    assert json.loads(done.stdout)["dropped"] == {"cjk": 1, "no_think_end": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("build", "none.jsonl", "--teacher", "http://localhost:1/v1", "--model", "m"), "no file or folder"),
        (("build", SOURCE, "--teacher", "http://localhost:1/v1"), "--model is missing"),
        (("build", SOURCE, "--teacher", "localhost:1", "--model", "m"), "http://"),
        (("build", SOURCE, "--teacher", "oracle", "--max-cost", "1"), "--max-cost needs --price"),
        (("build", SOURCE, "--teacher", "oracle", "--price", "1"), "two numbers"),
        (("build", SOURCE, "--teacher", "oracle", "--domains", "math"), "not a list such as"),
        (("build", "synthetic:blocks=0", "--teacher", "oracle"), "blocks=0"),
        (("build", SOURCE, "--teacher", "oracle", "--tokens", "broken.json"), "no tokenizer"),
        (("biuld",), "did you mean 'build'"),
    ],
)  # fmt: skip
def test_wrong_use_is_explained(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{}")
    done = run(*options, *(("--output", tmp_path / "out") if options[0] == "build" else ()))
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (tmp_path / "out/manifest.json").exists()


def test_the_oracle_refuses_traces_that_it_does_not_know(tmp_path):
    write_jsonl(tmp_path / "t.jsonl", [t.record for t in synthetic_traces(SOURCE)])
    done = build(tmp_path / "out", source=tmp_path / "t.jsonl")
    assert done.exit_code == 2
    assert "synthetic traces only" in done.stderr


def test_validate_says_what_is_wrong_and_fails(tmp_path):
    (record,) = [t.record for t in synthetic_traces("synthetic:count=1")]
    row = json.loads(record.dump())
    row["segments"].append({"kind": "memento", "text": "a <|summary_end|>", "block": 0})
    file = tmp_path / "t.jsonl"
    file.write_text(f"{record.dump()}\n{json.dumps(row)}\n{record.dump()}\n")
    done = run("validate", file, "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["problems"] == {"memento_order": 1, "duplicate_id": 1}
    assert "2 of 3 lines" in done.stderr
    assert run("validate", tmp_path / "none").exit_code == 2


def test_help_of_the_groups_names_the_verbs():
    shown = CliRunner().invoke(command_line.cli, ["teach", "memento", "--help"]).output
    assert all(verb in shown for verb in ("build", "validate", "stats"))
