"""Packages and the jobs that export and import them. Source: sandbox.yaml (`/exim`)."""

from enum import StrEnum
from typing import Generic, TypeVar

import msgspec

from capstream.kernel.json import Json
from capstream.storage.ports import Documents

PACKAGES = "packages"  #: {org}/{package} -> Package
JOBS = "package_jobs"  #: {org}/{job} -> Job


class Status(StrEnum):
    """Where a package stands."""

    DRAFT = "DRAFT"  #: artifacts may be added and taken out
    PUBLISHED = "PUBLISHED"  #: its artifacts were copied; it can be imported
    PUBLISH_FAILED = "PUBLISH_FAILED"


class Artifact(msgspec.Struct, frozen=True):
    """An object of a sandbox, named by kind and id."""

    id: str
    type: str
    title: str = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """The copy of an artifact: what it takes to make it elsewhere."""

    id: str
    type: str
    title: str
    body: Json


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """Artifacts of one sandbox that can be made again in another."""

    id: str
    org_id: str
    sandbox: str  #: name of the source sandbox
    name: str
    created_ms: int
    modified_ms: int
    created_by: str
    modified_by: str
    description: str = ""
    full: bool = False  #: everything the sandbox has when it is published
    expiry_ms: int = 0  #: 0: 90 days from publishing
    published_ms: int = 0
    version: int = 0
    status: Status = Status.DRAFT
    public: bool = False
    artifacts: tuple[Artifact, ...] = ()
    pieces: tuple[Piece, ...] = ()  #: what was copied, each after what it needs


class Task(msgspec.Struct, frozen=True):
    """What a job did with one artifact."""

    artifact: Artifact
    status: str  #: SUCCESS, SKIPPED (it was there) or FAILED
    message: str
    new_id: str = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One export or import, done when it is stored."""

    id: str
    org_id: str
    request: str  #: EXPORT or IMPORT
    name: str
    description: str
    full: bool
    source: str
    target: str
    status: str  #: SUCCESS or FAILED
    at_ms: int
    by: str
    package_id: str
    tasks: tuple[Task, ...] = ()


Record = TypeVar("Record", Package, Job)


class Shelf(Generic[Record]):
    """The records of one kind, by organisation."""

    def __init__(self, documents: Documents, collection: str, kind: type[Record]) -> None:
        self._documents = documents
        self._collection = collection
        self._kind: type[Record] = kind

    def get(self, org_id: str, record_id: str) -> Record | None:
        """Return the record, or None."""
        body = self._documents.get(self._collection, f"{org_id}/{record_id}")
        return msgspec.json.decode(body, type=self._kind) if body else None

    def all(self, org_id: str) -> list[Record]:
        """Return every record of the organisation."""
        found = self._documents.scan(self._collection, prefix=f"{org_id}/")
        return [msgspec.json.decode(body, type=self._kind) for _, body in found]

    def save(self, record: Record) -> Record:
        """Store the record durably and return it."""
        with self._documents.transaction() as change:
            change.put(self._collection, [(f"{record.org_id}/{record.id}", msgspec.json.encode(record))])
        return record

    def remove(self, record: Record) -> None:
        """Delete the record durably."""
        with self._documents.transaction() as change:
            change.delete(self._collection, [f"{record.org_id}/{record.id}"])
