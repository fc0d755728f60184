"""Tables of records nobody has validated, read by Arrow as they are, if a schema of what occurs proves the records valid.

`arrow` looks at every column in Python, and the exact schema has many hundreds of leaves. Most records have the same few dozen.
So the members that were met before make a narrower schema: a record that the quick half of validation (`fast`) accepts by it is
valid, has no other members and is what Arrow takes it for, which is lenient. A record with a member that is new is not
accepted; the member is learned then.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any, Protocol

import pyarrow as pa

from capstream.kernel.json import Json
from capstream.xdm.arrow_types import SCALARS, arrow_schema, arrow_type, blanks_of
from capstream.xdm.columns import columns, content
from capstream.xdm.fast import compile_sure
from capstream.xdm.schema import Field, Schema
from capstream.xdm.violations import mandatory

_NOT_TRIED = 8
_NOTHING = Field(kind="string", min_length=1, max_length=0)


class _Unprovable(Exception):
    """Records have what the narrower schema cannot have."""


class Prover:
    """Makes tables with the columns `arrow_schema(schema)`. For one thread at a time."""

    def __init__(self, schema: Schema) -> None:
        self._schema = arrow_schema(schema)
        self._root = _Object(schema.root)
        self._accepts = compile_sure(_NOTHING)
        self._type = pa.struct([])
        self._not_tried = 0

    def read(self, records: Sequence[dict[str, Json]]) -> pa.StructArray | None:
        """Return the records as Arrow reads them if that proves that all of them are valid; None when it does not.

        Errors: pa.ArrowException for values that Arrow cannot read.
        """
        if self._not_tried:
            self._not_tried -= 1
            return None
        if all(map(self._accepts, records)) or (self._learned(records) and all(map(self._accepts, records))):
            return pa.array(records, self._type)
        return None

    def table(self, read: Sequence[pa.StructArray]) -> pa.Table | None:
        """Return the table of records that were read; None when members were learned since: the records must be read anew.

        Errors: pa.ArrowException for values that Arrow cannot read, such as times with nine digits.
        """
        if not all(each.type.equals(self._type) for each in read):
            return None
        whole = read[0] if len(read) == 1 else pa.concat_arrays(read)
        return pa.Table.from_arrays(self._root.columns_of(whole), schema=self._schema)

    def _learned(self, records: Sequence[dict[str, Json]]) -> bool:
        """Note what occurs in the records; return whether some of it is new."""
        try:
            is_new = self._root.learn(records)
        except _Unprovable:
            self._not_tried = _NOT_TRIED  # there are more of that kind
            return False
        if is_new:
            self._accepts, self._type = compile_sure(self._root.narrowed()), self._root.type()
        return is_new


class _Node(Protocol):
    """What was met of one field."""

    def narrowed(self) -> Field:
        """Return the field with the members that were met."""

    def type(self) -> pa.DataType:
        """Return the type of the column as Arrow makes it, dates being texts."""

    def learn(self, values: Sequence[Any]) -> bool:
        """Note what occurs in values of the field, whatever they are; return whether some of it is new. Errors: _Unprovable."""

    def column(self, read: pa.Array) -> pa.Array:
        """Return the lake's column of one that Arrow made. Errors: pa.ArrowException."""


def _node(field: Field | None) -> _Node:
    if field is None or content(field) is not field:
        return _Unknown()
    match field.kind:
        case "object":
            return _Object(field)
        case "array":
            return _Array(field)
        case "map":
            return _Map(field)
    return _Scalar(field)


class _Scalar:
    def __init__(self, field: Field) -> None:
        self._field = field
        self._final = SCALARS[field.kind]
        self._is_date = field.kind in {"date", "date-time"}

    def narrowed(self) -> Field:
        return self._field

    def type(self) -> pa.DataType:
        return pa.string() if self._is_date else self._final

    def learn(self, _: Sequence[Any]) -> bool:
        return False

    def column(self, read: pa.Array) -> pa.Array:
        return read.cast(self._final) if self._is_date else read


class _Unknown:
    """Values of which the schema does not say what they are: the lake keeps their JSON, and nothing is proved of them."""

    def narrowed(self) -> Field:
        return _NOTHING

    def type(self) -> pa.DataType:
        return pa.string()

    def learn(self, values: Sequence[Any]) -> bool:
        if values:
            raise _Unprovable
        return False

    def column(self, read: pa.Array) -> pa.Array:
        return read


class _Array:
    def __init__(self, field: Field) -> None:
        self._field = field
        self._items = _node(field.items)

    def narrowed(self) -> Field:
        return replace(self._field, items=self._items.narrowed())

    def type(self) -> pa.DataType:
        return pa.list_(self._items.type())

    def learn(self, values: Sequence[Any]) -> bool:
        return self._items.learn(list(chain.from_iterable(value for value in values if isinstance(value, list))))

    def column(self, read: pa.Array) -> pa.Array:
        return pa.ListArray.from_arrays(read.offsets, self._items.column(read.values), mask=_mask(read))


class _Map:
    def __init__(self, field: Field) -> None:
        self._field = field
        self._values = _node(field.values)
        self._final = arrow_type(field)

    def narrowed(self) -> Field:
        return replace(self._field, values=self._values.narrowed())

    def type(self) -> pa.DataType:
        return pa.map_(pa.string(), self._values.type())

    def learn(self, values: Sequence[Any]) -> bool:
        return self._values.learn(list(chain.from_iterable(value.values() for value in values if isinstance(value, dict))))

    def column(self, read: pa.Array) -> pa.Array:
        items = self._values.column(read.items)
        return pa.MapArray.from_arrays(read.offsets, read.keys, items, type=self._final, mask=_mask(read))


class _Object:
    def __init__(self, field: Field) -> None:
        found = columns(field)
        types = [arrow_type(column.field) for column in found]
        self._field = field
        self._final = [pa.field(column.name, type_) for column, type_ in zip(found, types, strict=True)]
        self._known = {column.members[0]: (place, column.field) for place, column in enumerate(found)}
        self._blanks = blanks_of(types)
        self._met: dict[str, _Node] = {}

    def narrowed(self) -> Field:
        return replace(self._field, children={name: node.narrowed() for name, node in self._met.items()})

    def type(self) -> pa.DataType:
        return pa.struct([pa.field(name, node.type()) for name, node in self._met.items()])

    def learn(self, values: Sequence[Any]) -> bool:
        required = mandatory(self._field)
        if not required <= self._known.keys():  # a member must be there that has no column
            raise _Unprovable
        objects = [value for value in values if isinstance(value, dict)]
        names = set().union(required, *objects) & self._known.keys()
        new = [name for name in self._known if name in names and name not in self._met]
        self._met |= {name: _node(self._known[name][1]) for name in new}
        found = [self._met[name].learn([each[name] for each in objects if name in each]) for name in names]
        return bool(new) or any(found)

    def column(self, read: pa.Array) -> pa.Array:
        return pa.StructArray.from_arrays(self.columns_of(read), fields=self._final, mask=_mask(read))

    def columns_of(self, read: pa.StructArray) -> list[pa.Array]:
        """Return all columns of the objects. Errors: pa.ArrowException."""
        arrays = self._blanks(len(read))
        # Flattened, a member is null where its owner is; without that, the place of a missing object may hold an empty value.
        for (name, node), member in zip(self._met.items(), read.flatten(), strict=True):
            if member.null_count < len(member):
                arrays[self._known[name][0]] = node.column(member)
        return arrays


def _mask(read: pa.Array) -> pa.Array | None:
    return read.is_null() if read.null_count else None
