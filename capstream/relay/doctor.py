"""`capstream doctor`: looks at a connection part by part and says what to do about each finding.

A part that rests on a broken one is not looked at: its finding would only repeat the other's.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.errors import CapstreamError, InputError, Permanent
from capstream.kernel.json import Json, dumps
from capstream.relay import provision_checks as checks
from capstream.relay import provision_flows as flows
from capstream.relay import provision_schemas as schemas
from capstream.relay.platform_client import PlatformClient, PlatformRefused
from capstream.relay.provision import NEEDED, Session, completed, enter
from capstream.relay.provision_changes import Changes
from capstream.relay.provision_wanted import Half, Wanted

CHECKS = ("credentials", "token", "sandbox", "permissions", "schema", "dataset", "mapping", "dataflow", "endpoint")
_TAGS = ("unifiedProfile", "unifiedIdentity")
_APPLY = "run `capstream connect capillary` with the same file; it makes what is missing"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it has to be, and what to do about it."""

    check: str
    finding: str
    cure: str


@dataclass(slots=True)
class Report:
    """What was looked at and found. `skipped` are parts that rest on a broken one."""

    passed: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


class _Stop(Exception):
    """A broken part others rest on."""


async def examine(
    credentials: Mapping[str, Json], *, http: httpx.AsyncClient, wanted: Wanted, clock: Clock = system_clock
) -> Report:
    """Return the findings about a connection. Nothing is changed; the endpoint is sent a message it has to refuse."""
    report = Report()
    try:
        _credentials(report, credentials)
        session = await _token(report, credentials, http, wanted, clock)
        doctor = _Doctor(report, session, await _completed(session, wanted))
        await doctor.account()
        await doctor.connection()
    except _Stop:
        pass
    found = {finding.check for finding in report.findings}
    report.passed = [name for name in report.passed if name not in found]
    report.skipped = [name for name in CHECKS if name not in found and name not in report.passed]
    return report


async def _completed(session: Session, wanted: Wanted) -> Wanted:
    try:
        return await completed(session, wanted)
    except CapstreamError:  # the checks of the relay say why
        return wanted


def _credentials(report: Report, credentials: Mapping[str, Json]) -> None:
    for name in NEEDED:
        if not credentials.get(name):
            cure = "take credentials.json of the platform's first start, or see docs/reference/credentials.md for every key"
            report.findings.append(Finding("credentials", f"{name} is missing", cure))
    for name in ("ims_url", "platform_url", "relay_url"):
        url = str(credentials.get(name) or "")
        if url and not url.startswith(("http://", "https://")):
            report.findings.append(Finding("credentials", f"{name} is no URL: {url}", "write it with https:// and the host"))
    _close(report, "credentials")


async def _token(
    report: Report, credentials: Mapping[str, Json], http: httpx.AsyncClient, wanted: Wanted, clock: Clock
) -> Session:
    try:
        session = await enter(credentials, http=http, wanted=wanted, clock=clock)
    except CapstreamError as error:
        cure = (
            "compare ims_url, client_id, client_secret and scopes with the credential in the developer console; was it rotated?"
        )
        report.findings.append(Finding("token", str(error), cure))
        raise _Stop from error
    _close(report, "token")
    return session


def _close(report: Report, check: str) -> None:
    """End a check others rest on."""
    if any(finding.check == check for finding in report.findings):
        raise _Stop
    report.passed.append(check)


class _Doctor:
    """The checks that ask the platform and the relay."""

    def __init__(self, report: Report, session: Session, wanted: Wanted) -> None:
        self._report = report
        self._session = session
        self._wanted = wanted
        self._client = session.platform
        self._changes = Changes(session.platform, wanted, dry=True)
        self._schemas: dict[str, str] = {}
        self._datasets: dict[str, str] = {}
        self._flows: dict[str, dict[str, Json]] = {}

    def find(self, check: str, finding: str, cure: str = _APPLY) -> None:
        self._report.findings.append(Finding(check, finding, cure))

    @contextmanager
    def looking(self, check: str) -> Iterator[None]:
        """Turn a refused or failed call into a finding of the check."""
        try:
            yield
        except PlatformRefused as refusal:
            denied = refusal.status in (401, 403)
            cure = "give the account's role the permission the answer names" if denied else "see the answer's own reason"
            self.find(check, refusal.reason, cure)
        except InputError as error:
            self.find(check, f"{error.path}: {error.reason}", error.cure)
        except CapstreamError as error:
            self.find(check, str(error), "see whether the server runs and answers at the address in the credentials")

    async def account(self) -> None:
        """Look at what the account may do, and where."""
        with self.looking("sandbox"):
            await checks.sandbox(self._client, self._session.sandbox)
        _close(self._report, "sandbox")
        with self.looking("permissions"):
            await checks.permissions(self._client, self._wanted.permissions)
        _close(self._report, "permissions")

    async def connection(self) -> None:
        """Look at everything the connection is made of, each kind for profiles and for events."""
        with self.looking("schema"):
            self._changes.tenant = str((await self._client.call("GET", f"{schemas.REGISTRY}/stats"))["tenantId"])
        for check, look in (
            ("schema", self._schema),
            ("dataset", self._dataset),
            ("dataflow", self._dataflow),
            ("mapping", self._mapping),
        ):
            await self._both(check, look)
        with self.looking("endpoint"):
            await self._endpoint()
        self._report.passed += [name for name in CHECKS if name not in self._report.passed]

    async def _both(self, check: str, look: Callable[[Half], Awaitable[None]]) -> None:
        for half in self._wanted.halves:
            with self.looking(check):
                await look(half)

    async def _schema(self, half: Half) -> None:
        title = half.schema["title"]
        found = await schemas.by_title(self._client, "schemas", title)
        if found is None:
            self.find("schema", f"there is no schema {title!r}")
            return
        self._schemas[half.kind] = found
        schema = await self._client.call("GET", schemas.schema_path(found), accept=schemas.XED)
        if "union" not in schema.get("meta:immutableTags", []):
            self.find("schema", f"schema {title!r} is not enabled for Profile")
        wanted = schemas.identity_fields(self._changes)
        here = {
            each.get("xdm:sourceProperty")
            for each in await schemas.listed_descriptors(self._client)
            if each.get("xdm:sourceSchema") == found
        }
        place = f"{{{'PROFILE' if half.kind == 'profile' else 'EVENTS'}_SCHEMA}}"
        for descriptor in wanted:
            if descriptor["xdm:sourceSchema"] == place and descriptor["xdm:sourceProperty"] not in here:
                self.find("schema", f"{descriptor['xdm:sourceProperty']} of schema {title!r} is marked as no identity")

    async def _dataset(self, half: Half) -> None:
        schema_id = self._schemas.get(half.kind)
        if schema_id is None:
            return
        found = await flows.dataset_of(self._client, half.dataset, schema_id)
        if found is None:
            self.find("dataset", f"there is no dataset {half.dataset!r} of schema {half.schema['title']!r}")
            return
        dataset_id, dataset = found
        self._datasets[half.kind] = dataset_id
        tags = dataset.get("tags") or {}
        missing = [tag for tag in _TAGS if "enabled:true" not in [str(each).replace(" ", "") for each in tags.get(tag) or ()]]
        if missing:
            body = [{"op": "add", "path": f"/tags/{tag}", "value": ["enabled:true"]} for tag in missing]
            by_hand = f"PATCH {flows.CATALOG}/dataSets/{dataset_id} with {dumps(body).decode()}"
            cure = f"{_APPLY}; for a dataset it did not make, {by_hand}"
            self.find("dataset", f"dataset {half.dataset!r} is not enabled: {' and '.join(missing)}", cure)

    async def _dataflow(self, half: Half) -> None:
        flow = await flows.flow_by_name(self._client, half.dataflow)
        if flow is None:
            self.find("dataflow", f"there is no dataflow {half.dataflow!r}")
            return
        self._flows[half.kind] = flow
        if flow.get("state") != "enabled":
            operation = "PUBLISH" if flow.get("state") == "draft" else "ENABLE"
            cure = f"POST {flows.FLOWS}/flows/{flow['id']}/action?op={operation}"
            self.find("dataflow", f"dataflow {half.dataflow!r} is {flow.get('state')}", cure)
        for kind, collection in (("source", "sourceConnections"), ("target", "targetConnections")):
            for each in flow.get(f"{kind}ConnectionIds") or ():
                await self._end(half, flow, kind, f"{flows.FLOWS}/{collection}/{each}")

    async def _end(self, half: Half, flow: Mapping[str, Json], kind: str, path: str) -> None:
        anew = f"DELETE {flows.FLOWS}/flows/{flow['id']}, then {_APPLY}; the dataset stays"
        try:
            end = (await self._client.call("GET", path))["items"][0]
        except PlatformRefused as refusal:
            if refusal.status != 404:
                raise
            self.find("dataflow", f"the {kind} connection of {half.dataflow!r} is gone", anew)
            return
        dataset = self._datasets.get(half.kind)
        if kind == "target" and dataset and (end.get("params") or {}).get("dataSetId") != dataset:
            cure = f"give the dataflow another name in the file and {_APPLY}, or {anew}"
            self.find("dataflow", f"dataflow {half.dataflow!r} fills another dataset than {half.dataset!r}", cure)

    async def _mapping(self, half: Half) -> None:
        flow = self._flows.get(half.kind)
        if flow is None:
            return
        mapping_id = flows.mapping_of(flow)
        if not mapping_id:
            self.find("mapping", f"dataflow {half.dataflow!r} has no mapping set")
            return
        try:
            found = await self._client.call("GET", f"{flows.MAPPING_SETS}/{mapping_id}")
        except PlatformRefused as refusal:
            if refusal.status != 404:
                raise
            self.find("mapping", f"mapping set {mapping_id} of {half.dataflow!r} is gone")
            return
        targets = {str(row.get("destination")).partition("[")[0] for row in found.get("mappings") or ()}
        for needed in ("_id", "identityMap") if half.kind == "event" else ("identityMap",):
            if not any(target == needed or target.startswith(f"{needed}.") for target in targets):
                row = f"add a row from {needed} to {needed} under `{half.kind}: mapping:` in the file, then {_APPLY}"
                cure = f"{row}; without it no record gets into a profile"
                self.find("mapping", f"the mapping of {half.dataflow!r} fills no {needed}", cure)

    async def _endpoint(self) -> None:
        source = await self._source()
        flow = self._flows.get("profile")
        if source is None or flow is None:
            return
        for kind, member in (("profile", "profileFlowId"), ("event", "eventFlowId")):
            if kind in self._flows and source.get(member) != self._flows[kind]["id"]:
                self.find("endpoint", f"the relay's source {self._wanted.source!r} sends to another {kind} dataflow")
        bases = [each["id"] for each in await flows.listed(self._client, "connections") if self._is_base(each)]
        if not bases:
            self.find("endpoint", f"there is no connection {self._wanted.base_connection!r}", self._named_back(flow))
            return
        try:
            url = await flows.inlet_url(self._client, bases[0], str(flow["id"]))
        except Permanent as error:
            if isinstance(error, PlatformRefused):
                raise
            cure = f"publish the base connection: POST {flows.FLOWS}/connections/{bases[0]}/action?op=PUBLISH"
            self.find("endpoint", error.reason, cure)
            return
        if source.get("inletUrl") != url:
            self.find("endpoint", f"the relay delivers to {source.get('inletUrl')}, the platform's endpoint is {url}")
        await self._inlet(url)

    def _named_back(self, flow: Mapping[str, Json]) -> str:
        """Return how the connection the dataflow rests on gets its name again: a new one would have another endpoint."""
        ends: Json = (flow.get("inheritedAttributes") or {}).get("sourceConnections") or ({},)
        base_id = (ends[0].get("baseConnection") or {}).get("id")
        body = [{"op": "replace", "path": "/name", "value": self._wanted.base_connection}]
        return f"PATCH {flows.FLOWS}/connections/{base_id} with {dumps(body).decode()}" if base_id else _APPLY

    def _is_base(self, connection: Mapping[str, Json]) -> bool:
        return connection.get("name") == self._wanted.base_connection

    async def _source(self) -> dict[str, Json] | None:
        try:
            found: dict[str, Json] = await self._session.relay.call("GET", f"/relay/sources/{self._wanted.source}")
        except PlatformRefused as refusal:
            if refusal.status != 404:
                raise
            self.find("endpoint", f"the relay knows no source {self._wanted.source!r}: webhooks are answered 404")
            return None
        return found

    async def _inlet(self, url: str) -> None:
        """Send what is no message: an endpoint that lives refuses it with 400 and keeps nothing."""
        base, _, path = url.rpartition("/collection/")
        client = PlatformClient(self._client.http, base, {"authorization": self._client.headers["authorization"]})
        try:
            await client.call("POST", f"/collection/{path}", body=[])
        except PlatformRefused as refusal:
            if refusal.status != 400:
                cure = f"delete both dataflows and the base connection, then {_APPLY}; the datasets stay"
                self.find("endpoint", refusal.reason, cure)
