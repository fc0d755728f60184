"""The sandboxes of an organisation. Source: sandboxes-access.md 1."""

import re
import secrets
import uuid
from collections.abc import Callable
from enum import StrEnum

import msgspec

from capstream.aep.call import Sandbox
from capstream.storage.ports import Documents

DEFAULT_NAME = "prod"
MOST_SANDBOXES = 75
REGION = "VA7"
TYPES = ("production", "development")
NAME = re.compile(r"[a-z0-9-]{2,256}")  # the length is ASSUMPTION

_COLLECTION = "sandboxes"


class State(StrEnum):
    """Where a sandbox stands in its life."""

    CREATING = "creating"  #: accepted; only ever seen in the answer to the request itself
    ACTIVE = "active"  #: calls may name it
    RESETTING = "resetting"  #: its resources are being deleted; calls that name it find nothing
    DELETED = "deleted"  #: still readable, its name stays taken, calls that name it find nothing


class SandboxRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything known about a sandbox."""

    id: str
    org_id: str
    name: str
    title: str
    type: str
    state: State
    default: bool
    version: int  #: `eTag`, +1 with every change
    created_ms: int
    created_by: str
    modified_ms: int
    modified_by: str
    erasure: str = ""  #: id of the last order to delete everything in it


class Sandboxes:
    """The sandboxes of all organisations. Records are kept decoded until the store changes: every call looks one up."""

    def __init__(self, documents: Documents, *, is_erased: Callable[[str], bool] = lambda _: True) -> None:
        """`is_erased` tells whether an order to delete everything in a sandbox is carried out."""
        self._documents = documents
        self._is_erased = is_erased
        self._version = -1
        self._records: dict[tuple[str, str], SandboxRecord] = {}
        self._active: dict[tuple[str, str], Sandbox] = {}
        self._active_ids: dict[str, Sandbox] = {}
        self._defaults: dict[str, Sandbox] = {}
        self._resetting: list[SandboxRecord] = []

    def by_name(self, org_id: str, name: str) -> Sandbox | None:
        """Return the active sandbox of that name."""
        self._refresh()
        return self._active.get((org_id, name))

    def by_id(self, sandbox_id: str) -> Sandbox | None:
        """Return the active sandbox with that id."""
        self._refresh()
        return self._active_ids.get(sandbox_id)

    def default(self, org_id: str) -> Sandbox | None:
        """Return the organisation's default sandbox, whatever its state; calls without a sandbox header work in it."""
        self._refresh()
        return self._defaults.get(org_id)

    def all(self, org_id: str) -> list[Sandbox]:
        """Return the active sandboxes of the organisation in the order of names."""
        self._refresh()
        return [sandbox for (owner, _), sandbox in sorted(self._active.items()) if owner == org_id]

    def record(self, org_id: str, name: str) -> SandboxRecord | None:
        """Return the sandbox of that name in whatever state."""
        self._refresh()
        return self._records.get((org_id, name))

    def records(self, org_id: str) -> list[SandboxRecord]:
        """Return every sandbox of the organisation in whatever state, oldest first."""
        self._refresh()
        owned = [record for record in self._records.values() if record.org_id == org_id]
        return sorted(owned, key=lambda record: (record.created_ms, record.name))

    def create(
        self,
        org_id: str,
        name: str,
        *,
        title: str,
        kind: str,
        user_id: str,
        now_ms: int,
    ) -> SandboxRecord | None:
        """Store and return a new active sandbox; None when the name is taken. The first one of an organisation is its default."""
        made = SandboxRecord(
            id=str(uuid.uuid1(node=secrets.randbits(48) | 1 << 40)),  # a random node: the machine's address is nobody's business
            org_id=org_id,
            name=name,
            title=title,
            type=kind,
            state=State.ACTIVE,
            default=not self.records(org_id),
            version=1,
            created_ms=now_ms,
            created_by=user_id,
            modified_ms=now_ms,
            modified_by=user_id,
        )
        with self._documents.transaction() as change:
            return made if change.insert(_COLLECTION, [_item(made)]) else None

    def ensure_default(self, org_id: str, now_ms: int, *, user_id: str = "system") -> Sandbox:
        """Return the default sandbox, `prod`, made if the organisation has no sandbox yet."""
        if self.default(org_id) is None:
            self.create(org_id, DEFAULT_NAME, title="Production", kind="production", user_id=user_id, now_ms=now_ms)
        found = self.default(org_id)
        if found is None:
            raise LookupError(f"organisation {org_id} has sandboxes but no default one")
        return found

    def change(
        self,
        record: SandboxRecord,
        *,
        user_id: str,
        now_ms: int,
        title: str = "",
        state: State | None = None,
        erasure: str = "",
    ) -> SandboxRecord:
        """Store and return the sandbox with a new title, state or order to delete what is in it."""
        changed = msgspec.structs.replace(
            record,
            title=title or record.title,
            state=state or record.state,
            erasure=erasure or record.erasure,
            version=record.version + 1,
            modified_ms=now_ms,
            modified_by=user_id,
        )
        with self._documents.transaction() as change:
            change.put(_COLLECTION, [_item(changed)])
        return changed

    def ordered(self) -> list[SandboxRecord]:
        """Return the sandboxes whose content was ordered to be deleted at some time."""
        self._refresh()
        return [record for record in self._records.values() if record.erasure]

    def _refresh(self) -> None:
        self._read()
        for record in self._resetting:
            if self._is_erased(record.erasure):
                self.change(record, state=State.ACTIVE, user_id=record.modified_by, now_ms=record.modified_ms)
        self._read()

    def _read(self) -> None:
        version = self._documents.version()
        if version == self._version:
            return
        bodies = self._documents.scan(_COLLECTION)
        records = [msgspec.json.decode(body, type=SandboxRecord) for _, body in bodies]
        self._records = {(record.org_id, record.name): record for record in records}
        active = [record for record in records if record.state is State.ACTIVE]
        self._active = {(record.org_id, record.name): _sandbox(record) for record in active}
        self._active_ids = {sandbox.id: sandbox for sandbox in self._active.values()}
        self._defaults = {record.org_id: _sandbox(record) for record in records if record.default}
        self._resetting = [record for record in records if record.state is State.RESETTING]
        self._version = version


def _item(record: SandboxRecord) -> tuple[str, bytes]:
    return f"{record.org_id}/{record.name}", msgspec.json.encode(record)


def _sandbox(record: SandboxRecord) -> Sandbox:
    return Sandbox(id=record.id, name=record.name, type=record.type, default=record.default)
