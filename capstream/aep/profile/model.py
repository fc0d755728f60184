"""What Profile stores: record fragments, events and merge policies. Source: profile.md 1, 3.1."""

from enum import StrEnum

import msgspec

FRAGMENTS = "fragments"  #: {sandbox}/{xid}/{dataset} -> StoredFragment
EVENTS = "events"  #: {sandbox}/{xid}/{dataset}/{_id} -> StoredEvent
PROFILES = "profiles"  #: {sandbox}/{xid} -> empty; one for each identity that ever had a fragment
COUNTS = "profile_counts"  #: {sandbox}/dataset/{id} | {sandbox}/namespace/{nsid} -> decimal text

PROFILE_CLASS = "_xdm.context.profile"
EVENT_CLASS = "_xdm.context.experienceevent"

RECORD_BYTES = 100 * 1024
EVENT_BYTES = 10 * 1024
EVENTS_USED = 5000


class StoredIdentity(msgspec.Struct, array_like=True, frozen=True):
    """An identity of a fragment's record."""

    xid: str
    nsid: int
    value: str


class StoredFragment(msgspec.Struct, array_like=True, frozen=True):
    """The latest record of one identity in one dataset. `entity` is its JSON text."""

    dataset_id: str
    identities: tuple[StoredIdentity, ...]  #: the primary one first
    ingested_ms: int
    seq: int  #: offset in the inlet log: decides between equal times
    updated_ms: int  #: `extSourceSystemAudit.lastUpdatedDate`, 0 when the record has none
    batch_id: str
    entity: bytes


class StoredEvent(msgspec.Struct, array_like=True, frozen=True):
    """One experience event. `entity` is its JSON text."""

    timestamp_ms: int
    event_id: str
    dataset_id: str
    ingested_ms: int
    seq: int
    batch_id: str
    entity: bytes


class Operation(StrEnum):
    """What a message does to its fragment: `header.operations.data`."""

    CREATE = "create"  #: the record replaces the fragment
    MERGE = "merge"  #: the record's members change, the others stay
    DELETE = "delete"  #: the fragment goes


class IdentityGraph(StrEnum):
    """Whose fragments a merged profile is made of."""

    NONE = "none"  #: only the asked identity's
    PDG = "pdg"  #: those of every identity in its graph


class AttributeMerge(StrEnum):
    """Which fragment wins."""

    TIMESTAMP = "timestampOrdered"  #: the newest
    DATASET = "dataSetPrecedence"  #: that of the dataset listed first


class MergePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How fragments become one profile."""

    id: str
    name: str
    graph: IdentityGraph = IdentityGraph.PDG
    merge: AttributeMerge = AttributeMerge.TIMESTAMP
    order: tuple[str, ...] = ()  #: datasets, first wins; others are left out. Only for dataset precedence
    custom_timestamp: bool = False  #: compare the source's time instead of the time of ingestion
    default: bool = True
    edge: bool = True
    version: int = 1
    updated_s: int = 0
    schema_name: str = PROFILE_CLASS
