"""Streamed text: every document is met, rows follow from their number alone, and reading goes on where it was."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from mnemic.errors import UsageError
from mnemic.tasks import parse_task
from mnemic.tasks.streams import base
from mnemic.tasks.streams.windows import WindowReader

pyarrow = pytest.importorskip("pyarrow")
pytest.importorskip("datasets")
import pyarrow.parquet as parquet  # noqa: E402  # after the check

LENGTH = 32


def document(number: int) -> str:
    words = np.random.default_rng(number).integers(100, 999, size=20 + number % 30)
    return f"document {number:04d} " + " ".join(map(str, words))


def write(file: Path, numbers: range, group: int = 40, **columns) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    table = pyarrow.table({"text": [document(n) for n in numbers], "id": list(numbers), **columns})
    parquet.write_table(table, file, row_group_size=group)


@pytest.fixture
def spec(request, tmp_path, monkeypatch) -> str:
    """400 documents: as parquet in 10 row groups, and as a dataset of 4 JSON files for the datasets library."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if request.param == "parquet":
        write(tmp_path / "data/a.parquet", range(200))
        write(tmp_path / "data/b.parquet", range(200, 400))
        return f"text:{tmp_path / 'data'},length={LENGTH}"
    for shard in range(4):
        lines = [json.dumps({"text": document(n)}) for n in range(100 * shard, 100 * shard + 100)]
        file = tmp_path / f"data/train-{shard}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines))
    return f"text:hf:{tmp_path / 'data'},length={LENGTH}"


both = pytest.mark.parametrize("spec", ["parquet", "hub"], indirect=True)


def same(a, b) -> None:
    np.testing.assert_array_equal(a.input_ids, b.input_ids)
    np.testing.assert_array_equal(a.labels, b.labels)


@both
def test_an_epoch_holds_every_training_document_once_and_none_that_is_held_out(spec):
    task = parse_task(spec)
    source = task.source
    met = []
    for lane in range(source.lanes):
        for found in source.read(lane, seed=3):
            if found.cursor["epoch"]:
                break
            met.append((found.split, found.text.decode()))
    assert sorted(text for _, text in met) == [document(n) for n in range(400)]
    held_out = {text for split, text in met if split != "train"}
    assert len(held_out) == 40
    for split in ("valid", "test"):
        texts = b"\n\n".join(text.encode() for s, text in met if s == split)
        assert sorted(task.corpus.splits[split]) == sorted(texts)
    assert not any(text.encode() in task.corpus.splits["train"] for text in held_out)


@both
def test_windows_are_the_documents_of_their_lane_one_after_the_other(spec):
    task = parse_task(spec)
    lanes = task.source.lanes
    rows = task.sample("train", 6 * lanes, seed=1)
    for lane in range(lanes):
        mine = rows[np.arange(lane, 6 * lanes, lanes)]
        text = bytes(np.concatenate([*mine.input_ids, mine.labels[-1][-1:]]).tolist())
        documents = (d.text for d in task.source.read(lane, 1) if d.split == "train")
        whole = b""
        while len(whole) < len(text):
            whole += next(documents) + b"\n\n"
        assert whole[: len(text)] == text
        np.testing.assert_array_equal(mine.input_ids[:, 1:], mine.labels[:, :-1])


@both
def test_row_i_is_the_same_however_it_is_come_by(spec):
    task = parse_task(spec)
    rows = task.sample("train", 48, seed=5)
    same(task.sample("train", 10, seed=5, start=17), rows[17:27])
    for workers in (1, 2, 3):
        streams = [task.stream("train", 8, 5, worker, workers) for worker in range(workers)]
        for batch in range(6):
            same(next(streams[batch % workers]), rows[8 * batch : 8 * batch + 8])
    assert (task.sample("train", 48, seed=6).input_ids != rows.input_ids).any() or "hf:" in spec


@both
@pytest.mark.parametrize("readers", [1, 2, 3, 4])
def test_readers_share_the_rows_and_any_number_of_others_goes_on(spec, readers):
    task, batch = parse_task(spec), 24
    rows = task.sample("train", 4 * batch, seed=2)
    first = [task.open_reader(2, process, readers) for process in range(readers)]
    for turn in range(2):
        for process, reader in enumerate(first):
            same(reader.take(batch // readers), rows[turn * batch : (turn + 1) * batch][process::readers])
    merged = {lane: at for reader in reversed(first) for lane, at in reader.state().items()}
    merged = json.loads(json.dumps(merged))
    for others in (1, 2, 3, 4):
        for process in range(others):
            reader = task.open_reader(2, 2 * batch + process, others, merged)
            same(reader.take(batch // others), rows[2 * batch : 3 * batch][process::others])
            same(reader.take(batch // others), rows[3 * batch :][process::others])


@both
def test_reading_goes_on_over_the_end_of_an_epoch(spec):
    task = parse_task(spec)
    lanes = task.source.lanes
    reader = task.open_reader(0, 0)
    whole = reader.take(lanes * 700)
    assert all(at["cursor"]["epoch"] >= 1 for at in reader.state().values())
    again = task.open_reader(0, 0)
    again.take(lanes * 699)
    state = json.loads(json.dumps(again.state()))
    same(task.open_reader(0, lanes * 699, 1, state).take(lanes), whole[lanes * 699 :])


def test_processes_that_share_the_lanes_read_only_their_own(tmp_path):
    write(tmp_path / "a.parquet", range(320))
    source = parse_task(f"text:{tmp_path / 'a.parquet'},length={LENGTH}").source
    assert source.lanes == 8
    read = []

    class Watched:
        lanes = source.lanes

        def read(self, lane, seed, cursor=None):
            read.append(lane)
            return source.read(lane, seed, cursor)

    reader = WindowReader(Watched(), lambda text: np.frombuffer(text, np.uint8), LENGTH, 0, first=1, stride=2)
    reader.take(16)
    assert sorted(read) == [1, 3, 5, 7]


def test_one_row_group_is_read_at_a_time(tmp_path, monkeypatch):
    write(tmp_path / "a.parquet", range(400))
    task = parse_task(f"text:{tmp_path / 'a.parquet'},length={LENGTH}")
    source, read = task.source, []
    texts = source._texts
    monkeypatch.setattr(source, "_texts", lambda group: read.append(group.at) or texts(group))
    for _, found in zip(range(45), source.read(0, 0), strict=False):
        assert len(found.text) > 0
    assert len(read) == 2


def test_files_named_as_splits_are_the_splits(tmp_path):
    for name, numbers in (("train-0", range(100)), ("train-1", range(100, 200)), ("validation", range(200, 220))):
        write(tmp_path / f"{name}.parquet", numbers)
    task = parse_task(f"text:{tmp_path},length={LENGTH}")
    assert task.corpus.splits["valid"].decode() == "\n\n".join(document(n) for n in range(200, 220, 2))
    assert task.corpus.splits["test"].decode() == "\n\n".join(document(n) for n in range(201, 220, 2))
    assert "train from 2 parquet files" in task.describe()
    write(tmp_path / "test.parquet", range(300, 310))
    task = parse_task(f"text:{tmp_path},length={LENGTH}")
    assert task.corpus.splits["valid"].decode() == "\n\n".join(document(n) for n in range(200, 220))
    assert task.corpus.splits["test"].decode() == "\n\n".join(document(n) for n in range(300, 310))


def test_columns_are_joined_and_empty_documents_left_out(tmp_path):
    titles = [None if n % 3 else f"title {n}" for n in range(600)]
    write(tmp_path / "a.parquet", range(600), title=titles)
    task = parse_task(f"text:{tmp_path / 'a.parquet'},length={LENGTH},field=title+text")
    text = task.corpus.splits["train"].decode()
    assert f"title 3\n{document(3)}\n\n{document(4)}\n\n{document(5)}\n\ntitle 6" in text
    sparse = parse_task(f"text:{tmp_path / 'a.parquet'},length={LENGTH},field=title")
    assert sparse.sample("train", 3).input_ids.shape == (3, LENGTH)


def test_tokenizers_and_slices_are_made_from_the_sample(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMIC_CACHE", str(tmp_path / "cache"))
    write(tmp_path / "a.parquet", range(200))
    task = parse_task(f"text:{tmp_path / 'a.parquet'},length={LENGTH},tokenizer=bpe,vocab=300")
    rows = task.sample("test", 2)
    assert {"recall_hit", "distance", "occurrences"} == set(rows.slices)
    assert task.sample("train", 4).input_ids.max() < 300
    assert "document 0" in task.text.tokenizer.decode(task.sample("train", 40).input_ids.ravel())


@both
def test_a_task_travels_to_other_processes(spec):
    task = parse_task(spec)
    rows = task.sample("train", 8)
    there = pickle.loads(pickle.dumps(task))
    same(there.sample("train", 8), rows)
    assert there.hash() == task.hash()


def test_other_data_is_another_task(tmp_path):
    write(tmp_path / "a.parquet", range(100))
    spec = f"text:{tmp_path / 'a.parquet'},length={LENGTH}"
    before = parse_task(spec).hash()
    assert parse_task(spec).hash() == before
    write(tmp_path / "a.parquet", range(1, 101))
    assert parse_task(spec).hash() != before


def test_lanes_are_a_power_of_two_that_there_is_room_for():
    assert [base.lanes_for(parts) for parts in (1, 2, 3, 4, 7, 15, 16, 1000)] == [1, 2, 2, 4, 4, 8, 16, 16]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("a.parquet,field=body", r"has no column 'body'; say field=text or field=title"),
        ("a.parquet,field=id", r"column 'id' of '.*a\.parquet' holds int64, not text"),
        ("a.parquet,split=train", r"config and split are of datasets"),
        ("torn.parquet", r"torn\.parquet' is not a whole parquet file"),
        ("a.parquet,length=100000", r"too short"),
    ],
)
def test_what_cannot_be_streamed_is_named(tmp_path, options, message):
    write(tmp_path / "a.parquet", range(60), title=["x"] * 60)
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UsageError, match=message):
        parse_task(f"text:{tmp_path}/{options}").sample("train", 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("data,split=trian", r"has no split 'trian'; did you mean 'train'"),
        ("data,field=body", r"has no column 'body'; say field=text"),
        ("nowhere", r"dataset '.*nowhere' cannot be opened"),
    ],
)
def test_what_is_no_dataset_is_named(tmp_path, monkeypatch, options, message):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_text("\n".join(json.dumps({"text": document(n)}) for n in range(50)))
    with pytest.raises(UsageError, match=message):
        parse_task(f"text:hf:{tmp_path}/{options}").sample("train", 1)


def test_a_name_on_the_hub_without_a_network_is_said(monkeypatch):
    import datasets
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"dataset 'nobody/nothing' cannot be opened: .*needs the network"):
        parse_task("text:hf:nobody/nothing").sample("train", 1)


def test_splits_of_a_dataset_are_used(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, numbers in (("train", range(60)), ("validation", range(100, 110)), ("test", range(200, 210))):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": document(n)}) for n in numbers))
    task = parse_task(f"text:hf:{tmp_path},length={LENGTH}")
    for split, numbers in (("valid", range(100, 110)), ("test", range(200, 210)), ("train", range(60))):
        assert task.corpus.splits[split].decode() == "\n\n".join(document(n) for n in numbers)
