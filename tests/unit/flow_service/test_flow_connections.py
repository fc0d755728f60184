"""Connections: inlets, secrets, patches, states. Source: flow-service.md 2, 3.1, 4, 6, 7, 10."""

from typing import Any

import pytest
from flow_plane import CAPILLARY, HTTP_API, LAKE, PROFILE, SFTP, FlowPlane, capillary_connection, code_of, http_connection

PROFILE_SERVICE = "8a9c3494-9708-43d7-ae3f-cda01e5030e1"


def test_a_capillary_connection_opens_an_authenticated_raw_inlet(plane: FlowPlane) -> None:
    answer = plane.flow("POST", "/connections", json=capillary_connection())
    assert answer.status_code == 201
    assert set(answer.json()) == {"id", "etag"}  # a `status` here would stop aepp
    connection = plane.item(f"/connections/{answer.json()['id']}")
    params = connection["auth"]["params"]
    assert len(params["inletId"]) == 64
    assert params == {
        "clientId": "3f1c0a7e5d2b4c9fa6e8",
        "clientSecret": "xxxx",
        "accessToken": "xxxx",
        "authenticationRequired": True,
        "inletId": params["inletId"],
        "inletUrl": f"http://platform.test/collection/{params['inletId']}",
        "name": "Capillary base connection",
        "sourceId": "Capillary base connection",
        "dataType": "raw",
    }
    assert connection["state"] == "enabled"
    inlet = plane.inlets.get(params["inletId"])
    assert inlet is not None
    assert inlet == plane.inlets.get(connection["id"])
    assert (inlet.data_type, inlet.authentication_required, inlet.enabled) == ("raw", True, True)


def test_secrets_do_not_lie_open_in_the_store(plane: FlowPlane) -> None:
    plane.connection()
    plane.documents.close()
    stored = b"".join(path.read_bytes() for path in plane.folder.glob("control.db*"))
    assert b"3f1c0a7e5d2b4c9fa6e8" in stored
    assert b"token-text" not in stored
    assert b'"right"' not in stored
    key = plane.folder / "secrets" / "key"
    assert key.stat().st_mode & 0o077 == 0


def test_http_api_defaults(plane: FlowPlane) -> None:
    connection = plane.item(f"/connections/{plane.made('/connections', http_connection())}")
    params = connection["auth"]["params"]
    assert (params["dataType"], params["authenticationRequired"]) == ("xdm", False)
    assert (params["name"], params["sourceId"]) == ("HTTP", "HTTP")
    named = plane.made("/connections", http_connection(name="n", sourceId="s", dataType="raw", authenticationRequired=True))
    inlet = plane.inlets.get(named)
    assert inlet is not None
    assert (inlet.source_id, inlet.data_type, inlet.authentication_required) == ("s", "raw", True)


def test_specs_without_authentication_need_no_auth(plane: FlowPlane) -> None:
    connection_id = plane.made("/connections", {"name": "UPS", "connectionSpec": {"id": PROFILE_SERVICE}})
    assert "auth" not in plane.item(f"/connections/{connection_id}")
    assert plane.inlets.get(connection_id) is None


@pytest.mark.parametrize(
    ("changed", "code", "hint"),
    [
        ({"name": " "}, "1100-400", "name"),
        ({"connectionSpec": {}}, "1413-400", "connectionSpec.id"),
        ({"connectionSpec": {"id": "none"}}, "1413-400", "none"),
        ({"auth": None}, "1100-400", "auth"),
        ({"auth": {"specName": "Basic", "params": {}}}, "1415-400", "OAuth generic-rest-connector"),
        ({"auth": {"specName": "OAuth generic-rest-connector", "params": {"clientId": "c"}}}, "1100-400", "clientSecret"),
        (
            {"auth": {"specName": "OAuth generic-rest-connector", "params": {"clientId": 5, "clientSecret": "s"}}},
            "1100-400",
            "clientId must be of type string",
        ),
        (
            {
                "auth": {
                    "specName": "OAuth generic-rest-connector",
                    "params": {"clientId": "c", "clientSecret": "s", "authenticationRequired": "yes"},
                }
            },
            "1100-400",
            "authenticationRequired",
        ),
    ],
)
def test_refuses_a_connection_by_the_catalogue(plane: FlowPlane, changed: dict[str, Any], code: str, hint: str) -> None:
    answer = plane.flow("POST", "/connections", json=capillary_connection() | changed)
    assert code_of(answer) == code
    assert hint in answer.json()["errorMessage"]


def test_refuses_an_unknown_data_type(plane: FlowPlane) -> None:
    assert code_of(plane.flow("POST", "/connections", json=http_connection(dataType="csv"))) == "1100-400"


def test_patch_replaces_given_params_and_keeps_inlet_and_secrets(plane: FlowPlane) -> None:
    connection_id = plane.connection()
    before = plane.item(f"/connections/{connection_id}")
    plane.now_ms += 5000
    value = {"clientSecret": "xxxx", "authenticationRequired": False}
    answer = plane.flow(
        "PATCH",
        f"/connections/{connection_id}",
        json=[{"op": "Replace", "path": "/auth/params", "value": value}, {"op": "ADD", "path": "/description", "value": "new"}],
        if_match=before["etag"],
    )
    assert answer.status_code == 200
    after = plane.item(f"/connections/{connection_id}")
    assert answer.json() == {"id": connection_id, "etag": after["etag"]}
    assert after["etag"] != before["etag"]
    assert after["updatedAt"] == plane.now_ms
    assert after["createdAt"] == before["createdAt"]
    assert after["description"] == "new"
    assert after["auth"]["params"] == before["auth"]["params"] | {"authenticationRequired": False}
    inlet = plane.inlets.get(connection_id)
    assert inlet is not None
    assert (inlet.id, inlet.authentication_required) == (before["auth"]["params"]["inletId"], False)
    assert plane.flow("GET", f"/connections/{connection_id}/test").json() == {"result": True}
    assert plane.asked == [("3f1c0a7e5d2b4c9fa6e8", "right")]


def test_patch_takes_a_single_object_and_a_new_secret(plane: FlowPlane) -> None:
    connection_id = plane.connection()
    body = {"op": "replace", "path": "/auth/params/clientSecret", "value": "wrong"}
    etag = plane.item(f"/connections/{connection_id}")["etag"]
    assert plane.flow("PATCH", f"/connections/{connection_id}/", json=body, if_match=etag).status_code == 200
    assert plane.item(f"/connections/{connection_id}")["auth"]["params"]["clientSecret"] == "xxxx"
    assert plane.flow("GET", f"/connections/{connection_id}/test").json() == {"result": False}
    assert plane.asked == [("3f1c0a7e5d2b4c9fa6e8", "wrong")]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ([], "1405-400"),
        ([{"op": "move", "path": "/name", "value": "x"}], "1434-400"),
        ([{"op": "replace", "value": "x"}], "1455-400"),
        ([{"op": "remove", "path": "/nothing"}], "1455-400"),
        ([{"op": "replace", "path": "/connectionSpec/id", "value": "x"}], "1414-400"),
        ([{"op": "replace", "path": "/state", "value": "disabled"}], "1456-400"),
        ([{"op": "replace", "path": "/etag", "value": "x"}], "1455-400"),
        ([{"op": "remove", "path": "/name"}], "1100-400"),
        ([{"op": "remove", "path": "/auth"}], "1100-400"),
        ([{"op": "replace", "path": "/auth/params/clientSecret", "value": ""}], "1100-400"),
        ([{"op": "replace", "path": "/auth/specName", "value": "Basic"}], "1415-400"),
    ],
)
def test_refuses_a_patch_by_the_catalogue(plane: FlowPlane, change: Any, code: str) -> None:
    connection_id = plane.connection()
    before = plane.item(f"/connections/{connection_id}")
    answer = plane.flow("PATCH", f"/connections/{connection_id}", json=change, if_match=before["etag"])
    assert code_of(answer) == code
    assert plane.item(f"/connections/{connection_id}") == before


def test_if_match_in_header_query_or_not_at_all(plane: FlowPlane) -> None:
    connection_id = plane.connection()
    change = [{"op": "replace", "path": "/name", "value": "renamed"}]
    etag = plane.item(f"/connections/{connection_id}")["etag"]
    assert code_of(plane.flow("PATCH", f"/connections/{connection_id}", json=change)) == "1403-400"
    escaped = "W/" + etag.replace('"', '\\"')
    assert plane.flow("PATCH", f"/connections/{connection_id}", json=change, if_match=escaped).status_code == 200
    stale = plane.flow("PATCH", f"/connections/{connection_id}", json=change, if_match=etag)
    assert code_of(stale) == "1404-412"
    assert "does not match the current version" in stale.json()["errorMessage"]
    bare = plane.item(f"/connections/{connection_id}")["etag"].strip('"')
    assert plane.flow("PATCH", f"/connections/{connection_id}?if-match={bare}", json=change).status_code == 200


def test_a_draft_has_no_inlet_until_it_is_published(plane: FlowPlane) -> None:
    connection_id = plane.connection("?mode=draft")
    draft = plane.item(f"/connections/{connection_id}")
    assert draft["state"] == "draft"
    assert "inletId" not in draft["auth"]["params"]
    assert plane.inlets.get(connection_id) is None
    assert code_of(plane.flow("DELETE", f"/connections/{connection_id}/")) == "1416-400"
    assert code_of(plane.flow("POST", f"/connections/{connection_id}/action?op=ENABLE")) == "1422-400"
    assert code_of(plane.flow("POST", f"/connections/{connection_id}/action?op=FINALIZE")) == "1402-400"
    assert plane.flow("POST", f"/connections/{connection_id}/action?op=publish").status_code == 200
    published = plane.item(f"/connections/{connection_id}")
    assert published["state"] == "enabled"
    assert plane.inlets.get(published["auth"]["params"]["inletId"]) is not None
    assert code_of(plane.flow("POST", f"/connections/{connection_id}/action?op=PUBLISH")) == "1422-400"


def test_delete_revokes_the_inlet_unless_a_flow_needs_it(plane: FlowPlane) -> None:
    base, flow_id = plane.whole_flow()
    inlet_id = plane.item(f"/connections/{base}")["auth"]["params"]["inletId"]
    assert code_of(plane.flow("DELETE", f"/connections/{base}")) == "1418-400"
    assert plane.flow("DELETE", f"/flows/{flow_id}").status_code == 204
    answer = plane.flow("DELETE", f"/connections/{base}/")
    assert (answer.status_code, answer.content) == (204, b"")
    assert plane.inlets.get(inlet_id) is None
    assert plane.inlets.get(base) is None
    missing = plane.flow("GET", f"/connections/{base}")
    assert code_of(missing) == "1439-404"
    assert missing.json()["report"] | {"request-id": ""} == {
        "detailed-message": missing.json()["errorMessage"],
        "id": base,
        "request-id": "",
        "type": "connections",
    }


def test_explore_answers_by_spec(plane: FlowPlane) -> None:
    streaming = plane.flow("GET", f"/connections/{plane.connection()}/explore?objectType=root")
    assert code_of(streaming) == "1100-400"
    assert f"Explore connection is not supported for connection spec ID: {CAPILLARY}" in streaming.json()["errorMessage"]
    params = {"host": "files.example.com", "userName": "u", "password": "p"}
    auth = {"specName": "Basic Authentication for sftp", "params": params}
    sftp = plane.made("/connections?mode=draft", {"name": "sftp", "connectionSpec": {"id": SFTP}, "auth": auth})
    for query, expected in (("objectType=disk", "CONNECTOR-1358-400"), ("objectType=FILE", "CONNECTOR-1337-400")):
        answer = plane.flow("GET", f"/connections/{sftp}/explore?{query}")
        assert expected in answer.json()["errorMessage"]
    zone = plane.made("/connections", {"name": "zone", "connectionSpec": {"id": "26f526f2-58f4-4712-961d-e41bf1ccc0e8"}})
    assert plane.flow("GET", f"/connections/{zone}/explore?objectType=root").json() == []
    assert plane.flow("GET", f"/connections/{zone}/test").json() == {"result": True}


def test_the_configs_of_a_streaming_connection_have_no_columns(plane: FlowPlane) -> None:
    assert plane.flow("GET", f"/connections/{plane.connection()}/configs").json() == {"items": []}


def test_source_connection_defaults_and_rules(plane: FlowPlane) -> None:
    base = plane.connection()
    source = plane.item(f"/sourceConnections/{plane.source(base)}")
    assert source["data"] == {"format": "json"}
    assert source["baseConnectionId"] == base
    assert source["params"] == {}
    spec = {"id": CAPILLARY}
    for body, code, hint in (
        ({"connectionSpec": spec}, "1100-400", "name"),
        ({"name": "s"}, "1413-400", "connectionSpec.id"),
        ({"name": "s", "connectionSpec": spec, "baseConnectionId": "none"}, "1439-404", "none"),
        ({"name": "s", "connectionSpec": {"id": HTTP_API}, "baseConnectionId": base}, "1100-400", "differs"),
        ({"name": "s", "connectionSpec": {"id": LAKE}, "baseConnectionId": base}, "1100-400", "CONNECTOR-1332-400"),
        ({"name": "s", "connectionSpec": spec, "data": {"format": "xml"}}, "1100-400", "CONNECTOR-1327-400"),
    ):
        answer = plane.flow("POST", "/sourceConnections", json=body)
        assert code_of(answer) == code
        assert hint in answer.json()["errorMessage"]


def test_target_connection_defaults_and_rules(plane: FlowPlane) -> None:
    spec = {"id": LAKE, "version": "1.0"}
    body = {"connectionSpec": spec, "params": {"datasetId": plane.profile_dataset}}
    target = plane.item(f"/targetConnections/{plane.made('/targetConnections', body)}")
    assert target["params"] == {"dataSetId": plane.profile_dataset}
    assert target["data"]["schema"] == {
        "id": PROFILE,
        "version": "application/vnd.adobe.xed+json;version=1",
    }
    sent = {
        "schema": {
            "id": PROFILE,
            "version": "application/vnd.adobe.xed-full+json; version=1.0",
        }
    }
    kept = plane.item(f"/targetConnections/{plane.made('/targetConnections', body | {'data': sent})}")
    assert kept["data"] == sent
    for changed, code, hint in (
        ({"connectionSpec": {"id": CAPILLARY}}, "1100-400", "CONNECTOR-1307-400"),
        ({"params": {}}, "1100-400", "CONNECTOR-1325-400"),
        ({"params": {"dataSetId": "000000000000000000000000"}}, "1100-400", "does not exist"),
    ):
        answer = plane.flow("POST", "/targetConnections", json=body | changed)
        assert code_of(answer) == code
        assert hint in answer.json()["errorMessage"]


def test_ends_of_a_flow_are_patched_and_deleted_by_the_rules(plane: FlowPlane) -> None:
    base = plane.connection()
    source, target = plane.source(base), plane.target()
    flow_id = plane.made("/flows", plane.flow_body(source, target))
    for path in (f"/sourceConnections/{source}", f"/targetConnections/{target}"):
        change = [{"op": "replace", "path": "/description", "value": "d"}]
        answer = plane.flow("PATCH", path, json=change, if_match=plane.item(path)["etag"])
        assert set(answer.json()) == {"id", "etag"}
        assert plane.item(path)["description"] == "d"
        assert code_of(plane.flow("DELETE", path)) == "1447-400"
    change = [{"op": "replace", "path": "/params/dataSetId", "value": plane.event_dataset}]
    path = f"/targetConnections/{target}"
    assert plane.flow("PATCH", path, json=change, if_match=plane.item(path)["etag"]).status_code == 200
    route = plane.flows.route(flow_id)
    assert route is not None
    assert route.dataset_id == plane.profile_dataset  # a change of an end does not reach its flow
    plane.flow("DELETE", f"/flows/{flow_id}")
    for path in (f"/sourceConnections/{source}", f"/targetConnections/{target}"):
        assert plane.flow("DELETE", path).status_code == 204
        assert code_of(plane.flow("GET", path)) == "1439-404"
    assert plane.item(f"/connections/{base}")["state"] == "enabled"


def test_no_secret_lies_in_the_data_folder_or_in_an_answer(plane: FlowPlane, caplog: pytest.LogCaptureFixture) -> None:
    """Grep the folder for every secret that went in, by each way there is."""
    secrets = {
        name: f"s3cret-{name}-value" for name in ("clientSecret", "accessToken", "password", "privateKeyContent", "passPhrase")
    }
    capillary = capillary_connection()
    capillary["auth"]["params"] |= {name: secrets[name] for name in ("clientSecret", "accessToken")}
    base = plane.made("/connections", capillary)
    draft = plane.made("/connections?mode=draft", capillary)
    for kind, names in (
        ("Basic Authentication", ["password"]),
        ("SSH PublicKey Authentication", ["privateKeyContent", "passPhrase"]),
    ):
        params = {"host": "files.example.com", "userName": "u"} | {name: secrets[name] for name in names}
        auth = {"specName": f"{kind} for sftp", "params": params}
        plane.made("/connections?mode=draft", {"name": kind, "connectionSpec": {"id": SFTP}, "auth": auth})
    secrets["changed"] = "s3cret-changed-value"
    change = [{"op": "replace", "path": "/auth/params", "value": {"clientSecret": secrets["changed"]}}]
    etag = plane.item(f"/connections/{base}")["etag"]
    patched = plane.flow("PATCH", f"/connections/{base}", json=change, if_match=etag)
    answers = [patched, plane.flow("GET", "/connections"), plane.flow("GET", f"/connections/{draft}")]
    answers.append(plane.flow("POST", "/connections/search", json={"queryString": ""}))
    answers.append(plane.flow("GET", f"/connections?property=auth.params.clientSecret=={secrets['clientSecret']}"))
    assert answers[-1].json()["items"] == []
    assert [each.status_code for each in answers] == [200] * 5
    with plane.documents.transaction():
        pass  # the write-ahead log holds everything that was ever committed
    kept = b"".join(file.read_bytes() for file in plane.folder.rglob("*") if file.is_file())
    said = "".join(each.text for each in answers) + caplog.text
    assert len(kept) > 10_000
    for secret in secrets.values():
        assert secret.encode() not in kept
        assert secret not in said
