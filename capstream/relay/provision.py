"""`capstream connect capillary`: the whole way from credentials to a working webhook, through public HTTP APIs.

Every step looks for its result first, so the run can be repeated: what exists is used, what is missing is made. A plan takes the
same steps with a gate that lets only reads through.
Source: flow-service.md 9 (the tutorial as requests), xdm.md 10.3, catalog.md 4.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json
from capstream.relay import provision_checks as checks
from capstream.relay import provision_destroy
from capstream.relay import provision_flows as flows
from capstream.relay import provision_schemas as schemas
from capstream.relay.ims import Credentials, Tokens
from capstream.relay.platform_client import PlatformClient, PlatformRefused
from capstream.relay.provision_changes import NEW, Change, Changes
from capstream.relay.provision_wanted import Wanted
from capstream.relay.webhook_auth import webhook_header

_DETERMINED = ("key", "orgId", "sandbox", "inletUrl", "profileFlowId", "eventFlowId", "ims")
"""Members of a source that follow from the account and the dataflows. Not its secrets: rotated ones have to stay good."""
NEEDED = ("org_id", "client_id", "client_secret", "ims_url", "platform_url", "relay_url", "webhook_secret")


@dataclass(frozen=True, slots=True)
class Session:
    """One account on one platform and one relay, with a token."""

    credentials: Mapping[str, Json]
    token: str
    platform: PlatformClient
    relay: PlatformClient
    sandbox: str


async def connect(
    credentials: Mapping[str, Json],
    *,
    http: httpx.AsyncClient,
    wanted: Wanted | None = None,
    clock: Clock = system_clock,
) -> dict[str, Json]:
    """Make the platform and the relay ready for Capillary's webhooks and return where everything is.

    Errors: InputError when a credential, the sandbox or a permission is missing; Permanent and Transient name the failed call.
    """
    wanted = wanted or Wanted()
    session = await enter(credentials, http=http, wanted=wanted, clock=clock)
    result = await _steps(session, Changes(session.platform, wanted))
    log.info("capillary connected", action="capillary_connected", source=wanted.source, profile_flow=result["profile_flow_id"])
    return result


async def plan(
    credentials: Mapping[str, Json], *, http: httpx.AsyncClient, wanted: Wanted, clock: Clock = system_clock
) -> list[Change]:
    """Return what `connect` would do, in its order; nothing is changed. Errors: those of `connect`."""
    session = await enter(credentials, http=http, wanted=wanted, clock=clock)
    changes = Changes(session.platform, wanted, dry=True)
    await _steps(session, changes)
    return changes.made


async def destroy(
    credentials: Mapping[str, Json], *, http: httpx.AsyncClient, wanted: Wanted, dry: bool = False, clock: Clock = system_clock
) -> list[Change]:
    """Remove what `connect` made and return what went and what stays; with `dry` only say so. Errors: those of `connect`."""
    session = await enter(credentials, http=http, wanted=wanted, clock=clock)
    changes = Changes(session.platform, wanted, dry=dry)
    await provision_destroy.destroy(changes, session.relay)
    return changes.made


async def enter(
    credentials: Mapping[str, Json], *, http: httpx.AsyncClient, wanted: Wanted, clock: Clock = system_clock
) -> Session:
    """Return a session. Errors: InputError when a credential is missing, else those of the token endpoint."""
    for name in NEEDED:
        if not credentials.get(name):
            raise InputError(name, "it is missing", "take credentials.json of the platform's first start")
    token = await _token(credentials, http, clock)
    sandbox = wanted.sandbox or str(credentials.get("sandbox") or "prod")
    headers = {
        "authorization": f"Bearer {token}",
        "x-api-key": str(credentials["client_id"]),
        "x-gw-ims-org-id": str(credentials["org_id"]),
        "x-sandbox-name": sandbox,
    }
    client = f"{credentials['client_id']}:{credentials['client_secret']}"
    relay = PlatformClient(http, str(credentials["relay_url"]).rstrip("/"), webhook_header("basic", "", client))
    return Session(credentials, token, PlatformClient(http, str(credentials["platform_url"]), headers), relay, sandbox)


async def completed(session: Session, wanted: Wanted) -> Wanted:
    """Return the connection with what the relay's record of the source has beyond it, unless a file declares all of it."""
    if wanted.is_declared:
        return wanted
    try:
        found = await session.relay.call("GET", f"/relay/sources/{wanted.source}")
    except PlatformRefused as refusal:
        if refusal.status != 404:
            raise
        return wanted
    kept = {name: value for name, value in found.items() if name not in _DETERMINED}
    return replace(wanted, settings={**kept, **wanted.settings})


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


async def _steps(session: Session, changes: Changes) -> dict[str, Json]:
    """Take every step from the checks to the relay's source record."""
    client, wanted = session.platform, changes.wanted
    await checks.sandbox(client, session.sandbox)
    await checks.permissions(client, wanted.permissions)
    wanted = changes.wanted = await completed(session, wanted)
    changes.tenant = str((await client.call("GET", f"{schemas.REGISTRY}/stats"))["tenantId"])
    await schemas.namespaces(changes)
    made = {half.kind: await schemas.schema(changes, half) for half in wanted.halves}
    await schemas.descriptors(changes, made)
    for half in wanted.halves:
        await schemas.enable_for_profile(changes, half, made[half.kind])
    spec_ids = await flows.specs(client)
    base_id = await flows.base_connection(changes, spec_ids[0], _auth(session))
    result: dict[str, Json] = {"base_connection_id": base_id}
    for half in wanted.halves:
        result |= await flows.flow(changes, half, made[half.kind], base_id, spec_ids)
    planned = changes.dry and NEW in (base_id, result["profile_flow_id"])
    result["inlet_url"] = NEW if planned else await flows.inlet_url(client, base_id, str(result["profile_flow_id"]))
    return await _register(session, changes, result)


def _auth(session: Session) -> dict[str, Json]:
    return {
        "clientId": session.credentials["client_id"],
        "clientSecret": session.credentials["client_secret"],
        "accessToken": session.token,
    }


async def _register(session: Session, changes: Changes, result: dict[str, Json]) -> dict[str, Json]:
    """Tell the relay where the events go; return `result` with what the sender needs."""
    wanted, credentials = changes.wanted, session.credentials
    secret = str(credentials["webhook_secret"])
    source = {
        "orgId": credentials["org_id"],
        "sandbox": session.sandbox,
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
        **wanted.settings,
    }
    path = f"/relay/sources/{wanted.source}"
    if changes.dry:
        changes.made.append(await _difference(session.relay, path, source, wanted.source))
    else:
        await session.relay.call("PUT", path, body=source)
    return result | {
        "source_key": wanted.source,
        "webhook_url": f"{str(credentials['relay_url']).rstrip('/')}/webhooks/capillary/{wanted.source}",
        "webhook_headers": {**webhook_header("bearer", "", secret), "Content-Type": "application/json"},
    }


async def _difference(relay: PlatformClient, path: str, source: Mapping[str, Json], name: str) -> Change:
    """Return what the relay's record would go through. Secrets are masked there, so they are not compared."""
    try:
        found = await relay.call("GET", path)
    except PlatformRefused as refusal:
        if refusal.status != 404:
            raise
        return Change("create", "relay source", name)
    members = ("orgId", "sandbox", "inletUrl", "profileFlowId", "eventFlowId")
    changed = [member for member in members if found.get(member) != source[member]]
    return Change("update", "relay source", name, ", ".join(changed)) if changed else Change("keep", "relay source", name)
