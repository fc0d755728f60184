"""What a plan sees in things that are there: content, not names alone; and what apply makes of it."""

import copy
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from connect_world import World
from test_connect_as_code import named

from capstream.kernel.json import Json
from capstream.relay import provision, provision_drift
from capstream.relay.provision_changes import Change
from capstream.relay.provision_wanted import Wanted

FLOWS = "/data/foundation/flowservice"
REGISTRY = "/data/foundation/schemaregistry/tenant"
XED = {"accept": "application/vnd.adobe.xed+json;version=1"}


def planned(world: World, wanted: Wanted) -> list[Change]:
    found = world.run(provision.plan, wanted=wanted)
    assert world.changing() == []
    return [change for change in found if change.action != "keep" or change.why]


def applied(world: World, wanted: Wanted) -> list[str]:
    """Apply, and check that afterwards nothing is left to do; return the calls that changed something."""
    world.run(provision.connect, wanted=wanted)
    calls = [call for call in world.changing() if not call.startswith("PUT /relay")]
    assert [change for change in planned(world, wanted) if change.action != "keep"] == []
    return calls


def with_group(wanted: Wanted, change: Any) -> Wanted:
    group = copy.deepcopy(wanted.profile.field_group)
    change(group["definitions"]["customFields"]["properties"]["_{TENANT_ID}"]["properties"]["capillary"]["properties"])
    return replace(wanted, profile=replace(wanted.profile, field_group=group))


def test_a_new_field_is_added_to_the_field_group(world: World) -> None:
    wanted = named("grown")
    world.run(provision.connect, wanted=wanted)
    grown = with_group(wanted, lambda fields: fields.update(shoeSize={"title": "Shoe size", "type": "integer"}))
    (change,) = planned(world, grown)
    assert (change.action, change.kind, change.name) == ("update", "field group", "grown profile group")
    assert change.why.endswith("capillary.shoeSize")
    assert len(applied(world, grown)) == 1
    listed = world.it.call("GET", f"{REGISTRY}/fieldgroups?property=title==grown profile group").json()["results"]
    group = world.it.call("GET", f"{REGISTRY}/fieldgroups/{quote(listed[0]['$id'], safe='')}", headers=XED).json()
    assert "shoeSize" in str(group["definitions"])
    # The other way round the field stays, and the plan says so.
    (kept,) = planned(world, wanted)
    assert (kept.action, "no longer wanted, stays" in kept.why, "shoeSize" in kept.why) == ("keep", True, True)


def test_a_change_profile_forbids_is_told_and_not_tried(world: World) -> None:
    wanted = named("typed")
    world.run(provision.connect, wanted=wanted)
    changed = with_group(wanted, lambda fields: fields["orgId"].update(type="integer"))
    (change,) = planned(world, changed)
    assert (change.action, change.kind) == ("keep", "field group")
    assert "cannot change" in change.why
    assert "another title" in change.why
    assert applied(world, changed) == []


def test_a_field_group_of_others_is_left_alone(world: World) -> None:
    wanted = named("owned")
    world.run(provision.connect, wanted=wanted)
    grown = with_group(wanted, lambda fields: fields.update(extra={"type": "string"}))
    (change, *_) = planned(world, replace(grown, source="owned-by-another"))
    assert (change.action, change.kind) == ("keep", "field group")
    assert "not made by this connection" in change.why


def test_a_schema_takes_up_a_field_group_it_lacks(world: World) -> None:
    wanted = named("composed")
    world.run(provision.connect, wanted=wanted)
    schema = copy.deepcopy(wanted.profile.schema)
    group: dict[str, Any] = {
        "title": "composed more",
        "type": "object",
        "meta:intendedToExtend": ["https://ns.adobe.com/xdm/context/profile"],
    }
    group["definitions"] = {"more": {"type": "object", "properties": {"_capstream": {"type": "object", "properties": {}}}}}
    group["definitions"]["more"]["properties"]["_capstream"]["properties"]["shoes"] = {"type": "integer"}
    group["allOf"] = [{"$ref": "#/definitions/more"}]
    more = world.it.call("POST", f"{REGISTRY}/fieldgroups", json=group, headers=XED).json()["$id"]
    schema["allOf"].append({"$ref": more})
    changed = replace(wanted, profile=replace(wanted.profile, schema=schema))
    (change,) = planned(world, changed)
    assert (change.action, change.kind, more in change.why) == ("update", "schema", True)
    assert len(applied(world, changed)) == 1


def test_settings_of_dataflow_and_dataset_come_back(world: World) -> None:
    wanted = named("settled")
    made = world.run(provision.connect, wanted=wanted)
    flow = f"{FLOWS}/flows/{made['profile_flow_id']}"
    etag = world.it.call("GET", flow).json()["items"][0]["etag"]
    off = [{"op": "replace", "path": "/options/errorDiagnosticsEnabled", "value": False}]
    assert world.it.call("PATCH", flow, json=off, headers={"if-match": etag}).status_code == 200
    assert world.it.call("POST", f"{flow}/action?op=DISABLE").status_code == 200
    dataset = f"/data/foundation/catalog/dataSets/{made['event_dataset_id']}"
    tags = [{"op": "replace", "path": "/tags/unifiedProfile", "value": ["enabled:false"]}]
    assert world.it.call("PATCH", dataset, json=tags).status_code == 200
    told = {(change.action, change.kind, change.why) for change in planned(world, wanted)}
    assert told == {
        ("update", "dataflow", "switch error diagnostics on"),
        ("update", "dataflow", "enable it"),
        ("update", "dataset", "enable unifiedProfile"),
    }
    assert len(applied(world, wanted)) == 3
    assert world.it.call("GET", flow).json()["items"][0]["state"] == "enabled"


def test_a_mapping_set_is_known_by_its_rows(world: World) -> None:
    wanted = named("rowed")
    made = world.run(provision.connect, wanted=wanted)
    path = f"/data/foundation/conversion/mappingSets/{made['profile_mapping_id']}"
    stored = world.it.call("GET", path).json()
    rows = [
        {"sourceType": "EXPRESSION", "source": "upper(loyalty.tier)", "destination": "loyalty.tier"},
        *wanted.profile.mapping[:3],
    ]
    body = {"name": "by hand", "outputSchema": stored["outputSchema"], "mappings": rows}
    by_hand = world.it.call("POST", "/data/foundation/conversion/mappingSets", json=body).json()["id"]
    changed = replace(wanted, profile=replace(wanted.profile, mapping=rows, replaces_mapping=True))
    told = [(change.action, change.kind) for change in planned(world, changed)]
    assert told == [("update", "dataflow"), ("delete", "mapping set")]
    result = world.run(provision.connect, wanted=changed)
    assert result["profile_mapping_id"] == by_hand
    assert world.it.call("GET", path).status_code == 404
    # Rows that only differ in their kind differ.
    plain = [rows[0] | {"sourceType": "ATTRIBUTE"}, *rows[1:]]
    again = replace(wanted, profile=replace(wanted.profile, mapping=plain, replaces_mapping=True))
    assert any("change loyalty.tier" in change.why for change in planned(world, again))
    # Nobody asked for the packaged rows: the dataflow keeps its own, and the plan says how they differ.
    (kept,) = [change for change in planned(world, wanted) if change.kind == "mapping set"]
    assert (kept.action, "name them under mapping" in kept.why) == ("keep", True)


def test_another_client_takes_the_place_of_the_old(world: World) -> None:
    wanted = named("rotated")
    made = world.run(provision.connect, wanted=wanted)
    path = f"{FLOWS}/connections/{made['base_connection_id']}"
    etag = world.it.call("GET", path).json()["items"][0]["etag"]
    other = [{"op": "replace", "path": "/auth/params", "value": {"clientId": "another", "clientSecret": "s"}}]
    assert world.it.call("PATCH", path, json=other, headers={"if-match": etag}).status_code == 200
    (change,) = planned(world, wanted)
    assert (change.action, change.kind) == ("update", "base connection")
    assert change.why == f"client {world.account['client_id']} instead of another"
    assert len(applied(world, wanted)) == 1


@pytest.mark.parametrize(
    ("wanted", "found", "said"),
    [
        (
            [{"source": "a", "destination": "b"}],
            [{"sourceAttribute": "a", "destinationXdmPath": "b", "sourceType": "text/x.schema-path"}],
            "",
        ),
        ([{"source": "a", "destination": "b"}], [], "add b"),
        ([], [{"source": "a", "destination": "b"}], "drop b"),
        ([{"source": "a", "destination": "b"}], [{"source": "c", "destination": "b"}], "change b"),
        (
            [{"source": "a", "destination": "b"}, {"source": "c", "destination": "d"}],
            [{"source": "c", "destination": "d"}, {"source": "a", "destination": "b"}],
            "another order of rows",
        ),
        ([{"source": str(n), "destination": str(n)} for n in range(7)], None, "add 0, 1, 2, 3, 4 and 2 more"),
    ],
)
def test_rows_are_compared_by_what_they_do(wanted: Json, found: Json, said: str) -> None:
    assert provision_drift.rows_told(wanted, found) == said
