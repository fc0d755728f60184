import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteLog

batches = st.lists(st.lists(st.binary(max_size=40), max_size=6), max_size=8)


@given(batches=batches, after=st.integers(0, 40), limit=st.integers(1, 10))
def test_a_log_is_a_list(tmp_path_factory: pytest.TempPathFactory, batches: list[list[bytes]], after: int, limit: int) -> None:
    path = tmp_path_factory.mktemp("log") / "log.db"
    log = SqliteLog(path)
    model: list[bytes] = []
    for batch in batches:
        assert log.append(batch) == len(model) + 1
        model += batch
    log.close()
    again = SqliteLog(path)
    assert again.end() == len(model)
    assert again.read(after, limit) == [(i + 1, record) for i, record in enumerate(model)][after : after + limit]
    assert [again.get(i) for i in range(1, len(model) + 2)] == [*model, None]
    assert again.get(0) is None
    again.close()


def test_seen_keys_lead_to_the_first_record_under_them(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.append([b"a", b"b"], keys=[b"k1", b"k2"])
    log.append([b"c"], keys=[b"k1"])
    assert log.seen([b"k1", b"k2", b"k3"]) == {b"k1": 1, b"k2": 2}
    log.close()


def test_keys_are_found_before_and_after_they_are_indexed_by_the_writer_a_reader_and_the_next_writer(tmp_path: Path) -> None:
    writer = SqliteLog(tmp_path / "log.db", waiting_keys=1000)
    reader = SqliteLog(tmp_path / "log.db", readonly=True)
    keys = [b"hour" + sha256(b"%d" % i).digest()[:16] for i in range(9000)]
    for start in range(0, 9000, 100):
        part = keys[start : start + 100]
        writer.append([b"x"] * 100, keys=part)
        assert reader.seen(part) == writer.seen(part) == {key: start + i for i, key in enumerate(part, 1)}
    expected = {key: offset for offset, key in enumerate(keys, 1)}
    again = SqliteLog(tmp_path / "log.db", readonly=True)
    assert writer.seen(keys) == reader.seen(keys) == again.seen(keys) == expected
    assert reader._keys._count < 9000
    assert writer.append([b"y", b"z"], keys=[b"", keys[3]]) == 9001
    writer.close()
    assert SqliteLog(tmp_path / "log.db").seen([keys[3], b""]) == {keys[3]: 4}


@given(groups=st.lists(st.integers(1, 40), min_size=1, max_size=30), waiting=st.integers(1, 60), at=st.integers(0, 29))
def test_every_key_is_found_wherever_its_way_into_the_index_was_cut_off(
    tmp_path_factory: pytest.TempPathFactory, groups: list[int], waiting: int, at: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.db"
    log, count = SqliteLog(path, waiting_keys=waiting), 0
    for turn, size in enumerate(groups):
        if turn == at:  # as after a SIGKILL: nothing is closed, the next writer finds what was committed
            log = SqliteLog(path, waiting_keys=waiting)
        numbers = range(count, count + size)
        log.append([b"x"] * size, keys=[sha256(b"%d" % n).digest()[:20] for n in numbers])
        count += size
    keys = [sha256(b"%d" % n).digest()[:20] for n in range(count)]
    expected = {key: offset for offset, key in enumerate(keys, 1)}
    assert log.seen(keys) == expected
    assert SqliteLog(path, waiting_keys=waiting).seen(keys) == expected
    log.close()


def test_the_wal_starts_over_when_all_of_it_was_copied(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    log = SqliteLog(path, checkpoint_bytes=2_000_000)
    wal = path.with_name("log.db-wal")
    count = 0
    for _ in range(20):
        while not log._checkpoints._nearly_done.wait(0.001 if count % 20 else 0.2):
            count += 1
            log.append([b"x" * 100_000])
        log.append([b"y"])
    assert count >= 380
    assert wal.stat().st_size < count * 100_000 / 4
    assert sum(len(record) for _, record in log.read(0, 100_000)) == count * 100_000 + 20
    log.close()


def test_a_reader_in_another_connection_sees_what_was_appended(tmp_path: Path) -> None:
    writer = SqliteLog(tmp_path / "log.db")
    reader = SqliteLog(tmp_path / "log.db", readonly=True)
    writer.append([b"a", b"b"])
    assert reader.read(0, 10) == [(1, b"a"), (2, b"b")]
    assert reader.end() == 2
    writer.close()
    reader.close()


def test_trim_forgets_whole_segments_and_keeps_offsets(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.append([b"a", b"b"])
    log.append([b"c", b"d"])
    assert log.trim(3) == (2, 2)
    assert log.trim(3, after=2) == (0, 2)
    assert log.read(0, 10) == [(3, b"c"), (4, b"d")]
    assert log.append([b"e"]) == 5
    log.trim(5)
    log.close()
    assert SqliteLog(tmp_path / "log.db").append([b"f"]) == 6


@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=12),
    through=st.integers(0, 60),
    needed=st.sets(st.integers(1, 60)),
    at_once=st.integers(1, 4),
)
def test_trimming_in_slices_keeps_what_is_needed_and_what_is_new(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], through: int, needed: set[int], at_once: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log.db"
    log = SqliteLog(path)
    segment_of: dict[int, int] = {}
    for size in sizes:
        first = log.append([b"r%d" % (len(segment_of) + i + 1) for i in range(size)])
        segment_of |= {first + i: first + size - 1 for i in range(size)}
    after, removed, moved = 0, 0, True
    while moved:
        gone, position = log.trim(through, lambda a, b: {n for n in needed if a <= n <= b}, after=after, segments=at_once)
        removed, moved, after = removed + gone, position != after, position
    expected = [n for n, last in segment_of.items() if last > through or n in needed]
    assert removed == len(segment_of) - len(expected)
    log.close()
    again = SqliteLog(path)
    assert again.read(0, 100) == [(n, b"r%d" % n) for n in expected]
    assert again.end() == len(segment_of)
    assert [n for n in segment_of if again.get(n) is not None] == expected
    assert again.append([b"new"]) == len(segment_of) + 1
    again.close()


def test_what_was_trimmed_is_free_for_new_records(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    for _ in range(50):
        log.append([b"x" * 20_000])
    assert log.free_bytes() == 0
    log.trim(50)
    free, size = log.free_bytes(), log.size_bytes()
    assert free > 50 * 20_000
    for _ in range(40):
        log.append([b"y" * 20_000])
    assert log.size_bytes() == size
    assert log.free_bytes() < free
    log.close()


def test_keys_of_old_records_are_forgotten_in_slices(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    keys = [b"k%03d" % (i * 37 % 100) for i in range(100)]
    log.append([b"x"] * 100, keys=keys)
    gone, after, rounds = 0, b"", 0
    while after or not rounds:
        count, after = log.forget_keys(60, after=after, limit=7)
        gone, rounds = gone + count, rounds + 1
    assert (gone, rounds) == (60, 15)
    assert log.seen(keys) == {key: offset for offset, key in enumerate(keys, 1) if offset > 60}
    log.close()


def test_a_failed_append_stores_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.db")
    log.append([b"a"])
    log._db.execute("PRAGMA max_page_count=1")
    with pytest.raises(StorageUnavailable, match="full"):
        log.append([b"x" * 100_000])
    log._db.execute("PRAGMA max_page_count=1000000")
    assert log.append([b"b"]) == 2
    assert log.read(0, 9) == [(1, b"a"), (2, b"b")]
    log.close()


def test_what_was_appended_survives_sigkill(tmp_path: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from capstream.storage.sqlite import SqliteLog
log = SqliteLog(Path(sys.argv[1]))
for i in range(50):
    last = log.append([b"%d" % i])
print(last, flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "log.db")], check=False, capture_output=True, env=dict(os.environ)
    )
    assert done.stdout.strip() == b"50"
    assert [body for _, body in SqliteLog(tmp_path / "log.db").read(0, 99)] == [b"%d" % i for i in range(50)]
