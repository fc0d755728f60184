"""One simulated run against a running server: connect, send, wait until all is quiet, compare everything with the truth."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field, replace

import httpx

from capstream.cli.accounting import Findings, Standing, compare_books, compare_profiles, standing
from capstream.cli.client import PlatformClient, Refused
from capstream.credentials import Credentials
from capstream.kernel.errors import CapstreamError
from capstream.kernel.json import Json
from capstream.relay import provision
from capstream.relay.provision_wanted import Wanted
from capstream.relay.sender import Acceptance
from capstream.relay.simulate import Progress, Simulation, SimulationOptions, SimulationSummary

ENTITIES = "/data/core/ups/access/entities"
_PROFILE_CLASS = "_xdm.context.profile"
_NAMESPACE = "capillaryUserId"
_SHOW_EVERY_S = 0.5
_PROBE_EVERY_S = 0.1
_STUCK_AFTER_S = 120.0
_PAGE = 100


@dataclass(slots=True)
class View:
    """What a watcher sees."""

    phase: str = "starting"
    progress: Progress | None = None
    relay: Json = None
    platform: Json = None
    tiers: Counter[str] = field(default_factory=Counter)
    latencies_ms: deque[float] = field(default_factory=lambda: deque(maxlen=2000))

    def latency_ms(self, share: float) -> float | None:
        """Return a percentile of webhook accepted → profile readable, None before the first sample."""
        ordered = sorted(self.latencies_ms)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to."""

    summary: SimulationSummary
    connection: dict[str, Json]
    relay: Json
    view: View
    findings: Findings


Show = Callable[[View], None]


async def rehearse(
    credentials: Credentials, options: SimulationOptions, *, source: str, show: Show, stop: asyncio.Event
) -> Outcome:
    """Return the outcome of `options` sent to the server of `credentials` through the webhook of `source`.

    The relay enriches from the simulator while it runs. Errors: CapstreamError when the server cannot be connected or does not
    come to rest.
    """
    view = View()
    probes: asyncio.Queue[Acceptance] = asyncio.Queue(maxsize=1)

    def accepted(acceptance: Acceptance) -> None:
        if acceptance.event.kind in ("pointsIssued", "pointsRedeemed") and probes.empty():
            probes.put_nowait(acceptance)

    simulation = Simulation(replace(options, on_accepted=accepted))
    with PlatformClient(credentials) as client:
        async with _as_it_was(client, source), simulation:
            connection = await _connect(credentials, source, simulation.api_url)
            before = await asyncio.to_thread(standing, client, connection)
            view.phase = "streaming"
            async with _watching(client, view, show, simulation, probes):
                summary = await simulation.send(lambda progress: setattr(view, "progress", progress), stop)
                view.phase = "draining"
                relay = await _quiet(client, source)
        view.phase, view.relay = "comparing", relay
        show(view)
        findings = await asyncio.to_thread(_compare, client, connection, summary, before)
        view.phase = "done"
        show(view)
    return Outcome(summary, connection, relay, view, findings)


@asynccontextmanager
async def _watching(
    client: PlatformClient, view: View, show: Show, simulation: Simulation, probes: asyncio.Queue[Acceptance]
) -> AsyncIterator[None]:
    """Keep the view fresh and time a sample of events for as long as the block runs."""
    tasks = [asyncio.create_task(_watch(client, view, show, simulation)), asyncio.create_task(_probe(client, view, probes))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def _as_it_was(client: PlatformClient, source: str) -> AsyncIterator[None]:
    """Give a source back what it had, whatever comes of the block: the simulator's API is gone then."""
    configured = await asyncio.to_thread(_source, client, source)
    try:
        yield
    finally:
        if configured is not None:
            await asyncio.to_thread(client.relay, "PUT", f"/relay/sources/{source}", body=configured)


def _source(client: PlatformClient, key: str) -> Json:
    """Return the relay's source as it is configured, None when there is none; its secrets are masked and stay as they are."""
    try:
        found = client.relay("GET", f"/relay/sources/{key}")
    except Refused as error:
        if error.status != 404:
            raise
        return None
    return {name: value for name, value in found.items() if name != "key"}


async def _connect(credentials: Credentials, source: str, api_url: str) -> dict[str, Json]:
    api = {"host": api_url, "key": "simulator", "secret": "simulator", "perMinute": 600_000, "concurrency": 16}
    settings = {"capillaryApi": api, "translation": {"org_zone": "Europe/London"}}
    async with httpx.AsyncClient(timeout=60) as http:
        return await provision.connect(asdict(credentials), http=http, wanted=Wanted(source=source, settings=settings))


async def _watch(client: PlatformClient, view: View, show: Show, simulation: Simulation) -> None:
    """Refresh the view for as long as nobody cancels it; a page of profiles is read each time, so that tiers stay true."""
    tier_of: dict[int, str] = {}
    page = 0
    while True:
        with contextlib.suppress(CapstreamError):  # a process that is being restarted answers again soon
            view.relay = await asyncio.to_thread(client.relay, "GET", "/relay/status")
            view.platform = await asyncio.to_thread(client.platform, "GET", "/capstream/status")
            members = sorted(simulation.engine.world.members)
            if members:
                page = page + 1 if (page + 1) * _PAGE < len(members) else 0
                found = await asyncio.to_thread(profiles, client, members[page * _PAGE : (page + 1) * _PAGE])
                tier_of |= {
                    member: entity["loyalty"]["tier"] for member, entity in found.items() if "tier" in entity.get("loyalty", {})
                }
                view.tiers = Counter(tier_of.values())
        show(view)
        await asyncio.sleep(_SHOW_EVERY_S)


async def _probe(client: PlatformClient, view: View, probes: asyncio.Queue[Acceptance]) -> None:
    """Time how long an accepted event takes until its member's profile shows it or something newer."""
    while True:
        acceptance = await probes.get()
        member = acceptance.event.customer_id
        if member is None:
            continue
        with contextlib.suppress(CapstreamError):
            if await _shows(client, member, acceptance.event.created_at_ms):
                view.latencies_ms.append(time.time_ns() / 1e6 - acceptance.answered_ms)
        await asyncio.sleep(_PROBE_EVERY_S)


async def _shows(client: PlatformClient, member: int, created_at_ms: int) -> bool:
    for _ in range(500):
        found = await asyncio.to_thread(profiles, client, [member])
        if found and as_of_ms(found[member]) >= created_at_ms:
            return True
        await asyncio.sleep(0.01)
    return False


def as_of_ms(entity: Json) -> int:
    """Return the instant of the newest event in a profile's snapshot, 0 when it has none."""
    text = entity.get("extSourceSystemAudit", {}).get("lastUpdatedDate", "")
    if not text:
        return 0
    from datetime import datetime  # noqa: PLC0415 - the only use

    return int(datetime.fromisoformat(text).timestamp() * 1000)


def profiles(client: PlatformClient, members: Sequence[int]) -> dict[int, Json]:
    """Return the merged profiles of up to 100 members that have one."""
    return {int(identity): entity for identity, entity in profiles_of(client, list(map(str, members))).items()}


def profiles_of(client: PlatformClient, wanted: Sequence[str]) -> dict[str, Json]:
    """Return the merged profiles of up to 100 identities in the namespace of Capillary's ids that have one."""
    identities = [{"entityId": identity, "entityIdNS": {"code": _NAMESPACE}} for identity in wanted]
    answer = client.platform("POST", ENTITIES, body={"schema": {"name": _PROFILE_CLASS}, "identities": identities})
    found: dict[str, Json] = {}
    for each in answer.values():
        entity = each["entity"]
        number = next((one["id"] for one in entity.get("identities", []) if one["namespace"]["code"] == _NAMESPACE.lower()), None)
        asked = each.get("requestedIdentity", {}).get("entityId", number)
        if entity and asked is not None:
            found[str(asked)] = entity
    return found


def waiting(relay: Json) -> int:
    """Return how much the relay still has to do."""
    return int(relay["journal"]["pending"] + sum(relay["waiting"][kind] for kind in ("parked", "held", "outbox")))


def _left(relay: Json, source: str) -> int:
    """Return how much the relay has to do for one source; what other sources cannot deliver is not waited for."""
    behind = sum(count for flow, count in relay["behind"].items() if flow.startswith(f"{source}/"))
    parked = sum(flow["parked"] for flow in relay["sources"].get(source, {}).get("flows", {}).values())
    return int(relay["journal"]["pending"] + relay["waiting"]["held"] + behind + parked)


async def _quiet(client: PlatformClient, source: str) -> Json:
    """Return the relay's status once neither the relay has anything left to do for `source`, nor the pipeline anything at all.

    Errors: CapstreamError when nothing moves any more.
    """
    left, moved = -1, time.monotonic()
    while time.monotonic() - moved < _STUCK_AFTER_S:
        relay = await asyncio.to_thread(client.relay, "GET", "/relay/status")
        platform = await asyncio.to_thread(client.platform, "GET", "/capstream/status")
        now_left = _left(relay, source) + platform["pending"]
        if now_left == 0:
            return relay
        if now_left != left:
            left, moved = now_left, time.monotonic()
        await asyncio.sleep(0.1)
    raise CapstreamError(f"nothing has moved for {_STUCK_AFTER_S:.0f} s, {left} left: {relay['journal']} {relay['waiting']}")


def _compare(client: PlatformClient, connection: dict[str, Json], summary: SimulationSummary, before: Standing) -> Findings:
    findings = compare_books(summary, before, standing(client, connection))
    living = [row for row in summary.truth if "merged_into" not in row and "deleted" not in row]
    for start in range(0, len(living), _PAGE):
        rows = living[start : start + _PAGE]
        findings.add(compare_profiles(rows, profiles(client, [row["customerId"] for row in rows])))
    return findings
