"""`capstream connect capillary`: the whole way from credentials to a working webhook, through public HTTP APIs.

Every step looks for its result by name first, so the run can be repeated: what exists is used, what is missing is made.
Source: flow-service.md 9 (the tutorial as requests), xdm.md 10.3, catalog.md 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from urllib.parse import quote

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.errors import InputError, Permanent
from capstream.kernel.json import Json, dumps, loads
from capstream.relay.ims import Credentials, Tokens
from capstream.relay.platform_client import PlatformClient
from capstream.relay.webhook_auth import webhook_header

_REGISTRY = "/data/foundation/schemaregistry"
_FLOWS = "/data/foundation/flowservice"
_CATALOG = "/data/foundation/catalog"
_NAMESPACES = "/data/core/idnamespace/identities"
_MAPPING_SETS = "/data/foundation/conversion/mappingSets"
_XED = "application/vnd.adobe.xed+json;version=1"
_SUMMARY = "application/vnd.adobe.xed-id+json"
_FULL = "application/vnd.adobe.xed-full+json;version=1"

CAPILLARY_SPEC = "6360f136-5980-4111-8bdf-15d29eab3b5a"
STREAMING_FLOW_SPEC = "e77fde5a-22a8-11ed-861d-0242ac120002"
PRINTED_FLOW_SPEC = "6499120c-0b15-42dc-936e-847ea3c24d72"
DATA_LAKE_SPEC = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
_NAMESPACE_NAMES = {"capillaryUserId": "Capillary customer", "capillaryExternalId": "Capillary external customer"}
_NEEDED = ("org_id", "client_id", "client_secret", "ims_url", "platform_url", "relay_url", "webhook_secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the made things are called, and so found again."""

    source_key: str = "capillary"
    base_connection: str = "Capillary base connection"
    prefix: str = "Capillary"


@dataclass(frozen=True, slots=True)
class Half:
    """What differs between the two dataflows."""

    kind: str  #: profile or event
    schema_file: str
    group_file: str
    mapping_file: str
    label: str


PROFILE = Half("profile", "capillary-profile-schema.json", "capillary-member.json", "profile.json", "Profiles")
EVENT = Half("event", "capillary-events-schema.json", "capillary-event.json", "transaction.json", "Events")


async def connect(
    credentials: Mapping[str, Json],
    *,
    http: httpx.AsyncClient,
    names: Names | None = None,
    settings: Mapping[str, Json] | None = None,
    clock: Clock = system_clock,
) -> dict[str, Json]:
    """Make the platform and the relay ready for Capillary's webhooks and return where everything is.

    `settings` are further members of the relay's source record, such as `translation` and `capillaryApi`.
    Errors: InputError when a credential is missing, Permanent and Transient naming the call that failed.
    """
    for name in _NEEDED:
        if not credentials.get(name):
            raise InputError(name, "it is missing", "take credentials.json of the platform's first start")
    names = names or Names()
    token = await _token(credentials, http, clock)
    steps = _Steps(_client(credentials, http, token), names, credentials, token)
    result = await steps.run()
    await _register(credentials, http, names, result, settings or {})
    log.info("capillary connected", action="capillary_connected", source=names.source_key, profile_flow=result["profile_flow_id"])
    return result


async def _token(credentials: Mapping[str, Json], http: httpx.AsyncClient, clock: Clock) -> str:
    client = Credentials(
        token_url=str(credentials["ims_url"]).rstrip("/") + "/ims/token/v3",
        client_id=str(credentials["client_id"]),
        client_secret=str(credentials["client_secret"]),
        scopes=_scopes(credentials),
    )
    return await Tokens(http, client, clock).get()


def _scopes(credentials: Mapping[str, Json]) -> list[str]:
    scopes = credentials.get("scopes") or "openid,AdobeID,read_organizations,additional_info.projectedProductContext,session"
    return scopes.replace(",", " ").split() if isinstance(scopes, str) else [str(scope) for scope in scopes]


def _client(credentials: Mapping[str, Json], http: httpx.AsyncClient, token: str) -> PlatformClient:
    headers = {
        "authorization": f"Bearer {token}",
        "x-api-key": str(credentials["client_id"]),
        "x-gw-ims-org-id": str(credentials["org_id"]),
        "x-sandbox-name": str(credentials.get("sandbox") or "prod"),
    }
    return PlatformClient(http, str(credentials["platform_url"]), headers)


def _packaged(folder: str, name: str, **places: str) -> Json:
    """Return a JSON document of the package with its `{PLACE}`s filled."""
    text = (resources.files("capstream.relay") / folder / name).read_text("utf-8")
    for place, value in places.items():
        text = text.replace(f"{{{place}}}", value)
    return loads(text)


class _Steps:
    """The steps of one run against one platform."""

    def __init__(self, client: PlatformClient, names: Names, credentials: Mapping[str, Json], token: str) -> None:
        self._client = client
        self._call = client.call
        self._names = names
        self._credentials = credentials
        self._token = token
        self._tenant = ""

    async def run(self) -> dict[str, Json]:
        stats = await self._call("GET", f"{_REGISTRY}/stats")
        self._tenant = str(stats["tenantId"])
        await self._namespaces()
        schemas = {half.kind: await self._schema(half) for half in (PROFILE, EVENT)}
        await self._descriptors(schemas)
        for schema in schemas.values():
            await self._enable_for_profile(schema)
        spec_id, flow_spec_id = await self._specs()
        base_id = await self._base_connection(spec_id)
        result: dict[str, Json] = {"base_connection_id": base_id}
        for half in (PROFILE, EVENT):
            result |= await self._flow(half, schemas[half.kind], base_id, spec_id, flow_spec_id)
        return result | {"inlet_url": await self._inlet_url(base_id, str(result["profile_flow_id"]))}

    async def _namespaces(self) -> None:
        found = await self._call("GET", _NAMESPACES)
        known = {str(namespace.get("code", "")).lower() for namespace in found}
        for code, name in _NAMESPACE_NAMES.items():
            if code.lower() not in known:
                body = {
                    "name": name,
                    "code": code,
                    "idType": "CROSS_DEVICE",
                    "description": "Identifies members of the loyalty programme.",
                }
                await self._call("POST", _NAMESPACES, body=body)

    async def _by_title(self, resource: str, title: str) -> str | None:
        path = f"{_REGISTRY}/tenant/{resource}"
        page = await self._call("GET", path, accept=_SUMMARY, params={"property": f"title=={title}"})
        return next((str(found["$id"]) for found in page.get("results", []) if found.get("title") == title), None)

    async def _schema(self, half: Half) -> str:
        group = _packaged("schemas", half.group_file, TENANT_ID=self._tenant, TENANT=self._tenant)
        group_id = await self._by_title("fieldgroups", group["title"])
        if group_id is None:
            group_id = str((await self._call("POST", f"{_REGISTRY}/tenant/fieldgroups", body=group, accept=_XED))["$id"])
        body = _packaged("schemas", half.schema_file, TENANT_ID=self._tenant, TENANT=self._tenant)
        for part in body["allOf"]:
            if "{CAPILLARY_" in part["$ref"]:
                part["$ref"] = group_id
        schema_id = await self._by_title("schemas", body["title"])
        if schema_id is None:
            schema_id = str((await self._call("POST", f"{_REGISTRY}/tenant/schemas", body=body, accept=_XED))["$id"])
        return schema_id

    async def _descriptors(self, schemas: Mapping[str, str]) -> None:
        places = {"TENANT_ID": self._tenant, "TENANT": self._tenant}
        wanted = _packaged(
            "schemas", "descriptors.json", PROFILE_SCHEMA=schemas["profile"], EVENTS_SCHEMA=schemas["event"], **places
        )
        listed = await self._call("GET", f"{_REGISTRY}/tenant/descriptors", accept="application/vnd.adobe.xdm+json")
        members = ("@type", "xdm:sourceSchema", "xdm:sourceProperty", "xdm:namespace")
        present = {
            tuple(found.get(member) for member in members)
            for group in listed.values()
            if isinstance(group, list)
            for found in group
            if isinstance(found, dict)
        }
        for descriptor in wanted:
            if tuple(descriptor[member] for member in members) not in present:
                await self._call("POST", f"{_REGISTRY}/tenant/descriptors", body=descriptor)

    async def _enable_for_profile(self, schema_id: str) -> None:
        path = f"{_REGISTRY}/tenant/schemas/{quote(schema_id, safe='')}"
        schema = await self._call("GET", path, accept=_XED)
        if "union" not in schema.get("meta:immutableTags", []):
            operation = {"op": "add", "path": "/meta:immutableTags", "value": ["union"]}
            await self._call("PATCH", path, body=[operation], accept=_XED)

    async def _specs(self) -> tuple[str, str]:
        """Return the connection and flow spec of the Capillary source; the printed ids are the fall-back (flow-service.md 0)."""
        specs = await self._client.items(f"{_FLOWS}/connectionSpecs")
        spec_id = next((str(spec["id"]) for spec in specs if _is_capillary(spec)), CAPILLARY_SPEC)
        flow_specs = await self._client.items(f"{_FLOWS}/flowSpecs")
        fitting = [str(spec["id"]) for spec in flow_specs if spec_id in (spec.get("sourceConnectionSpecIds") or ())]
        for preferred in (STREAMING_FLOW_SPEC, PRINTED_FLOW_SPEC):
            if preferred in fitting:
                return spec_id, preferred
        return spec_id, fitting[0] if fitting else PRINTED_FLOW_SPEC

    async def _base_connection(self, spec_id: str) -> str:
        params = {
            "clientId": self._credentials["client_id"],
            "clientSecret": self._credentials["client_secret"],
            "accessToken": self._token,
        }
        body = {
            "name": self._names.base_connection,
            "description": "Account of the Capillary source",
            "connectionSpec": {"id": spec_id, "version": "1.0"},
            "auth": {"specName": "OAuth generic-rest-connector", "params": params},
        }
        return await self._found_or_made("connections", body, ("name",))

    async def _found_or_made(self, collection: str, body: dict[str, Json], same: tuple[str, ...]) -> str:
        for item in await self._client.items(f"{_FLOWS}/{collection}", params={"limit": "100"}):
            if item.get("state") != "deleted" and all(item.get(member) == body[member] for member in same):
                return str(item["id"])
        return str((await self._call("POST", f"{_FLOWS}/{collection}", body=body))["id"])

    async def _flow(self, half: Half, schema_id: str, base_id: str, spec_id: str, flow_spec_id: str) -> dict[str, Json]:
        name = f"{self._names.prefix} {half.kind} dataflow"
        dataset_name = f"{self._names.prefix} {half.label}"
        dataset_id = await self._dataset(dataset_name, schema_id)
        made: dict[str, Json] = {f"{half.kind}_schema_id": schema_id}
        made |= {f"{half.kind}_dataset_id": dataset_id, f"{half.kind}_dataset_name": dataset_name, f"{half.kind}_flow_name": name}
        flow = await self._flow_by_name(name)
        if flow is None:
            mapping_id = await self._mapping_set(half, schema_id)
            body = await self._flow_body(name, base_id, spec_id, flow_spec_id)
            body["targetConnectionIds"] = [await self._target(name, dataset_id, schema_id)]
            body["transformations"] = [{"name": "Mapping", "params": {"mappingId": mapping_id, "mappingVersion": 0}}]
            flow_id = str((await self._call("POST", f"{_FLOWS}/flows", body=body))["id"])
        else:
            flow_id = str(flow["id"])
            mapping_id = next((str(step["params"]["mappingId"]) for step in flow.get("transformations") or ()), "")
        return made | {f"{half.kind}_flow_id": flow_id, f"{half.kind}_mapping_id": mapping_id}

    async def _flow_by_name(self, name: str) -> dict[str, Json] | None:
        flows = await self._client.items(f"{_FLOWS}/flows", params={"limit": "100"})
        return next((flow for flow in flows if flow.get("name") == name), None)

    async def _flow_body(self, name: str, base_id: str, spec_id: str, flow_spec_id: str) -> dict[str, Json]:
        source = {
            "name": f"{name} source",
            "description": "Capillary events",
            "baseConnectionId": base_id,
            "connectionSpec": {"id": spec_id, "version": "1.0"},
            "data": {"format": "json"},
        }
        source_id = await self._found_or_made("sourceConnections", source, ("name", "baseConnectionId"))
        return {
            "name": name,
            "description": "Capillary to Experience Platform",
            "flowSpec": {"id": flow_spec_id, "version": "1.0"},
            "sourceConnectionIds": [source_id],
            "options": {"errorDiagnosticsEnabled": True},
        }

    async def _target(self, flow_name: str, dataset_id: str, schema_id: str) -> str:
        body = {
            "name": f"{flow_name} target {dataset_id}",
            "description": "Dataset of the dataflow",
            "data": {"schema": {"id": schema_id, "version": _FULL}},
            "params": {"dataSetId": dataset_id},
            "connectionSpec": {"id": DATA_LAKE_SPEC, "version": "1.0"},
        }
        return await self._found_or_made("targetConnections", body, ("name",))

    async def _dataset(self, name: str, schema_id: str) -> str:
        listed = await self._call("GET", f"{_CATALOG}/dataSets", params={"name": name, "limit": "100"})
        for dataset_id, dataset in listed.items():
            if dataset.get("name") == name and (dataset.get("schemaRef") or {}).get("id") == schema_id:
                return str(dataset_id)
        body = {
            "name": name,
            "description": "Filled by the Capillary source",
            "schemaRef": {"id": schema_id, "contentType": _XED},
            "tags": {"unifiedProfile": ["enabled:true"], "unifiedIdentity": ["enabled:true"]},
            "enableErrorDiagnostics": True,
        }
        made = await self._call("POST", f"{_CATALOG}/dataSets", body=body)
        return str(made[0]).rsplit("/", 1)[-1]

    async def _mapping_set(self, half: Half, schema_id: str) -> str:
        packaged = _packaged("mappings", half.mapping_file, TENANT_ID=self._tenant, TENANT=self._tenant)
        rows = packaged["mappings"] if isinstance(packaged, dict) else packaged
        body = {
            "name": f"{self._names.prefix} {half.kind} mapping",
            "outputSchema": {"schemaRef": {"id": schema_id, "contentType": _FULL}},
            "mappings": rows,
        }
        return str((await self._call("POST", _MAPPING_SETS, body=body))["id"])

    async def _inlet_url(self, base_id: str, flow_id: str) -> str:
        for path, member in ((f"connections/{base_id}", "auth"), (f"flows/{flow_id}", "options")):
            answer = await self._call("GET", f"{_FLOWS}/{path}")
            found = answer["items"][0].get(member) or {}
            url = found.get("params", found).get("inletUrl")
            if url:
                return str(url)
        raise Permanent("NO_INLET", "neither the base connection nor the dataflow shows a streaming endpoint URL")


def _is_capillary(spec: Mapping[str, Json]) -> bool:
    attributes = (spec.get("sourceSpec") or {}).get("attributes") or {}
    label = (attributes.get("uiAttributes") or {}).get("label") or {}
    texts = [label] if isinstance(label, str) else [str(label.get("text", "")), str(label.get("key", ""))]
    return any("capillary" in text.lower() for text in texts) or b"capillary" in dumps(spec.get("attributes")).lower()


async def _register(
    credentials: Mapping[str, Json], http: httpx.AsyncClient, names: Names, result: dict[str, Json], settings: Mapping[str, Json]
) -> None:
    """Tell the relay where the events go, and add what the sender needs to `result`."""
    secret = str(credentials["webhook_secret"])
    relay_url = str(credentials["relay_url"]).rstrip("/")
    source = {
        "orgId": credentials["org_id"],
        "sandbox": credentials.get("sandbox") or "prod",
        "auth": {"form": "bearer", "secrets": [secret]},
        "inletUrl": result["inlet_url"],
        "profileFlowId": result["profile_flow_id"],
        "eventFlowId": result["event_flow_id"],
        "ims": {
            "url": credentials["ims_url"],
            "clientId": credentials["client_id"],
            "clientSecret": credentials["client_secret"],
            "scopes": _scopes(credentials),
        },
        **settings,
    }
    client = f"{credentials['client_id']}:{credentials['client_secret']}"
    relay = PlatformClient(http, relay_url, webhook_header("basic", "", client))
    await relay.call("PUT", f"/relay/sources/{names.source_key}", body=source)
    result["source_key"] = names.source_key
    result["webhook_url"] = f"{relay_url}/webhooks/capillary/{names.source_key}"
    result["webhook_headers"] = {**webhook_header("bearer", "", secret), "Content-Type": "application/json"}
