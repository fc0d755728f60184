"""`connect`: the tutorial as requests; run again, or after a failure anywhere, it makes nothing twice."""

import asyncio
import json
from importlib import resources
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from capstream.kernel.errors import InputError, Permanent, Transient
from capstream.relay.doctor import Report, examine
from capstream.relay.provision import connect
from capstream.relay.provision_flows import CAPILLARY_SPEC, PRINTED_FLOW_SPEC, STREAMING_FLOW_SPEC
from capstream.relay.provision_wanted import Wanted, read

CREDENTIALS = {
    "org_id": "0A7D42FC5DB9D3360A495FD3@AdobeOrg",
    "client_id": "client-1",
    "client_secret": "p8e-secret",
    "scopes": "openid,AdobeID",
    "sandbox": "prod",
    "ims_url": "https://platform.test",
    "platform_url": "https://platform.test",
    "relay_url": "https://relay.test",
    "webhook_secret": "webhook-secret",
}

if not (resources.files("capstream.relay") / "mappings" / "profile.json").is_file():
    pytest.skip("the package has no mapping sets", allow_module_level=True)


class FakePlatform:
    """Keeps what is posted; enough of each service's shapes for the client to find it again."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, dict[str, Any]]] = {}
        self.writes: list[str] = []
        self.withheld: list[str] = []
        self.calls = 0
        self.fail_at: int | None = None
        self.lost_answer = False  #: the failing call does its work, but nobody hears of it
        self.relay: list[httpx.Request] = []
        self.source: dict[str, Any] | None = None  #: the relay's record of it
        self.specs: list[dict[str, Any]] = [
            {"id": "spec-cap", "sourceSpec": {"attributes": {"uiAttributes": {"label": {"text": "Capillary Streaming Events"}}}}}
        ]
        self.flow_specs: list[dict[str, Any]] = [{"id": STREAMING_FLOW_SPEC, "sourceConnectionSpecIds": ["spec-cap"]}]

    def of(self, kind: str) -> dict[str, dict[str, Any]]:
        return self.kept.setdefault(kind, {})

    def __call__(self, request: httpx.Request) -> httpx.Response:
        fails, self.calls = self.calls == self.fail_at, self.calls + 1
        if fails and not self.lost_answer:
            raise httpx.ConnectError("cut before")
        answer = self.dispatch(request)
        if fails:
            raise httpx.ReadError("cut after")
        return answer

    def dispatch(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode().partition("?")[0]
        if request.url.host == "relay.test":
            if request.method == "GET":
                return httpx.Response(404 if self.source is None else 200, json=self.source or {})
            self.relay.append(request)
            return httpx.Response(200, json={})
        if path == "/ims/token/v3":
            return httpx.Response(200, json={"access_token": "token-1", "expires_in": 86_399})
        assert request.headers["authorization"] == "Bearer token-1"
        assert request.headers["x-gw-ims-org-id"] == CREDENTIALS["org_id"]
        assert request.headers["x-sandbox-name"] == "prod"
        body = json.loads(request.content) if request.content else None
        if request.method != "GET" and not path.endswith("/effective-policies"):
            self.writes.append(f"{request.method} {path}")
        return self.answer(request.method, path.removeprefix("/data/foundation"), body)

    def answer(self, method: str, path: str, body: Any) -> httpx.Response:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        match method, parts:
            case "GET", ["sandbox-management"]:
                return httpx.Response(200, json={"sandboxes": [{"name": "prod"}]})
            case "GET", ["access-control", "acl", "reference"]:
                return httpx.Response(200, json={"permissions": {"manage-schemas": {}, "manage-datasets": {}}})
            case "POST", ["access-control", "acl", "effective-policies"]:
                return httpx.Response(200, json={"policies": {name: ["*"] for name in body if name not in self.withheld}})
            case "GET", ["conversion", "mappingSets"]:
                return httpx.Response(200, json={"data": list(self.of("mappings").values())})
            case "GET", ["conversion", "mappingSets", key]:
                return httpx.Response(200, json=self.of("mappings")[key])
            case "GET", ["schemaregistry", "stats"]:
                return httpx.Response(200, json={"tenantId": "acme"})
            case "GET", ["data", "core", "idnamespace", "identities"]:
                return httpx.Response(200, json=[{"code": "Email"}, *self.of("namespaces").values()])
            case "POST", ["data", "core", "idnamespace", "identities"]:
                return self.make("namespaces", body, {"code": body["code"]})
            case "GET", ["schemaregistry", "tenant", "descriptors"]:
                return httpx.Response(200, json={"xdm:descriptorIdentity": list(self.of("descriptors").values())})
            case "GET", ["schemaregistry", "tenant", kind]:
                return httpx.Response(200, json={"results": list(self.of(kind).values()), "_page": {"next": None}})
            case "POST", ["schemaregistry", "tenant", kind]:
                made = {"$id": f"https://ns.adobe.com/acme/{kind}/{len(self.of(kind))}"}
                return self.make(kind, body, made, status=201)
            case "GET", ["schemaregistry", "tenant", "fieldgroups", group_id]:
                groups = (group for group in self.of("fieldgroups").values() if group["$id"] == group_id)
                return httpx.Response(200, json=next(groups))
            case "GET", ["schemaregistry", "tenant", "schemas", schema_id]:
                return httpx.Response(200, json=self.schema(schema_id))
            case "PATCH", ["schemaregistry", "tenant", "schemas", schema_id]:
                self.schema(schema_id)["meta:immutableTags"] = body[0]["value"]
                return httpx.Response(200, json=self.schema(schema_id))
            case "GET", ["catalog", "dataSets"]:
                return httpx.Response(200, json=self.of("datasets"))
            case "GET", ["catalog", "dataSets", key]:
                return httpx.Response(200, json={key: self.of("datasets")[key]})
            case "POST", ["catalog", "dataSets"]:
                self.make("datasets", body, {})
                return httpx.Response(201, json=[f"@/dataSets/{list(self.of('datasets'))[-1]}"])
            case "POST", ["conversion", "mappingSets"]:
                return self.make("mappings", body, {"id": f"mapping-{len(self.of('mappings'))}", "version": 0})
            case "GET", ["flowservice", "connectionSpecs"]:
                return httpx.Response(200, json={"items": self.specs})
            case "GET", ["flowservice", "flowSpecs"]:
                return httpx.Response(200, json={"items": self.flow_specs})
            case "GET", ["flowservice", kind]:
                return httpx.Response(200, json={"items": list(self.of(kind).values()), "_links": {}})
            case "POST", ["flowservice", kind]:
                return self.make(kind, body, {"id": f"{kind}-{len(self.of(kind))}", "etag": '"e"'}, status=201)
            case "GET", ["flowservice", "targetConnections", key]:
                return httpx.Response(200, json={"items": [self.of("targetConnections")[key]]})
            case "GET", ["flowservice", "connections", key]:
                found = self.of("connections")[key]
                found["auth"]["params"]["inletUrl"] = "https://dcs.test/collection/9d41"
                return httpx.Response(200, json={"items": [found]})
        return httpx.Response(404, json={"path": path})

    def make(self, kind: str, body: Any, made: dict[str, Any], status: int = 200) -> httpx.Response:
        key = made.get("id") or f"{kind}-{len(self.of(kind))}"
        self.of(kind)[key] = {**body, **made}
        return httpx.Response(status, json={**body, **made} if kind not in ("mappings",) else made)

    def schema(self, schema_id: str) -> dict[str, Any]:
        return next(schema for schema in self.of("schemas").values() if schema["$id"] == schema_id)

    def names(self) -> dict[str, list[str]]:
        found = {
            kind: [item.get("name") or item.get("title") or str(sorted(item.items())) for item in kept.values()]
            for kind, kept in self.kept.items()
        }
        return {kind: sorted(names) for kind, names in found.items()}


def run(platform: FakePlatform, credentials: dict[str, Any] = CREDENTIALS, **options: Any) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(platform)) as client:
            return await connect(credentials, http=client, **options)

    return asyncio.run(main())


def test_everything_is_made_once_and_found_again() -> None:
    platform = FakePlatform()
    first = run(platform)
    made = platform.names()
    writes = len(platform.writes)
    assert run(platform) == first
    assert platform.names() == made
    assert len(platform.writes) == writes
    assert {kind: len(names) for kind, names in made.items()} == {
        "namespaces": 2, "fieldgroups": 2, "schemas": 2, "descriptors": 4, "datasets": 2, "connections": 1,
        "sourceConnections": 2, "targetConnections": 2, "mappings": 2, "flows": 2,
    }  # fmt: skip


def registered(platform: FakePlatform) -> Any:
    return json.loads(platform.relay[-1].content)


def test_a_source_that_is_there_keeps_its_further_members_unless_a_file_declares_all() -> None:
    platform = FakePlatform()
    more = {
        "auth": {"form": "basic", "secrets": ["xxxx", "xxxx"]},
        "translation": {"pii": {"names": True}},
        "capillaryApi": {"host": "https://api.test", "secret": "xxxx"},
        "enabled": False,
    }
    platform.source = {"key": "capillary", "orgId": "old", "inletUrl": "https://old.test", **more}
    run(platform)
    assert {name: registered(platform).get(name) for name in more} == more
    assert registered(platform)["orgId"] == CREDENTIALS["org_id"]
    assert registered(platform)["inletUrl"] == "https://dcs.test/collection/9d41"
    assert "key" not in registered(platform)
    run(platform, wanted=Wanted(settings={"capillaryApi": {"host": "https://new.test"}}))
    assert registered(platform)["capillaryApi"] == {"host": "https://new.test"}
    assert registered(platform)["translation"] == more["translation"]
    run(platform, wanted=read({}, lambda _: None))
    assert set(more) & set(registered(platform)) == {"auth"}
    assert registered(platform)["auth"] == {"form": "bearer", "secrets": ["webhook-secret"]}


@pytest.mark.parametrize("declared", [True, False])
def test_the_customer_id_alone_is_no_identity_where_organisations_share_a_sandbox(declared: bool) -> None:
    platform, settings = FakePlatform(), {"translation": {"identity": {"customer_id_template": "{orgId}-{customerId}"}}}
    if declared:
        run(platform, wanted=read({"relay": settings}, lambda _: None))
    else:
        platform.source = settings
        run(platform)
    made = [each["xdm:sourceProperty"] for each in platform.of("descriptors").values()]
    assert sorted(made) == ["/mobilePhone/number", "/personalEmail/address"]


def test_result_names_everything_the_next_step_needs() -> None:
    platform = FakePlatform()
    result = run(platform, wanted=Wanted(source="nw-prod"))
    assert result["webhook_url"] == "https://relay.test/webhooks/capillary/nw-prod"
    assert result["webhook_headers"] == {"Authorization": "Bearer webhook-secret", "Content-Type": "application/json"}
    assert result["inlet_url"] == "https://dcs.test/collection/9d41"
    assert result["source_key"] == "nw-prod"
    kinds = {"profile", "event"}
    wanted = {
        f"{kind}_{name}"
        for kind in kinds
        for name in ("flow_id", "flow_name", "dataset_id", "dataset_name", "schema_id", "mapping_id")
    }
    assert wanted | {"base_connection_id"} <= result.keys()
    assert result["profile_flow_id"] != result["event_flow_id"]


def test_what_is_made_fits_together() -> None:
    platform = FakePlatform()
    result = run(platform)
    flow = platform.of("flows")[result["profile_flow_id"]]
    assert flow["options"] == {"errorDiagnosticsEnabled": True}
    assert flow["flowSpec"]["id"] == STREAMING_FLOW_SPEC
    target = platform.of("targetConnections")[flow["targetConnectionIds"][0]]
    assert target["params"]["dataSetId"] == result["profile_dataset_id"]
    assert target["data"]["schema"]["id"] == result["profile_schema_id"]
    source = platform.of("sourceConnections")[flow["sourceConnectionIds"][0]]
    assert source["baseConnectionId"] == result["base_connection_id"]
    mapping = platform.of("mappings")[flow["transformations"][0]["params"]["mappingId"]]
    assert mapping["outputSchema"]["schemaRef"]["id"] == result["profile_schema_id"]
    assert mapping["mappings"]
    dataset = platform.of("datasets")[result["event_dataset_id"]]
    assert dataset["tags"] == {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]}
    assert all(schema["meta:immutableTags"] == ["union"] for schema in platform.of("schemas").values())
    groups = {group["$id"] for group in platform.of("fieldgroups").values()}
    assert groups <= {part["$ref"] for schema in platform.of("schemas").values() for part in schema["allOf"]}
    assert "{" not in str([list(platform.of(kind).values()) for kind in ("descriptors", "mappings")]).replace("{'", "").replace(
        "{}", ""
    )


def test_source_is_registered_at_the_relay_with_the_clients_credentials() -> None:
    platform = FakePlatform()
    result = run(platform, wanted=Wanted(settings={"translation": {"pii": {"names": True}}}))
    (request,) = platform.relay
    assert request.method == "PUT"
    assert request.url.path == "/relay/sources/capillary"
    assert request.headers["authorization"].startswith("Basic ")
    body = json.loads(request.content)
    assert (body["inletUrl"], body["profileFlowId"], body["eventFlowId"]) == (
        result["inlet_url"], result["profile_flow_id"], result["event_flow_id"],
    )  # fmt: skip
    assert body["auth"]["secrets"] == ["webhook-secret"]
    assert body["translation"] == {"pii": {"names": True}}


@pytest.mark.parametrize("lost", [False, True], ids=["before", "after"])
def test_a_failure_at_any_call_can_be_repeated(lost: bool) -> None:
    whole = FakePlatform()
    run(whole)
    assert whole.calls > 40
    for number in range(whole.calls):
        platform = FakePlatform()
        platform.fail_at, platform.lost_answer = number, lost
        with pytest.raises((Transient, Permanent)):
            run(platform)
        platform.fail_at = None
        run(platform)
        assert platform.names() == whole.names()


def test_permissions_are_checked_before_anything_is_made() -> None:
    platform = FakePlatform()
    platform.withheld = ["/permissions/manage-datasets", "/permissions/manage-schemas"]
    with pytest.raises(InputError) as caught:
        run(platform)
    assert (caught.value.path, caught.value.reason) == ("permissions", "the account lacks manage-schemas, manage-datasets")
    assert platform.writes == []


def test_doctor_finds_missing_permissions_and_changes_nothing() -> None:
    platform = FakePlatform()
    platform.withheld = ["/permissions/manage-schemas"]

    async def main() -> Report:
        async with httpx.AsyncClient(transport=httpx.MockTransport(platform)) as client:
            return await examine(CREDENTIALS, http=client, wanted=Wanted())

    report = asyncio.run(main())
    (found,) = report.findings
    assert (found.check, found.finding) == ("permissions", "permissions: the account lacks manage-schemas")
    assert "role" in found.cure
    assert report.skipped == ["schema", "dataset", "mapping", "dataflow", "endpoint"]
    assert platform.writes == []


def test_permissions_the_platform_does_not_know_are_not_asked_for() -> None:
    platform = FakePlatform()
    platform.withheld = ["/permissions/manage-sources"]
    run(platform)


def test_specs_fall_back_to_the_printed_ids() -> None:
    platform = FakePlatform()
    platform.specs, platform.flow_specs = [{"id": "other", "name": "datalake"}], []
    result = run(platform)
    flow = platform.of("flows")[result["event_flow_id"]]
    assert flow["flowSpec"]["id"] == PRINTED_FLOW_SPEC
    assert platform.of("connections")[result["base_connection_id"]]["connectionSpec"]["id"] == CAPILLARY_SPEC


@pytest.mark.parametrize("name", ["org_id", "client_secret", "relay_url", "webhook_secret"])
def test_a_missing_credential_is_named(name: str) -> None:
    with pytest.raises(InputError) as caught:
        run(FakePlatform(), {**CREDENTIALS, name: ""})
    assert caught.value.path == name


def test_a_refusal_names_the_call() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/ims/token/v3":
            return httpx.Response(200, json={"access_token": "t", "expires_in": 1000})
        return httpx.Response(403, json={"title": "Forbidden"})

    async def main() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(refuse)) as client:
            await connect(CREDENTIALS, http=client)

    with pytest.raises(Permanent, match="GET /data/foundation/sandbox-management/: 403"):
        asyncio.run(main())
