"""What is sent, what comes back, and that a key is seen by its server and by nobody else."""

import json
import logging
import pickle
import traceback

import pytest

from mnemic.errors import UsageError
from mnemic.llm import BadReply, Budget, Endpoint, EndpointFailed, LLMClient, LLMError, Price, ResponseCache

KEY = "sk-verysecret-0123456789"
SCORES = {
    "type": "object",
    "properties": {"scores": {"type": "array", "items": {"type": "number"}}},
    "required": ["scores"],
}


def test_what_is_sent(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion({"scores": [1]}))
    client = make_client(stub, endpoint={"api_key": KEY}, extra={"top_p": 0.9})
    done = ask(client, "héllo \ud83d", response_schema=SCORES, max_tokens=77, seed=3, tag="t")
    assert (done.parsed, done.cached, done.usage.prompt_tokens, done.usage.completion_tokens) == (
        {"scores": [1]},
        False,
        10,
        5,
    )
    assert not done.usage.estimated
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"
    assert stub.headers[0]["path"] == "/v1/chat/completions"
    assert stub.bodies[0] == {
        "model": "m",
        "messages": [{"role": "user", "content": "héllo \ud83d"}],
        "temperature": 0.0,
        "max_tokens": 77,
        "top_p": 0.9,
        "seed": 3,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "schema": SCORES}},
    }


def test_fields_can_be_taken_out_and_renamed(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion({"scores": []}))
    extra = {"temperature": None, "max_completion_tokens": 50}
    ask(make_client(stub, extra=extra, json_mode="none"), response_schema=SCORES)
    assert stub.bodies[0].keys() == {"model", "messages", "max_completion_tokens"}
    assert "authorization" not in stub.headers[0]


def test_the_key_comes_from_the_environment(stub_server, make_client, ask, completion, monkeypatch):
    monkeypatch.setenv("TEACHER_KEY", f" {KEY}\n")
    stub = stub_server(lambda n, _: completion("yes"))
    ask(make_client(stub, endpoint={"api_key_env": "TEACHER_KEY"}))
    assert stub.headers[0]["authorization"] == f"Bearer {KEY}"
    monkeypatch.delenv("TEACHER_KEY")
    with pytest.raises(UsageError, match="TEACHER_KEY is not set"):
        make_client(stub, endpoint={"api_key_env": "TEACHER_KEY"})


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host/v1", f"http://user:{KEY}@host/v1", f"https://host/v1?key={KEY}", "http:///v1"]
)
def test_urls_that_cannot_be_or_hold_a_secret_are_refused_without_showing_it(url):
    from mnemic.options import validated

    with pytest.raises(UsageError, match="base_url must be") as wrong:
        validated("endpoint", Endpoint, {"base_url": url})
    assert KEY not in str(wrong.value)
    with pytest.raises(ValueError, match="base_url must be") as raw:
        Endpoint(base_url=url)
    assert KEY not in str(raw.value)


def test_a_key_that_no_header_can_hold_is_refused_without_showing_it():
    with pytest.raises(UsageError, match="no HTTP header can hold") as wrong:
        LLMClient(Endpoint(base_url="http://host/v1", api_key=f"{KEY}\nx"), "m")
    assert KEY not in str(wrong.value)


@pytest.mark.parametrize("status", [200, 400, 401, 429, 500])
def test_the_key_is_nowhere_but_in_its_header(
    stub_server, make_client, ask, answer, completion, tmp_path, caplog, status
):
    """Servers that repeat the key in what they say do not make it leak."""
    caplog.set_level(logging.DEBUG)
    echo = json.dumps({"error": {"message": f"Bearer {KEY} is not welcome"}})
    stub = stub_server(lambda n, _: answer(status=status, body=echo) if n else completion("yes"))
    seen = []
    with ResponseCache(tmp_path / "cache.db") as cache:
        client = make_client(stub, endpoint={"api_key": KEY}, cache=cache)
        seen += [repr(ask(client)), repr(client), str(client.totals), repr(client.__dict__)]
        with pytest.raises(EndpointFailed) as failed:
            ask(client, "again")
        seen += [str(failed.value), repr(failed.value), "".join(traceback.format_exception(failed.value))]
    endpoint = Endpoint(base_url=stub.base_url, api_key=KEY)
    seen += [repr(endpoint), str(endpoint), endpoint.model_dump_json(), str(endpoint.model_dump()), caplog.text]
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
    assert [text for text in seen if KEY in text] == []
    assert stub.headers[-1]["authorization"] == f"Bearer {KEY}"
    assert "[key] is not welcome" in str(failed.value)


def test_usage_that_is_missing_is_estimated_and_said(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("x" * 30, usage=None))
    client = make_client(stub)
    done = ask(client, "y" * 300)
    assert done.usage.estimated
    assert client.totals.has_estimates
    assert done.usage.completion_tokens == 10
    assert 100 <= done.usage.prompt_tokens <= 120


def test_totals_and_cost(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("yes", usage=(1_000_000, 500_000)))
    client = make_client(stub, budget=Budget(prices={"m": Price(prompt=2, completion=10)}))
    ask(client, "a")
    ask(client, "b")
    totals = client.totals
    assert (totals.requests, totals.cached, totals.prompt_tokens, totals.completion_tokens) == (
        2,
        0,
        2_000_000,
        1_000_000,
    )
    assert totals.cost == pytest.approx(2 * 7)
    assert make_client(stub).totals.cost is None


@pytest.mark.parametrize(
    "bad", ["no JSON", '{"scores": [1, 2', '{"scores": "1"}', '{"points": []}', "", '{"scores": [1]}']
)
def test_a_bad_reply_is_asked_for_again_with_the_complaint(stub_server, make_client, ask, completion, bad):
    stub = stub_server(lambda n, _: completion(bad) if n < 2 else completion({"scores": [1, 2]}))
    client = make_client(stub)
    done = ask(
        client, response_schema=SCORES, check=lambda v: None if len(v["scores"]) == 2 else "two scores were asked for"
    )
    assert done.parsed == {"scores": [1, 2]}
    assert client.totals.requests == 3
    last = stub.bodies[-1]["messages"]
    assert [m["role"] for m in last] == ["user", "assistant", "user", "assistant", "user"]
    assert last[1]["content"] == bad
    if bad == '{"scores": [1]}':
        assert "two scores were asked for" in last[-1]["content"]


def test_a_reply_that_stays_bad_fails_its_call_and_is_not_kept(stub_server, make_client, ask, completion, tmp_path):
    stub = stub_server(lambda n, _: completion("nonsense" if n < 3 else {"scores": []}))
    with ResponseCache(tmp_path / "cache.db") as cache:
        client = make_client(stub, cache=cache)
        with pytest.raises(BadReply, match=r"answered to 'scoring' 3 times and never as asked.*nonsense") as bad:
            ask(client, response_schema=SCORES, tag="scoring")
        assert not bad.value.fatal
        assert not bad.value.transient
        assert len(cache) == 0
        assert ask(client, response_schema=SCORES, tag="scoring").parsed == {"scores": []}
    assert len(stub.bodies) == 4


def test_a_reply_that_was_cut_short_is_bad_even_as_text(stub_server, make_client, ask, completion):
    stub = stub_server(lambda n, _: completion("a long sto", finish="length") if n == 0 else completion("done"))
    assert ask(make_client(stub)).text == "done"
    assert "cut short" in stub.bodies[1]["messages"][-1]["content"]


def test_half_characters_become_whole(stub_server, make_client, ask, completion, tmp_path):
    stub = stub_server(lambda n, _: completion("a\ud83db\ud83d\ude00"))
    with ResponseCache(tmp_path / "cache.db") as cache:
        assert ask(make_client(stub, cache=cache)).text == "a\ufffdb😀"


def test_wrong_options_are_named(stub_server, make_client, completion):
    stub = stub_server(lambda n, _: completion("yes"))
    with pytest.raises(UsageError, match="cache_mode is 'reed'; did you mean 'read'"):
        make_client(stub, cache_mode="reed")
    with pytest.raises(UsageError, match="json_mode is 'xml'"):
        make_client(stub, json_mode="xml")
    with pytest.raises(UsageError, match="endpoints is empty"):
        LLMClient([], "m")
    with pytest.raises(UsageError, match="max_cost needs the price of model 'm'; prices are given for: other"):
        make_client(stub, budget=Budget(max_cost=1, prices={"other": Price(prompt=1, completion=1)}))


def test_errors_survive_another_process():
    error = pickle.loads(pickle.dumps(BadReply("so it was")))
    assert isinstance(error, LLMError)
    assert str(error) == "so it was"
