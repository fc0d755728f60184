from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstream.storage.ports import StorageUnavailable
from capstream.storage.sqlite import SqliteDocuments

keys = st.text(alphabet="ab/é😀", max_size=4)
steps = st.lists(st.tuples(st.sampled_from(["put", "insert", "delete"]), keys, st.binary(max_size=4)), max_size=20)


@given(steps=steps, prefix=keys, after=keys, limit=st.integers(1, 4), reverse=st.booleans())
def test_documents_are_an_ordered_dict(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[tuple[str, str, bytes]],
    prefix: str,
    after: str,
    limit: int,
    reverse: bool,
) -> None:
    store = SqliteDocuments(tmp_path_factory.mktemp("documents") / "d.db")
    model: dict[str, bytes] = {}
    for act, key, body in steps:
        with store.transaction() as change:
            if act == "put":
                change.put("things", [(key, body)])
                model[key] = body
            elif act == "insert":
                assert change.insert("things", [(key, body)]) == (key not in model)
                model.setdefault(key, body)
            else:
                assert change.delete("things", [key]) == (key in model)
                model.pop(key, None)
    beyond = [k for k in model if k.startswith(prefix) and (not after or (k < after if reverse else k > after))]
    expected = [(k, model[k]) for k in sorted(beyond, key=lambda k: k.encode(), reverse=reverse)][:limit]
    assert store.scan("things", prefix=prefix, after=after, limit=limit, reverse=reverse) == expected
    assert store.count("things", prefix=prefix) == sum(k.startswith(prefix) for k in model)
    assert store.get_many("things", list(model)) == model
    store.close()


def test_a_transaction_that_raises_leaves_nothing_and_sees_its_own_writes(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")

    def fail() -> None:
        with store.transaction() as change:
            change.put("things", [("k", b"1")])
            assert change.get("things", "k") == b"1"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert store.get("things", "k") is None
    with store.transaction() as change:
        change.put("things", [("k", b"2")])
    assert store.get("things", "k") == b"2"


def test_a_reader_sees_commits_and_the_version_moves(tmp_path: Path) -> None:
    writer = SqliteDocuments(tmp_path / "d.db")
    reader = SqliteDocuments(tmp_path / "d.db", readonly=True)
    assert (reader.get("things", "k"), reader.scan("things"), reader.count("things")) == (None, [], 0)
    before, own = reader.version(), writer.version()
    with writer.transaction() as change:
        change.put("things", [("k", b"1")])
    assert reader.version() != before
    assert writer.version() != own
    assert reader.get("things", "k") == b"1"
    with pytest.raises(StorageUnavailable, match="read-only"), reader.transaction():
        pass


def test_a_collection_must_be_an_identifier(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an identifier"):
        SqliteDocuments(tmp_path / "d.db").get("x; drop", "k")


def test_many_items_are_stored_as_if_one_by_one(tmp_path: Path) -> None:
    store = SqliteDocuments(tmp_path / "d.db")
    items = [(f"{number % 500:03}", b"%d" % number) for number in range(601)]
    with store.transaction() as change:
        assert change.insert("first", items) == 500
        change.put("last", items)
        assert change.delete("last", [f"{number:03}" for number in range(101, 600)]) == 399
    assert store.scan("first") == items[:500]
    assert store.scan("last") == items[500:]
    store.close()


def test_a_thread_copies_the_wal_into_the_file_and_it_starts_over(tmp_path: Path) -> None:
    path = tmp_path / "d.db"
    store = SqliteDocuments(path, checkpoint_bytes=2_000_000)
    assert store._checkpoints is not None
    written = 0
    for _ in range(5):
        while not store._checkpoints._nearly_done.wait(0.001 if written % 20 else 0.2):
            with store.transaction() as change:
                change.put("things", [(f"{written:06}-{n}", b"x" * 3000) for n in range(20)])
            written += 1
        with store.transaction() as change:
            change.put("last", [("k", b"%d" % written)])
    assert path.with_name("d.db-wal").stat().st_size < written * 60_000 / 2
    store.close()
    again = SqliteDocuments(path, readonly=True)
    assert (again.count("things"), again.get("last", "k")) == (written * 20, b"%d" % written)


def test_larger_pages_hold_rows_of_half_a_page_with_less_waste_and_a_file_keeps_the_pages_it_was_made_with(
    tmp_path: Path,
) -> None:
    rows = [(f"{number:04}", bytes(2100)) for number in range(400)]
    sizes = {}
    for page_bytes in (4096, 8192):
        path = tmp_path / f"{page_bytes}.db"
        SqliteDocuments(path, page_bytes=page_bytes).close()
        store = SqliteDocuments(path, page_bytes=4096)
        with store.transaction() as change:
            change.put("things", rows)
        assert store.scan("things") == rows
        sizes[page_bytes] = store.size_bytes()
    assert sizes[8192] < 0.8 * sizes[4096]
