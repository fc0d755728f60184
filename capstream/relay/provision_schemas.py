"""Namespaces, field groups, schemas, identities: found by code, title or content, else made. Source: xdm.md 10.3, identity.md."""

from collections.abc import Mapping
from urllib.parse import quote

from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.json import Json
from capstream.relay import provision_drift
from capstream.relay.platform_client import PlatformClient
from capstream.relay.provision_changes import NEW, Change, Changes
from capstream.relay.provision_wanted import Half, packaged

REGISTRY = "/data/foundation/schemaregistry"
XED = "application/vnd.adobe.xed+json;version=1"
_SUMMARY = "application/vnd.adobe.xed-id+json"
_NAMESPACES = "/data/core/idnamespace/identities"
NAMESPACE_NAMES = {"capillaryUserId": "Capillary customer", "capillaryExternalId": "Capillary external customer"}
_IDENTITY = ("@type", "xdm:sourceSchema", "xdm:sourceProperty", "xdm:namespace")


async def namespaces(changes: Changes) -> None:
    """Make the identity namespaces that are missing."""
    found = await changes.client.call("GET", _NAMESPACES)
    known = {str(namespace.get("code", "")).lower() for namespace in found}
    for code, name in NAMESPACE_NAMES.items():
        if code.lower() in known:
            changes.keep("namespace", code)
            continue
        body = {
            "name": name,
            "code": code,
            "idType": "CROSS_DEVICE",
            "description": "Identifies members of the loyalty programme.",
        }
        await changes.write(Change("create", "namespace", code), "POST", _NAMESPACES, body=body)


async def by_title(client: PlatformClient, resource: str, title: str) -> str | None:
    """Return the id of a schema or field group of the tenant, None when there is none of that title."""
    path = f"{REGISTRY}/tenant/{resource}"
    page = await client.call("GET", path, accept=_SUMMARY, params={"property": f"title=={title}"})
    return next((str(found["$id"]) for found in page.get("results", []) if found.get("title") == title), None)


async def schema(changes: Changes, half: Half) -> str:
    """Return the id of the schema, made with its field group where they are missing."""
    group = changes.filled(half.field_group)
    body = changes.filled(half.schema)
    group_id = await _resource(changes, "fieldgroups", "field group", group, body["title"])
    for part in body.get("allOf", []):
        if "{CAPILLARY_" in part["$ref"]:
            part["$ref"] = group_id
    return await _resource(changes, "schemas", "schema", body, body["title"])


async def _resource(changes: Changes, resource: str, kind: str, body: dict[str, Json], schema_title: str) -> str:
    title = body["title"]
    found = await by_title(changes.client, resource, title)
    if found is not None:
        await _up_to_date(changes, resource, Change("keep", kind, title), (found, body), schema_title)
        return found
    body = {**body, "description": changes.described(str(body.get("description") or title))}
    made = await changes.write(
        Change("create", kind, title), "POST", f"{REGISTRY}/tenant/{resource}", body=body, accept=XED, instead={"$id": NEW}
    )
    return str(made["$id"])


async def _up_to_date(
    changes: Changes, resource: str, change: Change, pair: tuple[str, dict[str, Json]], schema_title: str
) -> None:
    """Change a schema or field group that differs, as far as the platform's rules allow, and say what stays different."""
    resource_id, wanted = pair
    path = f"{REGISTRY}/tenant/{resource}/{quote(resource_id, safe='')}"
    found = await changes.client.call("GET", path, accept=XED)
    drift = provision_drift.schema(wanted, found) if resource == "schemas" else provision_drift.field_group(wanted, found)
    said = provision_drift.told(drift)
    if not drift or not changes.is_ours(found):
        whose = f"it differs and was not made by this connection: {said}" if drift else ""
        changes.keep(change.kind, change.name, whose)
        return
    free = resource == "fieldgroups" and not await _is_enabled(changes.client, schema_title)
    operations = drift.operations(breaking=free)
    if drift.changed and not free:
        why = "fields of a schema that is enabled for Profile cannot change; give the field group another title to make a new one"
        changes.keep(change.kind, change.name, f"{why} ({said})")
    if operations:
        await changes.write(Change("update", change.kind, change.name, said), "PATCH", path, body=operations, accept=XED)
    elif not drift.changed:
        changes.keep(change.kind, change.name, said)


async def _is_enabled(client: PlatformClient, title: str) -> bool:
    schema_id = await by_title(client, "schemas", title)
    found = await client.call("GET", schema_path(schema_id), accept=XED) if schema_id else {}
    return "union" in found.get("meta:immutableTags", [])


async def descriptors(changes: Changes, schemas: Mapping[str, str]) -> None:
    """Mark the identity fields that are not yet marked."""
    wanted = identity_fields(changes, PROFILE_SCHEMA=schemas["profile"], EVENTS_SCHEMA=schemas["event"])
    present = {_identity(found) for found in await listed_descriptors(changes.client)}
    for descriptor in wanted:
        name = f"{descriptor['xdm:sourceProperty']} as {descriptor['xdm:namespace']}"
        if _identity(descriptor) in present:
            changes.keep("identity", name)
        else:
            await changes.write(Change("create", "identity", name), "POST", f"{REGISTRY}/tenant/descriptors", body=descriptor)


def identity_fields(changes: Changes, **places: str) -> list[dict[str, Json]]:
    """Return the descriptors of the fields that are identities.

    The customer id alone is none where the identity of a member is made of more: members of two organisations with the same
    number would be one person. Source: capillary.md 7.4. Errors: InputError for a translation that cannot be read.
    """
    found: list[dict[str, Json]] = changes.filled(packaged("schemas", "descriptors.json"), **places)
    translation = TranslationConfig.from_settings(changes.wanted.settings.get("translation") or {})
    if translation.customer_id_template == "{customerId}":
        return found
    return [each for each in found if not each["xdm:sourceProperty"].endswith("/capillary/customerId")]


async def listed_descriptors(client: PlatformClient) -> list[dict[str, Json]]:
    """Return every descriptor of the tenant."""
    listed = await client.call("GET", f"{REGISTRY}/tenant/descriptors", accept="application/vnd.adobe.xdm+json")
    return [found for group in listed.values() if isinstance(group, list) for found in group if isinstance(found, dict)]


def _identity(descriptor: Mapping[str, Json]) -> tuple[Json, ...]:
    return tuple(descriptor.get(member) for member in _IDENTITY)


def schema_path(schema_id: str) -> str:
    """Return the path of a schema of the tenant."""
    return f"{REGISTRY}/tenant/schemas/{quote(schema_id, safe='')}"


async def enable_for_profile(changes: Changes, half: Half, schema_id: str) -> None:
    """Let a schema take part in the Profile; what is enabled stays so."""
    found = {} if schema_id == NEW else await changes.client.call("GET", schema_path(schema_id), accept=XED)
    if "union" in found.get("meta:immutableTags", []):
        return
    change = Change("update", "schema", half.schema["title"], "enable it for Profile")
    operation = {"op": "add", "path": "/meta:immutableTags", "value": ["union"]}
    await changes.write(change, "PATCH", schema_path(schema_id), body=[operation], accept=XED)
