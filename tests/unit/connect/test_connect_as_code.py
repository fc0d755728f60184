"""Plan, apply and destroy against the embedded platform: repeated, cut off at every single call, changed, taken down."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from urllib.parse import quote

import pytest
from connect_world import World

from capstream.kernel.errors import InputError, Transient
from capstream.kernel.json import Json, loads
from capstream.relay import provision, provision_wanted
from capstream.relay.provision_changes import Change
from capstream.relay.provision_wanted import Wanted


def named(key: str) -> Wanted:
    """Return a connection that shares nothing with others but the namespaces."""
    half = {
        kind: {
            "schema": f"{key} {kind} schema",
            "fieldGroup": f"{key} {kind} group",
            "dataset": f"{key} {kind} dataset",
            "dataflow": f"{key} {kind} dataflow",
        }
        for kind in ("profile", "event")
    }
    return provision_wanted.read({"source": key, "baseConnection": f"{key} base", **half}, lambda name: name)


def of(world: World, key: str) -> dict[str, list[str]]:
    mine = {kind: [name for name in names if name.startswith(f"{key} ")] for kind, names in world.inventory().items()}
    return {kind: [name.partition(" target ")[0] for name in names] for kind, names in mine.items() if names}


def actions(changes: list[Change]) -> set[str]:
    return {change.action for change in changes}


EVERYTHING = {
    "flows": 2, "sourceConnections": 2, "targetConnections": 2, "connections": 1,
    "dataSets": 2, "mappingSets": 2, "schemas": 2, "fieldgroups": 2,
}  # fmt: skip


def test_a_plan_changes_nothing_and_apply_does_what_it_says(world: World) -> None:
    wanted = named("planned")
    before = world.inventory()
    planned = world.run(provision.plan, wanted=wanted)
    assert world.changing() == []
    assert world.inventory() == before
    assert world.sources == {}
    created = [(change.kind, change.name) for change in planned if change.action == "create"]
    assert ("dataflow", "planned profile dataflow") in created
    assert ("relay source", "planned") in created
    world.run(provision.connect, wanted=wanted)
    writes = len([change for change in planned if change.action != "keep"])
    assert len(world.changing()) == writes
    assert {kind: len(names) for kind, names in of(world, "planned").items()} == EVERYTHING
    assert actions(world.run(provision.plan, wanted=wanted)) == {"keep"}
    world.run(provision.connect, wanted=wanted)
    assert world.changing() == ["PUT /relay/sources/planned"]


@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
def test_a_run_cut_off_further_on_each_time_comes_to_its_end_and_leaves_nothing_over(world: World, lost: bool) -> None:
    """Each run gets one call further than the last; test_relay_provision.py cuts every call of a first run."""
    key = f"cut-{lost}"
    cut_runs = cut_until_it_ends(world, lost, lambda: world.run(provision.connect, wanted=named(key)))
    assert cut_runs > 20
    assert {kind: len(names) for kind, names in of(world, key).items()} == EVERYTHING
    assert actions(world.run(provision.plan, wanted=named(key))) == {"keep"}
    cut_runs = cut_until_it_ends(world, lost, lambda: world.run(provision.destroy, wanted=named(key)))
    assert cut_runs > 10
    assert of(world, key).keys() == {"schemas", "fieldgroups"}
    assert key not in world.sources


def cut_until_it_ends(world: World, lost: bool, act: Callable[[], object]) -> int:
    """Run `act`, cutting call after call, until it comes through; return how often it was cut."""
    for number in range(200):
        world.fail_at, world.lost_answer = number, lost
        try:
            act()
        except Transient:
            continue
        finally:
            world.fail_at = None
        return number
    raise AssertionError("it never came to its end")


def test_destroy_says_what_stays_and_why(world: World) -> None:
    wanted = named("told")
    world.run(provision.connect, wanted=wanted)
    shown = world.run(provision.destroy, wanted=wanted, dry=True)
    assert world.changing() == []
    assert [change.kind for change in shown if change.action == "delete"] == [
        "relay source", "dataflow", "dataflow", "source connection", "source connection",
        "target connection", "target connection", "base connection",
        "mapping set", "dataset", "mapping set", "dataset",
    ]  # fmt: skip
    kept = {(change.kind, change.why) for change in shown if change.action == "keep"}
    assert ("schema", "it is enabled for Profile, which is for good") in kept
    assert ("namespace", "the platform has no deletion of namespaces") in kept
    assert world.run(provision.destroy, wanted=wanted) == shown
    assert actions(world.run(provision.destroy, wanted=wanted)) == {"keep"}


def test_a_schema_not_yet_enabled_goes_with_its_field_group(world: World) -> None:
    for key in ("early0", "early"):  # the first of all makes the namespaces, too: its calls are others
        world.run(provision.connect, wanted=named(key))
    calls = world.requests.copy()
    wanted = named("early2")
    world.fail_at, world.lost_answer = next(n for n, call in enumerate(calls) if call.startswith("PATCH ")), False
    with pytest.raises(Transient):
        world.run(provision.connect, wanted=wanted)
    world.fail_at = None
    assert of(world, "early2").keys() == {"schemas", "fieldgroups"}
    world.run(provision.destroy, wanted=wanted)
    assert of(world, "early2") == {}


def test_destroy_leaves_what_others_made(world: World) -> None:
    schema = "https://ns.adobe.com/xdm/context/profile"
    world.it.made("/data/foundation/catalog/dataSets", {"name": "other thing", "schemaRef": {"id": schema}})
    wanted = named("first")
    world.run(provision.connect, wanted=wanted)
    world.run(provision.destroy, wanted=replace(wanted, source="second"))
    assert {kind: len(names) for kind, names in of(world, "first").items()} == EVERYTHING | {"mappingSets": 2}
    assert "first" in world.sources


def test_a_new_mapping_takes_the_place_of_the_old_and_leaves_none_behind(world: World) -> None:
    wanted = named("mapped")
    first = world.run(provision.connect, wanted=wanted)
    rows = [{"sourceType": "ATTRIBUTE", "source": name, "destination": name} for name in ("_id", "identityMap", "loyalty.tier")]
    changed = replace(wanted, profile=replace(wanted.profile, mapping=rows, replaces_mapping=True))
    planned = world.run(provision.plan, wanted=changed)
    assert [(change.action, change.kind) for change in planned if change.action != "keep"] == [
        ("create", "mapping set"), ("update", "dataflow"), ("delete", "mapping set"),
    ]  # fmt: skip
    cut_until_it_ends(world, True, lambda: world.run(provision.connect, wanted=changed))
    second = world.run(provision.connect, wanted=changed)
    assert second["profile_flow_id"] == first["profile_flow_id"]
    assert second["profile_mapping_id"] != first["profile_mapping_id"]
    assert len(of(world, "mapped")["mappingSets"]) == 2
    assert world.run(provision.connect, wanted=wanted)["profile_mapping_id"] == second["profile_mapping_id"]


def test_the_sandbox_is_checked_before_anything_is_made(world: World) -> None:
    with pytest.raises(InputError, match="there is no active sandbox 'nowhere' for this account"):
        world.run(provision.connect, wanted=replace(named("x"), sandbox="nowhere"))
    assert world.changing() == []


@pytest.mark.parametrize(
    ("document", "path"),
    [
        ({"sauce": "x"}, "sauce"),
        ({"profile": {"data": "x"}}, "profile.data"),
        ({"profile": []}, "profile"),
        ({"event": {"dataset": ""}}, "event.dataset"),
        ({"event": {"mapping": []}}, "event.mapping"),
        ({"event": {"mapping": [{"source": "a"}]}}, "event.mapping[0]"),
        ({"permissions": "all"}, "permissions"),
        ({"relay": "x"}, "relay"),
        ([], "document"),
    ],
)
def test_a_wrong_document_is_refused_by_the_members_name(document: Json, path: str) -> None:
    with pytest.raises(InputError) as caught:
        provision_wanted.read(document, lambda name: [])
    assert caught.value.path == path


def test_the_default_document_means_the_defaults() -> None:
    document = provision_wanted.default_document()
    assert replace(provision_wanted.read(document, lambda name: []), sandbox="") == Wanted(is_declared=True)


SCHEMA_REGISTRY = "/data/foundation/schemaregistry"
STORED = "application/vnd.adobe.xed+json; version=1"
FILES = {
    "profile": ("capillary-profile-schema.json", "capillary-member.json", "CAPILLARY_MEMBER"),
    "event": ("capillary-events-schema.json", "capillary-event.json", "CAPILLARY_EVENT"),
}


def shipped(world: World, name: str, **places: str) -> Json:
    """Return a file of the package as it lies there, its places filled."""
    text = (resources.files("capstream.relay") / "schemas" / name).read_text("utf-8")
    for place, value in {"TENANT_ID": tenant_of(world), **places}.items():
        text = text.replace("{" + place + "}", value)
    return loads(text)


def tenant_of(world: World) -> str:
    return str(world.it.call("GET", f"{SCHEMA_REGISTRY}/stats").json()["tenantId"])


def bare(node: Json) -> Json:
    """Return a definition without what the registry computes into each node."""
    if isinstance(node, dict):
        return {key: bare(value) for key, value in node.items() if key != "meta:xdmType"}
    return [bare(item) for item in node] if isinstance(node, list) else node


def stored(world: World, kind: str, title: str) -> Json:
    listed = world.it.call("GET", f"{SCHEMA_REGISTRY}/tenant/{kind}").json()["results"]
    (uri,) = [one["$id"] for one in listed if one["title"] == title]
    path = f"{SCHEMA_REGISTRY}/tenant/{kind}/{quote(uri, safe='')}"
    return world.it.call("GET", path, headers={"Accept": STORED}).json()


def test_the_shipped_schema_files_are_what_is_made(world: World) -> None:
    world.run(provision.connect, wanted=Wanted())
    made = {}
    for kind, (schema_file, group_file, place) in FILES.items():
        group = shipped(world, group_file)
        found = stored(world, "fieldgroups", group["title"])
        for member in ("title", "type", "meta:intendedToExtend", "definitions"):
            assert bare(found[member]) == bare(group[member]), (group_file, member)
        schema = shipped(world, schema_file, **{place: found["$id"].rpartition("/")[2]})
        made[kind] = stored(world, "schemas", schema["title"])
        assert [part["$ref"] for part in made[kind]["allOf"]] == [part["$ref"] for part in schema["allOf"]]
        assert made[kind]["description"].startswith(schema["description"])
        assert made[kind]["meta:immutableTags"] == ["union"]
    ids = {made[kind]["$id"] for kind in FILES}
    accept = {"Accept": "application/vnd.adobe.xdm+json"}
    listed = world.it.call("GET", f"{SCHEMA_REGISTRY}/tenant/descriptors", headers=accept).json()
    present = [one for group in listed.values() for one in group if one["xdm:sourceSchema"] in ids]
    wanted = shipped(world, "descriptors.json", PROFILE_SCHEMA=made["profile"]["$id"], EVENTS_SCHEMA=made["event"]["$id"])
    kept = [{member: one[member] for member in wanted[0]} for one in present]
    assert sorted(kept, key=repr) == sorted(wanted, key=repr)
