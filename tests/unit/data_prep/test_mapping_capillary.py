"""The shipped Capillary mapping sets and those of the source tutorial."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from capillary_payloads import PROFILE, TRANSACTION
from mapping_world import rows

from capstream.aep.data_prep.compiler import compile_set, rows_of
from capstream.aep.data_prep.rules import examine
from capstream.kernel.json import dumps, loads
from capstream.xdm.compose import compose
from capstream.xdm.library import standard_library
from capstream.xdm.schema import Schema

RELAY = Path(__file__).parents[3] / "capstream" / "relay"
XDM = "https://ns.adobe.com/xdm/"
LINES = ("SKU", "name", "quantity", "priceTotal", "discountAmount", "currencyCode")


def body(folder: str, name: str, **values: str) -> Any:
    text = (RELAY / folder / name).read_text("utf-8")
    for key, value in {"TENANT_ID": "demo", "TENANT": "demo", **values}.items():
        text = text.replace("{" + key + "}", value)
    return loads(text)


@cache
def target(kind: str) -> Schema:
    group, place = {"events": ("event", "CAPILLARY_EVENT"), "profile": ("member", "CAPILLARY_MEMBER")}[kind]
    uri = f"https://ns.adobe.com/demo/mixins/{group}"
    documents = {**standard_library(), uri: body("schemas", f"capillary-{group}.json")}
    described = body("schemas", f"capillary-{kind}-schema.json", **{place: group})
    return compose([entry["$ref"] for entry in described["allOf"]], documents.get, schema_id=kind, title=described["title"])


def shipped(name: str) -> Any:
    return rows_of({"mappings": body("mappings", name)})


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, member in value.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for at, item in enumerate(value):
            yield from leaves(item, f"{path}[{at}]")
    else:
        yield path, value


def moved(path: str) -> str:
    if path.startswith("capillary."):
        return f"_demo.{path}"
    return path.replace("productLineItems", "productListItems")


@pytest.mark.parametrize("engine", ["run", "general"])
@pytest.mark.parametrize(
    ("name", "kind", "payload"), [("profile.json", "profile", PROFILE), ("transaction.json", "events", TRANSACTION)]
)
def test_every_leaf_of_a_payload_arrives(name: str, kind: str, payload: dict[str, Any], engine: str) -> None:
    program = compile_set(shipped(name), target(kind))
    output, problems = getattr(program, engine)(payload)
    expected = {moved(path): value for path, value in leaves(payload)}
    if kind == "profile":
        expected["extSourceSystemAudit.lastUpdatedDate"] = payload["capillary"]["asOf"]
    assert problems == []
    assert dict(leaves(output)) == expected
    assert program.source


@pytest.mark.parametrize(
    ("name", "kind", "payload"), [("profile.json", "profile", PROFILE), ("transaction.json", "events", TRANSACTION)]
)
def test_payloads_are_decoded_into_what_the_shipped_sets_read(name: str, kind: str, payload: dict[str, Any]) -> None:
    program = compile_set(shipped(name), target(kind))
    typed = program.typed()
    assert typed is not None
    assert typed.run(msgspec.json.decode(dumps(payload), type=typed.record)) == program(payload)


def test_shipped_sets_are_valid_and_complete() -> None:
    profile, events = shipped("profile.json"), shipped("transaction.json")
    assert examine(profile, target("profile")).errors == []
    assert examine(events, target("events")).errors == []
    assert examine(events, target("events")).warnings == []
    to_profile = {row.destination for row in profile}
    assert {"_id", "identityMap", "loyalty.points", "loyalty.rewards", "person.name.lastName", "_demo.capillary"} <= to_profile
    assert len(profile) == 28
    assert {f"productListItems[*].{name}" for name in LINES} <= {row.destination for row in events}
    assert len(events) == 30


@cache
def tutorial(kind: str) -> Schema:
    groups = {
        "profile": ["context/profile", "context/identitymap", "mixins/profile/profile-loyalty-details"],
        "transaction": ["context/experienceevent", "context/identitymap", "context/experienceevent-commerce"],
    }[kind]
    return compose([XDM + group for group in groups], standard_library().get, schema_id=kind)


IDENTITY: Any = {"email": [{"authenticatedState": "ambiguous", "id": "member-0001@example.com", "primary": True}]}
TUTORIAL_PROFILE: Any = {
    "identityMap": IDENTITY,
    "loyalty": {"tier": "gold", "points": 1250, "lifetimePoints": 4100, "expiredPoints": 12, "pointsRedeemed": 500,
                "program": "Demo Rewards", "status": "active"},
}  # fmt: skip
TUTORIAL_TRANSACTION: Any = {
    "_id": "T-000001",
    "timestamp": "2024-07-18T12:00:00-06:00",
    "identityMap": IDENTITY,
    "commerce": {"commerceScope": {"storeCode": "S-17"}, "order": {"priceTotal": 90}},
    "productLineItems": [{"SKU": "sku-01", "quantity": 1, "priceTotal": 100, "name": "Item 1", "discountAmount": 10}],
}


def legacy(*pairs: tuple[str, str]) -> Any:
    mappings = [
        {"destinationXdmPath": to, "sourceAttribute": source, "identity": False, "identityGroup": None, "version": 0}
        for source, to in pairs
    ]
    return rows_of({"version": 0, "xdmSchema": "https://ns.adobe.com/demo/schemas/1", "xdmVersion": "1.0", "mappings": mappings})


IDENTITY_ROWS = (
    ("identityMap.email.id", "identityMap.email[0].id"),
    ("identityMap.email.primary", "identityMap.email[0].primary"),
)


def test_legacy_profile_rows_of_the_tutorial() -> None:
    listed = legacy(*IDENTITY_ROWS, ("loyalty.points", "loyalty.points"), ("loyalty.tier", "loyalty.tier"))
    program = compile_set(listed, tutorial("profile"))
    expected = {
        "identityMap": {"email": [{"id": "member-0001@example.com", "primary": True}]},
        "loyalty": {"points": 1250, "tier": "gold"},
    }
    assert program(TUTORIAL_PROFILE) == (expected, [])
    assert program.general(TUTORIAL_PROFILE) == (expected, [])
    assert program.source


def test_legacy_transaction_rows_of_the_tutorial() -> None:
    same = ("_id", "timestamp", "commerce.order.priceTotal", "commerce.commerceScope.storeCode")
    lines = ("SKU", "quantity", "priceTotal", "name", "discountAmount")
    listed = legacy(
        *IDENTITY_ROWS,
        *((path, path) for path in same),
        *((f"productLineItems.{name}", f"productListItems.{name}") for name in lines),
    )
    program = compile_set(listed, tutorial("transaction"))
    output, problems = program(TUTORIAL_TRANSACTION)
    assert problems == []
    assert output == {
        "_id": "T-000001",
        "timestamp": "2024-07-18T12:00:00-06:00",
        "identityMap": {"email": [{"id": "member-0001@example.com", "primary": True}]},
        "commerce": TUTORIAL_TRANSACTION["commerce"],
        "productListItems": TUTORIAL_TRANSACTION["productLineItems"],
    }
    assert program.general(TUTORIAL_TRANSACTION) == (output, [])
    assert program.source


def test_smallest_sets_of_the_tutorial() -> None:
    profile = compile_set(rows(("A", "identityMap", "identityMap"), ("A", "loyalty", "loyalty")), tutorial("profile"))
    assert profile(TUTORIAL_PROFILE) == (TUTORIAL_PROFILE, [])
    wanted = [("A", name, name) for name in ("_id", "timestamp", "identityMap", "commerce")]
    lines = [("A", f"productLineItems[*].{name}", f"productListItems[*].{name}") for name in LINES]
    output, problems = compile_set(rows(*wanted, *lines), tutorial("transaction"))(TUTORIAL_TRANSACTION)
    assert problems == []
    assert {moved(path): value for path, value in leaves(TUTORIAL_TRANSACTION)} == dict(leaves(output))


def test_the_five_printed_rows_end_half_way() -> None:
    listed = legacy(
        ("identityMap.email.id", "xdm:identityMap.email[0].id"),
        ("loyalty.points", "xdm:loyalty.points"),
        ("loyalty.tier", "xdm:loyalty.tier"),
        ("commerce.order.priceTotal", "xdm:commerce.order.priceTotal"),
        ("productLineItems.SKU", "xdm:productListItems.SKU"),
    )
    output, problems = compile_set(listed, tutorial("transaction"))(TUTORIAL_TRANSACTION)
    assert problems == []
    assert output == {
        "identityMap": {"email": [{"id": "member-0001@example.com"}]},
        "commerce": {"order": {"priceTotal": 90}},
        "productListItems": [{"SKU": "sku-01"}],
    }
    findings = examine(listed, tutorial("transaction"))
    assert findings.warnings == ["no mapping fills the required field _id", "no mapping fills the required field timestamp"]
