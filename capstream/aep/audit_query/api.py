"""Audit Query API: list events, export them as CSV. Source: audit-query.yaml, monitoring-alerts.md 7, gateway.md 5."""

import csv
import io
from collections.abc import Callable, Mapping
from urllib.parse import quote, urlencode

from capstream.aep.audit_query.query import Query, page_of, query_of
from capstream.aep.audit_query.trail import Event, Trail
from capstream.aep.call import Answer, Call, Handler
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, dumps, loads

EXPORT_PATH = "/capstream/audit"
"""Where an export is fetched, with the link that the answer gives, by whoever has it."""

_LISTED, _EXPORTED = 1000, 10_000
_LISTED_DAYS, _EXPORTED_DAYS = 90, 365
_DAY_MS = 86_400_000
_LINK_MS = 3_600_000
_COLUMNS = (
    "timestamp",
    "userEmail",
    "action",
    "assetType",
    "assetId",
    "assetName",
    "status",
    "failureCode",
    "permissionResource",
    "permissionType",
    "sandboxName",
    "requestId",
    "authId",
    "id",
)

Seal = Callable[[str], str]
"""Makes a text unreadable and unforgeable, or turns it back; turning back raises InputError for what was not made here."""


def handlers(trail: Trail, seal: Seal) -> dict[str, Handler]:
    """Return the handlers of the audit log."""
    return {
        "listAuditEvents": lambda call: _listed(trail, call),
        "exportAuditEvents": lambda call: _exported(trail, seal, call),
    }


def _listed(trail: Trail, call: Call) -> Answer:
    query, (start, limit) = query_of(call), page_of(call)
    found = query.select(trail.events(call.sandbox.id, since_ms=call.now_ms - _LISTED_DAYS * _DAY_MS), _LISTED)
    token = query.token()
    where = f"{call.base_url}{call.path}"
    links: dict[str, Json] = {"self": {"href": f"{where}?{urlencode(call.query)}" if call.query else where}}
    if start + limit < len(found):
        links["next"] = {"href": f"{where}?queryId={token}&start={start + limit}&limit={limit}"}
    links["page"] = {"href": f"{where}?queryId={token}&limit={limit}{{&start}}", "templated": True}
    return Answer(
        body={
            "_embedded": {"events": list(found[start : start + limit])},
            "_links": links,
            "page": {
                "size": limit,
                "totalElements": len(found),
                "totalPages": -(-len(found) // limit),
                "number": start // limit,
            },
            "queryId": token,
        }
    )


def _exported(trail: Trail, seal: Seal, call: Call) -> Answer:
    query = query_of(call)
    if not _select(trail, query, call.sandbox.id, call.now_ms):
        return Answer(status=204)
    order = {"query": [query.properties, query.order], "sandbox": call.sandbox.id, "until": call.now_ms + _LINK_MS}
    return Answer(status=307, headers={"Location": f"{call.base_url}{EXPORT_PATH}/{quote(seal(dumps(order).decode()))}"})


def _select(trail: Trail, query: Query, sandbox_id: str, now_ms: int) -> list[Event]:
    return query.select(trail.events(sandbox_id, since_ms=now_ms - _EXPORTED_DAYS * _DAY_MS), _EXPORTED)


def exported(trail: Trail, unseal: Seal, link: str, now_ms: int) -> bytes | None:
    """Return the CSV a link stands for; None when it was not made here or is older than an hour."""
    try:
        order = loads(unseal(link))
    except (InputError, JsonError):
        return None
    if not isinstance(order, Mapping) or now_ms > int(order["until"]):
        return None
    properties, sorting = order["query"]
    found = _select(trail, Query(tuple(properties), tuple(sorting)), str(order["sandbox"]), now_ms)
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in event.items()} for event in found)
    return text.getvalue().encode()


def _plain(value: Json) -> Json:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t") else value
