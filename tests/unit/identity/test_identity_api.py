"""Namespaces, XIDs and graphs through the Identity Service. Source: identity.md 2, 3."""

from collections.abc import Mapping
from typing import Any

import pytest
from pipeline_world import MEMBER_FLOW, MEMBER_NS, MEMBERS, ORG, PROD, START_MS, World, ask, body_of, identities, member, xid

from capstream.aep.call import Handler
from capstream.aep.identity_service import rules
from capstream.aep.identity_service.api import handlers
from capstream.aep.identity_service.extraction import Found, IdentityField, Resolver, identities_of
from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.identity_service.namespaces import STANDARD, NamespaceTable
from capstream.kernel.json import Json

MAIL = {"ns": "Email", "id": "member-0001@example.com"}
NEW = {"name": "Loyalty card", "code": "loyaltyCard", "idType": "cross_device", "description": "the card"}


@pytest.fixture
def api(world: World) -> Mapping[str, Handler]:
    return handlers(world.control, world.state)


@pytest.fixture
def linked(world: World) -> World:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    return world


def test_namespaces_are_created_listed_and_renamed(api: Mapping[str, Handler]) -> None:
    made = body_of(ask(api, "createNamespace", body=NEW))
    assert made == NEW | {
        "id": MEMBER_NS + 1,
        "idType": "CROSS_DEVICE",
        "status": "ACTIVE",
        "custom": True,
        "createTime": START_MS,
        "updateTime": START_MS,
    }
    listed = body_of(ask(api, "getIdNamespaces"))
    assert [entry["code"] for entry in listed[: len(STANDARD)]] == [namespace.code for namespace in STANDARD]
    assert listed[-1] == made
    assert all("custom" in entry for entry in listed)
    params = {"ID": str(made["id"])}
    assert body_of(ask(api, "retrieveIdentityNamespace", params=params)) == made
    (renamed,) = body_of(ask(api, "updateIdentityNamespace", params=params, body=NEW | {"name": "Card"}, now_ms=START_MS + 1))
    assert renamed == made | {"name": "Card", "updateTime": START_MS + 1}


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (NEW | {"code": "EMAIL"}, 409, "Namespace code 'EMAIL' already exists."),
        (NEW | {"name": "phone"}, 409, "Namespace name 'phone' already exists."),
        (NEW | {"code": "two words"}, 400, "code 'two words' is not allowed"),
        (NEW | {"idType": "card"}, 400, "idType 'card' is unknown"),
        ({"code": "x", "idType": "EMAIL"}, 400, "'name' is required"),
        ([NEW], 400, "must be a JSON object"),
    ],
)
def test_a_namespace_that_cannot_be(api: Mapping[str, Handler], body: Json, status: int, text: str) -> None:
    answer = ask(api, "createNamespace", body=body)
    assert (answer.status, answer.body["status"]) == (status, status)
    assert text in answer.body["detail"]


def test_code_and_type_are_immutable_and_standard_namespaces_too(api: Mapping[str, Handler]) -> None:
    made = ask(api, "createNamespace", body=NEW).body
    params = {"ID": str(made["id"])}
    assert ask(api, "updateIdentityNamespace", params=params, body=NEW | {"code": "other"}).status == 400
    assert ask(api, "updateIdentityNamespace", params=params, body=NEW | {"idType": "Email"}).status == 400
    assert ask(api, "updateIdentityNamespace", params={"ID": "6"}, body=NEW).status == 403
    assert ask(api, "retrieveIdentityNamespace", params={"ID": "99"}).status == 404


@pytest.mark.parametrize("code", ["Email", "email", "EMAIL", "6"])
def test_namespaces_are_found_whatever_their_spelling(code: str) -> None:
    found = NamespaceTable(STANDARD).find(code)
    assert found is not None
    assert found.code == "Email"


def test_an_xid_is_opaque_deterministic_and_remembered(world: World, api: Mapping[str, Handler]) -> None:
    query = [("namespace", "email"), ("id", " New@Example.com ")]
    first = body_of(ask(api, "retrieveIdentity", query=query))["xid"]
    assert first == body_of(ask(api, "retrieveIdentity", query=[("nsid", "6"), ("id", "new@example.com")]))["xid"]
    assert first == rules.xid(ORG, 6, "new@example.com")
    assert len(first) == 27
    assert "example" not in first
    assert world.control.count("asked_identities") == 1
    wrong = ask(api, "retrieveIdentity", query=[("namespace", "ECID"), ("id", "12")])
    assert (wrong.status, wrong.body["title"]) == (400, "InvalidInput")


def test_a_graph_as_set_and_as_vertices_and_edges(linked: World, api: Mapping[str, Handler]) -> None:
    asked = {"composite_xids": [MAIL, {"ns": "Email", "id": "nobody@example.com"}], "projection_type": "set"}
    found = body_of(ask(api, "getGraphs", body=asked))
    other = {"ns": "memberId", "id": "1"}
    assert found["graphs"] == [{"composite_xid": MAIL, "members": [MAIL, other]}]
    assert found["unprocessed_composite_xids"] == [{"ns": "Email", "id": "nobody@example.com"}]

    body = {"composite_xids": [MAIL], "projection_type": "graph", "require_edge_meta_data": True}
    (graph,) = body_of(ask(api, "getGraphs", body=body))["graphs"]
    assert [vertex["composite_xid"] for vertex in graph["vertices"]] == [MAIL, other]
    (edge,) = graph["edges"]
    assert sorted(edge["composite_xid_pair"], key=str) == sorted([MAIL, other], key=str)
    (batch,) = linked.batches_of(MEMBERS, "processing")
    assert (edge["dataset_ids"], edge["batch_ids"]) == ([MEMBERS], [batch["id"]])


@pytest.mark.parametrize(
    ("asked", "member_form"),
    [
        ({"composite_xid": {"nsid": 6, "id": "member-0001@example.com"}}, {"nsid": MEMBER_NS, "id": "1"}),
        ({"composite_xid": [xid(1)]}, xid(1)),
        ({"xids": [xid(1)]}, xid(1)),
    ],
)
def test_members_are_named_the_way_the_question_was(
    linked: World, api: Mapping[str, Handler], asked: Any, member_form: Any
) -> None:
    (graph,) = body_of(ask(api, "getGraphs", body=asked | {"projection_type": "set"}))["graphs"]
    assert member_form in graph["members"]


def test_a_graph_request_names_its_projection(api: Mapping[str, Handler]) -> None:
    answer = ask(api, "getGraphs", body={"composite_xids": [MAIL], "projection_type": "tree"})
    assert (answer.status, answer.body["message"][:21]) == (400, "Graph Request Invalid")


def test_the_deprecated_member_lists(linked: World, api: Mapping[str, Handler]) -> None:
    by_get = body_of(ask(api, "listClusterMembers", query=[("namespace", "memberId"), ("id", "1")]))
    members = [{"namespace": "memberId", "id": "1"}, {"namespace": "Email", "id": "member-0001@example.com"}]
    assert by_get["clusters"] == [{"compositeXid": {"namespace": "memberId", "id": "1"}, "members": members}]
    by_post = body_of(ask(api, "getListOfClusterMembers", body=[{"xids": [xid(1), "unknown"]}]))
    assert by_post["clusters"][0]["members"][0] == xid(1)
    assert by_post["unprocessedRecords"] == ["unknown"]
    assert ask(api, "getListOfClusterMembers", body={}).status == 400


def test_records_that_share_an_identity_share_a_graph_across_batches(world: World) -> None:
    for number in (1, 2):
        world.accept(MEMBER_FLOW, member(number))
        world.drain()
    both = {"memberId": [{"id": "1", "primary": True}, {"id": "2"}]}
    world.accept(MEMBER_FLOW, member(1, identityMap=both))
    world.drain()

    graph = Graphs(world.state).graph(PROD.id, xid(2))
    assert graph is not None
    assert len(graph.members) == 4
    assert world.state.count("graphs") == 1


def test_a_graph_never_holds_more_than_fifty(world: World) -> None:
    for start in range(0, 60, 15):
        mails = [{"id": f"a{n}@example.com"} for n in range(start, start + 15)]
        world.accept(MEMBER_FLOW, member(1, identityMap={"memberId": [{"id": "1", "primary": True}], "email": mails}))
        world.drain()
        world.now_ms += 1000

    graph = Graphs(world.state).graph(PROD.id, xid(1))
    assert graph is not None
    values = {one.value for one in graph.members}
    assert len(values) == 50
    assert "1" in values
    assert {f"a{n}@example.com" for n in range(45, 60)} <= values


RESOLVER = Resolver(ORG, NamespaceTable(STANDARD))


def found_in(record: dict[str, Json], *fields: IdentityField) -> Found:
    return identities_of(record, fields, RESOLVER)


def test_a_bad_ecid_condemns_its_record() -> None:
    record = {"identityMap": {"ECID": [{"id": "123"}], "email": [{"id": "a@example.com", "primary": True}]}}
    assert found_in(record).refusal.startswith("UPLIB-101003-400")


def test_more_than_twenty_identities_are_too_many() -> None:
    mails: list[Json] = [{"id": f"a{n}@example.com", "primary": n == 0} for n in range(21)]
    assert found_in({"identityMap": {"email": mails}}).refusal
    assert not found_in({"identityMap": {"email": mails[:20]}}).refusal


def test_descriptors_find_identities_in_fields_and_arrays() -> None:
    record: dict[str, Json] = {"contact": {"mails": [{"address": "A@example.com"}, {"address": "b@example.com"}]}}
    found = found_in(record, IdentityField(("contact", "mails", "address"), "Email", primary=False))
    assert [identity.value for identity in found.identities] == ["a@example.com", "b@example.com"]
    assert found.problem == "no identity is marked as primary"


def test_identities_of_things_are_not_linked(world: World, api: Mapping[str, Handler]) -> None:
    ask(api, "createNamespace", body={"name": "Store", "code": "storeCode", "idType": "NON_PEOPLE"})
    shop = identities(1) | {"storeCode": [{"id": "str.nw.014"}]}
    world.accept(MEMBER_FLOW, member(1, identityMap=shop))
    world.drain()
    (graph,) = body_of(ask(api, "getGraphs", body={"composite_xids": [MAIL], "projection_type": "set"}))["graphs"]
    assert {entry["ns"] for entry in graph["members"]} == {"Email", "memberId"}
