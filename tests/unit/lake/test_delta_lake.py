"""The Lake on Delta tables: idempotent commits, growing schemas, compaction, what readers see."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from capstream.kernel.errors import Permanent
from capstream.storage.delta import DeltaLake
from capstream.storage.ports import StorageUnavailable

TABLE = "prod/xdm/66f0a1b2c3d4e5f60718293a"


def rows(*names: str) -> pa.Table:
    return pa.table({"_id": pa.array(names), "loyalty": [{"points": len(name)} for name in names]})


def ids(lake: DeltaLake) -> list[str]:
    return sorted(name for file in lake.files(TABLE) for name in pq.read_table(file)["_id"].to_pylist())


def test_a_table_that_was_never_written_is_empty(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    assert (lake.files(TABLE), lake.rows(TABLE), lake.committed(TABLE, "app")) == ([], 0, 0)
    lake.compact(TABLE)


def test_a_table_whose_making_was_cut_short_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / TABLE / "_delta_log").mkdir(parents=True)
    lake = DeltaLake(tmp_path)
    assert (lake.files(TABLE), lake.rows(TABLE), lake.committed(TABLE, "app")) == ([], 0, 0)
    assert lake.append(TABLE, rows("a"), app_id="app", version=1)
    assert ids(lake) == ["a"]


def test_the_same_version_is_committed_once_by_each_application(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    assert lake.append(TABLE, rows("a"), app_id="one", version=5)
    assert not lake.append(TABLE, rows("b"), app_id="one", version=5)
    assert not lake.append(TABLE, rows("b"), app_id="one", version=4)
    assert lake.append(TABLE, rows("c"), app_id="two", version=1)
    assert lake.append(TABLE, rows("d"), app_id="one", version=6)
    assert ids(lake) == ["a", "c", "d"]
    assert (lake.committed(TABLE, "one"), lake.committed(TABLE, "two")) == (6, 1)


def test_a_new_process_knows_what_was_committed(tmp_path: Path) -> None:
    DeltaLake(tmp_path).append(TABLE, rows("a"), app_id="app", version=7)
    lake = DeltaLake(tmp_path)
    assert not lake.append(TABLE, rows("a"), app_id="app", version=7)
    assert lake.committed(TABLE, "app") == 7


def test_versions_are_known_across_checkpoints_and_compaction(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    for version in range(1, 71):
        assert lake.append(TABLE, rows(f"r{version:03}"), app_id="app", version=version)
    assert len(list((tmp_path / TABLE / "_delta_log").glob("*.checkpoint.parquet"))) == 2
    lake.compact(TABLE)
    again = DeltaLake(tmp_path)
    assert again.committed(TABLE, "app") == 70
    assert (again.rows(TABLE), len(again.files(TABLE))) == (70, 1)
    assert ids(again) == [f"r{version:03}" for version in range(1, 71)]


def test_a_reader_sees_commits_made_after_it_looked(tmp_path: Path) -> None:
    writer, reader = DeltaLake(tmp_path), DeltaLake(tmp_path)
    assert reader.rows(TABLE) == 0
    writer.append(TABLE, rows("a"), app_id="app", version=1)
    assert reader.rows(TABLE) == 1
    writer.append(TABLE, rows("b", "c"), app_id="app", version=2)
    assert (reader.rows(TABLE), reader.committed(TABLE, "app"), len(reader.files(TABLE))) == (3, 2, 2)
    writer.compact(TABLE)
    assert (reader.rows(TABLE), len(reader.files(TABLE))) == (3, 1)
    writer.drop(TABLE)
    assert (reader.rows(TABLE), reader.files(TABLE)) == (0, [])


def test_columns_and_nested_members_are_added(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append(TABLE, rows("a"), app_id="app", version=1)
    wider = pa.table({"_id": ["b"], "loyalty": [{"points": 1, "tier": "gold"}], "person": [{"name": "Jo"}]})
    lake.append(TABLE, wider, app_id="app", version=2)
    lake.append(TABLE, rows("c"), app_id="app", version=3)
    assert ids(lake) == ["a", "b", "c"]


def test_rows_that_do_not_fit_are_refused_for_good_and_leave_the_table_usable(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append(TABLE, rows("a"), app_id="app", version=1)
    with pytest.raises(Permanent, match="do not fit"):
        lake.append(TABLE, pa.table({"_id": [[1]], "loyalty": [1]}), app_id="app", version=2)
    assert lake.append(TABLE, rows("b"), app_id="app", version=2)
    assert ids(lake) == ["a", "b"]


def test_a_place_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "prod").write_text("a file where a folder should be")
    with pytest.raises(StorageUnavailable):
        DeltaLake(tmp_path).append(TABLE, rows("a"), app_id="app", version=1)


def test_chosen_columns_have_statistics_and_others_none(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path, skip_by=("_id", "absent"))
    lake.append(TABLE, rows("a", "b"), app_id="app", version=1)
    log = (tmp_path / TABLE / "_delta_log" / "00000000000000000001.json").read_text()
    assert '\\"minValues\\":{\\"_id\\":\\"a\\"}' in log


def test_a_dropped_table_begins_anew(tmp_path: Path) -> None:
    lake = DeltaLake(tmp_path)
    lake.append(TABLE, rows("a"), app_id="app", version=9)
    lake.drop(TABLE)
    assert lake.append(TABLE, rows("b"), app_id="app", version=1)
    assert ids(lake) == ["b"]
