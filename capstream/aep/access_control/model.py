"""Roles: which permissions a caller has in which sandbox. Source: sandboxes-access.md 2.3."""

from collections.abc import Callable, Mapping

import msgspec

from capstream.aep.access_control.rules import ORG_ADMINISTRATOR, PERMISSIONS, SANDBOX_ADMINISTRATION, is_enough
from capstream.aep.call import Caller, Sandbox
from capstream.kernel.ids import new_uuid
from capstream.storage.ports import Documents

PRODUCTION_ACCESS = "Default production all access"
SANDBOX_ADMINISTRATORS = "Sandbox Administrators"

_COLLECTION = "roles"
SUBJECT_TYPES: Mapping[str, str] = {"/user": "user", "/api-integration": "api-integration", "/user-group": "user-group"}
"""Path of a subject change to subject type."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody a role is given to."""

    type: str  #: `user`, `api-integration` (an API client) or `user-group`
    id: str  #: user id, client id or group id


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """Permissions in some sandboxes, given to subjects."""

    id: str
    org_id: str
    name: str
    description: str = ""
    system: bool = False  #: system roles cannot be edited or deleted
    permissions: tuple[str, ...] = ()
    sandboxes: tuple[str, ...] = ()  #: names
    labels: tuple[str, ...] = ()
    subjects: tuple[Subject, ...] = ()
    created_ms: int
    created_by: str
    modified_ms: int
    modified_by: str


class Roles:
    """The roles of all organisations. Kept decoded until the store changes: every permission check reads them."""

    def __init__(self, documents: Documents, *, is_admin: Callable[[Caller], bool] = lambda _: False) -> None:
        """`is_admin` tells the organisation's administrators, who hold every permission in every sandbox (ASSUMPTION)."""
        self._documents = documents
        self._is_admin = is_admin
        self._version = -1
        self._roles: dict[tuple[str, str], Role] = {}

    def get(self, org_id: str, role_id: str) -> Role | None:
        """Return the role, or None."""
        self._refresh()
        return self._roles.get((org_id, role_id))

    def all(self, org_id: str) -> list[Role]:
        """Return the roles of the organisation, newest first."""
        self._refresh()
        owned = [role for role in self._roles.values() if role.org_id == org_id]
        return sorted(owned, key=lambda role: (-role.created_ms, role.name))

    def save(self, role: Role) -> None:
        """Store the role."""
        with self._documents.transaction() as change:
            change.put(_COLLECTION, [(f"{role.org_id}/{role.id}", msgspec.json.encode(role))])

    def remove(self, role: Role) -> None:
        """Delete the role."""
        with self._documents.transaction() as change:
            change.delete(_COLLECTION, [f"{role.org_id}/{role.id}"])

    def ensure_system_roles(self, org_id: str, now_ms: int) -> list[Role]:
        """Return the two roles every organisation has, made if they are missing."""
        found = {role.name: role for role in self.all(org_id) if role.system}
        everything = tuple(name for name in PERMISSIONS if name not in SANDBOX_ADMINISTRATION)
        wanted = {PRODUCTION_ACCESS: everything, SANDBOX_ADMINISTRATORS: tuple(sorted(SANDBOX_ADMINISTRATION))}
        for name, permissions in wanted.items():
            if name not in found:
                made = new_role(org_id, name, now_ms=now_ms, user_id="system", permissions=permissions, system=True)
                self.save(made)
                found[name] = made
        return [found[name] for name in wanted]

    def give(self, role: Role, subject: Subject, now_ms: int) -> Role:
        """Store and return the role with one more subject; no change when it has it already."""
        if subject in role.subjects:
            return role
        changed = msgspec.structs.replace(role, subjects=(*role.subjects, subject), modified_ms=now_ms)
        self.save(changed)
        return changed

    def held(self, caller: Caller, sandbox: Sandbox | None) -> frozenset[str]:
        """Return the permissions of the caller in a sandbox, or (None) in any: the union over its roles."""
        if self._is_admin(caller):
            return frozenset({*PERMISSIONS, ORG_ADMINISTRATOR})
        roles = [role for role in self._of(caller) if sandbox is None or sandbox.name in role.sandboxes]
        return frozenset(permission for role in roles for permission in role.permissions)

    def reaches(self, caller: Caller, sandbox_name: str) -> bool:
        """Return whether a role of the caller includes the sandbox."""
        return self._is_admin(caller) or any(sandbox_name in role.sandboxes for role in self._of(caller))

    def permits(self, caller: Caller, sandbox: Sandbox | None, permission: str) -> bool:
        """Return whether the caller holds what `permission` asks for. The gateway's check."""
        return is_enough(self.held(caller, sandbox), permission)

    def _of(self, caller: Caller) -> list[Role]:
        subjects = {Subject(type="api-integration", id=caller.client_id), Subject(type="user", id=caller.user_id)}
        return [role for role in self.all(caller.org_id) if subjects.intersection(role.subjects)]

    def _refresh(self) -> None:
        version = self._documents.version()
        if version != self._version:
            roles = [msgspec.json.decode(body, type=Role) for _, body in self._documents.scan(_COLLECTION)]
            self._roles = {(role.org_id, role.id): role for role in roles}
            self._version = version


def new_role(
    org_id: str, name: str, *, now_ms: int, user_id: str, permissions: tuple[str, ...] = (), system: bool = False
) -> Role:
    """Return a new role, not stored; a role with permissions has them in `prod`."""
    return Role(
        id=new_uuid(),
        org_id=org_id,
        name=name,
        system=system,
        permissions=permissions,
        sandboxes=("prod",) if permissions else (),
        created_ms=now_ms,
        created_by=user_id,
        modified_ms=now_ms,
        modified_by=user_id,
    )
