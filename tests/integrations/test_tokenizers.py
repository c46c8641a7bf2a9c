"""A task's tokenizer in transformers' hands: the same ids, and no other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from mnemic.errors import UsageError
from mnemic.integrations.tokenizers import END, save_tokenizer, task_tokenizer
from mnemic.tasks import parse_task

BYTES = task_tokenizer(parse_task("text:python-reference"))


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_bytes_are_bytes(text):
    ids = BYTES(text)["input_ids"]
    assert ids == list(text.encode())
    assert BYTES.decode(ids, skip_special_tokens=True) == text


def test_no_id_is_added_and_the_end_is_the_byte_that_no_text_holds():
    assert len(BYTES) == 256
    assert BYTES.eos_token_id == BYTES.pad_token_id == BYTES(END)["input_ids"][0] == 0


def test_a_bpe_has_the_task_s_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path))
    task = parse_task("text:python-reference,tokenizer=bpe,vocab=300")
    text = task.corpus.splits["test"][:4000].decode(errors="ignore")
    tokenizer = task_tokenizer(task)
    ids = tokenizer(text)["input_ids"]
    assert ids == task.text.tokenizer.encode(text.encode()).tolist()
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) == task.vocab_size
    assert tokenizer.eos_token == END


@pytest.mark.parametrize(
    "spec", ["mqar:pairs=4,length=32,vocab=64", "key-facts:length=16-32,form=note", "copy", "state-tracking", "rounds"]
)
def test_every_word_of_a_task_is_its_id(tmp_path, spec):
    task = parse_task(spec)
    save_tokenizer(task, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert len(tokenizer) == task.vocab_size
    rows = task.sample("test", 4).input_ids
    for row in [*rows, np.arange(task.vocab_size)]:
        words = " ".join(task.word(token) for token in row.tolist())
        assert tokenizer(words)["input_ids"] == row.tolist()
        assert tokenizer.decode(row.tolist()) == words


def test_a_tokenizer_of_the_user_s_is_that_one(tmp_path):
    BYTES.save_pretrained(tmp_path)
    for given_as in (tmp_path, tmp_path / "tokenizer.json"):
        tokenizer = task_tokenizer(parse_task(f"text:python-reference,tokenizer={given_as}"))
        assert tokenizer("naïve €")["input_ids"] == list("naïve €".encode())


def test_words_that_stand_for_two_ids_are_refused():
    with pytest.raises(UsageError, match="stands for the ids"):
        task_tokenizer(parse_task("joint-recall:contexts=4,keys=4"))
    with pytest.raises(UsageError, match="neither in tokens nor a text"):
        task_tokenizer(parse_task("in-context-regression"))
