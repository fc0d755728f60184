"""The columns of a dataset in Arrow's types, and columns in which nothing occurs. Source: data-lake-and-query.md A3."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import pyarrow as pa

from capstream.xdm.columns import columns, content
from capstream.xdm.schema import Field, Schema

TIMESTAMP = pa.timestamp("us", tz="UTC")
SCALARS: Mapping[str, pa.DataType] = MappingProxyType(
    {
        "string": pa.string(),
        "number": pa.float64(),
        "long": pa.int64(),
        "int": pa.int32(),
        "short": pa.int16(),
        "byte": pa.int8(),
        "boolean": pa.bool_(),
        "date": pa.date32(),
        "date-time": TIMESTAMP,
    }
)
"""Kind of a field without members -> type of its column."""

Blanks = Callable[[int], list[pa.Array]]
"""Gives the columns of an object with so many nulls each; the list is the caller's."""


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the columns of a dataset with this schema, all nullable, in schema order.

    Objects without members have no column: Parquet cannot hold them. Names that differ only in case are one name to the
    lake: see `columns`.
    """
    return pa.schema([pa.field(column.name, arrow_type(column.field)) for column in columns(schema.root)])


def arrow_type(field: Field) -> pa.DataType:
    """Return the Arrow type of a field."""
    if field.kind == "object":
        return pa.struct([pa.field(column.name, arrow_type(column.field)) for column in columns(field)])
    if field.kind == "array":
        return pa.list_(arrow_type(content(field.items)))
    if field.kind == "map":
        return pa.map_(pa.string(), arrow_type(content(field.values)))
    return SCALARS[field.kind]


def blanks_of(types: Sequence[pa.DataType]) -> Blanks:
    """Return what gives columns of nulls.

    Most columns are empty in most batches, and making them anew costs half of a small table: the longest are kept, and
    those of the last size, for parts of a batch are as long as each other.
    """
    kept = last = [pa.nulls(0, type_) for type_ in types]
    longest = length = 0

    def blanks(size: int) -> list[pa.Array]:
        nonlocal kept, last, longest, length
        if size > longest:
            kept = [pa.nulls(size, type_) for type_ in types]
            longest = size
        if size != length:
            last = kept if size == longest else [array.slice(0, size) for array in kept]
            length = size
        return last.copy()

    return blanks
