"""`capstream compact`: smaller files with the same content, never under a running server."""

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capstream.cli.main import app
from capstream.layout import Layout
from capstream.relay.event_index import FACETS
from capstream.storage import trimming
from capstream.storage.ports import Shrinking
from capstream.storage.sqlite import SqliteDocuments, SqliteLog
from capstream.storage.sqlite_files import bytes_of, compact
from capstream.storage.sqlite_index import SqliteIndex
from capstream.supervisor import locked


def test_a_trimmed_journal_shrinks_and_keeps_what_is_left(tmp_path: Path) -> None:
    journal = SqliteLog(Layout(tmp_path).journal)
    records = [b"%d" % number * 200 for number in range(10_000)]
    for start in range(0, 10_000, 100):
        journal.append(records[start : start + 100], keys=[b"key-%d" % number for number in range(start, start + 100)])
    journal.trim(9_900)
    left = journal.read(0, 1000)
    journal.close()
    done = CliRunner().invoke(app, ["compact", "--data", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.output
    sizes = json.loads(done.output)["journal.db"]
    assert sizes["bytesAfter"] < sizes["bytesBefore"] / 2
    assert sizes["bytesAfter"] == bytes_of(Layout(tmp_path).journal)
    journal = SqliteLog(Layout(tmp_path).journal)
    assert journal.read(0, 1000) == left
    assert len(left) == 100
    assert journal.end() == 10_000
    assert journal.seen([b"key-7", b"key-9950"]) == {b"key-7": 8, b"key-9950": 9951}
    journal.close()


def test_a_running_server_is_left_alone(tmp_path: Path) -> None:
    with locked(tmp_path):
        done = CliRunner().invoke(app, ["compact", "--data", str(tmp_path)])
    assert done.exit_code == 1
    assert "already runs" in str(done.exception)


def test_an_old_journal_shrinks_in_use_once_it_was_compacted_and_its_wal_counts(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    db = sqlite3.connect(path, isolation_level=None)  # as capstream 0.1 made it
    db.executescript("PRAGMA journal_mode=WAL; CREATE TABLE other (body BLOB)")
    db.close()
    journal = SqliteLog(path)
    for number in range(50):
        journal.append([b"%d" % number * 20_000])
    journal.trim(45)
    assert journal.give_back(10) == 0
    before = bytes_of(path)
    assert before > path.stat().st_size
    copied = tmp_path / "copy.db"
    for ending in ("", "-wal"):
        (tmp_path / f"copy.db{ending}").write_bytes((tmp_path / f"journal.db{ending}").read_bytes())
    journal.close()
    assert compact(copied, shrinks=True)[0] == before
    journal = SqliteLog(copied)
    journal.trim(49)
    size, free = journal.size_bytes(), journal.free_bytes()
    assert journal.give_back(2) == 2 * 4096
    assert journal.size_bytes() == size - 2 * 4096
    assert journal.free_bytes() == free - 2 * 4096
    assert [offset for offset, _ in journal.read(0, 10)] == [50]
    journal.close()


def _emptied(documents: SqliteDocuments) -> None:
    for change in ("put", "delete"):
        with documents.transaction() as transaction:
            keys = [f"{number:05d}" for number in range(30_000)]
            transaction.put("x", [(key, bytes(4000)) for key in keys]) if change == "put" else transaction.delete("x", keys)


@pytest.mark.parametrize(("all_of_them", "left"), [(False, 64 * 1024 * 1024), (True, 0)])
def test_documents_are_made_smaller_while_they_are_used(tmp_path: Path, all_of_them: bool, left: int) -> None:
    documents = SqliteDocuments(tmp_path / "courier.db", shrinks=True)
    reader = SqliteDocuments(tmp_path / "courier.db", readonly=True)
    _emptied(documents)
    before = documents.size_bytes()
    assert reader.free_bytes() == documents.free_bytes() > 100_000_000
    asyncio.run(trimming.give_back(documents, asyncio.Event(), all_of_them=all_of_them))
    assert left <= documents.free_bytes() < left + 8192
    assert documents.size_bytes() < before - 50_000_000
    documents.close()
    reader.close()


def test_an_old_store_shrinks_in_use_once_it_was_compacted(tmp_path: Path) -> None:
    path = Layout(tmp_path).courier
    documents = SqliteDocuments(path)
    _emptied(documents)
    assert documents.give_back(10) == 0
    documents.close()
    assert CliRunner().invoke(app, ["compact", "--data", str(tmp_path)]).exit_code == 0
    documents = SqliteDocuments(path)
    _emptied(documents)
    assert documents.give_back(10) == 10 * 4096
    documents.close()


def test_the_index_can_shrink_from_the_start(tmp_path: Path) -> None:
    index: Shrinking = SqliteIndex(tmp_path / "events.db", FACETS)
    db = sqlite3.connect(tmp_path / "events.db")
    assert db.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert index.give_back(10) == 0
    assert index.size_bytes() > index.free_bytes()
    db.close()
