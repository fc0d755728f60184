"""Nested records to Arrow tables, column by column. Source: data-lake-and-query.md A3.

The full schemas have many hundreds of leaves of which a record fills some dozens. So each level asks which members
occur in the batch at all (one set union in C), gathers only those, and gives the rest as null arrays.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import pyarrow as pa

from capstream.kernel.json import Json, dumps
from capstream.xdm.arrow_types import SCALARS, TIMESTAMP, Blanks, arrow_schema, arrow_type, blanks_of
from capstream.xdm.columns import columns, content
from capstream.xdm.instants import micros
from capstream.xdm.proof import Prover
from capstream.xdm.schema import Field, Schema

Build = Callable[[list[Any]], pa.Array]
"""Turns the values of one column, None where a record has none, into an array of the same length."""


@dataclass(frozen=True, slots=True)
class _Readers:
    """How the columns of one object are built."""

    columns: Sequence[tuple[tuple[str, ...], Build]]  #: members to take the value from, and the builder, in order
    places: Mapping[str, int]  #: member -> position of its column
    blanks: Blanks  #: for what occurs in no record


_EMPTY: dict[str, Json] = {}
_SPARSE = 2  #: a column of objects is built dense and spread when fewer than 1 in so many records have it


class Tabulator:
    """Makes tables of records with exactly the columns `arrow_schema(schema)`. For one thread at a time."""

    def __init__(self, schema: Schema) -> None:
        self._schema = arrow_schema(schema)
        self._readers = _readers(schema.root)
        self._prover = Prover(schema)

    def __call__(self, records: Sequence[dict[str, Json]]) -> pa.Table:
        """Return the table of valid records. Members without a column are left out.

        Errors: pa.ArrowException when a value does not fit its column, which validation rules out.
        """
        return pa.Table.from_arrays(_members(self._readers, list(records)), schema=self._schema)

    def proved(self, records: Sequence[dict[str, Json]]) -> pa.StructArray | None:
        """Return records nobody has validated as `joined` takes them, if that proves that all of them are valid.

        None when it does not: one may be invalid or, seldom, valid in an unusual way. Errors: pa.ArrowException.
        """
        return self._prover.read(records)

    def joined(self, proved: Sequence[pa.StructArray]) -> pa.Table | None:
        """Return the table of proved records; None when they must be proved anew. Errors: pa.ArrowException."""
        return self._prover.table(proved)


def compile_table(schema: Schema) -> Tabulator:
    """Return what makes tables of records of this schema."""
    return Tabulator(schema)


def _readers(field: Field) -> _Readers:
    found = columns(field)
    places = {member: place for place, column in enumerate(found) for member in column.members}
    blanks = blanks_of([arrow_type(column.field) for column in found])
    return _Readers([(column.members, _builder(column.field)) for column in found], places, blanks)


def _builder(field: Field) -> Build:
    kind = field.kind
    if kind == "object":
        return _objects(field)
    if kind == "array":
        return _arrays(field)
    if kind == "map":
        return _maps(field)
    if kind in {"string", "date", "date-time"}:
        return _texts(field)
    return _numbers(field)


def _members(readers: _Readers, rows: list[dict[str, Json]]) -> list[pa.Array]:
    """Return one array per column; the only loop over records and members."""
    arrays = readers.blanks(len(rows))
    places = readers.places
    for place in {places[name] for name in set().union(*rows) if name in places}:
        members, build = readers.columns[place]
        arrays[place] = build(_values(rows, members))
    return arrays


def _values(rows: list[dict[str, Json]], members: tuple[str, ...]) -> list[Any]:
    first, *others = members
    try:
        values = list(map(itemgetter(first), rows))  # half the time, and most members occur in all rows or in none
    except KeyError:
        values = [row.get(first) for row in rows]
    for name in others:
        values = [row.get(name) if value is None else value for value, row in zip(values, rows, strict=True)]
    return values


def _objects(field: Field) -> Build:
    type_ = arrow_type(field)
    fields = list(type_)
    readers = _readers(field)

    def build(values: list[Any]) -> pa.Array:
        rows = [value for value in values if value is not None]
        if len(rows) == len(values):
            return pa.StructArray.from_arrays(_members(readers, rows), fields=fields)
        if len(rows) * _SPARSE < len(values):
            dense = pa.StructArray.from_arrays(_members(readers, rows), fields=fields)
            return dense.take(_positions(values))
        mask = pa.array([value is None for value in values])
        filled = [_EMPTY if value is None else value for value in values]
        return pa.StructArray.from_arrays(_members(readers, filled), fields=fields, mask=mask)

    return build


def _positions(values: list[Any]) -> pa.Array:
    counter = iter(range(len(values)))
    return pa.array([None if value is None else next(counter) for value in values], pa.int32())


def _arrays(field: Field) -> Build:
    inner = _builder(content(field.items))

    def build(values: list[Any]) -> pa.Array:
        items = list(chain.from_iterable([value for value in values if value]))
        return pa.ListArray.from_arrays(_offsets(values), inner(items), mask=_mask(values))

    return build


def _maps(field: Field) -> Build:
    inner = _builder(content(field.values))
    type_ = arrow_type(field)

    def build(values: list[Any]) -> pa.Array:
        full = [value for value in values if value]
        keys = pa.array(list(chain.from_iterable(full)), pa.string())
        entries = inner(list(chain.from_iterable([value.values() for value in full])))
        return pa.MapArray.from_arrays(_offsets(values), keys, entries, type=type_, mask=_mask(values))

    return build


def _offsets(values: list[Any]) -> pa.Array:
    lengths = map(len, values) if all(values) else [len(value) if value else 0 for value in values]
    return pa.array(list(accumulate(lengths, initial=0)), pa.int32())


def _mask(values: list[Any]) -> pa.Array | None:
    return pa.array([value is None for value in values]) if None in values else None


def _texts(field: Field) -> Build:
    typed = {"string": _as_is, "date": _dates, "date-time": _timestamps}[field.kind]

    def build(values: list[Any]) -> pa.Array:
        try:
            array = pa.array(values, pa.string())
        except pa.ArrowTypeError:  # an array or map whose definition does not say what it holds
            texts = [v if v is None or isinstance(v, str) else dumps(v).decode() for v in values]
            return typed(texts, pa.array(texts, pa.string()))
        return typed(values, array)

    return build


def _numbers(field: Field) -> Build:
    type_ = SCALARS[field.kind]

    def build(values: list[Any]) -> pa.Array:
        try:
            return pa.array(values, type_)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return pa.array([_number(value, whole=pa.types.is_integer(type_)) for value in values], type_)

    return build


def _number(value: Json, *, whole: bool) -> Json:
    """`10.0` is an integer and `10` is a number: one kind for one column."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    return (int(value) if value == int(value) else value) if whole else float(value)


def _as_is(_: list[Any], texts: pa.Array) -> pa.Array:
    return texts


def _timestamps(values: list[Any], texts: pa.Array) -> pa.Array:
    """Arrow's own parser does UTC and numeric offsets in C; more than six fraction digits take the slow way."""
    try:
        return texts.cast(TIMESTAMP)
    except pa.ArrowInvalid:
        return pa.array([None if value is None else micros(value) for value in values], pa.int64()).cast(TIMESTAMP)


def _dates(_: list[Any], texts: pa.Array) -> pa.Array:
    return texts.cast(pa.date32())
