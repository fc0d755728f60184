"""Sandbox API: list, look up, create, retitle, reset, delete. Source: sandbox.yaml, sandboxes-access.md 1."""

from collections.abc import Callable
from datetime import UTC, datetime

from capstream.aep.call import Answer, ApiError, Call, Caller, Handler
from capstream.aep.sandbox.model import MOST_SANDBOXES, NAME, REGION, TYPES, Sandboxes, SandboxRecord, State
from capstream.kernel.ids import new_ulid
from capstream.kernel.json import Json

_BASE = "/data/foundation/sandbox-management"
_PAGE = 50

Erase = Callable[[SandboxRecord], None]
"""Deletes everything in the sandbox, and orders the pipeline to do so, under the order's id in `erasure`."""


Reaches = Callable[[Caller, str], bool]
"""Tells whether a role of the caller includes the sandbox of that name."""


def handlers(sandboxes: Sandboxes, *, erase: Erase, reaches: Reaches = lambda *_: True) -> dict[str, Handler]:
    """Return the handlers of the Sandbox API."""
    service = _Service(sandboxes, erase, reaches)
    return {
        "listAvailableSandboxes": service.available,
        "listSandboxTypes": lambda _: Answer(body={"sandboxTypes": [{"id": name, "title": name.title()} for name in TYPES]}),
        "listSandboxes": service.list,
        "retrieveSandbox": lambda call: Answer(body=_shown(service.existing(call))),
        "createSandbox": service.create,
        "patchSandbox": service.patch,
        "resetSandbox": service.reset,
        "deleteSandbox": service.delete,
    }


def refused(status: int, code: int, title: str) -> ApiError:
    """Return a Sandbox API error; the numbers are ASSUMPTION."""
    return ApiError(status, {"status": status, "title": title, "type": f"http://ns.adobe.com/aep/errors/SMS-{code}-{status}"})


class _Service:
    def __init__(self, sandboxes: Sandboxes, erase: Erase, reaches: Reaches) -> None:
        self._sandboxes = sandboxes
        self._erase = erase
        self._reaches = reaches

    def available(self, call: Call) -> Answer:
        """Return the active sandboxes without their service-only members."""
        hidden = {"id", "createdDate", "lastModifiedDate"}
        active = [record for record in self._sandboxes.records(call.caller.org_id) if record.state is State.ACTIVE]
        mine = [record for record in active if self._reaches(call.caller, record.name)]
        shown = [{key: value for key, value in _shown(record).items() if key not in hidden} for record in mine]
        return Answer(body={"sandboxes": shown, "_page": {"limit": _PAGE, "count": len(shown)}, "_links": {}})

    def list(self, call: Call) -> Answer:
        """Return one page of all sandboxes."""
        limit, offset = _page(call)
        found = [_shown(record) for record in self._sandboxes.records(call.caller.org_id)]
        for condition in call.args("property"):
            found = [record for record in found if _holds(record, condition)]
        found = _ordered(found, call.arg("orderBy"))
        shown = found[offset : offset + limit]
        links = _links(call, limit, offset, len(found))
        return Answer(body={"sandboxes": shown, "_page": {"limit": limit, "count": len(shown)}, "_links": links})

    def existing(self, call: Call) -> SandboxRecord:
        """Return the sandbox the path names."""
        name = call.params["sandboxName"]
        record = self._sandboxes.record(call.caller.org_id, name)
        if record is None:
            raise refused(404, 1001, f"Sandbox {name} was not found. Check the name: it is lower case and has no blanks.")
        return record

    def create(self, call: Call) -> Answer:
        """Make a sandbox; it can be used at once, though the answer says `creating` as the service's does."""
        body = _object(call)
        name, title, kind = (body.get(member) for member in ("name", "title", "type"))
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise refused(400, 1000, "name must be 2 to 256 lower-case letters, digits or hyphens.")
        if not isinstance(title, str) or not title.strip():
            raise refused(400, 1000, "title is required and must not be empty.")
        if kind not in TYPES:
            raise refused(400, 1000, f"type must be one of {', '.join(TYPES)}.")
        org_id = call.caller.org_id
        if len([one for one in self._sandboxes.records(org_id) if one.state is not State.DELETED]) >= MOST_SANDBOXES:
            raise refused(400, 1000, f"The organisation has {MOST_SANDBOXES} sandboxes already. Delete one first.")
        record = self._sandboxes.create(org_id, name, title=title, kind=kind, user_id=call.caller.user_id, now_ms=call.now_ms)
        if record is None:
            raise refused(409, 1002, f"A sandbox named {name} exists already. Names of deleted sandboxes stay taken.")
        return Answer(status=202, body=_brief(record, State.CREATING))

    def patch(self, call: Call) -> Answer:
        """Change the title, the only member that can change."""
        record = self._live(call)
        body = _object(call)
        title = body.get("title")
        if set(body) != {"title"} or not isinstance(title, str) or not title.strip():
            raise refused(400, 1000, 'The body must be {"title": "..."}: only the title can be changed.')
        changed = self._sandboxes.change(record, title=title, user_id=call.caller.user_id, now_ms=call.now_ms)
        return Answer(body=_shown(changed))

    def reset(self, call: Call) -> Answer:
        """Delete everything in the sandbox; it is `resetting`, and calls that name it find nothing, until all is gone."""
        record = self._live(call)
        if _object(call).get("action") != "reset":
            raise refused(400, 1000, 'The body must be {"action": "reset"}.')
        if call.flag("validationOnly"):
            return Answer(body=_shown(record))
        return self._emptied(call, record, State.RESETTING)

    def delete(self, call: Call) -> Answer:
        """Take the sandbox out of use for good, with everything in it."""
        record = self._live(call)
        if record.default:
            raise refused(400, 1003, f"Sandbox {record.name} is the default sandbox and cannot be deleted.")
        if call.flag("validationOnly"):
            return Answer(body=_shown(record))
        return self._emptied(call, record, State.DELETED)

    def _emptied(self, call: Call, record: SandboxRecord, state: State) -> Answer:
        """Close the sandbox durably, then delete what is in it: no call can write there meanwhile."""
        changed = self._sandboxes.change(
            record, state=state, erasure=new_ulid(call.now_ms), user_id=call.caller.user_id, now_ms=call.now_ms
        )
        self._erase(changed)
        return Answer(status=202, body=_brief(changed, state))

    def _live(self, call: Call) -> SandboxRecord:
        record = self.existing(call)
        if record.state is not State.ACTIVE:
            raise refused(404, 1001, f"Sandbox {record.name} is {record.state} and cannot be changed.")
        return record


def _object(call: Call) -> dict[str, Json]:
    body = call.json()
    if not isinstance(body, dict):
        raise refused(400, 1000, "The body must be a JSON object.")
    return body


def _shown(record: SandboxRecord) -> dict[str, Json]:
    return {
        "id": record.id,
        "name": record.name,
        "title": record.title,
        "state": record.state.value,
        "type": record.type,
        "region": REGION,
        "isDefault": record.default,
        "eTag": record.version,
        "etag": record.version,
        "createdDate": _date(record.created_ms),
        "lastModifiedDate": _date(record.modified_ms),
        "createdBy": record.created_by,
        "modifiedBy": record.modified_by,
    }


def _brief(record: SandboxRecord, state: State) -> dict[str, Json]:
    """Return the answer to an accepted request, in the state the request leads through."""
    shown = _shown(record)
    return {key: shown[key] for key in ("id", "name", "title", "type", "region")} | {"state": state.value}


def _date(millis: int) -> str:
    return f"{datetime.fromtimestamp(millis // 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _page(call: Call) -> tuple[int, int]:
    limit, offset = call.arg("limit"), call.arg("offset")
    if not limit and not offset:
        return _PAGE, 0
    if not (limit.isdecimal() and offset.isdecimal()) or int(limit) == 0:
        raise refused(400, 1000, "limit (1 or more) and offset (0 or more) must be given together, or neither.")
    return int(limit), int(offset)


def _holds(record: dict[str, Json], condition: str) -> bool:
    """Return whether `name==value` or `name!=value` holds; a bare name asks whether the member exists."""
    for operator in ("==", "!=", "="):
        name, found, value = condition.partition(operator)
        if found:
            equal = str(record.get(name.strip(), "")).lower() == value.strip().strip('"').lower()
            return equal is (operator != "!=")
    return condition in record


def _ordered(records: list[dict[str, Json]], order: str) -> list[dict[str, Json]]:
    """Return the records sorted by `asc:created,updated` style; `created` and `updated` mean the two dates."""
    dates = {"created": "createdDate", "updated": "lastModifiedDate"}
    direction = "asc"
    keys: list[tuple[str, bool]] = []
    for part in filter(None, order.split(",")):
        head, colon, tail = part.partition(":")
        direction, name = (head, tail) if colon else (direction, part)
        keys.append((dates.get(name, name), direction == "desc"))
    for name, descending in reversed(keys):
        records = sorted(records, key=lambda record: str(record.get(name, "")), reverse=descending)
    return records


def _links(call: Call, limit: int, offset: int, total: int) -> dict[str, Json]:
    url = f"{call.base_url}{_BASE}/sandboxes"
    links: dict[str, Json] = {"page": {"href": f"{url}?limit={{limit}}&offset={{offset}}", "templated": True}}
    if offset + limit < total:
        links["next"] = {"href": f"{url}?limit={limit}&offset={offset + limit}", "templated": False}
    if offset:
        links["prev"] = {"href": f"{url}?limit={limit}&offset={max(0, offset - limit)}", "templated": False}
    return links
