"""An evaluation as a user meets it: by rule, from a server, with a judge, from predictions; and what is refused."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from mnemic import cli as command_line
from mnemic.teaching.rwr.evaluation.questions import open_questions

DATA = "miniature:count=14,length=300"


def run(*arguments):
    return CliRunner().invoke(command_line.cli, ["teach", "rwr", "evaluate", *map(str, arguments)])


@pytest.fixture
def server():
    """A server that knows one thing to say, and as a judge finds all answers right; `asked` are the prompts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            self.server.asked.append(body["messages"][-1]["content"])
            text = '{"correct": true}' if body["model"] == "judge" else "Summary: empty\nAnswer: unanswerable"
            usage = {"prompt_tokens": 100, "completion_tokens": 10}
            reply = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}
            sent = json.dumps(reply).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_):
            pass

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.asked = []
    threading.Thread(target=served.serve_forever, daemon=True).start()
    served.url = f"http://127.0.0.1:{served.server_port}/v1"
    yield served
    served.shutdown()
    served.server_close()


def test_the_reader_by_rule_is_right_and_with_a_small_memory_it_is_not(tmp_path):
    done = run("--rules", "--data", DATA, "--output", tmp_path / "all", "--training-tokens", 100)
    assert done.exit_code == 0, done.output
    assert re.search(r"^all +14 +1\.000 ", done.stdout, re.MULTILINE)
    assert re.search(r"^length 4× ", done.stdout, re.MULTILINE)
    assert "precision 1.00, recall 1.00" in done.stdout
    small = run("--rules", "--recent", 60, "--data", DATA, "--output", tmp_path / "small", "--json")
    said = json.loads(small.stdout)
    assert said["groups"]["answerable"]["score"] < 0.5
    assert said["abstention"]["recall"] == 1
    assert said["abstention"]["precision"] < 0.5


def test_before_and_after_are_one_command(tmp_path):
    before = run("--rules", "--recent", 12, "--data", "short:count=30", "--output", tmp_path / "before")
    assert before.exit_code == 0, before.output
    options = ("--rules", "--data", "short:count=60", "--output", tmp_path / "after", "--compare")
    after = run(*options, tmp_path / "before")
    assert after.exit_code == 0, after.output
    assert re.search(r"^type recall +10 +0\.000 +1\.000 +\+1\.000 +\+1\.00 to \+1\.00$", after.stdout, re.MULTILINE)
    assert "left out: 0 answered before alone, 30 answered after alone" in after.stdout
    said = json.loads(run(*options, tmp_path / "before/summary.json", "--json").stdout)
    folders = [str(tmp_path / name) for name in ("before", "after")]
    alone = CliRunner().invoke(command_line.cli, ["teach", "rwr", "compare", *folders, "--json"])
    assert json.loads(alone.stdout)["groups"] == said["comparison"]["groups"]
    assert run(*options, tmp_path / "gone").exit_code == 2


def test_a_server_answers_and_is_not_asked_twice(tmp_path, server):
    options = ("--endpoint", server.url, "--model", "m", "--data", DATA, "--output", tmp_path / "out", "--json")
    first = run(*options, "--limit", 7)
    assert first.exit_code == 0, first.output
    assert len(server.asked) == 7
    assert "Note first" in server.asked[0]
    whole = run(*options)
    assert len(server.asked) == 14
    said = json.loads(whole.stdout)
    assert (said["groups"]["abstention"]["score"], said["groups"]["answerable"]["score"]) == (1, 0)
    assert (said["cost"]["prompt_tokens"], said["cost"]["completion_tokens"]) == (1400, 140)
    assert (said["cost"]["speed"], said["cost"]["state_bytes"]) == (None, None)
    again = run(*options[:-1], "--force", "--without-known-bad", "--max-new-tokens", 5)
    assert "read 1,400 tokens; wrote 140 tokens; " in again.stdout
    assert run(*options, "--mode", "direct").exit_code == 2
    assert run(*options, "--mode", "segments", "--segment-tokens", 120, "--force").exit_code == 0
    assert len(server.asked) > 3 * 14


def test_a_judge_decides(tmp_path, server):
    items = open_questions(DATA)
    said = tmp_path / "said.jsonl"
    said.write_text("\n".join(json.dumps({"question_id": item.id, "hypothesis": "nonsense"}) for item in items))
    options = ("--predictions", said, "--data", DATA, "--json")
    plain = json.loads(run(*options, "--output", tmp_path / "plain").stdout)
    judged = run(*options, "--output", tmp_path / "judged", "--judge", server.url, "--judge-model", "judge")
    assert judged.exit_code == 0, judged.output
    found = json.loads(judged.stdout)["groups"]["all"]
    assert plain["groups"]["all"]["score"] == 0
    assert (found["score"], found["scored_by"]) == (1, ["judge"])
    assert "nonsense" in server.asked[0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", DATA), "who answers?"),
        (("model", "--rules", "--data", DATA), "not CHECKPOINT and --rules"),
        (("--endpoint", "http://localhost:1/v1", "--data", DATA), "belong together"),
        (("--rules", "--data", DATA, "--judge-model", "m"), "belong together"),
        (("--predictions", "gone.jsonl", "--data", DATA), "no file"),
        (("--endpoint", "localhost:1", "--model", "m", "--data", DATA), "http://"),
        (("--endpoint", "http://localhost:1/v1", "--model", "m", "--data", DATA, "--recent", 5), "--recent"),
        (("--rules", "--data", "longmemeval:gone.json"), "no file"),
        (("--rules", "--data", DATA, "--decimate", "2000"), "CHECKPOINT"),
        (("model", "--data", DATA, "--decimate", "2000,x"), "how many tokens to keep"),
    ],
)
def test_wrong_use_is_explained(tmp_path, monkeypatch, options, said):
    monkeypatch.chdir(tmp_path)
    done = run(*options, "--output", tmp_path / "out")
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (tmp_path / "out/results.jsonl").exists()


def test_a_record_with_a_missing_field_is_named(tmp_path):
    path = tmp_path / "s.json"
    path.write_text(json.dumps([{"question_id": "q", "question_type": "multi-session"}], indent=1))
    done = run("--rules", "--data", f"longmemeval:{path}", "--output", tmp_path / "out")
    assert done.exit_code == 2
    assert re.search(r"record 1, line 2 of '.*s.json': field 'question' is missing", done.stderr)
