"""Where a dataset's rows lie in the lake. Source: data-lake-and-query.md A1, A2."""

from collections.abc import Mapping
from dataclasses import replace

from capstream.xdm.schema import Field, Schema

DATE = "_ACP_DATE"
BATCH_ID = "_ACP_BATCHID"
METADATA = "_acp_system_metadata"
SYSTEM_COLUMNS = (DATE, BATCH_ID, METADATA)


def lake_table(sandbox_name: str, dataset_id: str) -> str:
    """Return the path of a dataset's table below the lake's root."""
    return f"{sandbox_name}/xdm/{dataset_id}"


def stored_schema(schema: Schema) -> Schema:
    """Return the schema of a dataset's columns: of members whose names differ in case only, one has a column.

    Delta and most SQL engines compare column names without case; the XDM standard has such twins (`POIID`, `poiID`).
    The one that is not deprecated stays, else the later one; the other is kept in Profile but not in the lake. ASSUMPTION.
    """
    return replace(schema, root=_without_twins(schema.root))


def _without_twins(field: Field) -> Field:
    return replace(
        field,
        children={name: _without_twins(child) for name, child in _distinct(field.children).items()},
        items=None if field.items is None else _without_twins(field.items),
        values=None if field.values is None else _without_twins(field.values),
    )


def _distinct(children: Mapping[str, Field]) -> Mapping[str, Field]:
    chosen: dict[str, str] = {}
    for name, child in children.items():
        if name.lower() not in chosen or child.status != "deprecated":
            chosen[name.lower()] = name
    return {name: child for name, child in children.items() if chosen[name.lower()] == name}
