"""SQL over datasets: nested fields, empty tables, refusals, limits. Source: data-lake-and-query.md D."""

import asyncio
from pathlib import Path

import pytest
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, PURCHASE_FLOW, World, member, purchase

from capstream.aep.catalog.lake import lake_table
from capstream.aep.catalog.model import Datasets
from capstream.aep.query_service.engine import serve
from capstream.aep.query_service.model import QueryFailed, QueryService, TableSource, run_query
from capstream.kernel.json import Json


@pytest.fixture
def service(world: World) -> QueryService:
    return QueryService(world.lake, Datasets(world.control), world.registry)


def rows(service: QueryService, sql: str) -> list[list[Json]]:
    """Return a statement's rows, run in this process."""
    tables = {
        name: {"files": list(table.files), "columns": list(table.columns)} for name, table in service.tables(PROD, sql).items()
    }
    answer = serve({"sql": sql, "tables": tables})
    assert "error" not in answer, answer
    return list(answer["rows"])


def test_tables_are_named_and_nested_fields_addressed(world: World, service: QueryService) -> None:
    world.accept(MEMBER_FLOW, member(1, points=5, updated="2024-09-17T10:00:00Z"))
    world.accept(PURCHASE_FLOW, purchase(1, "e-1", total=20), purchase(1, "e-2", total=22.5))
    world.drain()
    joined = """
        SELECT m.loyalty.points, sum(p.commerce."order".priceTotal), max(p.timestamp), min(p._ACP_DATE)
        FROM members m JOIN purchases p ON p.identityMap['memberId'][1].id = m.identityMap['memberId'][1].id GROUP BY 1;
    """
    assert rows(service, joined) == [[5.0, 42.5, "2024-09-17T15:00:00.000Z", "2024-09-17"]]
    time = "SELECT extSourceSystemAudit, date_trunc('day', extSourceSystemAudit.lastUpdatedDate) FROM members"
    ((audit, day),) = rows(service, time)
    assert (audit["lastUpdatedDate"], day) == ("2024-09-17T10:00:00.000Z", "2024-09-17T00:00:00.000Z")


def test_a_table_without_files_is_empty_and_has_its_columns(service: QueryService) -> None:
    assert rows(service, "SELECT loyalty.points FROM members") == []
    described = {row[0]: row[1] for row in rows(service, "DESCRIBE purchases")}
    assert described["timestamp"] == "TIMESTAMP WITH TIME ZONE"
    assert described["identityMap"].startswith("MAP(VARCHAR, STRUCT(")
    assert rows(service, "SHOW TABLES") == [["members"], ["purchases"]]


def test_a_column_no_file_has_yet_is_null(world: World, service: QueryService) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    world.grow_schema(MEMBERS, "context/profile-person-details")
    assert rows(service, "SELECT _id, person.name.firstName FROM members") == [["member-1", None]]


def test_system_columns_are_shown_when_they_are_named(world: World, service: QueryService) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    tables = {"t": {"files": world.lake.files(lake_table(PROD.name, MEMBERS)), "columns": []}}
    names = [column["name"] for column in serve({"sql": "SELECT * FROM t", "tables": tables})["columns"]]
    assert not [name for name in names if name.lower().startswith("_acp")]
    named = serve({"sql": "SELECT _ACP_BATCHID, _acp_system_metadata.rowVersion FROM t", "tables": tables})
    (batch,) = world.batches_of(MEMBERS, "processing")
    assert named["rows"] == [[batch["id"], 1]]


@pytest.mark.parametrize(
    ("sql", "code", "text"),
    [
        ("SELEC 1", "42601", "syntax error"),
        ("SELECT * FROM nowhere", "42P01", "nowhere does not exist"),
        ("SELECT nothing FROM t", "42703", "nothing"),
        ("SELECT 'x'::INT", "22000", "Could not convert"),
        ("SELECT 1; SELECT 2", "42601", "exactly one statement"),
        ("", "42601", "exactly one statement"),
        ("DROP VIEW t", "0A000", "DROP is not supported"),
        ("COPY t TO '/tmp/stolen.csv'", "0A000", "COPY is not supported"),
        ("SET threads = 1", "0A000", "SET is not supported"),
        ("ATTACH '/tmp/x.db'", "0A000", "ATTACH is not supported"),
        ("SELECT * FROM read_text('/etc/hostname')", "42501", "disabled by configuration"),
        ("SELECT * FROM read_csv('/etc/passwd')", "42501", "disabled by configuration"),
        ("SELECT * FROM glob('/etc/*')", "42501", "disabled by configuration"),
    ],
)
def test_what_is_not_run_says_why(sql: str, code: str, text: str) -> None:
    answer = serve({"sql": sql, "tables": {"t": {"files": [], "columns": [["_id", "VARCHAR"]]}}})
    assert answer["error"]["code"] == code
    assert text in answer["error"]["message"]


def test_rows_beyond_the_limit_are_cut_and_said_to_be(service: QueryService) -> None:
    answer = serve({"sql": "SELECT * FROM range(10)", "tables": {}, "limit": 3})
    assert (answer["rows"], answer["truncated"]) == ([[0], [1], [2]], True)


def test_values_json_does_not_know() -> None:
    sql = "SELECT 1.5::DECIMAL(4,2), 'nan'::DOUBLE, MAP {'a': [DATE '2024-01-02']}, {'b': TIME '10:00'}, '\\x41'::BLOB, NULL"
    assert serve({"sql": sql, "tables": {}})["rows"] == [
        [1.5, None, {"a": ["2024-01-02"]}, {"b": "10:00:00"}, "41", None],
    ]


def test_a_slow_query_is_stopped() -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b"
    with pytest.raises(QueryFailed, match=r"longer than 0\.2 seconds") as failure:
        run_query(endless, {}, timeout_s=0.2)
    assert failure.value.code == "57014"


def test_the_engine_runs_in_a_process_of_its_own(world: World, service: QueryService) -> None:
    world.accept(MEMBER_FLOW, member(1, points=5))
    world.drain()
    answer = asyncio.run(service.answer("SELECT _id, loyalty.points AS points FROM members", PROD))
    assert answer["rows"] == [{"_id": "member-1", "points": 5.0}]
    assert answer["columns"][1] == {"name": "points", "type": "DOUBLE"}
    failed = asyncio.run(service.answer("SELECT * FROM nowhere", PROD))
    assert failed["error"]["code"] == "42P01", failed


def test_an_engine_that_dies_is_told_as_such(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_bytes(b"no parquet")
    with pytest.raises(QueryFailed, match="broken"):
        run_query("SELECT * FROM t", {"t": TableSource([str(broken)], [("_id", "VARCHAR")])})
