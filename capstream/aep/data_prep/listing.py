"""Pages of Data Prep lists: filters, order, window. Source: data-prep.md 1.4."""

from collections.abc import Iterable

from capstream.aep.call import Call
from capstream.aep.data_prep.errors import BAD_QUERY, refusal
from capstream.kernel.json import Json

MOST = 1000
_DEFAULT = 10
_ORDERS = {
    "createdDate": "createdDate",
    "updatedDate": "modifiedDate",
    "modifiedDate": "modifiedDate",
    "lastUpdateDate": "modifiedDate",
}


def page(objects: Iterable[dict[str, Json]], call: Call) -> tuple[list[dict[str, Json]], int]:
    """Return the objects a list call asks for and the limit that was applied. Errors: ApiError."""
    wanted = call.arg("name").lower()
    found = [one for one in objects if wanted in str(one.get("name", "")).lower()]
    for condition in call.args("property"):
        found = [one for one in found if _holds(one, condition)]
    order = call.arg("orderBy", "-modifiedDate").strip() or "-modifiedDate"
    member = _ORDERS.get(order.lstrip("+-").strip())
    if member is None:
        raise refusal(BAD_QUERY, f"orderBy: {order!r} is unknown; known are {', '.join(_ORDERS)}, with + or - in front.")
    found.sort(key=lambda one: (one.get(member, 0), one["id"]), reverse=order.startswith("-"))
    limit, start = _number(call, "limit", _DEFAULT, least=1, most=MOST), _number(call, "start", 0, least=0, most=None)
    return found[start : start + limit], limit


def _number(call: Call, name: str, default: int, *, least: int, most: int | None) -> int:
    text = call.arg(name)
    if text == "":
        return default
    value = int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else -1
    if value < least or (most is not None and value > most):
        upper = "" if most is None else f" to {most}"
        raise refusal(BAD_QUERY, f"{name}: {text[:20]!r} is not a number from {least}{upper}.")
    return value


def _holds(one: dict[str, Json], condition: str) -> bool:
    name, found, value = condition.partition("==")
    if not found or name not in {"xdmSchema", "status"}:
        raise refusal(BAD_QUERY, f"property: {condition[:60]!r} is not understood; write xdmSchema==<$id> or status==<value>.")
    return bool(one.get(name) == value)
