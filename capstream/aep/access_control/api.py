"""Access Control API: the permission reference, effective policies, roles, products. Source: sandboxes-access.md 2.

`policies.py` has the policies.
"""

from collections.abc import Callable, Mapping

import msgspec

from capstream.aep.access_control import rules
from capstream.aep.access_control.model import SUBJECT_TYPES, Role, Roles, Subject, new_role
from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.kernel.json import Json

_PAGE = 20
_MOST = 1000
_PRODUCT: Mapping[str, str] = {"id": "4525859963018", "name": "Adobe Experience Platform", "serviceCode": "acp"}


def handlers(roles: Roles, *, sandbox_exists: Callable[[str, str], bool], enabled: bool = False) -> dict[str, Handler]:
    """Return the handlers of the Access Control API. While access control is not `enabled` everybody may do everything.

    `sandbox_exists` says whether an organisation has a sandbox of a name.
    """
    service = _Service(roles, sandbox_exists, enabled)
    return {
        "listPolicyNames": service.reference,
        "listEffectiveAclPolicies": service.effective,
        "listExistingRoles": service.list,
        "createRole": service.create,
        "retrieveRole": lambda call: Answer(body=_shown(service.existing(call))),
        "updateRoleByRoleId": service.put,
        "updateRole": service.patch,
        "deleteRole": service.delete,
        "retrieveSubjects": service.subjects,
        "updateSubjects": service.patch_subjects,
        "listEntitledProducts": lambda _: Answer(body={"products": [dict(_PRODUCT)]}),
        "listPermissionCategories": lambda call: _of_product(
            call, lambda: {"categories": [{"name": n} for n in rules.CATEGORIES]}
        ),
        "listPermissionSets": lambda call: _of_product(call, _permission_sets),
    }


def refused(status: int, title: str) -> ApiError:
    """Return an Access Control error; the numbers are ASSUMPTION."""
    return ApiError(status, {"status": status, "title": title, "type": f"http://ns.adobe.com/aep/errors/ACS-1000-{status}"})


class _Service:
    def __init__(self, roles: Roles, sandbox_exists: Callable[[str, str], bool], enabled: bool) -> None:
        self._roles = roles
        self._sandbox_exists = sandbox_exists
        self._enabled = enabled

    def reference(self, call: Call) -> Answer:
        """Return all permissions and resource types."""
        permissions = {
            name: {kind: list(actions) for kind, actions in types.items()} for name, types in rules.PERMISSIONS.items()
        }
        return Answer(body={"permissions": permissions, "resource-types": rules.resource_types()})

    def effective(self, call: Call) -> Answer:
        """Return what the caller may do, of the names asked for."""
        names = call.json()
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise refused(400, "The body must be an array of /permissions/{name} and /resource-types/{name} strings.")
        held = self._roles.held(call.caller, call.sandbox) if self._enabled else frozenset(rules.PERMISSIONS)
        found = {name: rules.effective(held, name) for name in names}
        return Answer(body={"policies": {name: actions for name, actions in found.items() if actions}})

    def list(self, call: Call) -> Answer:
        """Return one page of roles, under both documented keys."""
        start, limit = _window(call)
        order = call.arg("orderBy", "-createdAt")
        found = [_shown(role) for role in self._roles.all(call.caller.org_id)]
        for condition in call.args("property"):
            name, operator, value = condition.partition("==")
            found = [role for role in found if (str(role.get(name)) == value if operator else name in role)]
        key = order.lstrip("+- ")
        found.sort(key=lambda role: str(role.get(key) or ""), reverse=order.startswith("-"))
        shown = found[start : start + limit]
        page = {"orderBy": order, "start": start, "count": len(shown), "next": None, "properties": []}
        links: dict[str, Json] = {
            "self": {"href": "/roles", "templated": False, "type": None, "method": None},
            "page": {"href": "/roles?limit={limit}&start={start}&orderBy={orderBy}&property={property}", "templated": True},
        }
        if start + limit < len(found):
            page["next"] = start + limit
            links["next"] = {"href": f"/roles?limit={limit}&start={start + limit}&orderBy={order}", "templated": False}
        return Answer(body={"items": shown, "roles": shown, "_page": page, "_links": links})

    def existing(self, call: Call) -> Role:
        """Return the role the path names."""
        role_id = call.params["ROLE_ID"]
        role = self._roles.get(call.caller.org_id, role_id)
        if role is None:
            raise refused(404, f"Role {role_id} was not found. List the roles for their ids.")
        return role

    def create(self, call: Call) -> Answer:
        """Make a role without permissions."""
        name, description = _name_and_description(call)
        made = new_role(call.caller.org_id, name, now_ms=call.now_ms, user_id=call.caller.user_id)
        made = msgspec.structs.replace(made, description=description)
        self._roles.save(made)
        return Answer(body=_shown(made))

    def put(self, call: Call) -> Answer:
        """Replace name and description."""
        role = self._editable(call)
        name, description = _name_and_description(call)
        return self._saved(call, msgspec.structs.replace(role, name=name, description=description))

    def patch(self, call: Call) -> Answer:
        """Apply add, replace and remove to the members that can change."""
        before = role = self._editable(call)
        for operation in _operations(call):
            role = _patched(role, operation)
        added = [name for name in role.sandboxes if name not in before.sandboxes]
        if unknown := [name for name in added if not self._sandbox_exists(call.caller.org_id, name)]:
            raise refused(400, f"Sandbox {unknown[0]} was not found. GET /sandbox-management/sandboxes lists all.")
        return self._saved(call, role)

    def delete(self, call: Call) -> Answer:
        """Delete the role."""
        self._roles.remove(self._editable(call))
        return Answer(status=204)

    def subjects(self, call: Call) -> Answer:
        """Return who has the role; `start` is honoured, clients page until nothing is left."""
        role = self.existing(call)
        start, limit = _window(call)
        items = [
            {"roleId": role.id, "subjectType": subject.type, "subjectId": subject.id}
            for subject in role.subjects[start : start + limit]
        ]
        return Answer(body={"items": items} | _subject_page(role, limit, len(items)))

    def patch_subjects(self, call: Call) -> Answer:
        """Give the role to somebody, or take it away."""
        role = self.existing(call)  # system roles too: they cannot be edited, but they can be given
        for operation in _operations(call):
            role = _with_subject(role, operation)
        self._saved(call, role)
        shown = [{"subjectId": subject.id, "subjectType": subject.type} for subject in role.subjects]
        return Answer(body={"subjects": shown} | _subject_page(role, _PAGE, len(shown)))

    def _editable(self, call: Call) -> Role:
        role = self.existing(call)
        if role.system:
            raise refused(403, f"Role {role.name} is system-defined and cannot be edited or deleted.")
        return role

    def _saved(self, call: Call, role: Role) -> Answer:
        changed = msgspec.structs.replace(role, modified_ms=call.now_ms, modified_by=call.caller.user_id)
        self._roles.save(changed)
        return Answer(body=_shown(changed))


def _shown(role: Role) -> dict[str, Json]:
    return {
        "id": role.id,
        "recordType": "role",
        "imsOrgID": role.org_id,
        "imsOrgId": role.org_id,
        "name": role.name,
        "description": role.description,
        "roleType": "system-defined" if role.system else "user-defined",
        "permissionSets": list(role.permissions),
        "sandboxes": list(role.sandboxes),
        "subjectAttributes": {"labels": list(role.labels)},
        "createdBy": role.created_by,
        "createdAt": role.created_ms,
        "modifiedBy": role.modified_by,
        "modifiedAt": role.modified_ms,
        "etag": None,
    }


def _window(call: Call) -> tuple[int, int]:
    start, limit = call.arg("start", "0"), call.arg("limit", str(_PAGE))
    if not (start.isdecimal() and limit.isdecimal()) or int(limit) == 0:
        raise refused(400, "start must be 0 or more and limit 1 or more.")
    return int(start), min(int(limit), _MOST)


def _name_and_description(call: Call) -> tuple[str, str]:
    body = call.json()
    name = body.get("name") if isinstance(body, dict) else None
    if not isinstance(name, str) or not name.strip():
        raise refused(400, "name is required and must not be empty.")
    return name, str(body.get("description") or "")


def _operations(call: Call) -> list[dict[str, Json]]:
    """Return the changes of a body that is one of them, an array, or `{"operations": [...]}`. Source: gateway.md 7."""
    body = call.json()
    listed = body.get("operations", [body]) if isinstance(body, dict) else body
    if not isinstance(listed, list) or not all(isinstance(one, dict) and one.get("op") and one.get("path") for one in listed):
        raise refused(400, 'The body must be {"op", "path", "value"}, an array of these, or {"operations": [...]}.')
    return listed


_TEXTS = {"/name": "name", "/description": "description"}
_LISTS = {"/permissionSets": "permissions", "/sandboxes": "sandboxes", "/subjectAttributes/labels": "labels"}


def _patched(role: Role, operation: dict[str, Json]) -> Role:
    verb, path, value = str(operation["op"]).lower(), str(operation["path"]), operation.get("value")
    if path in _TEXTS and verb in {"add", "replace"} and isinstance(value, str) and value:
        return msgspec.structs.replace(role, **{_TEXTS[path]: value})
    if path not in _LISTS or verb not in {"add", "replace", "remove"}:
        known = ", ".join((*_TEXTS, *_LISTS))
        raise refused(400, f"{verb} {path} with this value is not possible. Paths: {known}; op: add, replace, remove.")
    member = _LISTS[path]
    values = tuple(str(one) for one in (value if isinstance(value, list) else [value] if value is not None else []))
    present: tuple[str, ...] = getattr(role, member)
    if verb == "add":
        values = (*present, *(one for one in values if one not in present))
    elif verb == "remove":
        values = tuple(one for one in present if values and one not in values)
    if unknown := [one for one in values if member == "permissions" and one not in rules.PERMISSIONS]:
        raise refused(400, f"Unknown permission {unknown[0]}. GET /acl/reference lists all of them.")
    return msgspec.structs.replace(role, **{member: values})


def _with_subject(role: Role, operation: dict[str, Json]) -> Role:
    verb, kind, value = str(operation["op"]).lower(), SUBJECT_TYPES.get(str(operation["path"])), operation.get("value")
    if kind is None or verb not in {"add", "remove", "replace"} or not isinstance(value, str) or not value:
        raise refused(400, f"op must be add, remove or replace, path one of {', '.join(SUBJECT_TYPES)}, value an id.")
    named = Subject(type=kind, id=value)
    others = tuple(one for one in role.subjects if one != named and not (verb == "replace" and one.type == kind))
    return msgspec.structs.replace(role, subjects=others if verb == "remove" else (*others, named))


def _subject_page(role: Role, limit: int, count: int) -> dict[str, Json]:
    href = f"/roles/{role.id}/subjects"
    links = {
        "self": {"href": href, "templated": False, "type": None, "method": None},
        "page": {"href": f"{href}?limit={{limit}}&start={{start}}", "templated": True, "type": None, "method": None},
    }
    return {"_page": {"limit": limit, "count": count}, "_links": links}


def _of_product(call: Call, body: Callable[[], Json]) -> Answer:
    if call.params["PRODUCT_ID"] != _PRODUCT["id"]:
        raise refused(404, f"Product {call.params['PRODUCT_ID']} was not found. GET /administration/products lists all.")
    return Answer(body=body())


def _permission_sets() -> Json:
    sets = [
        {
            "id": permission,
            "name": permission.replace("-", " ").title(),
            "category": category,
            "permissions": [
                {"resource": kind, "actions": list(actions)} for kind, actions in rules.PERMISSIONS[permission].items()
            ],
        }
        for category, permissions in rules.CATEGORIES.items()
        for permission in permissions
    ]
    return {"permission-sets": sets}
