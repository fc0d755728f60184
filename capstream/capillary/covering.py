"""Covers personal data in custom and extended fields of finished payloads, as the source's `pii.fields` says.

Brands keep birth dates, addresses and further numbers in fields with names of their own, so what is personal is theirs to say.
Hashed values are the lower-case hex SHA-256 of `{orgId}:{value}`, as voucher codes are. ASSUMPTION: capillary.md names no setting
for these fields.
"""

from hashlib import sha256
from typing import Final

from capstream.kernel.json import Json

_FIELDS: Final = ("customFields", "extendedFields")
_CHANGES: Final = "changes"
_VALUES: Final = ("previousValue", "currentValue")
ALL_OTHERS: Final = "*"


def cover(body: dict[str, Json], org_id: str, modes: dict[str, str]) -> None:
    """Change a payload in place. `modes`: name of a field in lower case, or `*` for all others -> pass, hash or drop.

    Shape: fields are covered wherever they are below `capillary`; of `changes[]` those that name such a field.
    """
    level: list[Json] = [body.get("capillary")]
    while level:
        inner: list[Json] = []
        for node in level:
            if type(node) is list:
                inner += node
            elif type(node) is dict:
                _node(node, org_id, modes)
                inner += [part for name, part in node.items() if name not in _FIELDS and name != _CHANGES]
        level = inner


def _node(node: dict[str, Json], org_id: str, modes: dict[str, str]) -> None:
    for name in _FIELDS:
        fields = node.get(name)
        if type(fields) is dict:
            _put(node, name, _covered(fields, org_id, modes))
    changes = node.get(_CHANGES)
    if type(changes) is list:
        _put(node, _CHANGES, [found for change in changes if (found := _change(change, org_id, modes))])


def _put(node: dict[str, Json], name: str, covered: Json) -> None:
    if covered:
        node[name] = covered
    else:
        del node[name]


def _covered(fields: dict[str, Json], org_id: str, modes: dict[str, str]) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for name, value in fields.items():
        mode = _mode(name, modes)
        if mode != "drop":
            found[name] = _hashed(value, org_id) if mode == "hash" else value
    return found


def _change(change: dict[str, Json], org_id: str, modes: dict[str, str]) -> dict[str, Json]:
    mode = _mode(str(change.get("fieldName", "")), modes)
    if mode == "drop":
        return {}
    if mode == "hash":
        return {name: _hashed(value, org_id) if name in _VALUES else value for name, value in change.items()}
    return change


def _mode(name: str, modes: dict[str, str]) -> str:
    return modes.get(name.lower()) or modes.get(ALL_OTHERS, "pass")


def _hashed(value: Json, org_id: str) -> str:
    return sha256(f"{org_id}:{value}".encode()).hexdigest()
