"""Vectors from a server: in order, of unit norm, asked for again when that may help."""

import json

import numpy as np
import pytest

from mnemic.errors import MnemicError, UsageError
from mnemic.llm import Retries
from mnemic.storage.encoders import open_encoder
from mnemic.storage.encoders.endpoint import EndpointEncoder

QUICK = Retries(tries=3, first=0.001)


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)


def embeddings(texts):
    rows = [{"index": i, "embedding": [len(text), 1.0, 0.0]} for i, text in enumerate(texts)]
    return json.dumps({"data": rows[::-1]})


def test_vectors_come_in_the_order_of_the_texts(stub_server, answer, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = stub_server(lambda number, body: answer(body=embeddings(body["input"])))
    encoder = open_encoder("openai:small", base_url=server.base_url)
    texts = ["x" * i for i in range(150)]
    expected = np.array([[i, 1, 0] for i in range(150)]) / np.hypot(np.arange(150), 1)[:, None]
    expected[0] = 0  # an empty text is not sent
    np.testing.assert_allclose(encoder.encode(texts), expected, rtol=1e-6)
    assert (encoder.dim, encoder.name, encoder.revision) == (3, "openai:small", "small/3")
    assert {body["model"] for body in server.bodies} == {"small"}
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert server.headers[0]["path"] == "/v1/embeddings"


def test_a_long_text_is_the_mean_of_its_windows(stub_server, answer):
    server = stub_server(lambda number, body: answer(body=embeddings(body["input"])))
    encoder = EndpointEncoder("small", server.base_url, QUICK)
    vector = encoder.encode(["x" * 20_000])[0]
    assert [len(text) for text in server.bodies[-1]["input"]] == [8000, 8000, 4000]
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_what_may_pass_is_asked_again(stub_server, answer):
    answers = [{"status": 503}, {"body": "no json"}, {"body": embeddings(["dimension"])}]
    server = stub_server(lambda number, body: answer(**answers[number]))
    assert EndpointEncoder("small", server.base_url, QUICK).dim == 3
    assert len(server.bodies) == 3


def test_what_will_not_pass(stub_server, answer):
    server = stub_server(lambda number, body: answer(status=401))
    with pytest.raises(UsageError, match="answered 401; look at the model's name and the key"):
        EndpointEncoder("small", server.base_url, QUICK)
    assert len(server.bodies) == 1
    down = stub_server(lambda number, body: answer(status=500))
    with pytest.raises(MnemicError, match="answered 500; tried 3 times"):
        EndpointEncoder("small", down.base_url, QUICK)
    short = stub_server(lambda number, body: answer(body=embeddings(body["input"] * 2)))
    with pytest.raises(MnemicError, match="were asked for"):
        EndpointEncoder("small", short.base_url, QUICK)


def test_no_model():
    with pytest.raises(UsageError, match="write openai:MODEL"):
        open_encoder("openai:")
