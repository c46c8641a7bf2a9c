"""The default encoder: the package's own vectors, without the package's code, the network or torch."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from mnemic.errors import MissingExtra, UsageError
from mnemic.storage.encoders import open_encoder


@pytest.fixture(scope="module")
def encoder():
    return open_encoder()


def test_vectors_are_those_of_the_package(encoder):
    from wordllama import WordLlama

    texts = ["Marie Curie\nwas born in Warsaw.", "x", "Où est le café? 東京 🙂", "a " * 3000]
    package = WordLlama.load(cache_dir=Path(importlib.util.find_spec("wordllama").origin).parent, disable_download=True)
    expected = np.concatenate([package.embed([text], norm=True) for text in texts])
    np.testing.assert_allclose(encoder.encode(texts), expected, atol=2e-6)
    assert encoder.dim == 256
    assert len(encoder.revision) == 16


@settings(max_examples=25, deadline=None)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=70))
def test_a_vector_depends_on_its_text_alone(encoder, texts):
    together = encoder.encode(texts)
    assert (together == np.concatenate([encoder.encode([text]) for text in texts])).all()
    lengths = np.linalg.norm(together, axis=1)
    assert all(abs(length - 1) < 1e-5 or length == 0 for length in lengths)


def test_odd_texts(encoder):
    vectors = encoder.encode(["", "\ud800 half a pair", "\x00", "word " * 200_000])
    assert vectors[0].tolist() == [0] * 256
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(vectors[3] @ encoder.encode(["word word word"])[0], 1, atol=0.01)
    assert encoder.encode([]).shape == (0, 256)


def test_nothing_heavy_is_loaded():
    code = (
        "import sys; from mnemic.storage.encoders import open_encoder; open_encoder().encode(['a'])\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'requests', 'wordllama')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_a_model2vec_folder(tmp_path):
    tokenizer = Tokenizer(WordLevel({"?": 0, "cat": 1, "dog": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    table = np.array([[0, 0], [3, 4], [5, 12]], np.float32)
    save_file({"embeddings": table}, tmp_path / "model.safetensors")
    encoder = open_encoder(f"model2vec:{tmp_path}")
    expected = [[0.6, 0.8], np.array([8, 16]) / np.hypot(8, 16), [0, 0]]
    np.testing.assert_allclose(encoder.encode(["cat", "cat dog", ""]), expected, rtol=1e-6)
    before = encoder.revision
    save_file({"embeddings": table * 2}, tmp_path / "model.safetensors")
    assert open_encoder(f"model2vec:{tmp_path}").revision != before
    save_file({"embeddings": table, "mapping": np.arange(3)}, tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="one table 'embeddings'"):
        open_encoder(f"model2vec:{tmp_path}")
    (tmp_path / "model.safetensors").write_bytes(b"cut short")
    with pytest.raises(UsageError, match="cannot be read"):
        open_encoder(f"model2vec:{tmp_path}")


def test_the_wrong_name():
    with pytest.raises(UsageError, match="unknown encoder 'minilmm'; did you mean 'minilm'"):
        open_encoder("minilmm")
    with pytest.raises(UsageError, match="base_url is 'http://x', but encoder 'wordllama' runs here"):
        open_encoder(base_url="http://x")


def test_the_package_is_not_installed(monkeypatch):
    monkeypatch.setattr("mnemic.storage.encoders.static.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"mnemic\[store\]"):
        open_encoder()
