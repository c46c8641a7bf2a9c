import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnemic.errors import UsageError
from mnemic.tasks.corpus import read_corpus, split_by_position
from mnemic.tasks.text_files import read_documents

SPLITS = ("train", "valid", "test")


def prose(paragraphs: int, word: str = "word") -> str:
    return "\n\n".join(f"Paragraph {i} says {word} {i * 7 % 13} times." for i in range(paragraphs))


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@given(st.text(st.sampled_from("ab \né漢"), max_size=400))
def test_a_split_by_position_loses_nothing_and_cuts_no_character(text):
    parts = split_by_position(text.encode())
    assert b"".join(parts) == text.encode()
    assert "".join(part.decode() for part in parts) == text


def test_a_split_by_position_falls_on_paragraphs():
    text = prose(400)
    train, valid, test = split_by_position(text.encode())
    assert len(train) == pytest.approx(0.90 * len(text), abs=50)
    assert len(valid) == pytest.approx(0.05 * len(text), abs=100)
    assert all(part.startswith(b"Paragraph") for part in (valid, test))
    assert train.endswith(b".\n\n")


def test_without_paragraphs_a_split_falls_on_lines_then_words_then_characters():
    for text, end in (("one line here\n" * 200, b"\n"), ("word " * 500, b" "), ("é" * 500, "é".encode())):
        train, valid, test = split_by_position(text.encode())
        assert train.endswith(end)
        assert valid.endswith(end)
        assert min(len(valid), len(test)) > 0.02 * len(text.encode())


def test_one_file_of_any_name_is_split_by_position(tmp_path):
    corpus = read_corpus(str(write(tmp_path / "notes", prose(300))))
    assert b"".join(corpus.splits[split] for split in SPLITS).decode() == prose(300)
    assert "notes, split 90/5/5" in corpus.origin


def test_every_file_of_a_folder_is_in_every_split(tmp_path):
    for name in ("b.md", "a.txt", "deep/er/c.rst.gz"):
        write(tmp_path / name, prose(3000, word=name))
    corpus = read_corpus(str(tmp_path))
    for split in SPLITS:
        found = [corpus.splits[split].decode().find(name) for name in ("a.txt", "b.md", "deep/er/c.rst.gz")]
        assert sorted(found) == found
        assert found[0] >= 0
    assert "3 files" in corpus.origin


def test_small_files_are_put_together_before_they_are_split(tmp_path):
    for i in range(40):
        write(tmp_path / f"{i:02}.txt", f"note {i}: " + "x" * 100)
    corpus = read_corpus(str(tmp_path))
    assert [line.split(":")[0] for line in corpus.splits["train"].decode().split("\n\n") if line] == [
        f"note {i}" for i in range(36)
    ]
    assert corpus.splits["test"].startswith(b"note 38")


def test_only_text_files_are_read_and_no_hidden_ones(tmp_path):
    for name in (
        "a.txt",
        "PAGE.HTML",
        "code.py",
        ".git/config.txt",
        ".hidden.md",
        "photo.jpg",
        "archive.zip",
        "empty.txt",
    ):
        write(tmp_path / name, b"" if "empty" in name else b"\0\1" if name[-3:] in ("jpg", "zip") else name)
    assert [document.name for document in read_documents(str(tmp_path))] == ["PAGE.HTML", "a.txt", "code.py"]


def test_named_files_are_the_splits_and_a_readme_is_not_text(tmp_path):
    for name in ("train.txt", "valid.txt.gz", "test.txt"):
        write(tmp_path / name, f"the text of {name}")
    write(tmp_path / "README.md", "about")
    corpus = read_corpus(str(tmp_path))
    assert {split: corpus.splits[split].decode() for split in SPLITS} == {
        "train": "the text of train.txt",
        "valid": "the text of valid.txt.gz",
        "test": "the text of test.txt",
    }
    assert corpus.origin == "train from train.txt, valid from valid.txt.gz, test from test.txt; 1 other file not used"


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("wiki.train.tokens", "wiki.valid.tokens"),
        ("train-00000-of-00002.txt", "validation-0.txt"),
        ("training.txt", "dev.txt"),
        ("train/part.txt", "val/part.txt"),
        ("Train1.txt", "valid1.txt"),
    ],
)
def test_names_of_splits(tmp_path, train, valid):
    write(tmp_path / train, "seen in training")
    write(tmp_path / valid, prose(20))
    corpus = read_corpus(str(tmp_path))
    assert corpus.splits["train"] == b"seen in training"
    assert (corpus.splits["valid"] + corpus.splits["test"]).decode() == prose(20)
    assert len(corpus.splits["test"]) == pytest.approx(len(prose(20)) / 2, rel=0.2)
    assert "its second half is test" in corpus.origin


def test_a_test_file_without_valid_takes_valid_from_the_end_of_train(tmp_path):
    write(tmp_path / "train.txt", prose(200))
    write(tmp_path / "test.txt", "judged")
    corpus = read_corpus(str(tmp_path))
    assert (corpus.splits["train"] + corpus.splits["valid"]).decode() == prose(200)
    assert len(corpus.splits["valid"]) == pytest.approx(0.05 * len(prose(200)), rel=0.3)
    assert corpus.splits["test"] == b"judged"


@pytest.mark.parametrize(
    "names",
    [("train.txt", "notes.txt"), ("test.txt", "valid.txt"), ("training-notes.txt", "valley.txt", "testament.txt")],
)
def test_names_that_are_no_full_set_of_splits_are_just_files(tmp_path, names):
    for name in names:
        write(tmp_path / name, prose(50, word=name))
    corpus = read_corpus(str(tmp_path))
    assert f"{len(names)} files" in corpus.origin
    assert all(name in corpus.splits["train"].decode() for name in names[:-1])


def test_json_lines(tmp_path):
    lines = [json.dumps({"id": i, "text": f"record {i}", "body": f"other {i}"}) for i in range(100)]
    file = write(tmp_path / "rows.jsonl.gz", "\n".join(lines) + "\n\n")
    [document] = read_documents(str(file))
    assert document.text.decode() == "\n\n".join(f"record {i}" for i in range(100))
    assert read_documents(str(file), "body")[0].text.startswith(b"other 0\n\nother 1")


def test_the_python_reference_is_there_and_repeats_no_paragraph():
    corpus = read_corpus("python-reference")
    sizes = {split: len(corpus.splits[split]) for split in SPLITS}
    assert sizes["train"] > 200_000
    assert min(sizes.values()) > 0.04 * sum(sizes.values())
    paragraphs = [p for split in SPLITS for p in corpus.splits[split].split(b"\n\n") if len(p) > 200]
    assert len(set(paragraphs)) == len(paragraphs)
    assert "topics" in corpus.origin


def test_a_corpus_is_known_by_its_text(tmp_path):
    one, same = (read_corpus(str(write(tmp_path / name, prose(90)))) for name in ("a.txt", "b.txt"))
    other = read_corpus(str(write(tmp_path / "b.txt", prose(90).replace("12", "11"))))
    assert one == same != other
    assert hash(one) == hash(same)
    assert len({one.digest, same.digest, other.digest}) == 2


def test_a_byte_order_mark_is_no_text(tmp_path):
    assert read_documents(str(write(tmp_path / "a.txt", b"\xef\xbb\xbfhello")))[0].text == b"hello"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"", "a.txt' is empty"),
        ("a.txt", b" \n\n\t", "a.txt' is empty"),
        ("a.txt", b"some\0thing", r"a.txt' is binary, not text \(NUL at byte 4\)"),
        ("a.txt", b"caf\xe9", r"a.txt' is binary or in another encoding, not UTF-8 \(0xe9 at byte 3\)"),
        ("a.txt", "wide".encode("utf-16"), "a.txt' is UTF-16"),
        ("a.jsonl", '{"text": "x"}\nnonsense', "line 2 of .*a.jsonl' is not JSON"),
        ("a.jsonl", '["x"]', "line 1 of .* is not a JSON object"),
        (
            "a.jsonl",
            '{"id": 3, "body": "x", "title": "y"}',
            "line 1 of .* no text in field 'text'; say field=body or field=title",
        ),
        ("a.jsonl", '{"id": 3}', "no field of it holds text"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, name, content, message):
    file = write(tmp_path / "folder" / name, content)
    with pytest.raises(UsageError, match=message):
        read_corpus(str(file))
    with pytest.raises(UsageError, match=message.replace("a.txt' is empty", "folder' is empty")):
        read_corpus(str(file.parent))


def test_a_torn_gzip_file_is_named(tmp_path):
    whole = gzip.compress(prose(500).encode())
    for raw in (whole[:-20], b"not gzip at all", whole[:30] + b"\xff" * 30 + whole[60:]):
        (tmp_path / "a.txt.gz").write_bytes(raw)
        with pytest.raises(UsageError, match=r"a\.txt\.gz' is not a whole gzip file"):
            read_corpus(str(tmp_path / "a.txt.gz"))


def test_nothing_there_is_said(tmp_path):
    with pytest.raises(
        UsageError, match=r"no file or folder 'nowhere\.txt'; give the path of a text, or python-reference"
    ):
        read_corpus("nowhere.txt")
    write(tmp_path / "photo.jpg", b"\0")
    with pytest.raises(UsageError, match=r"has no text files; looked for .*\.txt"):
        read_corpus(str(tmp_path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path):
    write(tmp_path / "a.txt", "secret").chmod(0)
    with pytest.raises(UsageError, match=r"cannot read '.*a\.txt': Permission denied"):
        read_corpus(str(tmp_path))
