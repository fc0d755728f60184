"""The Capillary simulator: engine, API façade and webhook sender as one run. Source: capillary.md 9."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from zoneinfo import ZoneInfo

from capstream.capillary.programme.config import Programme
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.programme.synthetic import SyntheticShop, synthetic_bills
from capstream.capillary.retail import Bill, Reject, RetailFormat, bills_of, read_rows
from capstream.kernel.clock import Clock, system_clock
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, dumps, pretty
from capstream.relay.deliveries import Deliveries
from capstream.relay.exports import Exports
from capstream.relay.facade import Control, Facade, FacadeOptions, Run
from capstream.relay.facade_server import HOST, served
from capstream.relay.faults import Faults, Feed
from capstream.relay.sender import Acceptance, Attempt, Counts, Listeners, Sender, SenderOptions
from capstream.relay.webhook_api import WebhookApi
from capstream.relay.webhooks import Webhooks

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationOptions:
    """One run. Without `transactions` the bills are made up: `days` of them, ending now unless `start_ms` is given.

    Without an address in `sender` the run has no webhook of its own: events go to those that are registered through its API.
    """

    sender: SenderOptions
    faults: Faults = field(default_factory=Faults)
    programme: Programme = field(default_factory=Programme)
    facade: FacadeOptions = field(default_factory=FacadeOptions)
    facade_port: int = 0  #: 0: any free one
    transactions: Path | None = None
    shop_zone: str = "Europe/London"
    currency: str = "GBP"
    customers: int = 1_000
    bills_per_day: float = 60.0
    days: int = 400
    start_ms: int | None = None
    enrichment: bool = True
    seconds: float | None = None  #: of wall clock, after which the stream ends
    is_paused: bool = False  #: until `POST /_sim/start`
    seed: int = 1
    out: Path | None = None
    exports: Path | None = None  #: folder for the CSV exports Capillary would have made of the run
    progress_every_s: float = 0.5
    on_accepted: Callable[[Acceptance], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """What became of the input. `bill_lines + rejected` is what was read; the rest of the file was not reached."""

    read: int = 0
    bill_lines: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    bills: int = 0
    bills_booked: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands."""

    elapsed_s: float
    virtual_ms: int
    events: int
    kinds: dict[str, int]
    members: int
    rows: Rows
    sent: Json
    is_done: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSummary:
    """What a run did, and the ledgers at its last event. `sent` holds the sender's counts."""

    elapsed_s: float
    virtual_ms: int
    rows: Rows
    events: int
    kinds: dict[str, int]
    anonymous_bills: int
    sent: Json
    truth: list[Json] = field(repr=False)


class Simulation:
    """A run. As an asynchronous context it keeps the API up: the relay asks it after the last webhook too."""

    def __init__(self, options: SimulationOptions, clock: Clock = system_clock) -> None:
        self.engine = Engine(options.programme, seed=options.seed, enrichment=options.enrichment)
        self._options = options
        self._clock = clock
        self._intake = _Intake()
        self._stop = asyncio.Event()
        self._files = _Files(options.out)
        self._exports = Exports(self.engine, options.exports) if options.exports else None
        self._steps = self.engine.run(self._bills())  # refuses a bad file before anything is started
        self._feed = Feed(self._steps, options.faults, seed=options.seed, on_event=self._note)
        sender, deliveries = options.sender, Deliveries(lambda: self._feed.events)
        told = (deliveries.attempted, self._files.attempt) if options.out else (deliveries.attempted,)
        listeners = Listeners(accepted=options.on_accepted, attempted=told, lost=deliveries.lost)
        self._sender = Sender(self._feed, sender, clock, listeners)
        self._started = 0.0
        self._webhooks = Webhooks(clock=clock, options=sender)
        if sender.url:
            self._webhooks.own(self._sender, deliveries)
        if options.is_paused:
            self._sender.pause()
        going = {"start": self._sender.resume, "resume": self._sender.resume, "pause": self._sender.pause}
        control = Control(state=self._state, commands={**going, "stop": self._stop.set})
        api = WebhookApi(webhooks=self._webhooks, clock=clock, zone=ZoneInfo(options.programme.org.zone))
        self._facade = Facade(self.engine, options.facade, clock, Run(control=control, webhooks=api))
        self._server: AbstractAsyncContextManager[int] | None = None
        self.api_url = ""

    async def __aenter__(self) -> "Simulation":
        self._server = served(self._facade, self._options.facade_port)
        self.api_url = f"http://{HOST}:{await self._server.__aenter__()}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._webhooks.close()
        self._files.close()
        if self._exports is not None:
            self._exports.close()
        self._steps.close()
        if self._server is not None:
            await self._server.__aexit__(kind, error, trace)

    async def send(self, progress: Callable[[Progress], None], stop: asyncio.Event) -> SimulationSummary:
        """Return the summary when the bills are used up, the seconds are over or `stop` is set.

        The stream ends between two steps of the engine, so the ledger is that of the last event handed out.
        """
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        async with asyncio.TaskGroup() as tasks:
            helpers = [tasks.create_task(self._relay_stop(stop)), tasks.create_task(self._report(progress))]
            counts = await self._sender.run(self._stop)
            await self._webhooks.drain()
            for helper in helpers:
                helper.cancel()
        summary = self._summary(counts)
        self._files.finish(summary)
        if self._exports is not None:
            self._exports.finish()
        progress(self._progress(is_done=True))
        return summary

    def _note(self, event: SimEvent) -> None:
        self._files.event(event)
        if self._exports is not None:
            self._exports.event(event)
        self._webhooks.offer(event)

    async def _relay_stop(self, stop: asyncio.Event) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._options.seconds):
                await stop.wait()
        self._stop.set()

    async def _report(self, progress: Callable[[Progress], None]) -> None:
        while True:
            progress(self._progress(is_done=False))
            await asyncio.sleep(self._options.progress_every_s)

    def _bills(self) -> Iterator[Bill]:
        options = self._options
        if options.transactions is None:
            start_ms = self._clock() - options.days * _DAY_MS if options.start_ms is None else options.start_ms
            shop = SyntheticShop(
                start_ms=start_ms,
                end_ms=min(start_ms + options.days * _DAY_MS, self._clock()),  # the virtual clock never passes the wall clock
                customers=options.customers,
                bills_per_day=options.bills_per_day,
                zone=ZoneInfo(options.shop_zone),
                currency=options.currency,
            )
            return self._intake.count(synthetic_bills(shop, seed=options.seed), self._files.reject)
        form = RetailFormat(zone=ZoneInfo(options.shop_zone), currency=options.currency)
        rows = read_rows(_lines_of(options.transactions), form)
        return self._intake.count(bills_of(rows), self._files.reject)

    def _rows(self) -> Rows:
        intake = self._intake
        return Rows(
            read=intake.bill_lines + sum(intake.rejected.values()),
            bill_lines=intake.bill_lines,
            rejected=dict(intake.rejected),
            bills=self.engine.bills_taken,
            bills_booked=self.engine.bills_booked,
        )

    def _progress(self, *, is_done: bool) -> Progress:
        return Progress(
            elapsed_s=asyncio.get_running_loop().time() - self._started,
            virtual_ms=self.engine.now_ms,
            events=self._feed.events,
            kinds=dict(self.engine.events),
            members=len(self.engine.world.members),
            rows=self._rows(),
            sent=_counts(self._sender.counts, self._feed.events),
            is_done=is_done,
        )

    def _state(self) -> Json:
        state = self._progress(is_done=False)
        return {
            "virtualTime": state.virtual_ms,
            "events": state.events,
            "kinds": state.kinds,
            "members": state.members,
            "billsBooked": state.rows.bills_booked,
            "rows": {"read": state.rows.read, "billLines": state.rows.bill_lines, "rejected": state.rows.rejected},
            "sent": state.sent,
        }

    def _summary(self, counts: Counts) -> SimulationSummary:
        return SimulationSummary(
            elapsed_s=asyncio.get_running_loop().time() - self._started,
            virtual_ms=self.engine.now_ms,
            rows=self._rows(),
            events=self._feed.events,
            kinds=dict(self.engine.events),
            anonymous_bills=self.engine.world.anonymous_bills,
            sent=_counts(counts, self._feed.events),
            truth=list(self.engine.truth()),
        )


async def simulate(
    options: SimulationOptions,
    progress: Callable[[Progress], None],
    stop: asyncio.Event,
    *,
    linger: Callable[[SimulationSummary], Awaitable[None]] | None = None,
) -> SimulationSummary:
    """Return the summary of a whole run; the API stays up until `linger` has returned."""
    async with Simulation(options) as simulation:
        summary = await simulation.send(progress, stop)
        if linger is not None:
            await linger(summary)
        return summary


class _Intake:
    """Counts what becomes of each row as it is read."""

    def __init__(self) -> None:
        self.bill_lines = 0
        self.rejected: Counter[str] = Counter()

    def count(self, outcomes: Iterator[Bill | Reject] | Iterator[Bill], on_reject: Callable[[Reject], None]) -> Iterator[Bill]:
        """Return the bills; rejects go to the listener."""
        for outcome in outcomes:
            if isinstance(outcome, Reject):
                self.rejected[outcome.reason] += 1
                on_reject(outcome)
            else:
                self.bill_lines += len(outcome.lines)
                yield outcome


class _Files:
    """The output folder, when there is one."""

    def __init__(self, out: Path | None) -> None:
        self._out = out
        if out is None:
            return
        (out / "truth").mkdir(parents=True, exist_ok=True)
        self._events = (out / "events.jsonl").open("wb")
        self._deliveries = (out / "deliveries.jsonl").open("wb")
        self._rejects = (out / "rejects.jsonl").open("wb")

    def event(self, event: SimEvent) -> None:
        """Write an event as the engine made it."""
        if self._out is not None:
            self._events.write(dumps(event.body) + b"\n")

    def attempt(self, attempt: Attempt) -> None:
        """Write one request."""
        line = {
            "eventId": attempt.posting.event.event_id,
            "eventName": attempt.posting.event.kind,
            "attempt": attempt.number,
            "status": attempt.status,
            "sentAt": attempt.sent_ms,
            "ms": attempt.answered_ms - attempt.sent_ms,
            "duplicate": attempt.posting.is_duplicate,
            "spoilt": attempt.posting.is_spoilt,
        }
        self._deliveries.write(dumps(line) + b"\n")

    def reject(self, reject: Reject) -> None:
        """Write a row that is no bill line."""
        if self._out is not None:
            line = {"row": reject.row, "reason": reject.reason, "detail": reject.detail, "text": reject.text}
            self._rejects.write(dumps(line) + b"\n")

    def finish(self, summary: SimulationSummary) -> None:
        """Write truth and summary."""
        if self._out is None:
            return
        with (self._out / "truth" / "members.jsonl").open("wb") as file:
            file.writelines(dumps(row) + b"\n" for row in summary.truth)
        facts = {
            "elapsedSeconds": round(summary.elapsed_s, 3),
            "virtualTime": summary.virtual_ms,
            "rows": {"read": summary.rows.read, "billLines": summary.rows.bill_lines, "rejected": summary.rows.rejected},
            "bills": summary.rows.bills,
            "billsBooked": summary.rows.bills_booked,
            "anonymousBills": summary.anonymous_bills,
            "events": summary.events,
            "kinds": summary.kinds,
            "members": len(summary.truth),
            "sent": summary.sent,
        }
        (self._out / "summary.json").write_text(pretty(facts) + "\n")

    def close(self) -> None:
        """Close what is open."""
        if self._out is not None:
            for file in (self._events, self._deliveries, self._rejects):
                file.close()


def _counts(counts: Counts, events: int) -> Json:
    """Return the sender's counts as they are written and shown."""
    return {
        "events": events,
        "requests": counts.requests,
        "accepted": counts.accepted,
        "failed": counts.failed,
        "undelivered": counts.undelivered,
        "unwanted": counts.unwanted,
        "duplicatesSent": counts.duplicates_sent,
        "duplicatesAnswered": counts.duplicates_answered,
        "acksLost": counts.acks_lost,
        "spoiltSent": counts.spoilt_sent,
        "retries": counts.retries,
        "timeouts": counts.timeouts,
        "connectionErrors": counts.connection_errors,
        "statuses": {str(status): count for status, count in sorted(counts.statuses.items())},
    }


def _lines_of(path: Path) -> Iterator[str]:
    """Return the lines of a text file, read as they are needed.

    Errors: InputError when it cannot be opened.
    """
    try:
        file = path.open(encoding="utf-8", errors="replace", newline="")
    except OSError as error:
        raise InputError(str(path), f"cannot be read: {error.strerror}", "give the path of a CSV file") from error
    with file:
        yield from file
