"""What only the SQLite file promises: who may write it, which versions are known, and what a damaged one says."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hashing_encoder import HashingEncoder

from mnemic.errors import MnemicError, UsageError
from mnemic.storage import schema, sqlite_files
from mnemic.storage.store import MemoryStore

Opener = Callable[..., MemoryStore]


def open_file(path: Path, **options: object) -> MemoryStore:
    return MemoryStore.open(path, encoder=HashingEncoder(), **options)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "memory.db"
    with open_file(path) as store:
        store.add(["one thing", "another thing"])
    return path


def test_a_later_schema_is_refused_and_untouched(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"schema 99.*newer mnemic"):
        open_file(path)
    assert path.read_bytes() == before


def test_an_older_schema_is_backed_up_and_migrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    later = (*schema.MIGRATIONS, "ALTER TABLE event ADD COLUMN mood TEXT;")
    monkeypatch.setattr(sqlite_files, "MIGRATIONS", later)
    monkeypatch.setattr(sqlite_files, "SCHEMA_VERSION", len(later))
    with pytest.raises(UsageError, match="open it once for writing"):
        open_file(path, read_only=True)
    with open_file(path) as store:
        assert store.search("another", method="bm25")[0].text == "another thing"
        assert store.check() == []
    [backup] = path.parent.glob("memory.db.schema-*.backup")
    kept = sqlite3.connect(backup)
    assert kept.execute("SELECT count(*) FROM event").fetchone() == (2,)
    assert "mood" not in {row[1] for row in kept.execute("PRAGMA table_info(event)")}
    kept.close()


def test_a_migration_that_fails_leaves_the_old_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = (*schema.MIGRATIONS, "ALTER TABLE event ADD COLUMN mood TEXT; ALTER TABLE nowhere ADD COLUMN x TEXT;")
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_files, "MIGRATIONS", broken)
        patch.setattr(sqlite_files, "SCHEMA_VERSION", len(broken))
        with pytest.raises(MnemicError, match="nowhere"):
            open_file(path)
    with open_file(path) as store:
        assert store.stats().events == 2


def test_a_database_of_something_else_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE mine (a)")
    connection.commit()
    connection.close()
    with pytest.raises(UsageError, match="no mnemic store"):
        open_file(other)
    text = tmp_path / "notes.txt"
    text.write_text("just some notes, long enough to be looked at as a database header" * 20)
    with pytest.raises(MnemicError, match="damaged or no mnemic store"):
        open_file(text)
    assert text.read_text().startswith("just some notes")


def test_a_damaged_file_says_so(path: Path) -> None:
    content = bytearray(path.read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 : page * 4096 + 200] = os.urandom(200)
    path.write_bytes(content)
    try:
        with open_file(path) as store:
            said = " ".join(store.check())
    except MnemicError as error:
        said = str(error)
        assert "restore a backup" in said
    assert said


def test_places_that_hold_no_store_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        open_file(tmp_path)
    with pytest.raises(UsageError, match=r"folder .* does not exist"):
        open_file(tmp_path / "a/b/c.db")
    with pytest.raises(UsageError, match="does not exist"):
        open_file(tmp_path / "new.db", read_only=True)
    assert not (tmp_path / "new.db").exists()
    for location in ("", ":memory:", "mysql://host/db"):
        with pytest.raises(UsageError):
            MemoryStore.open(location)


def test_a_reader_reads_while_another_writes_and_may_not_write(path: Path) -> None:
    with open_file(path) as writer, open_file(path, read_only=True) as reader:
        writer.add("a third thing")
        assert len(reader.search("thing", method="hybrid")) == 3
        for wrong in (lambda: reader.add("x"), lambda: reader.erase(everything=True), lambda: reader.forget(filter={})):
            with pytest.raises(UsageError, match=r"read_only=True|say which"):
                wrong()


def test_a_file_that_cannot_be_written_can_be_read(path: Path) -> None:
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with open_file(path, read_only=True) as store:
            assert len(store.search("thing", method="hybrid")) == 2
    finally:
        path.parent.chmod(0o755)


def test_a_full_disk_keeps_what_was_there(path: Path) -> None:
    with open_file(path) as store:
        store.add("settled")

        def fill(tx: object) -> None:
            [(pages,)] = tx.rows("PRAGMA page_count")  # type: ignore[attr-defined]
            tx.rows(f"PRAGMA max_page_count = {pages}")  # type: ignore[attr-defined]

        store._backend.write(fill)  # what a full disk answers, without filling one
        with pytest.raises(MnemicError, match="disk is full"):
            store.add([f"text number {i} " * 50 for i in range(100)])
        assert store.stats().events == 3
        assert store.check() == []


def test_an_erased_text_is_not_in_the_file_any_more(tmp_path: Path) -> None:
    path = tmp_path / "memory.db"
    with open_file(path) as store:
        report = store.add(["the password is xyzzyplugh", "harmless"])
        store.erase([report.ids[0] or ""], scrub=True)
        assert store.search("harmless", method="bm25")
    assert not any(b"xyzzyplugh" in file.read_bytes() for file in tmp_path.iterdir())


def test_closed_and_forked_stores_refuse(path: Path) -> None:
    store = open_file(path)
    child = os.fork()
    if child == 0:
        try:
            store.search("thing")
        except UsageError as error:
            os._exit(0 if "fork" in str(error) else 1)
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    store.close()
    store.close()
    with pytest.raises(UsageError, match="closed"):
        store.search("thing")


def test_a_backup_is_whole_while_others_write(path: Path, tmp_path: Path) -> None:
    with open_file(path) as store:
        store.backup(tmp_path / "copy.db")
        store.add("later")
        with open_file(tmp_path / "copy.db") as copy:
            assert copy.stats().events == 2
            assert copy.check() == []
