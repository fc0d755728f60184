"""The Profile API on what the pipeline stored. Source: profile.md 4, 6, 12."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from pipeline_world import (
    MEMBER_FLOW,
    MEMBERS,
    ORG,
    PROD,
    PURCHASE_FLOW,
    START_MS,
    World,
    ask,
    body_of,
    member,
    purchase,
    xid,
)

from capstream.aep.call import Answer, Handler
from capstream.aep.profile.api import handlers
from capstream.kernel.json import Json

PROFILE, EVENT = "_xdm.context.profile", "_xdm.context.experienceevent"
MINUTE = 60_000


@pytest.fixture
def api(world: World) -> Mapping[str, Handler]:
    return handlers(world.control, world.state, world.inlet.end)


def lookup(api: Mapping[str, Handler], entity_id: str, namespace: str, **more: str) -> Answer:
    query = [("schema.name", PROFILE), ("entityId", entity_id), ("entityIdNS", namespace), *more.items()]
    return ask(api, "retrieveEntity", query=[pair for pair in query if pair[1]])


def events(api: Mapping[str, Handler], number: int, *more: tuple[str, str]) -> Json:
    query = [("schema.name", EVENT), ("relatedSchema.name", PROFILE), ("relatedEntityId", str(number))]
    return body_of(ask(api, "retrieveEntity", query=[*query, ("relatedEntityIdNS", "memberid"), *more]))


def event_ids(page: Json) -> list[str]:
    return [child["entityId"] for child in page["children"]]


def test_a_profile_is_found_by_each_identity_and_by_xid(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1, points=7))
    world.drain()

    for entity_id, namespace in (("1", "memberId"), ("MEMBER-0001@example.com ", "email"), (xid(1), "")):
        (found,) = body_of(lookup(api, entity_id, namespace)).values()
        assert found["entity"]["loyalty"] == {"points": 7}
        assert found["sources"] == [MEMBERS]
        assert found["lastModifiedAt"] == "2024-09-17T15:00:00.000Z"
        assert found["entity"]["identities"] == [
            {"id": "1", "namespace": {"code": "memberid"}, "primary": True},
            {"id": "member-0001@example.com", "namespace": {"code": "email"}},
        ]


def test_the_identity_map_of_the_profile_is_the_union_of_the_graph(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1))
    linked = {"memberId": [{"id": "1", "primary": True}], "phone": [{"id": "+447700900101"}]}
    world.accept(PURCHASE_FLOW, purchase(1, "e-1", identityMap=linked))
    world.drain()

    (found,) = body_of(lookup(api, "+447700900101", "Phone")).values()

    assert found["entity"]["loyalty"] == {"points": 100}
    assert len(found["identityGraph"]) == 3
    assert {entry["namespace"]["code"] for entry in found["entity"]["identities"]} == {"memberid", "email", "phone"}


def test_fields_select_subtrees(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1, points=7, personID="p"))
    world.drain()
    (found,) = body_of(lookup(api, "1", "memberId", fields="loyalty.points,unknown.path")).values()
    assert found["entity"] == {"loyalty": {"points": 7}}


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ([("schema.name", PROFILE), ("entityId", "9"), ("entityIdNS", "memberId")], 404, "No profile fragment"),
        ([("schema.name", PROFILE), ("entityIdNS", "memberId")], 400, "entityId is required"),
        ([("schema.name", PROFILE), ("entityId", "9"), ("entityIdNS", "card")], 400, "namespace 'card' does not exist"),
        ([("schema.name", PROFILE), ("entityId", "12"), ("entityIdNS", "ECID")], 422, "no valid value"),
        ([("entityId", "9"), ("entityIdNS", "memberId")], 400, "schema.name is required"),
        ([("schema.name", "_xdm.context.account"), ("entityId", "9")], 404, "nothing of the class"),
        ([("schema.name", PROFILE), ("entityId", "9"), ("mergePolicyId", "none")], 400, "merge policy 'none'"),
        ([("schema.name", EVENT), ("entityId", "9"), ("startTime", "now")], 400, "startTime: 'now'"),
        ([("schema.name", EVENT), ("entityId", "9"), *[("property", "a=1")] * 4], 400, "at most 3"),
        ([("schema.name", EVENT), ("entityId", "9"), ("property", "total")], 400, "property: 'total' must be"),
        ([("schema.name", EVENT), ("entityId", "9"), ("start", "???")], 400, "no continuation token"),
        ([("schema.name", EVENT), ("entityId", "9"), ("orderby", "+name")], 400, "orderby"),
    ],
)
def test_refusals_name_the_parameter(api: Mapping[str, Handler], query: list[Any], status: int, text: str) -> None:
    answer = ask(api, "retrieveEntity", query=query)
    assert (answer.status, answer.media_type) == (status, "application/problem+json")
    assert text in answer.body["detail"]


@pytest.mark.parametrize("token_name", ["start", "offsets"])
def test_events_are_paged_in_time_order_while_others_arrive(world: World, api: Mapping[str, Handler], token_name: str) -> None:
    world.accept(PURCHASE_FLOW, *(purchase(1, f"e-{n}", minute=n) for n in (4, 2, 0, 3, 1)))
    world.drain()

    first = events(api, 1, ("limit", "2"), ("fields", "eventType"))
    assert event_ids(first) == ["e-0", "e-1"]
    assert first["children"][0]["entity"] == {"eventType": "commerce.purchases"}
    assert first["children"][0]["timestamp"] == START_MS
    world.accept(PURCHASE_FLOW, purchase(1, "e-late", minute=0))
    world.drain()
    link = dict(parse_qsl(urlsplit(first["_links"]["next"]["href"]).query))
    assert link["fields"] == "eventType"
    assert link["start"] == link["offsets"] == first["_page"]["next"]
    second = events(api, 1, ("limit", "2"), (token_name, link["start"]))

    assert event_ids(second) == ["e-2", "e-3"]
    last = events(api, 1, ("limit", "2"), (token_name, second["_page"]["next"]))
    assert event_ids(last) == ["e-4"]
    assert (last["_page"]["next"], last["_links"]["next"]["href"]) == ("", "")


def test_events_newest_first_within_a_window_with_properties(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(PURCHASE_FLOW, *(purchase(1, f"e-{n}", minute=n, total=n * 10) for n in range(6)))
    world.drain()
    window = (("startTime", str(START_MS + MINUTE)), ("endTime", str(START_MS + 5 * MINUTE)))

    assert event_ids(events(api, 1, *window)) == ["e-1", "e-2", "e-3", "e-4"]
    assert event_ids(events(api, 1, *window, ("orderby", "-timestamp"), ("limit", "2"))) == ["e-4", "e-3"]
    wanted = (("property", "commerce.order.priceTotal>=20"), ("property", 'eventType="commerce.purchases"'))
    assert event_ids(events(api, 1, *window, *wanted, ("property", "commerce.order.priceTotal<40"))) == ["e-2", "e-3"]


def test_one_event_under_two_identities_of_a_graph_is_shown_once(world: World, api: Mapping[str, Handler]) -> None:
    by_mail = {"email": [{"id": "member-0001@example.com", "primary": True}], "memberId": [{"id": "1"}]}
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"), purchase(1, "e-1", identityMap=by_mail), purchase(1, "e-2"))
    world.drain()
    assert event_ids(events(api, 1)) == ["e-1", "e-2"]


def test_several_profiles_in_one_question(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.drain()
    identities: list[Json] = [{"entityId": str(n), "entityIdNS": {"code": "memberId"}} for n in (1, 2)]
    body = {"schema": {"name": PROFILE}, "identities": identities}

    answer = ask(api, "retrieveMultipleEntities", body=body)

    assert answer.status == 200
    assert answer.body[xid(1)]["entity"]["loyalty"] == {"points": 100}
    assert answer.body[xid(2)] == {
        "entityId": xid(2),
        "sources": [""],
        "entity": {},
        "lastModifiedAt": "1970-01-01T00:00:00Z",
    }
    broken = ask(api, "retrieveMultipleEntities", body=body | {"identities": [*identities, {"entityId": ""}]})
    assert broken.status == 207
    assert broken.body[0]["error"]["statusCode"] == "400"


def test_several_members_events_with_the_next_question_as_payload(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(PURCHASE_FLOW, *(purchase(1, f"e-{n}", minute=n) for n in range(3)))
    world.drain()
    body = {
        "schema": {"name": EVENT},
        "relatedSchema": {"name": PROFILE},
        "identities": [{"relatedEntityId": "1", "relatedEntityIdNS": {"code": "memberId"}}],
        "limit": 2,
    }
    first = ask(api, "retrieveMultipleEntities", body=body).body[xid(1)]
    assert event_ids(first) == ["e-0", "e-1"]

    second = ask(api, "retrieveMultipleEntities", body=first["_links"]["next"]["payload"]).body[xid(1)]

    assert event_ids(second) == ["e-2"]


def test_a_deleted_profile_is_gone_at_once_and_later_data_make_it_anew(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2))
    world.accept(PURCHASE_FLOW, purchase(1, "e-1"))
    world.drain()
    world.accept(MEMBER_FLOW, member(1, points=1))  # accepted before the deletion, processed after it

    query = [("schema.name", PROFILE), ("entityId", "member-0001@example.com"), ("entityIdNS", "Email")]
    answer = ask(api, "deleteEntity", query=query)
    assert (answer.status, answer.content()) == (202, b"")
    assert lookup(api, "1", "memberId").status == 404
    world.accept(MEMBER_FLOW, member(1, points=2))
    world.drain()

    (found,) = body_of(lookup(api, "1", "memberId")).values()
    assert found["entity"]["loyalty"] == {"points": 2}
    assert event_ids(events(api, 1)) == []
    assert lookup(api, "2", "memberId").status == 200
    assert world.rows(MEMBERS) == 4


def test_only_profiles_can_be_deleted(api: Mapping[str, Handler]) -> None:
    assert ask(api, "deleteEntity", query=[("schema.name", EVENT), ("entityId", "1")]).status == 400


def test_a_fresh_sandbox_has_one_merge_policy(api: Mapping[str, Handler]) -> None:
    listed = body_of(ask(api, "getMany", query=[("limit", "20")]))
    (policy,) = listed["children"]
    assert listed["_links"]["next"]["href"] == ""
    assert listed["_page"] == {"totalCount": 1, "pageSize": 1, "count": 1}
    assert (policy["name"], policy["default"], policy["isActiveOnEdge"]) == ("Default Timebased", True, True)
    assert (policy["imsOrgId"], policy["sandbox"]["sandboxName"]) == (ORG, PROD.name)
    assert body_of(ask(api, "retrieveMergePolicy", params={"mergePolicyId": policy["id"]})) == policy
    assert ask(api, "retrieveMergePolicy", params={"mergePolicyId": "none"}).status == 404
    several = ask(api, "bulkGetMergePolicies", body={"ids": [{"id": policy["id"]}, {"id": "none"}]})
    assert (several.status, several.body["results"]["none"]["status"]) == (207, 404)
    assert body_of(ask(api, "getMany", query=[("default", "false")]))["children"] == []


def test_counts_are_exact_and_follow_deletions(world: World, api: Mapping[str, Handler]) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2), member(1, points=3))
    world.drain()
    status = body_of(ask(api, "previewSampleStatus"))
    assert (status["docCount"], status["totalFragmentCount"], status["samplingRatio"]) == ("2", 2, 1.0)
    (dataset,) = body_of(ask(api, "profileDatasetReport"))["data"]
    assert (dataset["value"], dataset["fullIDsFragmentCount"]) == (MEMBERS, 2)
    (namespace,) = body_of(ask(api, "profileNamespaceReport"))["data"]
    assert (namespace["code"], namespace["fullIDsFragmentCount"]) == ("memberId", 2)

    query = [("schema.name", PROFILE), ("entityId", "2"), ("entityIdNS", "memberId")]
    ask(api, "deleteEntity", query=query)
    world.drain()

    later = body_of(ask(api, "previewSampleStatus", now_ms=START_MS + 60_000))
    assert (later["docCount"], later["totalFragmentCount"]) == ("1", 1)
