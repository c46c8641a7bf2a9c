import os
import random
import subprocess
import sys

import numpy as np
import pytest

from mnemic.errors import UsageError
from mnemic.tasks import Examples, parse_task
from mnemic.tasks.recall_hits import ArHitSlicer, count_ngrams
from mnemic.tasks.text import TextTask


def prose(seed: int, words: int) -> str:
    """Common words, and names that come back within a paragraph and nowhere else."""
    rng = random.Random(seed)
    common = ["".join(rng.choices("aeiorstln", k=rng.randint(1, 5))) for _ in range(40)]
    paragraphs = []
    while words > 0:
        names = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=7)).title() for _ in range(2)]
        text = " ".join(rng.choice(names) if rng.random() < 0.15 else rng.choice(common) for _ in range(60))
        paragraphs.append(text)
        words -= 60
    return "\n\n".join(paragraphs)


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "book.txt"
    file.write_text(prose(0, 12_000))
    return file


def same(a: Examples, b: Examples) -> None:
    for name in ("input_ids", "labels", "loss_mask"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.slices.keys() == b.slices.keys()
    for name in a.slices:
        np.testing.assert_array_equal(a.slices[name], b.slices[name])


def test_labels_are_the_next_tokens(book):
    task = parse_task(f"text:{book},length=32")
    assert isinstance(task, TextTask)
    for split in ("train", "valid", "test"):
        rows = task.sample(split, 40)
        assert rows.input_ids.shape == rows.labels.shape == (40, 32)
        assert rows.input_ids.dtype == rows.labels.dtype == np.int64
        np.testing.assert_array_equal(rows.input_ids[:, 1:], rows.labels[:, :-1])
        assert rows.loss_mask.all()
        text = task.corpus.splits[split]
        assert all(
            bytes([*ids, labels[-1]]) in text
            for ids, labels in zip(rows.input_ids.tolist(), rows.labels.tolist(), strict=True)
        )
    assert (task.vocab_size, task.max_length, task.chance, task.information_bits()) == (256, 32, None, None)


def test_validation_windows_follow_each_other_and_then_end(book):
    task = parse_task(f"text:{book},length=32")
    rows = task.sample("valid", 10**6)
    text = task.corpus.splits["valid"]
    assert len(rows) == task.windows("valid") == (len(text) - 1) // 32
    predicted = rows.labels.ravel()
    assert bytes(predicted.tolist()) == text[1 : 1 + predicted.size]
    assert len(task.sample("valid", 5, start=len(rows))) == 0
    assert sum(len(batch) for batch in task.stream("valid", 7)) == len(rows)
    same(Examples.concat(list(task.stream("valid", 7))), rows)
    same(task.sample("valid", 5, seed=3, start=11), rows[11:16])


def test_a_training_row_depends_on_its_number_and_seed_only(book):
    task = parse_task(f"text:{book},length=32")
    rows = task.sample("train", 1000, seed=1)
    same(Examples.concat([task.sample("train", 100, seed=1, start=i) for i in range(0, 1000, 100)]), rows)
    same(parse_task(f"text:{book},length=32").sample("train", 3, seed=1, start=511), rows[511:514])
    same(parse_task(f"text:{book},length=32,threshold=9,second_half=true").sample("train", 1000, seed=1), rows)
    assert (task.sample("train", 1000, seed=2).input_ids != rows.input_ids).any()
    assert len(np.unique(rows.input_ids, axis=0)) > 950


def test_training_windows_start_everywhere(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text(prose(1, 300))
    task = TextTask(path=str(file), length=16)
    text = task.text.tokens("train")
    places = task.windows("train")
    starts = {tuple(text[i : i + 17]): i for i in range(places)}
    rows = task.sample("train", 30 * places)
    seen = [
        starts[(*ids, last)]
        for ids, last in zip(map(tuple, rows.input_ids.tolist()), rows.labels[:, -1].tolist(), strict=True)
    ]
    counts = np.bincount(seen, minlength=places)
    assert counts.min() > 0
    assert counts.max() < 90


@pytest.mark.parametrize(("tokens", "windows"), [(65, 2), (96, 2), (97, 3)])
def test_every_window_has_all_its_labels_and_none_is_left_out(tmp_path, tokens, windows):
    text = prose(2, 300)
    for split, size in (("train", 34), ("valid", tokens), ("test", 33)):
        (tmp_path / f"{split}.txt").write_text(text[:size])
    task = TextTask(path=str(tmp_path), length=32)
    assert len(task.sample("valid", 100)) == task.windows("valid") == windows
    assert len(task.sample("test", 100)) == 1
    assert len(np.unique(task.sample("train", 64).input_ids, axis=0)) == task.windows("train") == 2


def test_slices_speak_of_the_token_to_be_predicted(book):
    task = parse_task(f"text:{book},length=128,context=3,threshold=2")
    rows = task.sample("test", 20)
    slicer = ArHitSlicer(count_ngrams(task.text.tokens("train"), 256, 3), threshold=2)
    window = np.concatenate([rows.input_ids, rows.labels[:, -1:]], axis=1)
    np.testing.assert_array_equal(rows.slices["recall_hit"], slicer.mask(window)[:, 1:])
    np.testing.assert_array_equal(rows.slices["distance"], slicer.distance(window)[:, 1:])
    np.testing.assert_array_equal(rows.slices["occurrences"], slicer.occurrences(window)[:, 1:])
    row, at = (int(i[-1]) for i in np.nonzero(rows.slices["recall_hit"]))
    back = int(rows.slices["distance"][row, at])
    np.testing.assert_array_equal(window[row, at - 2 : at + 2], window[row, at - 2 - back : at + 2 - back])


def test_the_published_bigram_is_the_slice_of_subword_tokens_and_a_choice_for_bytes(book):
    assert parse_task(f"text:{book}").slicer.counts.context == 4
    assert parse_task(f"text:{book},context=1").slicer.counts.context == 1
    bpe = parse_task(f"text:{book},tokenizer=bpe,vocab=400,length=64")
    assert bpe.slicer.counts.context == 1
    assert bpe.slicer.counts.tokens == len(bpe.text.tokens("train"))
    assert bpe.recall_share("test") > 0


def test_names_that_come_back_are_the_hits(book):
    task = parse_task(f"text:{book},length=256")
    share = task.recall_share("test")
    assert 0.02 < share < 0.5
    assert share == task.sample("test", 10**6).slices["recall_hit"].mean()
    [text] = task.marked(task.sample("test", 1, start=1))
    assert text.replace("⟦", "").replace("⟧", "").encode() in task.corpus.splits["test"]
    hits = [piece.split("⟧")[0] for piece in text.split("⟦")[1:]]
    assert sum(len(hit) for hit in hits) == task.sample("test", 1, start=1).slices["recall_hit"].sum()


def test_copying_answers_byte_hits_and_the_training_text_does_not():
    """Why four bytes of context are the default at byte level (BYTE_CONTEXT), on text that every machine has."""
    task = parse_task("text:python-reference")
    rows = task.sample("test", 10**6)
    hit = rows.slices["recall_hit"] == 1
    window = np.concatenate([rows.input_ids, rows.labels[:, -1:]], axis=1)
    copied = known = 0
    counts = task.slicer.counts
    following = dict(
        zip(
            (counts.codes[order := np.argsort(counts.counts, kind="stable")] // 256).tolist(),
            (counts.codes[order] % 256).tolist(),
            strict=True,
        )
    )
    for row, at in zip(*np.nonzero(hit), strict=True):
        text, answer = bytes(window[row, : at + 1].tolist()), window[row, at + 1]
        place = text.rfind(text[-4:], 0, -1)
        copied += text[place + 4] == answer
        known += following.get(int.from_bytes(text[-4:]), -1) == answer
    assert copied / hit.sum() > 0.85
    assert known / hit.sum() < 0.3


def test_only_the_second_half_is_scored_when_asked(book):
    whole, half = (
        parse_task(f"text:{book},length=64{option}").sample("valid", 8) for option in ("", ",second_half=true")
    )
    assert (half.labels[:, :32] == -100).all()
    assert not half.loss_mask[:, :32].any()
    assert half.loss_mask[:, 32:].all()
    np.testing.assert_array_equal(half.labels[:, 32:], whole.labels[:, 32:])
    for name in whole.slices:
        np.testing.assert_array_equal(half.slices[name][:, 32:], whole.slices[name][:, 32:])
        assert not half.slices[name][:, :32].any()


def test_bytes_per_token(book):
    assert parse_task(f"text:{book}").bytes_per_token("test") == 1
    bpe = parse_task(f"text:{book},tokenizer=bpe,vocab=400,length=64")
    for split in ("train", "valid", "test"):
        ids = bpe.text.tokenizer.encode(bpe.corpus.splits[split])
        assert bpe.bytes_per_token(split) == len(bpe.corpus.splits[split]) / len(ids) > 1.3


def test_a_bpe_learns_from_the_training_split_only(book):
    task = parse_task(f"text:{book},tokenizer=bpe,vocab=400,length=64")
    before = task.text.tokens("train")
    text = book.read_text()
    end = len(task.corpus.splits["train"].decode())
    book.write_text(text[:end] + text[end:].replace("e", "q"))
    changed = parse_task(f"text:{book},tokenizer=bpe,vocab=400,length=64")
    np.testing.assert_array_equal(changed.text.tokens("train"), before)
    assert changed.corpus != task.corpus


def test_another_text_is_another_run(book):
    spec = f"text:{book},length=32"
    task = parse_task(spec)
    rows, before = task.sample("valid", 4), task.hash()
    assert parse_task(spec).hash() == before
    assert parse_task(spec + ",threshold=3").hash() != before
    book.write_text(book.read_text().swapcase())
    assert parse_task(spec).hash() != before
    assert task.hash() == before
    same(task.sample("valid", 4), rows)


def test_the_hash_is_the_same_in_another_process(book):
    code = (
        "import sys; from mnemic.tasks import parse_task; print(parse_task(sys.argv[1]).hash()); "
        "assert 'torch' not in sys.modules"
    )
    spec = f"text:{book},length=32"
    other = subprocess.run(
        [sys.executable, "-c", code, spec], capture_output=True, text=True, check=True, env=os.environ
    )
    assert other.stdout.strip() == parse_task(spec).hash()


def test_a_spec_names_what_is_not_default(book):
    spec = f"text:{book},length=32,tokenizer=bpe,vocab=300"
    assert parse_task(spec).spec() == spec
    assert parse_task(spec).replace(length=48).spec() == spec.replace("length=32", "length=48")


def test_longer_windows_are_offered_while_there_are_enough(book):
    assert [task.max_length for task in parse_task(f"text:{book},length=64").loads()] == [128, 256]
    assert parse_task(f"text:{book},length=1024").loads() == []


def test_a_window_is_shown_as_text(book):
    task = parse_task(f"text:{book},length=32")
    prompt = task.render(task.sample("test", 1))[0]
    assert (prompt.text + prompt.answers[0]).encode() == task.corpus.splits["test"][:33]


def test_a_description_says_what_was_read_and_the_share_of_hits(book):
    task = parse_task(f"text:{book},length=128")
    text = task.describe()
    assert "book.txt, split 90/5/5 by position" in text
    assert f"train {len(task.corpus.splits['train']):,} tokens" in text
    assert f"at most 1 times in training: {task.recall_share('valid'):.2%} of valid" in text


def test_a_fraction_sets_the_threshold(book):
    few, many = (parse_task(f"text:{book},fraction={fraction}").slicer.threshold for fraction in (0.2, 0.9))
    assert 0 <= few < many


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            "length=4096",
            r"too short: its (valid|test) split has \d[\d,]* tokens, .*length=4096 needs 4,097; .* length=\d+ at most",
        ),
        ("length=1", "length=1"),
        ("lenght=32", "unknown option 'lenght'; did you mean 'length'"),
        ("vocab=300", "vocab=300 is the size of tokenizer=bpe"),
        ("tokenizer=bpe,vocab=200", "vocab=200"),
        ("threshold=1,fraction=0.1", "give one of them"),
        ("fraction=2", "fraction=2"),
        ("context=0", "context=0"),
        ("context=9", "context=9 is too long for a vocabulary of 256; at most 6"),
    ],
)
def test_wrong_options_are_named(book, options, message):
    with pytest.raises(UsageError, match=message):
        parse_task(f"text:{book},{options}").sample("valid", 1)


@pytest.mark.parametrize("content", ["x", "tiny\n\ntext", "é"])
@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_tiny_texts_are_too_short_whatever_the_tokenizer(tmp_path, monkeypatch, content, tokenizer):
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.txt").write_text(content)
    with pytest.raises(UsageError, match=r"a\.txt' is too short"):
        parse_task(f"text:{tmp_path / 'a.txt'},tokenizer={tokenizer}").sample("train", 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [(("tests", 1), "split='tests'"), (("valid", -1), "count=-1"), (("valid", 1, 0, -2), "start=-2")],
)
def test_wrong_calls_are_named(book, call, message):
    with pytest.raises(UsageError, match=message):
        parse_task(f"text:{book}").sample(*call)


def test_no_path_is_said():
    with pytest.raises(UsageError, match="path"):
        parse_task("text")
