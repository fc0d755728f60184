"""What of the audit log is asked for: filters, order, page. Source: audit-query.yaml, gateway.md 5, 6."""

import base64
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from capstream.aep.audit_query.trail import Event
from capstream.aep.call import ApiError, Call
from capstream.kernel.json import JsonError, dumps, loads

_FIELDS = {
    "type": "type",
    "timestamp": "timestamp",
    "status": "status",
    "action": "action",
    "user": "userEmail",
    "assettype": "assetType",
    "assetid": "assetId",
    "assetname": "assetName",
    "requestid": "requestId",
}
_CONDITION = re.compile(r"\s*(\w+)\s*(==|!=|>=|<=|>|<)(.*)", re.S)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {"==": eq, "!=": ne, ">": gt, "<": lt, ">=": ge, "<=": le}
_CORE = "core"  #: the only type of event there is here
_PAGE, _MOST = 50, 1000


def refused(detail: str) -> ApiError:
    """Return the refusal of a malformed query."""
    return ApiError(400, {"type": "/placeholder/type/uri", "status": 400, "title": "BadRequestError", "detail": detail})


@dataclass(frozen=True, slots=True)
class _Condition:
    field: str
    compare: Callable[[Any, Any], bool]
    values: tuple[Any, ...]

    def holds(self, event: Event) -> bool:
        if self.field == "timestamp":
            found: Any = _moment(str(event["timestamp"]))
        else:
            found = _CORE if self.field == "type" else str(event[self.field]).lower()
        results = (self.compare(found, value) for value in self.values)
        return all(results) if self.compare is ne else any(results)


@dataclass(frozen=True, slots=True)
class Query:
    """What a caller asks for; `properties` and `order` are as they were sent."""

    properties: tuple[str, ...]
    order: tuple[str, ...]

    def select(self, events: Iterable[Event], most: int) -> list[Event]:
        """Return the newest `most` events that fit, in the order asked for. Errors: ApiError 400."""
        conditions = [_condition(text) for text in self.properties]
        keys = [_order(text) for text in self.order]
        found = list(islice((event for event in events if all(each.holds(event) for each in conditions)), most))
        for field, is_descending in reversed(keys):
            found.sort(key=lambda event: _CORE if field == "type" else str(event[field]).lower(), reverse=is_descending)
        return found

    def token(self) -> str:
        """Return the text by which the query can be asked again."""
        return base64.urlsafe_b64encode(dumps([self.properties, self.order])).rstrip(b"=").decode()


def query_of(call: Call) -> Query:
    """Return the query of a call, or the one its `queryId` stands for. Errors: ApiError 400."""
    if token := call.arg("queryId"):
        return _asked_again(token)
    order = tuple(part.strip() for text in call.args("orderBy") for part in text.split(",") if part.strip())
    return Query(tuple(text for text in call.args("property") if text.strip()), tuple(_signed(part) for part in order))


def page_of(call: Call) -> tuple[int, int]:
    """Return (start, limit). Errors: ApiError 400."""
    start, limit = call.arg("start") or "0", call.arg("limit") or str(_PAGE)
    if not start.isdecimal():
        raise refused(f"start '{start}' is not a whole number of at least 0.")
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST:
        raise refused(f"limit '{limit}' is not a whole number from 1 to {_MOST}.")
    return int(start), int(limit)


def _asked_again(token: str) -> Query:
    try:
        properties, order = loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return Query(tuple(map(str, properties)), tuple(map(str, order)))
    except (ValueError, TypeError, JsonError) as error:
        raise refused("queryId is not one this service issued.") from error


def _signed(part: str) -> str:
    return part if part[:1] in "+-" else f"+{part}"


def _condition(text: str) -> _Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise refused(f"property '{text}' is not <name><operator><value>; operators: {', '.join(_COMPARE)}.")
    name, operator, stated = match.groups()
    values: Sequence[str] = [part.strip().strip('"').lower() for part in stated.split(",")]
    field = _field(name)
    if field == "timestamp":
        return _Condition(field, _COMPARE[operator], tuple(_stated_moment(part) for part in values))
    return _Condition(field, _COMPARE[operator], tuple(values))


def _order(text: str) -> tuple[str, bool]:
    return _field(text[1:]), text[0] == "-"


def _field(name: str) -> str:
    found = _FIELDS.get(name.lower())
    if found is None:
        raise refused(f"'{name}' is no property of audit events; use {', '.join(sorted(_FIELDS))}.")
    return found


def _stated_moment(text: str) -> datetime:
    try:
        return _moment(text)
    except ValueError as error:
        raise refused(f"timestamp '{text}' is no ISO 8601 time, for example 2024-07-18T09:12:44.745Z.") from error


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text.upper())
    return found if found.tzinfo else found.replace(tzinfo=UTC)
