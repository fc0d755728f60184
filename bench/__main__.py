"""`make bench`: measure on embedded defaults, generator and server on the same machine, and write the table."""

import argparse
import asyncio
import importlib
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import uvloop

from bench import load, rig
from capstream.cli.rehearsal import waiting
from capstream.kernel.json import dumps, loads

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "benchmarks.md"
PARTS = ("mapping", "validation", "translation", "engine", "inlet", "courier", "backlog", "pipeline", "control_plane")
CONNECTIONS = 64
BATCH = 500
_PROBES_PER_S = 10
_POLL_S = 0.02  # the probes themselves are load
_WATCH_S = 0.1  # likewise what asks whether everything is settled
Row = tuple[str, str, str]


def generator_ceiling(seconds: float) -> list[Row]:
    """What the generator reaches against a server that does nothing: the frame of the run's other rates."""
    with rig.Stub() as stub:
        stream = load.requests(f"{stub.url}/x", {}, rig.webhooks())
        result = load.closed_loop(stub.url, stream, connections=CONNECTIONS, seconds=seconds)
    return [("generator against a server that does nothing", f"{result.rate:,.0f}/s", "")]


def webhooks_accepted(seconds: float) -> list[Row]:
    """(a): one event a POST, durable before the answer."""
    with rig.Rig(["gateway-relay"]) as running, rig.Stub() as stub:
        running.register(stub)
        result = _hooks(running, seconds)
        peak = running.peak_mb()
    note = f"ack p50 {result.percentile_ms(0.5):.1f} ms, p99 {result.percentile_ms(0.99):.1f} ms"
    return [("(a) webhooks accepted", f"{result.rate:,.0f}/s", note), *_memory(peak, "a")]


def accepted_and_delivered(seconds: float) -> list[Row]:
    """(b): accepted and delivered to the stub; the clock stops when the last one is settled."""
    with rig.Rig(["gateway-relay", "courier", "translator-1"]) as running, rig.Stub() as stub, running.client() as client:
        running.register(stub)
        started = time.perf_counter()
        result = _hooks(running, seconds)
        while waiting(client.relay("GET", "/relay/status")):
            time.sleep(_WATCH_S)
        whole = time.perf_counter() - started
        books = client.relay("GET", "/relay/status")["sources"]["bench"]
        peak = running.peak_mb()
    assert books["processed"] == result.answered, (books, result.answered)
    note = f"accepted {result.rate:,.0f}/s, all delivered {whole - result.seconds:.1f} s after the last"
    return [("(b) webhooks accepted and delivered", f"{result.answered / whole:,.0f}/s", note), *_memory(peak, "b")]


def acknowledged_at(per_second: int, seconds: float) -> list[Row]:
    """(h): how long an acknowledgement takes at a fixed rate, durable before the answer."""
    with rig.Rig(["gateway-relay"]) as running, rig.Stub() as stub:
        running.register(stub)
        url = f"http://127.0.0.1:{running.port}/webhooks/capillary/bench"
        stream = load.requests(url, {"authorization": "Bearer bench", "content-type": "application/json"}, rig.webhooks())
        result = uvloop.run(load.fixed_rate(url, stream, per_second=per_second, seconds=seconds, accepted=lambda _: None))
    assert not result.refused, result.refused
    note = f"p50 {result.percentile_ms(0.5):.1f} ms, {result.answered / seconds:,.0f} acknowledged/s"
    return [(f"(h) acknowledgement at {per_second:,}/s", f"p99 {result.percentile_ms(0.99):.1f} ms", note)]


def inlet_to_profile(seconds: float) -> list[Row]:
    """(c): batches of 500 into the inlet until lake and profile hold them."""
    with rig.Rig(["gateway", "worker"]) as running, running.client() as client:
        connection = running.command("connect", "capillary", "--source", "bench", "--json")
        sent, started = uvloop.run(_post_batches(running, connection, seconds))
        while client.platform("GET", "/capstream/status")["pending"]:
            time.sleep(0.02)
        whole = time.perf_counter() - started
        rows = running.command("query", "--format", "json", f"select count(*) as n from {_table(connection, 'event')}")[0]["n"]
        peak = running.peak_mb()
    assert rows == sent, (rows, sent)
    return [
        ("(c) inlet, batches of 500 → lake and profile", f"{sent / whole:,.0f} records/s", f"{sent:,} records"),
        *_memory(peak, "c"),
    ]


def end_to_end(per_second: int, seconds: float) -> list[Row]:
    """(d): webhook → profile readable, at a fixed rate; a sample of members is polled."""
    with rig.Rig(["gateway", "worker", "courier", "translator-1"]) as running:
        connection = running.command("connect", "capillary", "--source", "bench", "--json")
        result, latencies = uvloop.run(_probe(running, connection, per_second, seconds))
        peak = running.peak_mb()
    latencies.sort()
    p50, p99 = (latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000 for share in (0.5, 0.99))
    note = f"p50 {p50:.0f} ms, {len(latencies)} samples, {result.answered / seconds:,.0f} acknowledged/s"
    return [(f"(d) webhook → profile readable at {per_second:,}/s", f"p99 {p99:.0f} ms", note), *_memory(peak, f"d {per_second}")]


def time_to_ready() -> list[Row]:
    """(f): from the command to `GET /health` 200, first start included."""
    with rig.Rig(["gateway", "worker", "courier", "translator-1"]) as running:
        return [("(f) time to ready, first start", f"{running.seconds_to_ready:.2f} s", "")]


def _hooks(running: rig.Rig, seconds: float) -> load.Result:
    url = f"http://127.0.0.1:{running.port}/webhooks/capillary/bench"
    stream = load.requests(url, {"authorization": "Bearer bench", "content-type": "application/json"}, rig.webhooks())
    result = load.closed_loop(url, stream, connections=CONNECTIONS, seconds=seconds)
    assert not result.refused, result.refused
    return result


def _memory(peak: dict[str, float], which: str) -> list[Row]:
    return [(f"(e) peak memory in ({which})", ", ".join(f"{role} {mb:.0f} MB" for role, mb in peak.items()), "")]


def _table(connection: dict[str, str], kind: str) -> str:
    return connection[f"{kind}_dataset_name"].lower().replace(" ", "_")


async def _post_batches(running: rig.Rig, connection: dict[str, str], seconds: float) -> tuple[int, float]:
    example = loads((rig.EXAMPLES.parent / "translation" / "transactionAdded.json").read_bytes())["transactions"][0]
    for name in ("customFields", "extendedFields", "lines", "trigger"):  # 500 whole ones would not fit into 1 MB
        example["capillary"].pop(name, None)
    url = connection["inlet_url"].replace("/collection/", "/collection/batch/").replace("localhost", "127.0.0.1")
    async with httpx.AsyncClient(timeout=60) as http:
        headers = {"authorization": f"Bearer {await _token(http, running)}", "content-type": "application/json"}
        headers["x-adobe-flow-id"] = connection["event_flow_id"]
        started, sent = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            answer = await http.post(url, headers=headers, content=_batch(example, sent))
            assert answer.status_code == 207, answer.text
            sent += BATCH
            while sent - await _processed(http, running, headers) > 30_000:
                await asyncio.sleep(0.05)
    return sent, started


def _batch(example: dict[str, object], first: int) -> bytes:
    """Return a request of BATCH transactions by 5,000 members, each member with identities of its own."""
    text = dumps(example)
    messages = []
    for index in range(first, first + BATCH):
        member = b"%05d" % (index % 5000)
        own = text.replace(b"900000101", b"9000" + member).replace(b"member-0001", b"member-" + member)
        own = own.replace(b"447700900101", b"4477009" + member).replace(b"CRM-0001", b"CRM-" + member)
        messages.append(own.replace(b"880100001", b"%d" % (880_100_001 + index)))
    return b'{"messages":[' + b",".join(messages) + b"]}"


async def _token(http: httpx.AsyncClient, running: rig.Rig) -> str:
    who = running.credentials
    form = {
        "grant_type": "client_credentials",
        "client_id": who.client_id,
        "client_secret": who.client_secret,
        "scope": who.scopes,
    }
    token: str = (await http.post(f"{who.ims_url}/ims/token/v3", data=form)).json()["access_token"]
    return token


def _gateway_headers(running: rig.Rig, headers: dict[str, str]) -> dict[str, str]:
    return headers | {"x-api-key": running.credentials.client_id, "x-gw-ims-org-id": running.credentials.org_id}


async def _processed(http: httpx.AsyncClient, running: rig.Rig, headers: dict[str, str]) -> int:
    answer = await http.get(f"{running.url}/capstream/status", headers=_gateway_headers(running, headers))
    return int(answer.json()["processed"])


async def _probe(
    running: rig.Rig, connection: dict[str, str], per_second: int, seconds: float
) -> tuple[load.Result, list[float]]:
    """Send at a fixed rate; poll the member of every n-th event until its profile shows that event's balance."""
    latencies: list[float] = []
    every = max(1, per_second // _PROBES_PER_S)
    probes: set[asyncio.Task[None]] = set()
    async with httpx.AsyncClient(timeout=30) as http:
        headers = _gateway_headers(running, {"authorization": f"Bearer {await _token(http, running)}"})

        async def wait_for(index: int) -> None:
            started = time.perf_counter()
            query = {
                "schema.name": "_xdm.context.profile",
                "entityId": str(900_000_001 + index % rig.MEMBERS),
                "entityIdNS": "capillaryUserId",
            }
            while True:
                answer = await http.get(f"{running.url}/data/core/ups/access/entities", params=query, headers=headers)
                if answer.status_code == 200:
                    entity = next(iter(answer.json().values()))["entity"]
                    if entity.get("loyalty", {}).get("points", -1) >= 100 + index // rig.MEMBERS:
                        latencies.append(time.perf_counter() - started)
                        return
                await asyncio.sleep(_POLL_S)

        def accepted(index: int) -> None:
            if index % every == 0:
                probes.add(asyncio.create_task(wait_for(index)))

        url = f"http://127.0.0.1:{running.port}/webhooks/capillary/bench"
        stream = load.requests(url, connection["webhook_headers"], rig.webhooks())  # type: ignore[arg-type]
        result = await load.fixed_rate(url, stream, per_second=per_second, seconds=seconds, accepted=accepted)
        await asyncio.wait_for(asyncio.gather(*probes), 120)
    return result, latencies


def parts() -> list[Row]:
    """The parts of the way, each alone on one core."""
    rows: list[Row] = []
    for name in PARTS:
        rows += [
            (f"{name}: {what}", f"{figure:,.0f}", "")
            for what, figure in importlib.import_module(f"bench.{name}").measure().items()
        ]
    return rows


def main() -> None:
    """Measure what is asked for and write the page."""
    parser = argparse.ArgumentParser(prog="bench")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of each load run")
    parser.add_argument("--only", default="", help="letters of the measurements, e.g. ab; p = the parts")
    parser.add_argument("--write", action="store_true", help="write the page after a part of the measurements too")
    arguments = parser.parse_args()
    wanted = arguments.only or "gabcdfhp"
    seconds = arguments.seconds
    measurements: list[tuple[str, Callable[[], list[Row]]]] = [
        ("g", lambda: generator_ceiling(seconds / 2)),
        ("a", lambda: webhooks_accepted(seconds)),
        ("b", lambda: accepted_and_delivered(seconds)),
        ("c", lambda: inlet_to_profile(seconds)),
        ("d", lambda: end_to_end(500, seconds)),
        ("d", lambda: end_to_end(2000, seconds)),
        ("f", time_to_ready),
        ("h", lambda: acknowledged_at(10_000, seconds)),
        ("p", parts),
    ]
    rows: list[Row] = []
    for letter, measure in measurements:
        if letter in wanted:
            fresh = measure()
            rows += fresh
            for row in fresh:
                print(" | ".join(row), flush=True)
    if arguments.write or not arguments.only:
        _write(rows)


def _write(rows: list[Row]) -> None:
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`: embedded defaults, load generator and server on the same machine,",
        "every acknowledged event durable before its answer.",
        "Absolute figures move from machine to machine; compare the rows of one run.",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}, {time.strftime('%Y-%m-%d')}.",
        "",
        "| what | figure | notes |",
        "|---|---|---|",
        *(f"| {what} | {figure} | {note} |" for what, figure, note in rows),
    ]
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
