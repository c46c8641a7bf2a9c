"""A stage's file survives being cut off at any byte, damaged in the middle, and a disk that is full."""

import errno
import os
import threading

import pytest

from mnemic.errors import MnemicError
from mnemic.teaching.stage_log import StageLog


def record(name, n=0):
    return {"id": name, "status": "ok", "item": {"id": name, "n": n, "text": "ü\u2028\n"}, "input": "digest"}


def read_all(path, names):
    log = StageLog(path)
    found = {name: log.read(entry) for name in names if (entry := log.find(name)) is not None}
    log.close()
    return found


def write_all(path, records):
    log = StageLog(path)
    for each in records:
        log.append(each)
    log.close()


def test_cut_off_at_any_byte_whole_lines_stay_and_new_ones_are_not_glued(tmp_path):
    path = tmp_path / "log"
    records = [record("a"), record("b"), record("c")]
    write_all(path, records)
    whole = path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(whole) if byte == ord("\n")]
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        write_all(path, [record("d")])
        left = records[: sum(end <= size for end in ends)]
        assert read_all(path, "abcd") == {r["id"]: r for r in [*left, record("d")]}
        assert path.read_bytes().count(b"\n") == len(left) + 1


def test_a_damaged_line_is_named_and_passed_over(tmp_path, caplog):
    path = tmp_path / "log"
    write_all(path, [record("a"), record("b"), record("c")])
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"\0" * 40 + b"\n" + lines[2])
    assert read_all(path, "abc") == {"a": record("a"), "c": record("c")}
    assert "line 2 cannot be read" in caplog.text


def test_the_newest_line_about_an_item_counts(tmp_path):
    path = tmp_path / "log"
    write_all(path, [record("a", 1), record("b", 1), record("a", 2)])
    assert read_all(path, "ab") == {"a": record("a", 2), "b": record("b", 1)}


@pytest.mark.parametrize("written", [0, 1, 30])
def test_a_full_disk_leaves_no_half_line(tmp_path, monkeypatch, written):
    path = tmp_path / "log"
    log = StageLog(path)
    log.append(record("a"))
    real = os.write
    room = [written]

    def write(file, data):
        if room[0] == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        done = real(file, bytes(data)[: room[0]])
        room[0] -= done
        return done

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(MnemicError, match="the disk is full"):
        log.append(record("b"))
    monkeypatch.undo()
    log.append(record("c"))
    assert log.read(log.find("c")) == record("c")
    assert log.find("b") is None
    log.close()
    assert read_all(path, "abc") == {"a": record("a"), "c": record("c")}


def test_threads_do_not_mix_their_lines(tmp_path):
    log = StageLog(tmp_path / "log")
    threads = [
        threading.Thread(target=lambda k=k: [log.append(record(f"{k}-{i}", i)) for i in range(50)]) for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert all(log.read(log.find(f"{k}-{i}")) == record(f"{k}-{i}", i) for k in range(8) for i in range(50))
    log.close()


def test_lines_are_synced_now_and_then_and_at_the_end(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: (synced.append(file), real(file)))
    log = StageLog(tmp_path / "log")
    for n in range(40):
        log.append(record(str(n)))
    assert len(synced) == 2
    log.close()
    assert len(synced) == 3
