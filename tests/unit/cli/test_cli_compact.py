"""`capstream compact`: smaller files with the same content, never under a running server."""

import json
from pathlib import Path

from typer.testing import CliRunner

from capstream.cli.main import app
from capstream.layout import Layout
from capstream.storage.sqlite import SqliteLog
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
