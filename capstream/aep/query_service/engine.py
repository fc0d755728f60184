"""The query engine: one request on standard input, one answer on standard output, then it is gone.

A process of its own because DuckDB wants hundreds of megabytes while it works and the gateway must stay small, and
because a process can be ended. `python -m capstream.aep.query_service.engine`. Source: data-lake-and-query.md D4.

Request: {"sql", "limit", "timeout_s", "memory_mb", "tables": {name: {"files": [path], "columns": [[name, type]]}}, "export"}
Answer:  {"columns": [{"name", "type"}], "rows": [[value]], "truncated": bool} or {"error": {"code", "message"}}
"""

import math
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb

from capstream.kernel.json import Json, dumps, loads

_READS = {"SELECT", "EXPLAIN"}
_ZONED = "TIMESTAMP WITH TIME ZONE"
_HIDDEN = ("_ACP_DATE", "_ACP_BATCHID", "_acp_system_metadata")

# SQLSTATE by DuckDB's class of error. Source: data-lake-and-query.md E2.
_CODES: Mapping[str, str] = {
    "ParserException": "42601",
    "SyntaxException": "42601",
    "CatalogException": "42P01",
    "BinderException": "42703",
    "ConversionException": "22000",
    "OutOfRangeException": "22003",
    "InvalidInputException": "22023",
    "InterruptException": "57014",
    "PermissionException": "42501",
    "OutOfMemoryException": "53200",
    "NotImplementedException": "0A000",
}


class Refused(Exception):
    """A statement that is not run; `code` is its SQLSTATE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def serve(request: Mapping[str, Json]) -> dict[str, Json]:
    """Return the answer to one request; whatever is wrong with the statement is part of the answer."""
    settings = {"threads": 2, "memory_limit": f"{int(request.get('memory_mb', 512))}MB"}
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    seconds = float(request.get("timeout_s", 30))
    timer = threading.Timer(seconds, connection.interrupt)
    timer.daemon = True
    try:
        _make_views(connection, request["tables"])
        if request.get("export"):
            connection.execute(f"COPY ({request['sql']}) TO {_text(request['export'])} (FORMAT parquet)")
            return {"columns": [], "rows": [], "truncated": False}
        _lock(connection, request["tables"])
        timer.start()
        return _fetched(connection, _checked(connection, request["sql"]), int(request.get("limit", 1000)))
    except Refused as refusal:
        return {"error": {"code": refusal.code, "message": str(refusal)}}
    except duckdb.InterruptException:
        return {"error": {"code": "57014", "message": f"the query took longer than {seconds:g} seconds and was stopped"}}
    except duckdb.Error as error:
        return {"error": {"code": _CODES.get(type(error).__name__, "XX000"), "message": str(error)}}
    finally:
        timer.cancel()


def _make_views(connection: "duckdb.DuckDBPyConnection", tables: Mapping[str, Json]) -> None:
    """Make each table a view over its files, with every column it should have even if no file has it yet."""
    for name, table in tables.items():
        columns = ", ".join(f"NULL::{kind} AS {_name(column)}" for column, kind in table["columns"])
        source = f"FROM (SELECT {columns or 'NULL AS empty'} LIMIT 0)"
        if table["files"]:
            listed = ", ".join(_text(path) for path in table["files"])
            source = f"({source}) UNION ALL BY NAME FROM read_parquet([{listed}], union_by_name = true)"
        connection.execute(f"CREATE VIEW {_name(name)} AS {source}")


def _lock(connection: "duckdb.DuckDBPyConnection", tables: Mapping[str, Json]) -> None:
    """Leave nothing readable but the tables' own files, and nothing changeable."""
    paths = ", ".join(_text(path) for table in tables.values() for path in table["files"])
    connection.execute(f"SET allowed_paths = [{paths}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _checked(connection: "duckdb.DuckDBPyConnection", sql: str) -> str:
    """Return the text of the only statement, which reads. Errors: Refused."""
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise Refused("42601", f"send exactly one statement, this text has {len(statements)}")
    kind = statements[0].type.name
    if kind not in _READS:
        raise Refused("0A000", f"{kind} is not supported: only SELECT, WITH, SHOW, DESCRIBE and EXPLAIN are")
    return str(statements[0].query).rstrip().rstrip(";")


def _fetched(connection: "duckdb.DuckDBPyConnection", sql: str, limit: int) -> dict[str, Json]:
    cursor = connection.execute(sql)
    described: Sequence[Any] = cursor.description or []
    kinds = [str(column[1]) for column in described]
    if any(_ZONED in kind for kind in kinds):
        # Values with a zone can only be fetched with a package that is not ours: fetch them as UTC.
        names = ", ".join(f"c{i}" for i in range(len(kinds)))
        columns = ", ".join(f"CAST(c{i} AS {kind.replace(_ZONED, 'TIMESTAMP')})" for i, kind in enumerate(kinds))
        cursor = connection.execute(f"SELECT {columns} FROM (\n{sql}\n) AS answer({names})")
    shown = [i for i, column in enumerate(described) if column[0] not in _HIDDEN or column[0].lower() in sql.lower()]
    rows = cursor.fetchmany(limit + 1)
    return {
        "columns": [{"name": described[i][0], "type": kinds[i]} for i in shown],
        "rows": [[_plain(row[i]) for i in shown] for row in rows[:limit]],
        "truncated": len(rows) > limit,
    }


def _plain(value: Any) -> Json:
    """Return a value as JSON has it: times as RFC 3339, decimals as numbers, maps as objects."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if math.isfinite(number) else None
    if isinstance(value, datetime):
        moment = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, timedelta | UUID):
        return str(value)
    return str(value)


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + str(Path(text)).replace("'", "''") + "'"


def main() -> None:
    """Serve the request on standard input.

    Ends as soon as the answer is out: DuckDB's threads have nothing left to keep, and what fails while an interpreter with
    threads of others is taken down would take an answer that still lies in a buffer with it.
    """
    sys.stdout.buffer.write(dumps(serve(loads(sys.stdin.buffer.read()))))
    sys.stdout.buffer.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
