"""The columns the platform adds to a dataset's rows. Source: data-lake-and-query.md A2."""

from typing import NamedTuple

import pyarrow as pa

from capstream.aep.catalog.lake import BATCH_ID, DATE, METADATA

_METADATA = pa.struct(
    [
        ("acp_sourceBatchId", pa.string()),
        ("commitBatchId", pa.string()),
        ("trackingId", pa.string()),
        ("rowId", pa.string()),
        ("rowVersion", pa.int64()),
        ("ingestTime", pa.int64()),
        ("isDeleted", pa.bool_()),
    ]
)

_DAY_MS = 86_400_000


class RowFacts(NamedTuple):
    """What the platform knows of rows. Shape: one entry of each list for each row."""

    times_ms: list[int]  #: of the event, else of ingestion: gives the day
    batch_ids: list[str]
    tracking_ids: list[str]
    row_ids: list[str]


def with_system_columns(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a dataset's table: those of its XDM schema, then the platform's."""
    added = (pa.field(DATE, pa.date32()), pa.field(BATCH_ID, pa.string()), pa.field(METADATA, _METADATA))
    return pa.schema([*schema, *added])


def add_system_columns(rows: pa.Table, facts: RowFacts, *, ingested_ms: int) -> pa.Table:
    """Return `rows` with the platform's columns."""
    count = rows.num_rows
    batches = pa.array(facts.batch_ids, pa.string())
    metadata = pa.StructArray.from_arrays(
        [
            batches,
            batches,
            pa.array(facts.tracking_ids, pa.string()),
            pa.array(facts.row_ids, pa.string()),
            pa.repeat(pa.scalar(1, pa.int64()), count),
            pa.repeat(pa.scalar(ingested_ms, pa.int64()), count),
            pa.repeat(pa.scalar(False, pa.bool_()), count),
        ],
        fields=list(_METADATA),
    )
    days = pa.array([time_ms // _DAY_MS for time_ms in facts.times_ms], pa.int32()).cast(pa.date32())
    return rows.append_column(DATE, days).append_column(BATCH_ID, batches).append_column(METADATA, metadata)
