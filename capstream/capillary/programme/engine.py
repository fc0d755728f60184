"""The engine: retail bills go in, the programme's events come out in the order of the ledger. Source: capillary.md 9.3."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from capstream.capillary.programme import days, jobs
from capstream.capillary.programme.bills import sell_anonymously
from capstream.capillary.programme.config import Programme
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.capillary.programme.purchases import sell
from capstream.capillary.programme.returns import give_back_goods
from capstream.capillary.programme.world import Handler, World
from capstream.capillary.retail import Bill
from capstream.kernel.json import Json

_LEAST_DELAY_MS, _MOST_DELAY_MS = 20_000, 90_000
_BEFORE_STEP_MS = 201  #: no event is dated further before its step


@dataclass(frozen=True, slots=True)
class Asked:
    """What the API says about a member: their ledger, and the instant whose events it holds."""

    member: Member
    as_of_ms: int


class Engine:
    """One simulated programme. Not thread-safe; nothing happens in it but while a step is being asked for."""

    def __init__(
        self, programme: Programme | None = None, *, seed: int = 1, enrichment: bool = True, receipts_kept: int = 250_000
    ) -> None:
        self.programme = programme or Programme()
        self.world = World(self.programme, seed=seed, enrichment=enrichment, receipts_kept=receipts_kept)
        self.world.run_night, self.world.run_morning = jobs.night, jobs.morning
        self.events: Counter[str] = Counter()
        self.bills_taken = 0
        self.bills_booked = 0

    @property
    def now_ms(self) -> int:
        """Return the virtual time, in epoch milliseconds."""
        return self.world.now_ms

    def run(self, bills: Iterable[Bill]) -> Generator[list[SimEvent], None, None]:
        """Return the events of each step until all bills are booked. A step happens when it is asked for, not before.

        Order: steps in the order of their ledger instants; jobs and deliveries happen between the bills they lie between.
        """
        for bill in bills:
            yield from self.advance(bill.till_ms + _LEAST_DELAY_MS)
            self.take(bill)
        while self.bills_booked < self.bills_taken:
            yield from (events for events in self._step(before_ms=2**62) if events)

    def take(self, bill: Bill) -> None:
        """Put a bill on the agenda: it takes effect 20 to 90 seconds after the till, or now if that is over."""
        self.bills_taken += 1
        delay_ms = self.world.till_draws.randint(_LEAST_DELAY_MS, _MOST_DELAY_MS)
        customer_id = self.programme.customers.id_base + int(bill.customer_ref) if bill.customer_ref else 0
        book = sell_anonymously if not bill.customer_ref else give_back_goods if bill.is_return else sell
        self.world.schedule(bill.till_ms + delay_ms, customer_id, _Booking(self, partial(book, bill=bill)))

    def schedule(self, customer_id: int, handler: Handler) -> None:
        """Put an act of a member on the agenda, to happen next."""
        self.world.schedule(self.world.now_ms, customer_id, handler)

    def advance(self, until_ms: int) -> Iterator[list[SimEvent]]:
        """Return the events of each step before `until_ms`, and move the clock there."""
        while True:
            step = list(self._step(before_ms=until_ms))
            if not step:
                break
            yield from (events for events in step if events)
        self.world.now_ms = max(self.world.now_ms, until_ms)

    def _step(self, *, before_ms: int) -> Iterator[list[SimEvent]]:
        due = self.world.next_due(before_ms)
        if due is None:
            return
        at_ms, member, handler = due
        events = handler(self.world, member, at_ms)
        self._check(member, events)
        for event in events:
            self.events[event.kind] += 1
        yield events

    def _check(self, member: Member | None, events: list[SimEvent]) -> None:
        """Hold the ledgers of all whom the step touched against the laws."""
        tiers = len(self.programme.tiers)
        if member is not None:
            member.check(tiers)
        for customer_id in {event.customer_id for event in events}:
            if customer_id is not None and (member is None or customer_id != member.customer_id):
                self.world.members[customer_id].check(tiers)

    def ask(self, customer_id: int) -> Asked | None:
        """Return a member's ledger as the API shows it at the virtual time."""
        member = self.world.members.get(customer_id)
        if member is None:
            return None
        return Asked(member, max(member.newest_ms, self.world.now_ms - _BEFORE_STEP_MS))

    def receipt(self, transaction_id: int) -> Receipt | None:
        """Return a booked bill."""
        return self.world.receipts.get(transaction_id)

    def truth(self) -> Iterator[Json]:
        """Return one row for each member, by customerId: what the profile must equal. Source: capillary.md 9.3.2."""
        for customer_id in sorted(self.world.members):
            yield self.truth_of(self.world.members[customer_id])

    def truth_of(self, member: Member) -> Json:
        """Return the row of one member."""
        number = self.world.arithmetic.number
        row: dict[str, Json] = {"customerId": member.customer_id, "externalId": member.external_id}
        row |= {key: value for key, value in (("email", member.email), ("mobile", member.mobile)) if value is not None}
        row |= {
            "points": number(member.current),
            "lifetimePoints": number(member.lifetime),
            "pointsRedeemed": number(member.redeemed),
            "expiredPoints": number(member.expired),
            "returnedPoints": number(member.returned),
            "adjustedPoints": number(member.adjusted),
            "promisedPoints": number(member.promised_points),
            "lifetimePurchases": member.purchases_cents / 100,
            "tier": self.programme.tier(member.tier).name,
            "tierNumber": member.tier,
        }
        if member.tier_expiry is not None:
            row["tierExpiryDate"] = days.iso(member.tier_expiry)
        row["lots"] = [{"date": days.iso(day), "points": number(points)} for day, points in schedule(member)]
        if member.merged_into is not None:
            row["merged_into"] = member.merged_into
        if member.is_deleted:
            row["deleted"] = True
        return row


class _Booking:
    """A bill on the agenda; counts when it has been booked."""

    __slots__ = ("_engine", "_handler")

    def __init__(self, engine: Engine, handler: Handler) -> None:
        self._engine = engine
        self._handler = handler

    def __call__(self, world: World, member: Member | None, at_ms: int) -> list[SimEvent]:
        self._engine.bills_booked += 1
        return self._handler(world, member, at_ms)


def schedule(member: Member) -> list[tuple[int, int]]:
    """Return (expiry day, points) of a member's lots, one entry a day, ascending."""
    sums: dict[int, int] = {}
    for lot in member.lots:
        sums[lot.expiry] = sums.get(lot.expiry, 0) + lot.remaining
    return sorted(sums.items())
