"""The lake's files have only the columns that occur; whoever reads the table finds all of them."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from threading import Thread
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from capstream.kernel.errors import Permanent
from capstream.storage import log_entries
from capstream.storage.delta import DeltaLake
from capstream.storage.ports import StorageUnavailable

_ITEM = pa.struct([("sku", pa.string()), ("quantity", pa.int32())])
_TIER = pa.struct([("name", pa.string()), ("rank", pa.int64())])
_SCHEMA = pa.schema(
    [
        ("number", pa.int64()),
        ("loyalty", pa.struct([("points", pa.float64()), ("tier", _TIER)])),
        ("items", pa.list_(_ITEM)),
        ("identities", pa.map_(pa.string(), pa.list_(pa.struct([("id", pa.string()), ("primary", pa.bool_())])))),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("day", pa.date32()),
        ("never", pa.struct([("one", pa.struct([("two", pa.string())])), ("three", pa.list_(pa.string()))])),
    ]
)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_tiers = st.fixed_dictionaries({"name": _maybe(st.sampled_from(["gold", "silver"])), "rank": _maybe(st.integers(0, 9))})
_items = st.fixed_dictionaries({"sku": _maybe(st.sampled_from(["A-1", "B-2"])), "quantity": _maybe(st.integers(0, 9))})
_identity = st.fixed_dictionaries({"id": _maybe(st.just("m-1")), "primary": _maybe(st.booleans())})
_rows = st.fixed_dictionaries(
    {
        "loyalty": _maybe(st.fixed_dictionaries({"points": _maybe(st.floats(0, 9)), "tier": _maybe(_tiers)})),
        "items": _maybe(st.lists(_maybe(_items), max_size=3)),
        "identities": _maybe(st.just([]) | st.lists(_identity, max_size=2).map(lambda found: [("email", found)])),
        "timestamp": _maybe(st.just(datetime(2024, 9, 17, 15, 0, 0, 123456, tzinfo=UTC))),
        "day": _maybe(st.just(date(2024, 9, 17))),
    }
)


def _table(rows: Sequence[dict[str, Any]], start: int) -> pa.Table:
    return pa.Table.from_pylist([{"number": start + n, **row} for n, row in enumerate(rows)], schema=_SCHEMA)


def _read(lake: DeltaLake, root: Path) -> list[dict[str, Any]]:
    """Return the rows as delta-rs has them; and see that DuckDB counts the same through its own view of the files."""
    files = lake.files("t")
    typed = "NULL::STRUCT(points DOUBLE, tier STRUCT(name VARCHAR, rank BIGINT)) AS loyalty"
    view = f"FROM (SELECT {typed} LIMIT 0) UNION ALL BY NAME FROM read_parquet({files}, union_by_name = true)"
    counts = f"SELECT count(*), count(loyalty.tier.name), count(loyalty) FROM ({view})"
    (counted,) = duckdb.connect().execute(counts).fetchall()
    rows: list[dict[str, Any]] = DeltaTable(root / "t").to_pyarrow_table().sort_by("number").to_pylist()
    objects = [row["loyalty"] for row in rows if row["loyalty"] is not None]
    tiers = [found["tier"] for found in objects if found["tier"] is not None]
    assert counted == (len(rows), sum(1 for tier in tiers if tier["name"] is not None), len(objects))
    return rows


@given(batches=st.lists(st.lists(_rows, min_size=1, max_size=4), min_size=1, max_size=3))
def test_what_is_left_out_reads_as_null(batches: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("lake")
    lake = DeltaLake(root, skip_by=("number",))
    expected: list[dict[str, Any]] = []
    for version, rows in enumerate(batches, 1):
        table = _table(rows, len(expected))
        assert lake.append("t", table, app_id="test", version=version)
        assert not lake.append("t", table, app_id="test", version=version)
        expected += table.to_pylist()
    assert _read(lake, root) == expected
    lake.compact("t")
    assert _read(lake, root) == expected


def test_a_file_has_the_columns_that_occur_and_its_ends(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path, skip_by=("number", "timestamp", "day", "loyalty"))
    at = datetime(2024, 9, 17, 15, 0, tzinfo=UTC)
    rows = [{"timestamp": at, "loyalty": {"points": None, "tier": {"name": "gold"}}}, {"items": [{"quantity": 1}]}]
    lake.append("t", _table(rows, 5), app_id="test", version=1)
    (file,) = lake.files("t")
    schema = pq.read_schema(file)
    assert schema.names == ["number", "loyalty", "items", "timestamp"]
    assert [field.name for field in schema.field("loyalty").type] == ["tier"]
    assert [field.name for field in schema.field("items").type.value_type] == ["quantity"]
    lines = (tmp_path / "t/_delta_log/00000000000000000001.json").read_text().splitlines()
    (added,) = [json.loads(line)["add"] for line in lines if '"add"' in line]
    assert json.loads(added["stats"]) == {
        "numRecords": 2,
        "minValues": {"number": 5, "timestamp": "2024-09-17T15:00:00.000000Z"},
        "maxValues": {"number": 6, "timestamp": "2024-09-17T15:00:00.000000Z"},
        "nullCount": {"number": 0, "timestamp": 1, "day": 2},
    }


def test_a_schema_that_grew_widens_the_table(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append("t", pa.table({"number": [1]}), app_id="test", version=1)
    lake.append("t", _table([{"loyalty": {"points": 2.0, "tier": None}}], 2), app_id="test", version=2)
    lake.append("t", pa.table({"number": [3]}), app_id="test", version=3)
    rows = DeltaTable(tmp_path / "t").to_pyarrow_table().sort_by("number").to_pylist()
    assert [(row["number"], row["loyalty"]) for row in rows] == [(1, None), (2, {"points": 2.0, "tier": None}), (3, None)]
    assert set(rows[0]) == set(_SCHEMA.names)


def test_a_column_of_another_type_is_refused_for_good(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append("t", pa.table({"number": [1]}), app_id="test", version=1)
    with pytest.raises(Permanent, match="do not fit"):
        lake.append("t", pa.table({"number": ["one"]}), app_id="test", version=2)
    assert lake.rows("t") == 1
    assert lake.append("t", pa.table({"number": [2]}), app_id="test", version=2)


def test_rows_are_appended_while_a_table_is_compacted(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    for version in range(1, 21):
        lake.append("t", _table([{"loyalty": {"points": 1.0, "tier": None}}], version), app_id="test", version=version)
    compacting = Thread(target=lake.compact, args=("t",))
    compacting.start()
    for version in range(21, 31):
        assert lake.append("t", _table([{"items": []}], version), app_id="test", version=version)
    compacting.join()
    rows = DeltaTable(tmp_path / "t").to_pyarrow_table().sort_by("number").to_pylist()
    assert [row["number"] for row in rows] == list(range(1, 31))
    assert [row["items"] for row in rows] == [None] * 20 + [[]] * 10
    assert (lake.rows("t"), lake.committed("t", "test")) == (30, 30)
    assert len(lake.files("t")) <= 11


def test_a_compaction_takes_narrower_files_and_those_of_another_writer(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path, skip_by=("batch",))
    narrow = pa.map_(pa.string(), pa.struct([("id", pa.string())]))
    wide = pa.map_(pa.string(), pa.struct([("id", pa.string()), ("primary", pa.bool_())]))
    versions = [(narrow, {"id": "m-1"}), (wide, {"id": "m-2", "primary": True}), (wide, {"id": None, "primary": None})]
    for version, (type_, entry) in enumerate(versions, 1):
        schema = pa.schema([("batch", pa.string()), ("known", type_), ("never", pa.struct([("one", pa.string())]))])
        rows = [{"batch": f"b{version}", "known": [("k", entry)]}, {"batch": f"gone {version}"}]
        lake.append("t", pa.Table.from_pylist(rows, schema=schema), app_id="test", version=version)
    lake.delete("t", "batch", "gone 2")  # rewrites a file with every column
    before = DeltaTable(tmp_path / "t").to_pyarrow_table().sort_by("batch").to_pylist()

    lake.compact("t")

    assert DeltaTable(tmp_path / "t").to_pyarrow_table().sort_by("batch").to_pylist() == before
    assert before[0]["known"] == [("k", {"id": "m-1", "primary": None})]
    (file,) = lake.files("t")
    assert (len(before), pq.read_metadata(file).num_rows) == (5, 5)
    assert (lake.rows("t"), lake.committed("t", "test")) == (5, 3)


def test_a_compaction_that_is_cut_off_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = DeltaLake(tmp_path)
    for version in (1, 2):
        lake.append("t", _table([{}], version), app_id="test", version=version)
    files = lake.files("t")

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(log_entries.os, "link", cut_off)
        with pytest.raises(KeyboardInterrupt):
            lake.compact("t")
    assert (lake.files("t"), lake.rows("t")) == (files, 2)

    lake.compact("t")

    assert (len(lake.files("t")), lake.rows("t")) == (1, 2)
    assert not list((tmp_path / "t" / "_delta_log").glob("*.tmp"))


def test_an_append_that_is_cut_off_adds_nothing_and_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = DeltaLake(tmp_path)
    lake.append("t", _table([{}], 1), app_id="test", version=1)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(log_entries.os, "link", cut_off)
        with pytest.raises(KeyboardInterrupt):
            lake.append("t", _table([{}], 2), app_id="test", version=2)
    assert (lake.rows("t"), lake.committed("t", "test")) == (1, 1)

    assert lake.append("t", _table([{}], 2), app_id="test", version=2)
    assert (lake.rows("t"), lake.committed("t", "test")) == (2, 2)
    assert DeltaTable(tmp_path / "t").transaction_version("test") == 2


def test_an_entry_of_somebody_else_is_left_alone_and_the_rows_come_behind_it(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append("t", _table([{}], 1), app_id="test", version=1)
    DeltaTable(tmp_path / "t").delete("false")
    write_deltalake(tmp_path / "t", DeltaTable(tmp_path / "t").to_pyarrow_table(), mode="append")

    with pytest.raises(StorageUnavailable):  # what waits is tried again
        lake.append("t", _table([{}], 2), app_id="test", version=2)
    assert lake.append("t", _table([{}], 2), app_id="test", version=2)

    assert (lake.rows("t"), lake.committed("t", "test")) == (3, 2)
