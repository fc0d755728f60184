"""Validation of records and their conversion to Arrow, with the full Capillary schemas."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from bench.schemas import measure as large_schemas
from bench.schemas import others
from capstream.kernel.json import Json, loads
from capstream.xdm.arrow import compile_table
from capstream.xdm.compose import compose
from capstream.xdm.library import standard_library
from capstream.xdm.schema import Schema
from capstream.xdm.validate import Validator, compile_validator

_BODIES = Path(__file__).parents[1] / "capstream" / "relay" / "schemas"
_TENANT = "capstream"
_ROUNDS = 7
_BATCH = 1000


def measure() -> dict[str, float]:
    """Return what one core does. Units: validations and rows per second unless named, medians of seven rounds.

    Engines of others, as far as they are installed, judge the same record by the same schema in the same run.
    """
    found: dict[str, float] = {}
    for name, record in (("events", transaction()), ("profile", member())):
        schema = target_schema(name)
        validate = compile_validator(schema)
        if validate(record):
            raise AssertionError(f"the {name} record must be valid: {validate(record)}")
        batch = [record] * _BATCH
        to_table = compile_table(schema)
        found[f"{name} validations/s"] = _rate(partial(_each, validate, batch))
        found[f"{name} arrow rows/s"] = _rate(partial(to_table, batch))
        if name == "events":
            for engine, check in others(schema, record).items():
                found[f"{name} validations/s by {engine}"] = _rate(partial(_repeated, check))
    return found | large_schemas()


def target_schema(name: str) -> Schema:
    """Return the composed `events` or `profile` schema, tenant `capstream`."""
    group = {"events": "event", "profile": "member"}[name]
    uri = f"https://ns.adobe.com/{_TENANT}/mixins/{group}"
    documents = {**standard_library(), uri: _body(f"capillary-{group}.json")}
    body = _body(f"capillary-{name}-schema.json")
    references = [entry["$ref"] for entry in body["allOf"]]
    return compose(references, documents.get, schema_id=f"bench:{name}", title=body["title"])


def transaction(lines: int = 4) -> Json:
    """Return a purchase of about 1.5 kB with `lines` line items."""
    amount = {"priceTotal": 37.5, "discountAmount": 2.5, "currencyCode": "GBP"}
    items = [{"SKU": f"sku-{n}", "name": f"Item number {n}", "quantity": n, **amount} for n in range(1, lines + 1)]
    order = {"purchaseID": "NW014-0042", "priceTotal": 148.5, "discountAmount": 10, "currencyCode": "GBP"}
    capillary = {
        "eventName": "transactionAdded",
        "eventId": "ee810f15-c0fe-5304-8b18-ebd083773dbb",
        "orgId": "700123",
        "customerId": "900000101",
        "createdAt": "2024-09-17T15:04:31.742Z",
        "receivedAt": "2024-09-17T15:04:32.942Z",
        "store": {"code": "str.nw.014", "name": "Harbour Street"},
        "transaction": {"id": "880100001", "billType": "REGULAR", "grossAmount": 158.5, "lineItemCount": lines},
        "lines": [{"id": str(n), "itemCode": f"sku-{n}", "qty": n, "rate": 10.5, "amount": 37.5} for n in range(1, lines + 1)],
    }
    return {
        "_id": "capillary:700123:txn:880100001",
        "timestamp": "2024-09-17T15:04:31.220Z",
        "eventType": "commerce.purchases",
        "producedBy": "system",
        "identityMap": _identities(),
        "commerce": {"purchases": {"value": 1}, "commerceScope": {"storeCode": "str.nw.014"}, "order": order},
        "productListItems": items,
        f"_{_TENANT}": {"capillary": capillary},
    }


def member() -> Json:
    """Return a member's profile record."""
    loyalty = {
        "tier": "Silver",
        "points": 1160,
        "lifetimePoints": 1310,
        "expiredPoints": 50,
        "pointsRedeemed": 100,
        "program": "CircleDefaultProgram",
        "status": "active",
        "joinDate": "2024-09-12T09:30:11.902Z",
        "loyaltyID": ["900000101"],
        "tierUpgradeDate": "2024-10-19T11:20:05.310Z",
        "nextTier": "Gold",
        "pointsExpiration": [{"pointsExpiring": 6, "pointsExpirationDate": "2025-09-30T23:59:59.000Z"}],
    }
    program = {"id": "4101", "name": "CircleDefaultProgram", "isDefault": True, "points": 1160, "tier": "Silver"}
    capillary = {
        "orgId": "700123",
        "customerId": "900000101",
        "programId": "4101",
        "tierNumber": 2,
        "programs": [program],
        "extendedFields": {"city": "Bristol"},
        "stateVersion": 17,
        "asOf": "2024-12-05T12:41:09.330Z",
    }
    return {
        "_id": "capillary:700123:member:900000101",
        "identityMap": _identities(),
        "loyalty": loyalty,
        f"_{_TENANT}": {"capillary": capillary},
    }


def _identities() -> Json:
    return {
        "capillaryUserId": [{"id": "900000101", "authenticatedState": "ambiguous", "primary": True}],
        "email": [{"id": "member-0001@example.com", "authenticatedState": "ambiguous", "primary": False}],
    }


def _body(name: str) -> Json:
    text = (_BODIES / name).read_text(encoding="utf-8").replace("{TENANT_ID}", _TENANT)
    return loads(text.replace("{CAPILLARY_EVENT}", "event").replace("{CAPILLARY_MEMBER}", "member"))


def _each(validate: Validator, batch: Sequence[Json]) -> None:
    for record in batch:
        validate(record)


def _repeated(check: Callable[[], object]) -> None:
    for _ in range(_BATCH):
        check()


def _rate(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return _BATCH / median(times)


if __name__ == "__main__":
    for label, rate in measure().items():
        print(f"{label}: {rate:,.0f}")
