"""The acceptance list of the contract, where no other test has it. Source: schema-registry.md 14."""

from collections.abc import Callable

import pytest
from registry_client import FULL, STORED, XDM, Registry, encoded, schema

from capstream.kernel.json import Json
from capstream.xdm.render import full

XED_ID = "application/vnd.adobe.xed-id+json"
Made = Callable[[], tuple[Json, Json]]


def test_the_full_form_of_each_schema_is_the_composed_one(registry: Registry, capillary_schemas: Made) -> None:
    for document in capillary_schemas():
        shown = registry.ok("GET", f"/tenant/schemas/{encoded(document['$id'])}", accept=FULL)
        composed = registry.model.schema(registry.sandbox.id, document["$id"])
        assert composed is not None
        assert shown["properties"] == full(composed.root)["properties"]


def test_a_resolved_answer_follows_every_change(registry: Registry) -> None:
    made = registry.ok("POST", "/tenant/schemas", schema("Members"))
    path = f"/tenant/schemas/{made['meta:altId']}"
    before = registry.ok("GET", path, accept=FULL)
    assert registry.ok("GET", path, accept=FULL) == before
    registry.ok("PATCH", path, [{"op": "add", "path": "/allOf/-", "value": {"$ref": XDM + "mixins/profile-consents"}}])
    after = registry.ok("GET", path, accept=FULL)
    assert set(after["properties"]) - set(before["properties"]) == {"consents"}


def test_once_there_is_data_only_additions_pass(registry: Registry, capillary_schemas: Made) -> None:
    _, events = capillary_schemas()
    group = next(entry["$ref"] for entry in events["allOf"] if "/capstream/" in entry["$ref"])
    path = f"/tenant/fieldgroups/{encoded(group)}"
    stored = registry.ok("GET", path, accept=STORED)
    (name,) = stored["definitions"]
    members = f"/definitions/{name}/properties/_capstream/properties/capillary/properties/points/properties"
    registry.used.add(events["$id"])
    assert registry.code("PATCH", path, [{"op": "remove", "path": f"{members}/total"}]) == "1602-400"
    added = registry.ok("PATCH", path, [{"op": "add", "path": f"{members}/surprise", "value": {"type": "number"}}])
    assert (stored["version"], added["version"]) == ("1.0", "1.1")


def test_every_lookup_of_the_collection_answers_in_lenient_mode(registry: Registry, capillary_schemas: Made) -> None:
    profile, _ = capillary_schemas()
    one = profile["meta:altId"]
    paths = [f"/{container}/{kind}" for container in ("tenant", "global") for kind in ("schemas", "classes", "fieldgroups")]
    paths += ["/tenant/mixins", "/tenant/datatypes", "/tenant/unions", "/tenant/descriptors", "/global/behaviors"]
    paths += [f"/tenant/schemas/{one}", "/global/behaviors/_xdm.data.record", "/global/classes/_xdm.context.profile"]
    paths += [f"/rpc/export/{one}", f"/rpc/sampledata/{one}", f"/rpc/auditlog/{one}", "/stats"]
    assert {path: registry.send("GET", path, accept=XED_ID).status for path in paths} == dict.fromkeys(paths, 200)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/tenant/schemas", "1006-400"),
        ("/tenant/classes/_xdm.context.profile", "1007-400"),
        ("/tenant/descriptors", "1008-400"),
    ],
)
def test_strict_mode_refuses_other_media_types(registry: Registry, path: str, code: str) -> None:
    registry.strict = True
    assert registry.code("GET", path, accept=XED_ID if code.startswith("1008") else "text/plain") == code
