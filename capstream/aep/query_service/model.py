"""SQL over the datasets of a sandbox, run in a process that lives for one query. Source: data-lake-and-query.md D."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from capstream.aep.call import Sandbox
from capstream.aep.catalog.lake import BATCH_ID, lake_table, stored_schema
from capstream.aep.catalog.model import Datasets, table_name
from capstream.aep.query_service.columns import SYSTEM, Column, columns_of
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.storage.ports import Lake
from capstream.xdm.schema import Schema

MOST_ROWS = 50_000
PREVIEW_ROWS = 100

_COMMAND = (sys.executable, "-m", "capstream.aep.query_service.engine")
_GRACE_S = 5.0  # the engine stops itself at its limit; this much later it is ended


class QueryFailed(Exception):
    """A query that gave no rows. `code` is its SQLSTATE."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class TableSource:
    """What a table consists of: its files now, and the columns it has even without any."""

    files: Sequence[str]
    columns: Sequence[Column]


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of a query. `columns` are (name, type)."""

    columns: list[Column]
    rows: list[list[Json]]
    truncated: bool


class Schemas(Protocol):
    """What queries ask of the Schema Registry."""

    def schema(self, sandbox_id: str, schema_id: str) -> Schema | None: ...


def run_query(
    sql: str, tables: Mapping[str, TableSource], *, limit: int = 1000, timeout_s: float = 30.0, export: Path | None = None
) -> Result:
    """Return the rows of a read-only statement over `tables`; waits for them.

    `export` writes the rows to that Parquet file instead; only for statements of our own.
    Errors: QueryFailed with a readable reason.
    """
    request = _request(sql, tables, limit=limit, timeout_s=timeout_s, export=export)
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            _COMMAND, input=request, capture_output=True, timeout=timeout_s + _GRACE_S, env=_environment(), check=False
        )
    except subprocess.TimeoutExpired as error:
        raise _too_slow(timeout_s) from error
    return _result(done.stdout, done.stderr, done.returncode)


async def ask(sql: str, tables: Mapping[str, TableSource], *, limit: int = 1000, timeout_s: float = 30.0) -> Result:
    """Return the rows of a read-only statement over `tables` without holding up the event loop.

    Errors: QueryFailed with a readable reason.
    """
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*_COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, env=_environment())
    request = _request(sql, tables, limit=limit, timeout_s=timeout_s, export=None)
    try:
        out, err = await asyncio.wait_for(process.communicate(request), timeout_s + _GRACE_S)
    except TimeoutError as error:
        raise _too_slow(timeout_s) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _result(out, err, process.returncode or 0)


class QueryService:
    """Queries datasets by their table names."""

    def __init__(self, lake: Lake, datasets: Datasets, schemas: Schemas) -> None:
        self._lake = lake
        self._datasets = datasets
        self._schemas = schemas

    async def answer(self, sql: str, sandbox: Sandbox, *, limit: int = 1000, timeout_s: float = 30.0) -> dict[str, Json]:
        """Return {"columns", "rows", "truncated"} of a statement, or {"error": {"code", "message"}}. Rows are objects."""
        try:
            result = await ask(sql, self.tables(sandbox, sql), limit=min(limit, MOST_ROWS), timeout_s=timeout_s)
        except QueryFailed as failure:
            return {"error": {"code": failure.code, "message": failure.message}}
        return {
            "columns": [{"name": name, "type": kind} for name, kind in result.columns],
            "rows": _objects(result),
            "truncated": result.truncated,
        }

    def tables(self, sandbox: Sandbox, sql: str) -> dict[str, TableSource]:
        """Return the sandbox's tables; the files of those the statement mentions, the columns of all."""
        text = sql.lower()
        found: dict[str, TableSource] = {}
        for dataset_id, dataset in self._datasets.all(sandbox.id).items():
            name = table_name(dataset)
            files = self._lake.files(lake_table(sandbox.name, dataset_id)) if name.lower() in text else []
            found[name] = TableSource(files, self._columns(sandbox, dataset))
        return found

    def preview(self, sandbox: Sandbox, dataset_id: str) -> list[dict[str, Json]]:
        """Return the first rows of a dataset; waits for them. Errors: KeyError when there is no such dataset; QueryFailed."""
        source = self._source(sandbox, dataset_id)
        result = run_query("SELECT * FROM preview", {"preview": source}, limit=PREVIEW_ROWS)
        return _objects(result)

    def sample(self, sandbox: Sandbox, dataset_id: str, batch_id: str) -> list[dict[str, Json]]:
        """Return the first rows of a batch; waits for them. Errors: KeyError when there is no such dataset; QueryFailed."""
        source = self._source(sandbox, dataset_id)
        return _objects(run_query(f"SELECT * FROM rows WHERE {_in_batch(batch_id)}", {"rows": source}, limit=PREVIEW_ROWS))

    def export_batch(self, sandbox: Sandbox, dataset_id: str, batch_id: str, target: Path) -> None:
        """Write the rows of a batch to a Parquet file. Errors: KeyError when there is no such dataset; QueryFailed."""
        source = self._source(sandbox, dataset_id)
        part = target.with_suffix(f".{os.getpid()}.part")
        run_query(f"SELECT * FROM rows WHERE {_in_batch(batch_id)}", {"rows": source}, timeout_s=120, export=part)
        part.replace(target)

    def _source(self, sandbox: Sandbox, dataset_id: str) -> TableSource:
        dataset = self._datasets.all(sandbox.id)[dataset_id]
        return TableSource(self._lake.files(lake_table(sandbox.name, dataset_id)), self._columns(sandbox, dataset))

    def _columns(self, sandbox: Sandbox, dataset: Mapping[str, Json]) -> Sequence[Column]:
        schema = self._schemas.schema(sandbox.id, str((dataset.get("schemaRef") or {}).get("id", "")))
        return SYSTEM if schema is None else columns_of(stored_schema(schema))


def _in_batch(batch_id: str) -> str:
    quoted = batch_id.replace("'", "''")
    return f"\"{BATCH_ID}\" = '{quoted}'"


def _request(sql: str, tables: Mapping[str, TableSource], *, limit: int, timeout_s: float, export: Path | None) -> bytes:
    listed = {name: {"files": list(table.files), "columns": list(table.columns)} for name, table in tables.items()}
    request = {"sql": sql, "limit": limit, "timeout_s": timeout_s, "tables": listed}
    return dumps(request | ({"export": str(export)} if export else {}))


def _result(out: bytes, err: bytes, code: int) -> Result:
    try:
        answer = loads(out)
    except JsonError as error:
        lines = err.decode("utf-8", "replace").strip().splitlines()
        why = lines[-1] if lines else f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        raise QueryFailed("58000", f"the query engine ended without an answer: {why}") from error
    if "error" in answer:
        raise QueryFailed(answer["error"]["code"], answer["error"]["message"])
    return Result([(column["name"], column["type"]) for column in answer["columns"]], answer["rows"], answer["truncated"])


def _objects(result: Result) -> list[dict[str, Json]]:
    names = [name for name, _ in result.columns]
    return [dict(zip(names, row, strict=True)) for row in result.rows]


def _too_slow(timeout_s: float) -> QueryFailed:
    return QueryFailed("57014", f"the query took longer than {timeout_s:g} seconds and was stopped")


def _environment() -> dict[str, str]:
    """Return an environment without the settings and secrets of the server."""
    return {name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "LANG", "TMPDIR"}}
