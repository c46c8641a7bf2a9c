import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import MissingExtra, UsageError
from mnemic.tasks import tokenizers
from mnemic.tasks.tokenizers import ByteTokenizer, bpe_tokenizer, cache_folder, fingerprint, load_tokenizer


def prose(seed: int = 0, words: int = 3000) -> bytes:
    rng = random.Random(seed)
    lexicon = ["".join(rng.choices("abcdeéilmnorst漢", k=rng.randint(2, 9))) for _ in range(200)]
    return "".join(rng.choice(lexicon) + rng.choice([" ", " ", ", ", "\n\n"]) for _ in range(words)).encode()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokenizers"


@given(st.text())
def test_bytes_come_back(text):
    tokenizer = ByteTokenizer()
    ids = tokenizer.encode(text.encode("utf-8", "replace"))
    assert tokenizer.decode(ids) == text.encode("utf-8", "replace").decode()
    assert ids.max(initial=0) < tokenizer.vocab_size == 256


def test_half_a_character_is_shown_as_such():
    assert ByteTokenizer().decode(ByteTokenizer().encode("é".encode())[:1]) == "\ufffd"


@pytest.mark.parametrize(
    "text", [prose(1), b"", b"\n", "unseen \u2603 \u0001 words".encode(), b"x" * 200_000, prose(2, 60_000)]
)
def test_a_trained_bpe_gives_every_text_back(text):
    tokenizer = bpe_tokenizer(prose(0), 500)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids).encode() == text
    assert ids.max(initial=0) < tokenizer.vocab_size == 500


def test_a_trained_bpe_is_shorter_than_bytes_and_the_same_each_time(cache):
    tokenizer = bpe_tokenizer(prose(), 1000)
    ids = tokenizer.encode(prose())
    assert len(ids) < 0.5 * len(prose())
    [kept] = cache.iterdir()
    first = kept.read_text()
    np.testing.assert_array_equal(bpe_tokenizer(prose(), 1000).encode(prose()), ids)
    kept.unlink()
    bpe_tokenizer(prose(), 1000)
    assert kept.read_text() == first


def test_the_cache_tells_texts_and_sizes_apart(cache):
    for text, vocab in ((prose(0), 300), (prose(1), 300), (prose(0), 400), (prose(0), 300)):
        bpe_tokenizer(text, vocab)
    assert len(list(cache.iterdir())) == 3


def test_a_torn_cache_is_made_again(cache):
    ids = bpe_tokenizer(prose(), 300).encode(prose())
    [kept] = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    np.testing.assert_array_equal(bpe_tokenizer(prose(), 300).encode(prose()), ids)
    assert kept.read_bytes() == whole


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path / "file"))
    assert bpe_tokenizer(prose(), 300).vocab_size == 300


def test_where_the_cache_is(monkeypatch):
    monkeypatch.delenv("MNEMIC_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert str(cache_folder()) == "/somewhere/mnemic"


def test_a_tokenizers_file_and_a_folder_with_one(tmp_path, cache):
    bpe_tokenizer(prose(), 300)
    [kept] = cache.iterdir()
    settings = json.loads(kept.read_text())
    settings["truncation"] = {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(settings))
    for name in (tmp_path / "tokenizer.json", tmp_path):
        loaded = load_tokenizer(str(name))
        np.testing.assert_array_equal(loaded.encode(prose()), bpe_tokenizer(prose(), 300).encode(prose()))
    before = fingerprint(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text(kept.read_text())
    assert fingerprint(str(tmp_path)) != before
    assert fingerprint("byte") == fingerprint("some/hub-name") == ""


def test_a_transformers_tokenizer_without_a_file_of_the_tokenizers_library(tmp_path):
    transformers = pytest.importorskip("transformers")
    transformers.ByT5Tokenizer().save_pretrained(tmp_path / "byt5")
    loaded = load_tokenizer(str(tmp_path / "byt5"))
    text = "naïve café"
    assert loaded.decode(loaded.encode(text.encode())) == text
    assert len(loaded.encode(text.encode())) == len(text.encode())
    assert loaded.encode(text.encode()).max() < loaded.vocab_size


def test_a_name_that_is_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match=r"tokenizer '\./none\.json': no such file"):
        load_tokenizer("./none.json")
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(UsageError, match=r"bad\.json' is not a file of the tokenizers library"):
        load_tokenizer(str(tmp_path / "bad.json"))
    for name in ("bytes", "BPE", "bpee"):
        with pytest.raises(UsageError, match=rf"no tokenizer '{name}'; did you mean '(byte|bpe)'"):
            load_tokenizer(name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="neither byte, bpe, a file, nor one that transformers can load"):
        load_tokenizer(str(tmp_path / "empty"))


def test_a_missing_library_is_named_with_the_line_that_installs_it(monkeypatch):
    def absent(module: str) -> None:
        raise ModuleNotFoundError(name=module)

    monkeypatch.setattr(tokenizers, "import_module", absent)
    with pytest.raises(MissingExtra, match=r"tokenizer=bpe needs .* pip install 'mnemic\[models\]'"):
        bpe_tokenizer(prose())
