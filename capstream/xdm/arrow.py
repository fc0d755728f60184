"""Nested records to Arrow tables, column by column. Source: data-lake-and-query.md A3.

The full schemas have many hundreds of leaves of which a record fills some dozens. So each level asks which members
occur in the batch at all (one set union in C), gathers only those, and gives the rest as null arrays.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any

import pyarrow as pa

from capstream.kernel.json import Json, dumps
from capstream.xdm.columns import columns, content
from capstream.xdm.instants import micros
from capstream.xdm.proof import Proof, boolean_check, number_check, text_check
from capstream.xdm.schema import Field, Schema
from capstream.xdm.violations import mandatory

Build = Callable[[list[Any]], pa.Array]
"""Turns the values of one column, None where a record has none, into an array of the same length."""


@dataclass(frozen=True, slots=True)
class _Readers:
    """How the columns of one object are built."""

    columns: Sequence[tuple[tuple[str, ...], Build]]  #: members to take the value from, and the builder, in order
    places: Mapping[str, int]  #: member -> position of its column
    blanks: Callable[[int], list[pa.Array]]  #: columns of so many nulls, for what occurs in no record
    proof: Proof
    own: frozenset[str]  #: members that have a column of their name
    required: Sequence[int] | None  #: columns of members that must be there; None where one of those has no column


_TIMESTAMP = pa.timestamp("us", tz="UTC")
_SCALARS: dict[str, pa.DataType] = {
    "string": pa.string(),
    "number": pa.float64(),
    "long": pa.int64(),
    "int": pa.int32(),
    "short": pa.int16(),
    "byte": pa.int8(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "date-time": _TIMESTAMP,
}
_EMPTY: dict[str, Json] = {}
_SPARSE = 2  #: a column of objects is built dense and spread when fewer than 1 in so many records have it


def arrow_schema(schema: Schema) -> pa.Schema:
    """Return the columns of a dataset with this schema, all nullable, in schema order.

    Objects without members have no column: Parquet cannot hold them. Names that differ only in case are one name to the
    lake: see `columns`.
    """
    return pa.schema([pa.field(column.name, arrow_type(column.field)) for column in columns(schema.root)])


class Tabulator:
    """Makes tables of records with exactly the columns `arrow_schema(schema)`. For one thread at a time."""

    def __init__(self, schema: Schema) -> None:
        self._schema = arrow_schema(schema)
        self._proof = Proof()
        self._readers = _readers(schema.root, self._proof)

    def __call__(self, records: Sequence[dict[str, Json]]) -> pa.Table:
        """Return the table of valid records. Members without a column are left out.

        Errors: pa.ArrowException when a value does not fit its column, which validation rules out.
        """
        self._proof.fail()  # nobody asks: the checks are left out
        return self._made(records)

    def proved(self, records: Sequence[dict[str, Json]], texts: Iterable[bytes]) -> pa.Table | None:
        """Return the table of records nobody has validated, `texts` being their JSON, if it proves that all of them are valid.

        None when it does not: one may be invalid or, seldom, valid in an unusual way. Errors: any, for invalid records.
        """
        self._proof.begin(texts)
        table = self._made(records) if self._proof.holds else None
        return table if self._proof.holds else None

    def _made(self, records: Sequence[dict[str, Json]]) -> pa.Table:
        return pa.Table.from_arrays(_members(self._readers, list(records)), schema=self._schema)


def compile_table(schema: Schema) -> Tabulator:
    """Return what makes tables of records of this schema."""
    return Tabulator(schema)


def arrow_type(field: Field) -> pa.DataType:
    """Return the Arrow type of a field."""
    if field.kind == "object":
        return pa.struct([pa.field(column.name, arrow_type(column.field)) for column in columns(field)])
    if field.kind == "array":
        return pa.list_(arrow_type(content(field.items)))
    if field.kind == "map":
        return pa.map_(pa.string(), arrow_type(content(field.values)))
    return _SCALARS[field.kind]


def _readers(field: Field, proof: Proof) -> _Readers:
    found = columns(field)
    places = {member: place for place, column in enumerate(found) for member in column.members}
    own = frozenset(column.members[0] for column in found)
    return _Readers(
        [(column.members, _builder(column.field, proof)) for column in found],
        places,
        _blanks([arrow_type(column.field) for column in found]),
        proof,
        own,
        # A member may be required that was left out of the schema of the columns: nothing here tells whether it is there.
        [places[name] for name in sorted(mandatory(field))] if field.required <= own else None,
    )


def _blanks(types: Sequence[pa.DataType]) -> Callable[[int], list[pa.Array]]:
    """Most columns are empty in most batches, and making them anew costs half of a small table: the longest are kept, and
    those of the last size, for parts of a batch are as long as each other."""
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


def _builder(field: Field, proof: Proof) -> Build:
    kind = field.kind
    if kind == "object":
        return _objects(field, proof)
    if kind == "array":
        return _arrays(field, proof)
    if kind == "map":
        return _maps(field, proof)
    if kind in {"string", "date", "date-time"}:
        return _texts(field, proof)
    return _numbers(field, proof)


def _members(readers: _Readers, rows: list[dict[str, Json]], missing: int = 0) -> list[pa.Array]:
    """Return one array per column; the only loop over records and members. `missing`: how many rows are empty for want of one."""
    arrays = readers.blanks(len(rows))
    places, proof = readers.places, readers.proof
    names = set().union(*rows)
    for place in {places[name] for name in names if name in places}:
        members, build = readers.columns[place]
        arrays[place] = build(_values(rows, members))
    proof.objects(rows)
    required = readers.required
    if required is None or not readers.own.issuperset(names) or any(arrays[each].null_count != missing for each in required):
        proof.fail()
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


def _objects(field: Field, proof: Proof) -> Build:
    type_ = arrow_type(field)
    fields = list(type_)
    readers = _readers(field, proof)

    def build(values: list[Any]) -> pa.Array:
        rows = [value for value in values if value is not None]
        missing = len(values) - len(rows)
        if missing == 0:
            return pa.StructArray.from_arrays(_members(readers, rows), fields=fields)
        if len(rows) * _SPARSE < len(values):
            dense = pa.StructArray.from_arrays(_members(readers, rows), fields=fields)
            return dense.take(_positions(values))
        mask = pa.array([value is None for value in values])
        filled = [_EMPTY if value is None else value for value in values]
        return pa.StructArray.from_arrays(_members(readers, filled, missing), fields=fields, mask=mask)

    return build


def _positions(values: list[Any]) -> pa.Array:
    counter = iter(range(len(values)))
    return pa.array([None if value is None else next(counter) for value in values], pa.int32())


def _arrays(field: Field, proof: Proof) -> Build:
    inner = _inner(field.items, proof)

    def build(values: list[Any]) -> pa.Array:
        proof.lists(field, values)
        items = list(chain.from_iterable([value for value in values if value]))
        return pa.ListArray.from_arrays(_offsets(values), inner(items), mask=_mask(values))

    return build


def _maps(field: Field, proof: Proof) -> Build:
    inner = _inner(field.values, proof)
    type_ = arrow_type(field)

    def build(values: list[Any]) -> pa.Array:
        proof.maps(values)
        full = [value for value in values if value]
        keys = pa.array(list(chain.from_iterable(full)), pa.string())
        entries = inner(list(chain.from_iterable([value.values() for value in full])))
        return pa.MapArray.from_arrays(_offsets(values), keys, entries, type=type_, mask=_mask(values))

    return build


def _inner(inner: Field | None, proof: Proof) -> Build:
    """Return the builder of what an array or map holds; text stands for what has no columns, and proves nothing."""
    build = _builder(content(inner), proof)
    if content(inner) is inner:
        return build

    def unproved(values: list[Any]) -> pa.Array:
        if values:
            proof.fail()
        return build(values)

    return unproved


def _offsets(values: list[Any]) -> pa.Array:
    lengths = map(len, values) if all(values) else [len(value) if value else 0 for value in values]
    return pa.array(list(accumulate(lengths, initial=0)), pa.int32())


def _mask(values: list[Any]) -> pa.Array | None:
    return pa.array([value is None for value in values]) if None in values else None


def _texts(field: Field, proof: Proof) -> Build:
    check = text_check(field)
    typed = {"string": _as_is, "date": _dates, "date-time": _timestamps}[field.kind]

    def build(values: list[Any]) -> pa.Array:
        try:
            array = pa.array(values, pa.string())
        except pa.ArrowTypeError:  # an array or map whose definition does not say what it holds
            proof.fail()
            texts = [v if v is None or isinstance(v, str) else dumps(v).decode() for v in values]
            return typed(texts, pa.array(texts, pa.string()))
        if proof.holds and not check(values, array):
            proof.fail()
        return typed(values, array)

    return build


def _numbers(field: Field, proof: Proof) -> Build:
    type_ = _SCALARS[field.kind]
    check = boolean_check(field) if field.kind == "boolean" else number_check(field)

    def build(values: list[Any]) -> pa.Array:
        try:
            array = pa.array(values, type_)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            proof.fail()
            return pa.array([_number(value, whole=pa.types.is_integer(type_)) for value in values], type_)
        if proof.holds and not check(values, array):
            proof.fail()
        return array

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
        return texts.cast(_TIMESTAMP)
    except pa.ArrowInvalid:
        return pa.array([None if value is None else micros(value) for value in values], pa.int64()).cast(_TIMESTAMP)


def _dates(_: list[Any], texts: pa.Array) -> pa.Array:
    return texts.cast(pa.date32())
