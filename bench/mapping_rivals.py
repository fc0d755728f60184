"""The benchmark's mapping set by hand, as two yardsticks: the best function a person would write, and one closure per row.

Both give what the compiled set gives, and both leave what they do not expect to the general engine, as it does.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any

from capstream.lang.dates import RFC3339

Record = dict[str, Any]
Mapped = tuple[Record, list[Any]]
Run = Callable[[Record], Mapped]

_TEXT, _WHOLE, _LOW, _HIGH = str, (int, float), -(2**53), 2**53


def by_hand(general: Run) -> Run:
    """Return the function a person would write for the set: typed, one walk, displays, no interpretation at all."""
    is_moment = RFC3339.fullmatch

    def lines(items: list[Any]) -> list[Record]:
        return [
            {
                "SKU": sku,
                "name": name,
                "quantity": quantity,
                "priceTotal": price,
                "discountAmount": discount,
                "_demo": {"code": sku.upper()},
                "currencyCode": "INR",
            }
            for item in items
            if (sku := item["SKU"]).__class__ is str
            and (name := item["name"]).__class__ is str
            and (quantity := item["quantity"]).__class__ is int
            and _LOW <= quantity <= _HIGH
            and ((price := item["priceTotal"]).__class__ is float or price.__class__ is int)
            and ((discount := item["discountAmount"]).__class__ is float or discount.__class__ is int)
        ]

    def run(record: Record) -> Mapped:
        try:
            key, moment = record["_id"], record["timestamp"]
            commerce, items = record["commerce"], record["productLineItems"]
            store, total = commerce["commerceScope"]["storeCode"], commerce["order"]["priceTotal"]
            email = record["identityMap"]["email"][0]
            address, state, primary = email["id"], email["authenticatedState"], email["primary"]
            made = lines(items)
        except (KeyError, IndexError, TypeError):
            return general(record)
        if not (
            key.__class__ is str
            and moment.__class__ is str
            and is_moment(moment) is not None
            and store.__class__ is str
            and (total.__class__ is float or total.__class__ is int)
            and address.__class__ is str
            and state.__class__ is str
            and (primary is True or primary is False)
            and len(made) == len(items)
        ):
            return general(record)
        hashed = sha256(address.strip().lower().encode()).hexdigest()
        return {
            "_id": key,
            "timestamp": moment,
            "eventType": "commerce.purchases",
            "commerce": {
                "commerceScope": {"storeCode": store},
                "order": {"priceTotal": total, "purchaseID": key},
                "purchases": {"value": 1},
            },
            "identityMap": {"email": [{"id": address, "authenticatedState": state, "primary": primary}]},
            "productListItems": made,
            "_demo": {"itemCount": len(items), "emailHash": hashed, "basket": "large" if total > 100 else "small"},
        }, []

    return run


def _read(*steps: str | int) -> Callable[[Any], Any]:
    def read(value: Any) -> Any:
        for step in steps:
            value = value[step]
        return value

    return read


def _hash(record: Record) -> str:
    return sha256(record["identityMap"]["email"][0]["id"].strip().lower().encode()).hexdigest()


def _basket(record: Record) -> str:
    return "large" if record["commerce"]["order"]["priceTotal"] > 100 else "small"


def _of_type(kinds: type | tuple[type, ...], read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def typed(value: Any) -> Any:
        found = read(value)
        if not isinstance(found, kinds):
            raise TypeError
        return found

    return typed


def _constant(value: Any) -> Callable[[Any], Any]:
    return lambda _: value


def _put(read: Callable[[Any], Any], *names: str) -> Callable[[Any, Record], None]:
    *above, last = names

    def put(source: Any, target: Record) -> None:
        for name in above:
            target = target.setdefault(name, {})
        target[last] = read(source)

    return put


def closures(general: Run) -> Run:
    """Return one closure per row, called one after another: no code is generated."""
    rows = [
        _put(_of_type(_TEXT, _read("_id")), "_id"),
        _put(_of_type(_TEXT, _read("timestamp")), "timestamp"),
        _put(_constant("commerce.purchases"), "eventType"),
        _put(_of_type(_TEXT, _read("commerce", "commerceScope", "storeCode")), "commerce", "commerceScope", "storeCode"),
        _put(_of_type(_WHOLE, _read("commerce", "order", "priceTotal")), "commerce", "order", "priceTotal"),
        _put(_of_type(_TEXT, _read("_id")), "commerce", "order", "purchaseID"),
        _put(_constant(1), "commerce", "purchases", "value"),
    ]
    identity = [
        _put(_of_type(_TEXT, _read("identityMap", "email", 0, "id")), "id"),
        _put(_of_type(_TEXT, _read("identityMap", "email", 0, "authenticatedState")), "authenticatedState"),
        _put(_of_type(bool, _read("identityMap", "email", 0, "primary")), "primary"),
    ]
    per_item = [
        _put(_of_type(_TEXT, _read("SKU")), "SKU"),
        _put(_of_type(_TEXT, _read("name")), "name"),
        _put(_of_type(int, _read("quantity")), "quantity"),
        _put(_of_type(_WHOLE, _read("priceTotal")), "priceTotal"),
        _put(_of_type(_WHOLE, _read("discountAmount")), "discountAmount"),
        _put(lambda item: item["SKU"].upper(), "_demo", "code"),
        _put(_constant("INR"), "currencyCode"),
    ]
    last = [
        _put(lambda record: len(record["productLineItems"]), "_demo", "itemCount"),
        _put(_hash, "_demo", "emailHash"),
        _put(_basket, "_demo", "basket"),
    ]

    def filled(source: Any, puts: list[Callable[[Any, Record], None]], target: Record) -> Record:
        for put in puts:
            put(source, target)
        return target

    def run(record: Record) -> Mapped:
        try:
            target = filled(record, rows, {})
            target["identityMap"] = {"email": [filled(record, identity, {})]}
            target["productListItems"] = [filled(item, per_item, {}) for item in record["productLineItems"]]
            filled(record, last, target)
        except (KeyError, IndexError, TypeError, AttributeError):
            return general(record)
        return (target, []) if RFC3339.fullmatch(target["timestamp"]) else general(record)

    return run
