"""Pages of Data Prep lists: filters, order, window. Source: data-prep.md 1.4."""

from collections.abc import Iterable, Mapping

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


_PROPERTIES = {"xdmSchema": "xdmSchema", "status": "status"}


def page(
    objects: Iterable[dict[str, Json]], call: Call, *, properties: Mapping[str, str] = _PROPERTIES
) -> tuple[list[dict[str, Json]], int]:
    """Return the objects a list call asks for and the limit that was applied. Errors: ApiError.

    Shape: `properties` has the members to filter by under the names callers may use for them.
    """
    wanted = call.arg("name").lower()
    found = [one for one in objects if wanted in str(one.get("name", "")).lower()]
    conditions = [_condition(text, properties) for text in call.args("property")]
    found = [one for one in found if all(one.get(name) == value for name, value in conditions)]
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


def _condition(text: str, properties: Mapping[str, str]) -> tuple[str, str]:
    name, found, value = text.partition("==")
    if not found or name not in properties:
        forms = " or ".join(f"{known}==<value>" for known in properties)
        raise refusal(BAD_QUERY, f"property: {text[:60]!r} is not understood; write {forms}.")
    return properties[name], value
