"""The SQL columns of a dataset, as in its Arrow schema but without loading Arrow. Pure. Source: data-lake-and-query.md A3."""

from collections.abc import Mapping

from capstream.xdm.columns import columns, content
from capstream.xdm.schema import Field, Schema

Column = tuple[str, str]
"""(name, DuckDB type)."""

_SCALARS: Mapping[str, str] = {
    "string": "VARCHAR",
    "number": "DOUBLE",
    "long": "BIGINT",
    "int": "INTEGER",
    "short": "SMALLINT",
    "byte": "TINYINT",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "date-time": "TIMESTAMP WITH TIME ZONE",
}

SYSTEM: tuple[Column, ...] = (
    ("_ACP_DATE", "DATE"),
    ("_ACP_BATCHID", "VARCHAR"),
    (
        "_acp_system_metadata",
        'STRUCT("acp_sourceBatchId" VARCHAR, "commitBatchId" VARCHAR, "trackingId" VARCHAR, "rowId" VARCHAR, '
        '"rowVersion" BIGINT, "ingestTime" BIGINT, "isDeleted" BOOLEAN)',
    ),
)


def columns_of(schema: Schema) -> list[Column]:
    """Return the columns of a dataset with this schema in schema order, then the platform's."""
    return [(column.name, _type(column.field)) for column in columns(schema.root)] + list(SYSTEM)


def _type(field: Field) -> str:
    if field.kind == "object":
        members = ", ".join(f"{_name(column.name)} {_type(column.field)}" for column in columns(field))
        return f"STRUCT({members})"
    if field.kind == "array":
        return f"{_type(content(field.items))}[]"
    if field.kind == "map":
        return f"MAP(VARCHAR, {_type(content(field.values))})"
    return _SCALARS[field.kind]


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
