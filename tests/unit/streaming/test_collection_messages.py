"""Which messages are taken, as what, and why others are not. Source: streaming-ingestion.md 3, 5, 6, 10, 17."""

import re
from typing import Any

import pytest
from collection_plane import EVENT, FLOW, ORG, OTHER_FLOW, PROFILE, RAW, XDM, CollectionPlane, message_of

from capstream.aep.flow_service.model import State

RECORD = {"memberId": "M-0001", "points": {"balance": 120}}
SECOND_VERSION = {"id": PROFILE, "contentType": "x;version=2"}
HEADER_TEXT = "The 'header' field is mandatory. Provide a valid 'header' value and try again."


def prefixed(text: str, inlet_id: str = XDM) -> str:
    return f"inletId: [{inlet_id}] imsOrgId: [{ORG}] {text}"


def batch(plane: CollectionPlane, inlet_id: str, messages: list[Any], **headers: str) -> list[dict[str, Any]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = plane.send(f"/collection/batch/{inlet_id}", {"messages": messages}, headers=named)
    assert answer.status_code == 207, answer.text
    responses = answer.json()["responses"]
    assert len(responses) == len(messages)
    for index, each in enumerate(responses):
        assert each["xactionId"].endswith(f"-{index}")
        assert ("status" in each) == ("statusCode" in each) == ("message" in each)
    return list(responses)


def test_form_a_without_flow_and_sandbox_header(plane: CollectionPlane) -> None:
    message = plane.envelope()
    answer = plane.send(f"/collection/{XDM}", message)
    assert answer.status_code == 200
    assert answer.json() == {
        "inletId": XDM,
        "xactionId": f"{plane.now_ms}:0062:1",
        "receivedTimeMs": plane.now_ms,
        "syncValidation": {"skipped": True},
    }
    (stored,) = plane.stored()
    assert (stored.form, stored.flow_id, stored.dataset_id) == ("A", "", plane.profiles)
    assert (stored.xaction_id, stored.inlet_id, stored.refusal) == (answer.json()["xactionId"], XDM, "")
    assert (stored.received_ms, stored.authenticated) == (plane.now_ms, False)


def test_form_b_with_the_flow_in_header_query_and_both(plane: CollectionPlane) -> None:
    query, header = {"x-adobe-flow-id": FLOW}, {"x-adobe-flow-id": FLOW}
    for options in ({"headers": header}, {"params": query}, {"headers": header, "params": query}, {}):
        assert plane.send(f"/collection/{RAW}", RECORD, **options).status_code == 200
    assert {(each.form, each.flow_id, each.dataset_id) for each in plane.stored()} == {("B", FLOW, plane.profiles)}
    differing = plane.send(f"/collection/{RAW}", RECORD, headers=header, params={"x-adobe-flow-id": OTHER_FLOW})
    assert differing.status_code == 400
    assert "Message has an invalid flow id" in message_of(differing)
    in_batch = batch(plane, RAW, [RECORD], x_adobe_flow_id=OTHER_FLOW)
    assert in_batch[0]["message"] == prefixed("Message has an invalid flow id", RAW)


def test_the_documented_batch_of_four(plane: CollectionPlane) -> None:
    valid = plane.envelope()
    no_body = {"header": valid["header"]}
    wrong_org = plane.envelope(imsOrgId="F" * 24 + "@AdobeOrg")
    legacy = plane.envelope(schemaRef=None, xdmSchema={"name": "_acme.profile"})
    answer = plane.send(f"/collection/batch/{XDM}", {"messages": [valid, no_body, wrong_org, legacy]})
    assert answer.status_code == 207
    body = answer.json()
    assert (body["inletId"], body["receivedTimeMs"]) == (XDM, plane.now_ms)
    assert re.fullmatch(rf"{plane.now_ms}:0062:\d+", body["batchId"])
    responses = body["responses"]
    assert set(responses[0]) == {"xactionId"}
    assert [each["message"] for each in responses[1:]] == [
        prefixed("Message has unknown xdm format"),
        prefixed("Message has an absent or wrong ims org in the header"),
        prefixed("Message has unknown xdm format"),
    ]
    assert [(each["status"], each["statusCode"]) for each in responses[1:]] == [(400, 400)] * 3
    # Adobe's Kafka sink: failed when `status` is there, index after the last dash
    failed = [int(each["xactionId"].rsplit("-", 1)[1]) for each in responses if each.get("status")]
    assert failed == [1, 2, 3]
    kept = plane.stored()
    assert [each.refusal != "" for each in kept] == [False, True, True, True]
    assert {each.dataset_id for each in kept} == {plane.profiles}
    assert [each.xaction_id for each in kept] == [each["xactionId"] for each in responses]


def test_the_stored_message_is_the_text_that_was_sent(plane: CollectionPlane) -> None:
    body = b'{ "messages" : [ {"b":1 , "a":"\xc3\xa9"} ,{"c": 1.50}]}'
    headers = {"content-type": "application/json"}
    assert plane.send(f"/collection/batch/{RAW}", content=body, headers=headers).status_code == 207
    assert [each.message for each in plane.stored()] == [b'{"b":1 , "a":"\xc3\xa9"}', b'{"c": 1.50}']
    plane.send(f"/collection/{RAW}", content=b' {"d":1}\n', headers=headers)
    assert plane.stored()[-1].message == b'{"d":1}'


def without(message: dict[str, Any], part: str, name: str) -> dict[str, Any]:
    return message | {part: {key: value for key, value in message[part].items() if key != name}}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda plane, m: {"memberId": 1}, HEADER_TEXT),
        (lambda plane, m: {"header": 5, "body": {}}, HEADER_TEXT),
        (lambda plane, m: "text", prefixed("Message has unknown xdm format")),
        (lambda plane, m: [m], prefixed("Message has unknown xdm format")),
        (lambda plane, m: m | {"body": "text"}, prefixed("Message has unknown xdm format")),
        (lambda plane, m: m | {"body": m["body"] | {"xdmEntity": []}}, prefixed("Message has unknown xdm format")),
        (lambda plane, m: without(m, "body", "xdmMeta"), prefixed("Message has unknown xdm format")),
        (lambda plane, m: plane.envelope(schema=EVENT), prefixed("Message has unknown xdm format")),
        (lambda plane, m: plane.envelope(schemaRef=SECOND_VERSION), prefixed("Message has unknown xdm format")),
        (lambda plane, m: plane.envelope(schemaRef="text"), prefixed("Message has unknown xdm format")),
        (lambda plane, m: plane.envelope(datasetId=None), prefixed("Message has an invalid dataset id")),
        (lambda plane, m: plane.envelope("0" * 24), prefixed("Message has an invalid dataset id")),
        (lambda plane, m: plane.envelope(flowId="none"), prefixed("Message has an invalid flow id")),
        (lambda plane, m: plane.envelope(flowId=FLOW), prefixed("Message has an invalid flow id")),
    ],
)  # fmt: skip
def test_refused_on_an_xdm_inlet_single_and_in_a_batch(plane: CollectionPlane, change: Any, text: str) -> None:
    message = change(plane, plane.envelope())
    single = plane.send(f"/collection/{XDM}", message)
    assert single.status_code == 400
    assert message_of(single) == text
    assert single.json()["title"] == "Invalid XDM Message Format"
    assert plane.stored() == []  # the sender of a single message keeps it
    (refused,) = batch(plane, XDM, [message])
    assert refused["message"] == text


@pytest.mark.parametrize(
    "content_type",
    [
        "application/vnd.adobe.xed-full-notext+json; version=1.0",
        "application/vnd.adobe.xed+json",
        "application/vnd.adobe.xed-full+json;1.3",
    ],
)
def test_reads_schema_references_leniently(plane: CollectionPlane, content_type: str) -> None:
    message = plane.envelope(schemaRef={"id": PROFILE, "contentType": content_type}, imsOrgId=None, createdAt=None)
    assert plane.send(f"/collection/{XDM}", message).status_code == 200


def test_a_missing_entity_and_source_name_are_left_to_the_pipeline(plane: CollectionPlane) -> None:
    message = plane.envelope(source={})
    assert plane.send(f"/collection/{XDM}", message).status_code == 200
    assert plane.send(f"/collection/{XDM}", without(message, "body", "xdmEntity")).status_code == 200
    assert [each.form for each in plane.stored()] == ["A", "A"]


def test_form_c_and_its_operations(plane: CollectionPlane) -> None:
    operations = {"data": "merge", "identity": "create", "identityDatasetId": plane.identities}
    header = {"flowId": FLOW, "imsOrgId": ORG, "datasetId": plane.profiles, "operations": operations}
    assert plane.send(f"/collection/{RAW}", {"header": header, "body": RECORD}).status_code == 200
    (stored,) = plane.stored()
    assert (stored.form, stored.flow_id, stored.dataset_id) == ("C", FLOW, plane.profiles)
    assert (stored.data_operation, stored.identity_operation) == ("merge", "create")
    assert stored.identity_dataset_id == plane.identities


@pytest.mark.parametrize(
    ("operations", "hint"),
    [
        ([{"op": "add", "path": "/a"}], "create, merge, delete"),
        ({"data": "upsert"}, "create, merge, delete"),
        ({"identity": "delete"}, "identity is create"),
        ({"data": "merge", "identity": "create"}, "identityDatasetId is required"),
        ({"data": "merge", "identity": "create", "identityDatasetId": "0" * 24}, "another dataset"),
    ],
)
def test_refuses_operations_it_does_not_know(plane: CollectionPlane, operations: Any, hint: str) -> None:
    header = {"flowId": FLOW, "operations": operations}
    answer = plane.send(f"/collection/{RAW}", {"header": header, "body": RECORD})
    assert answer.status_code == 400
    assert "Message has invalid operations" in message_of(answer)
    assert hint in message_of(answer)


def test_upserts_need_a_profile_dataset_of_records(plane: CollectionPlane) -> None:
    plane.route(OTHER_FLOW, RAW, mapping_id="m1", dataset_id=plane.events, schema_id=EVENT)
    for data, status in (("create", 200), ("merge", 400), ("delete", 400)):
        message = {"header": {"flowId": OTHER_FLOW, "operations": {"data": data}}, "body": RECORD}
        assert plane.send(f"/collection/{RAW}", message).status_code == status
    plane.route("plain", RAW, mapping_id="m1", dataset_id=plane.identities)
    message = {"header": {"flowId": "plain", "operations": {"data": "merge"}}, "body": RECORD}
    assert plane.send(f"/collection/{RAW}", message).status_code == 400


def test_json_patch_updates_are_refused(plane: CollectionPlane) -> None:
    message = plane.envelope()
    message["body"]["operations"] = [{"op": "add", "path": "/person", "value": {}}]
    answer = plane.send(f"/collection/{XDM}", message)
    assert "deprecated" in message_of(answer)


def test_an_envelope_on_a_mapped_flow(plane: CollectionPlane) -> None:
    """Its entity is mapped; with no members that route, a header is part of the raw record."""
    assert plane.send(f"/collection/{RAW}", plane.envelope()).status_code == 200
    assert plane.send(f"/collection/{RAW}", {"header": {"x": 1}, "body": RECORD}).status_code == 200
    assert plane.send(f"/collection/{RAW}", {"header": "x", "body": RECORD}).status_code == 200
    assert plane.send(f"/collection/{RAW}", {"page": {"header": {"flowId": "none"}}}).status_code == 200
    assert [each.form for each in plane.stored()] == ["A", "B", "B", "B"]


def test_an_escaped_header_key_is_still_a_header(plane: CollectionPlane) -> None:
    text = b'{"\\u0068eader":{"flowId":"none"},"body":{}}'
    answer = plane.send(f"/collection/{RAW}", content=text, headers={"content-type": "application/json"})
    assert "invalid flow id" in message_of(answer)


def test_a_raw_inlet_with_several_flows_needs_a_flow_id(plane: CollectionPlane) -> None:
    plane.route(OTHER_FLOW, RAW, mapping_id="m1")
    answer = plane.send(f"/collection/{RAW}", RECORD)
    assert answer.status_code == 400
    assert message_of(answer) == "Flow id is missing for the raw inlet"
    assert plane.send(f"/collection/{RAW}", RECORD, headers={"x-adobe-flow-id": OTHER_FLOW}).status_code == 200
    plane.route(FLOW, RAW, mapping_id="m0", state=State.DISABLED)
    assert plane.send(f"/collection/{RAW}", RECORD).status_code == 200  # one enabled flow is left
    assert {each.flow_id for each in plane.stored()} == {OTHER_FLOW}


def test_a_disabled_flow_refuses_and_opens_no_run(plane: CollectionPlane) -> None:
    plane.route(FLOW, RAW, mapping_id="m0", state=State.DISABLED)
    (refused,) = batch(plane, RAW, [RECORD], x_adobe_flow_id=FLOW)
    assert refused["message"] == prefixed("Message has an invalid flow id", RAW)
    (kept,) = plane.stored()
    assert (kept.flow_id, kept.dataset_id) == ("", plane.profiles)


def test_a_flow_that_is_not_active_yet_refuses(plane: CollectionPlane) -> None:
    plane.route(FLOW, RAW, mapping_id="m0", active_from_ms=plane.now_ms + 1)
    headers = {"x-adobe-flow-id": FLOW}
    assert plane.send(f"/collection/{RAW}", RECORD, headers=headers).status_code == 400
    plane.now_ms += 1
    assert plane.send(f"/collection/{RAW}", RECORD, headers=headers).status_code == 200


def test_a_flow_of_another_inlet_is_unknown_here(plane: CollectionPlane) -> None:
    answer = plane.send(f"/collection/{XDM}", plane.envelope(), headers={"x-adobe-flow-id": FLOW})
    assert message_of(answer) == prefixed("Message has an invalid flow id")


def test_datasets_of_header_and_flow(plane: CollectionPlane) -> None:
    wrong = {"x-adobe-flow-id": FLOW, "x-adobe-dataset-id": plane.events}
    right = {"x-adobe-flow-id": FLOW, "x-adobe-dataset-id": plane.profiles}
    assert message_of(plane.send(f"/collection/{RAW}", RECORD, headers=wrong)) == prefixed(
        "Message has an invalid dataset id", RAW
    )
    assert plane.send(f"/collection/{RAW}", RECORD, headers=right).status_code == 200
    in_batch = batch(plane, RAW, [RECORD], **{name.replace("-", "_"): value for name, value in wrong.items()})
    assert in_batch[0]["status"] == 400
    refused = plane.stored()[-1]
    assert (refused.flow_id, refused.dataset_id) == (FLOW, plane.profiles)  # counts in the run of the flow
    named = {"header": {"flowId": FLOW, "datasetId": plane.events}, "body": RECORD}
    assert plane.send(f"/collection/{RAW}", named).status_code == 400


def test_one_flow_on_an_xdm_inlet_and_another_dataset_in_the_message(plane: CollectionPlane) -> None:
    plane.route(OTHER_FLOW, XDM)
    assert plane.send(f"/collection/{XDM}", plane.envelope(datasetId=None)).status_code == 200
    assert plane.send(f"/collection/{XDM}", plane.envelope(plane.events, schema=EVENT)).status_code == 200
    explicit = plane.send(
        f"/collection/{XDM}", plane.envelope(plane.events, schema=EVENT), headers={"x-adobe-flow-id": OTHER_FLOW}
    )
    assert message_of(explicit) == prefixed("Message has an invalid dataset id")
    assert [(each.flow_id, each.dataset_id) for each in plane.stored()] == [
        (OTHER_FLOW, plane.profiles),
        ("", plane.events),
    ]


def test_a_wrong_sandbox_is_refused_per_message(plane: CollectionPlane) -> None:
    assert plane.send(f"/collection/{RAW}", RECORD, headers={"x-sandbox-name": "prod"}).status_code == 200
    answer = plane.send(f"/collection/{RAW}", RECORD, headers={"x-sandbox-name": "dev"})
    assert answer.status_code == 400
    responses = batch(plane, RAW, [RECORD, RECORD], x_sandbox_name="dev")
    assert [each["status"] for each in responses] == [400, 400]
    assert len(plane.stored()) == 1


def test_a_refusal_that_belongs_nowhere_is_counted_only(plane: CollectionPlane) -> None:
    batch(plane, RAW, [RECORD], x_adobe_flow_id="none")
    assert plane.stored() == []
    counts = plane.app.metrics()[RAW]
    assert (counts.received, counts.success, counts.failure) == (1, 0, 1)


def test_inlet_counts(plane: CollectionPlane) -> None:
    batch(plane, XDM, [plane.envelope(), {}, plane.envelope()])
    plane.send(f"/collection/{XDM}", {})
    plane.send(f"/collection/{XDM}", plane.envelope())
    counts = plane.app.metrics()[XDM]
    assert (counts.received, counts.success, counts.failure) == (5, 3, 2)
    assert counts.received_bytes > 0
