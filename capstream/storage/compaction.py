"""Many small data files of a Delta table in one: the columns that occur in them, few rows in memory at a time.

delta-rs compacts too, but writes every column of the table: with 574 leaves and files of 2,000 rows that took 25 ms and 2 MB a
file, and its share of memory never came back.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.transaction import AddAction

from capstream.kernel.json import dumps
from capstream.storage.data_files import in_one, mask, name_of_file, statistics
from capstream.storage.durable import synced

_ROWS = 8_192  # of a row group; so many are in memory


def merge(folder: Path, paths: Sequence[str], columns: pa.Schema, *, skip_by: Sequence[str], now_ms: int) -> AddAction:
    """Write the rows of a table's files to a new one and return what the log must say of it. Errors: OSError.

    Shape: `columns` are the table's. The file is on disk when this returns, and means nothing before the log names it.
    """
    files = [folder / path for path in paths]
    wanted = pa.schema(_narrowed(pa.struct(list(columns)), [pa.struct(list(pq.read_schema(file))) for file in files]))
    name = name_of_file()
    known: list[pa.Table] = []
    count = 0
    with pq.ParquetWriter(folder / name, wanted, store_schema=False) as writer:
        for rows in _in_groups(_rows(file, wanted) for file in files):
            writer.write_table(rows)
            count += rows.num_rows
            known.append(rows.select([column for column in skip_by if column in wanted.names]))
    synced(folder / name)
    told = dumps(statistics(pa.concat_tables(known), skip_by, count)).decode()
    return AddAction(name, (folder / name).stat().st_size, {}, now_ms, data_change=False, stats=told)


def _rows(file: Path, wanted: pa.Schema) -> Iterator[pa.Table]:
    with pq.ParquetFile(file, pre_buffer=False) as source:
        for group in range(source.num_row_groups):
            rows = source.read_row_group(group, use_threads=False)
            given = {name: in_one(column) for name, column in zip(rows.schema.names, rows.columns, strict=True)}
            yield pa.Table.from_arrays(_members(given, rows.num_rows, wanted), schema=wanted)


def _in_groups(files: Iterator[Iterator[pa.Table]]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for rows in (rows for file in files for rows in file):
        waiting.append(rows)
        if sum(map(len, waiting)) >= _ROWS:
            yield pa.concat_tables(waiting).combine_chunks()
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting).combine_chunks()


def _narrowed(wanted: pa.DataType, given: Sequence[pa.DataType]) -> pa.DataType:
    """Return a column's type in the table without the members that none of the files has."""
    if pa.types.is_struct(wanted):
        found = {field.name: [t.field(field.name).type for t in given if t.get_field_index(field.name) >= 0] for field in wanted}
        return pa.struct([pa.field(f.name, _narrowed(f.type, found[f.name])) for f in wanted if found[f.name]])
    if pa.types.is_list(wanted):
        return pa.list_(_narrowed(wanted.value_type, [type_.value_type for type_ in given]))
    return wanted


def _members(given: dict[str, pa.Array], size: int, wanted: pa.Schema | pa.StructType) -> list[pa.Array]:
    return [_conformed(given[field.name], field.type) if field.name in given else pa.nulls(size, field.type) for field in wanted]


def _conformed(array: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Return an array of a type that may have more members, at every level."""
    if pa.types.is_struct(wanted):
        given = dict(zip((field.name for field in array.type), array.flatten(), strict=True))
        return pa.StructArray.from_arrays(_members(given, len(array), wanted), fields=list(wanted), mask=mask(array))
    if pa.types.is_list(wanted):
        return pa.ListArray.from_arrays(array.offsets, _conformed(array.values, wanted.value_type), type=wanted, mask=mask(array))
    if pa.types.is_map(wanted):
        items = _conformed(array.items, wanted.item_type)
        return pa.MapArray.from_arrays(array.offsets, array.keys, items, type=wanted, mask=mask(array))
    return array if array.type.equals(wanted) else array.cast(wanted)
