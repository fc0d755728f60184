"""`capstream reconcile`: does every member's profile say what their events and Capillary say, and did every webhook arrive?"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

import httpx
import typer

from capstream.capillary.results import Answered
from capstream.capillary.touching import ALWAYS
from capstream.capillary.vocabulary import canonical_name
from capstream.cli.client import PlatformClient
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.rehearsal import profiles_of
from capstream.cli.times import instant_ms
from capstream.kernel.clock import system_clock
from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.json import Json, dumps
from capstream.relay.backfill.door import Pace
from capstream.relay.capillary_api import CapillaryClient, NotNow
from capstream.relay.member_books import COMPARED
from capstream.relay.sources import CapillaryApi

_PAGE = 100
_EXPLAINED = 5
_TRIES, _WAIT_S = 40, 0.5
_DAY_MS = 86_400_000
_C3 = {"points": "loyaltyPoints", "lifetimePoints": "lifetimePoints", "tier": "currentSlab"}

Show = Callable[[str, list[dict[str, Json]], list[Json]], None]
"""Called with each member that differs, the differences, and the events that may explain them."""


@dataclass(slots=True)
class Report:
    """What was compared. `drift` goes out line by line, so memory does not grow with it."""

    members: int = 0
    merged: int = 0
    drifted: int = 0
    unknown_to_capillary: int = 0
    delivery: dict[str, Json] = field(default_factory=dict)

    def facts(self) -> dict[str, Json]:
        """Return the numbers as they are printed."""
        return {
            "members": self.members,
            "merged": self.merged,
            "drifted": self.drifted,
            "unknownToCapillary": self.unknown_to_capillary,
            **({"delivery": self.delivery} if self.delivery else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is compared: the members of `source`, or the `only` one (`org/customer`); those with an event since a time."""

    source: str
    only: str
    since_ms: int
    with_capillary: bool
    consumer_group: str
    days: int


ConsumerGroup = Annotated[
    str,
    typer.Option(help="With --capillary: the webhook whose deliveries are compared. Default: the one with the source's address."),
]
Days = Annotated[
    int, typer.Option(min=0, help="Full UTC days whose deliveries are compared, the last one yesterday; 0: today so far.")
]


def reconcile(
    source: Annotated[str, typer.Option(help="Key of the relay's source.")] = "capillary",
    member: Annotated[str, typer.Option(help="Only this Capillary customer id.")] = "",
    org: Annotated[str, typer.Option(help="With --member: Capillary's org id.")] = "",
    since: Annotated[str, typer.Option(help="Only members with an event since: 2024-09-17, or 90m, 6h, 2d ago.")] = "",
    per_second: Annotated[float, typer.Option(help="Most members a second that are read from the platform.")] = 500.0,
    capillary: Annotated[bool, typer.Option(help="Ask Capillary's API too, with CAPSTREAM_CAPILLARY_KEY and _SECRET.")] = False,
    consumer_group: ConsumerGroup = "",
    days: Days = 1,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Compare each member's points, lifetime points and tier: profile, sum of events, and Capillary.

    Members are read page by page; each that differs is printed with the events that may explain it. Exit code 1 on drift.
    """
    if member and not org:
        raise typer.BadParameter("--member needs --org")
    wish = Wish(
        source=source,
        only=f"{org}/{member}" if member else "",
        since_ms=instant_ms(since) if since else 0,
        with_capillary=capillary,
        consumer_group=consumer_group,
        days=days,
    )
    with PlatformClient(find(credentials)) as client:
        report = asyncio.run(_reconcile(client, wish, Pace(per_second), _json_line if json else _line))
    typer.echo(dumps(report.facts()).decode())
    raise typer.Exit(1 if report.drifted or report.delivery.get("difference") else 0)


async def _reconcile(client: PlatformClient, wish: Wish, pace: Pace, show: Show) -> Report:
    report = Report()
    async with httpx.AsyncClient() as http:
        api = _capillary(client, http, wish.source) if wish.with_capillary else None
        for page in _pages(client, wish.source, wish.only):
            books = [book for book in page if book["asOfMs"] >= wish.since_ms]
            report.merged += sum("mergedInto" in book for book in books)
            living = [book for book in books if "mergedInto" not in book]
            pace.take(len(living))
            found = profiles_of(client, [book["identity"] for book in living]) if living else {}
            for book in living:
                report.members += 1
                stated = await _loyalty(api, book["customerId"], report) if api else None
                drift = differences(book, found.get(book["identity"]), stated)
                if drift:
                    report.drifted += 1
                    show(book["customerId"], drift, _explain(client, wish.source, book))
        if api:
            report.delivery = await _delivery(client, api, wish)
    return report


def differences(book: Mapping[str, Json], profile: Json, capillary: Mapping[str, Json] | None) -> list[dict[str, Json]]:
    """Return the fields in which profile, sum of events and Capillary (None: not asked) differ, with the value of each."""
    loyalty = (profile or {}).get("loyalty", {})
    found = []
    for name in COMPARED:
        values = {"events": book.get(name), "profile": loyalty.get(name)}
        if capillary is not None:
            values["capillary"] = capillary.get(_C3[name])
        if any(value != values["events"] for value in values.values()):
            found.append({"field": name, **values})
    return found


def _pages(client: PlatformClient, source: str, only: str) -> Iterator[list[Json]]:
    query: dict[str, Json] = {"sourceKey": source, "limit": _PAGE, **({"only": only} if only else {})}
    while True:
        page = client.relay("GET", "/relay/members", query=query)
        yield page["members"]
        if "next" not in page:
            return
        query["after"] = page["next"]


def _explain(client: PlatformClient, source: str, book: Mapping[str, Json]) -> list[Json]:
    """Return the member's newest events: those that were not processed, else the last ones."""
    query = {"customerId": book["customerId"], "orgId": book["orgId"], "sourceKey": source, "limit": _PAGE}
    events = client.relay("GET", "/relay/events", query=query)["events"]
    stuck = [event for event in events if event.get("outcome") != "processed"]
    names = ("offset", "eventName", "eventId", "receivedAt", "outcome")
    return [{name: event[name] for name in names if name in event} for event in (stuck or events)[:_EXPLAINED]]


def _capillary(client: PlatformClient, http: httpx.AsyncClient, source: str) -> CapillaryClient:
    configured = client.relay("GET", f"/relay/sources/{source}").get("capillaryApi")
    key, secret = (os.environ.get(f"CAPSTREAM_CAPILLARY_{name}") for name in ("KEY", "SECRET"))
    if not configured or not key or not secret:
        cure = "configure capillaryApi of the source, and set CAPSTREAM_CAPILLARY_KEY and CAPSTREAM_CAPILLARY_SECRET"
        raise InputError("--capillary", "there is no API to ask", cure)
    api = CapillaryApi(host=configured["host"], key=key, secret=secret, per_minute=configured.get("perMinute", 300))
    return CapillaryClient(http, api, system_clock)


async def _loyalty(api: CapillaryClient, member: str, report: Report) -> Json | None:
    body = await _ask(api, f"/v2/customers/{member}/loyaltyDetails", {})
    if body is None:
        report.unknown_to_capillary += 1
        return None
    return next(iter(body.get("data") or ()), {})


async def _ask(api: CapillaryClient, path: str, params: Mapping[str, str]) -> Json | None:
    """Return an answer, None when the API knows nothing of it. Errors: CapstreamError when it stays silent."""
    reason = ""
    for _ in range(_TRIES):
        reply = await api.get(path, params)
        if isinstance(reply, Answered):
            return reply.body
        if not isinstance(reply, NotNow):
            return None
        reason = reply.reason
        await asyncio.sleep(_WAIT_S)
    raise CapstreamError(f"Capillary's API gives no answer at {path}: {reason}")


async def _delivery(client: PlatformClient, api: CapillaryClient, wish: Wish) -> dict[str, Json]:
    """Compare what Capillary delivered with what was received; empty when it shows no webhook of the source."""
    webhook = await _webhook(api, wish)
    group = wish.consumer_group or str(webhook.get("consumerGroupId", ""))
    if not group:
        path = f"/webhooks/capillary/{wish.source}"
        typer.echo(f"Capillary shows no webhook of {path}: deliveries are not compared; give --consumer-group", err=True)
        return {}
    found = await _deliveries(client, api, wish.source, group, wish.days)
    registered = {canonical_name(name) for name in webhook.get("eventNames") or ()}
    if registered and (missing := sorted(ALWAYS - registered)):
        found["notRegistered"] = missing
        typer.echo(f"the webhook does not send {', '.join(missing)}: what they change, the relay learns late or never", err=True)
    return found


async def _webhook(api: CapillaryClient, wish: Wish) -> dict[str, Json]:
    """Return the webhook of the consumer group that was named, else the one with the source's address; empty: not shown."""
    body = await _ask(api, "/v3/webHooks", {})
    webhooks = (body or {}).get("data") or []
    path = f"/webhooks/capillary/{wish.source}"
    for webhook in webhooks if isinstance(webhooks, list) else [webhooks]:
        if wish.consumer_group:
            if webhook.get("consumerGroupId") == wish.consumer_group:
                return dict(webhook)
        elif str(webhook.get("webHookUrl", "")).rstrip("/").endswith(path):
            return dict(webhook)
    return {}


async def _deliveries(client: PlatformClient, api: CapillaryClient, source: str, group: str, days: int) -> dict[str, Json]:
    """Compare Capillary's `deliveredEvents` with the webhooks of the journal, of full days. Source: capillary.md 1.7, 7.9."""
    now = int(time.time() * 1000)
    end = now // _DAY_MS * _DAY_MS if days else now
    start = end - days * _DAY_MS if days else now // _DAY_MS * _DAY_MS
    path = f"/v3/events/consumer-groups/{group}/metrics"
    body = await _ask(api, path, {"startDate": str(start), "endDate": str(end - 1)})
    if body is None:
        raise CapstreamError(f"Capillary knows no metrics at {path}; check --consumer-group and the permission on webhooks")
    wanted = {time.strftime("%Y-%m-%d", time.gmtime(at / 1000)) for at in range(start, end, _DAY_MS)}
    counters = client.relay("GET", "/relay/status")["sources"].get(source, {}).get("days", {})
    kept = sum(each.get("journalled", 0) - each.get("event.imported", 0) for day, each in counters.items() if day in wanted)
    delivered = int(body["data"]["deliveredEvents"])
    return {"days": sorted(wanted), "delivered": delivered, "journalled": kept, "difference": delivered - kept}


def _json_line(member: str, drift: list[dict[str, Json]], events: list[Json]) -> None:
    typer.echo(dumps({"member": member, "drift": drift, "events": events}).decode())


def _line(member: str, drift: list[dict[str, Json]], events: list[Json]) -> None:
    for each in drift:
        values = " · ".join(f"{name} {_plain(value)}" for name, value in each.items() if name != "field")
        typer.echo(f"member {member} {each['field']}: {values}")
    for event in events:
        typer.echo("  " + " ".join(str(value) for value in event.values()))


def _plain(value: Json) -> Json:
    return int(value) if isinstance(value, float) and value.is_integer() else value
