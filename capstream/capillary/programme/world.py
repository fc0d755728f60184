"""The state of one simulated programme, and the agenda of what is still to happen in it."""

from collections.abc import Callable
from datetime import time, tzinfo
from heapq import heappop, heappush
from zoneinfo import ZoneInfo

from capstream.capillary.programme.arithmetic import Arithmetic
from capstream.capillary.programme.chance import Ids, draws
from capstream.capillary.programme.config import Programme
from capstream.capillary.programme.days import Calendar
from capstream.capillary.programme.events import SimEvent, Writer
from capstream.capillary.programme.ledger import Lot, Member, Receipt
from capstream.capillary.programme.shops import Chain

Handler = Callable[["World", Member | None, int], list[SimEvent]]
"""Lets something happen to a member (None: to nobody known) at an instant; returns its events in order."""

NIGHT, MORNING = time(0, 5), time(6)
BILL_GAP_MS, JOB_GAP_MS = 2_000, 1_000


class World:
    """Members, receipts, clock and agenda. Its clock moves only forward, and only through `next_due`."""

    def __init__(self, programme: Programme, *, seed: int, enrichment: bool, receipts_kept: int) -> None:
        self.programme = programme
        self.enrichment = enrichment
        self.arithmetic = Arithmetic(programme)
        self.ids = Ids(seed)
        self.writer = Writer(programme, self.ids, self.arithmetic)
        self.chain = Chain(programme.shops, enrichment=enrichment)
        self.zone: tzinfo = ZoneInfo(programme.org.zone)
        self.calendar = Calendar(self.zone)
        self.till_draws, self.bill_draws, self.life_draws = (draws(seed, name) for name in ("till", "bill", "life"))
        self.members: dict[int, Member] = {}
        self.receipts: dict[int, Receipt] = {}
        self.now_ms = 0
        self.spend_months = 1 + max(12, *(tier.validity_months for tier in programme.tiers))
        self.anonymous_bills = 0
        self._receipts_kept = receipts_kept
        self._agenda: list[tuple[int, int, int, int, Handler]] = []
        self._scheduled = 0
        self._nights: dict[int, set[int]] = {}
        self._mornings: dict[int, set[int]] = {}
        self.run_night: Callable[[int], Handler] = _no_job
        self.run_morning: Callable[[int], Handler] = _no_job

    def schedule(self, at_ms: int, customer_id: int, handler: Handler, *, gap_ms: int = BILL_GAP_MS) -> None:
        """Put something on the agenda; it waits until `gap_ms` after the member's newest event. Never in the past."""
        self._scheduled += 1
        heappush(self._agenda, (max(at_ms, self.now_ms), customer_id, self._scheduled, gap_ms, handler))

    def next_due(self, before_ms: int) -> tuple[int, Member | None, Handler] | None:
        """Return what happens next before an instant, and move the clock there; None when nothing does."""
        agenda = self._agenda
        while agenda and agenda[0][0] < before_ms:
            at_ms, customer_id, place, gap_ms, handler = heappop(agenda)
            member = self.member(customer_id)
            if member is not None and at_ms < member.newest_ms + gap_ms:
                heappush(agenda, (member.newest_ms + gap_ms, customer_id, place, gap_ms, handler))
                continue
            self.now_ms = at_ms
            return at_ms, member, handler
        return None

    def member(self, customer_id: int) -> Member | None:
        """Return the member, or who they were merged into."""
        member = self.members.get(customer_id)
        while member is not None and member.merged_into is not None:
            member = self.members[member.merged_into]
        return member

    def hold(self, member: Member, lot: Lot) -> None:
        """Add a lot to a ledger, and its days to the jobs."""
        member.add(lot)
        self.watch_expiry(member, lot.expiry)

    def watch_expiry(self, member: Member, day: int) -> None:
        """Have the jobs look after points that expire at the end of `day`."""
        self.at_night(day + 1, member)
        for ahead in self.programme.expiry.reminder_days:
            self.in_the_morning(day - ahead, member)

    def set_tier(self, member: Member, n: int, at_ms: int, expiry: int | None) -> None:
        """Put a member into a tier."""
        member.tier, member.tier_since_ms, member.tier_expiry = n, at_ms, expiry
        if expiry is not None:
            self.at_night(expiry + 1, member)
            for ahead in self.programme.downgrade.reminder_days:
                self.in_the_morning(expiry - ahead, member)

    def at_night(self, day: int, member: Member) -> None:
        """Have the night job of `day`, or the next one to come, look at a member."""
        who = self._nights.get(day)
        if who is None:
            while (start := self.calendar.at(day, NIGHT)) <= self.now_ms:
                day += 1
            who = self._nights.get(day)
        if who is None:
            who = self._nights[day] = set()
            self.schedule(start, 0, self.run_night(day), gap_ms=0)
        who.add(member.customer_id)

    def in_the_morning(self, day: int, member: Member) -> None:
        """Have the morning job of `day` look at a member, unless it is over."""
        who = self._mornings.get(day)
        if who is None:
            start = self.calendar.at(day, MORNING)
            if start <= self.now_ms:
                return
            who = self._mornings[day] = set()
            self.schedule(start, 0, self.run_morning(day), gap_ms=0)
        who.add(member.customer_id)

    def night_members(self, day: int) -> list[Member]:
        """Return whom the night job of `day` looks at, in order, and forget them."""
        return self._resolved(self._nights.pop(day))

    def morning_members(self, day: int) -> list[Member]:
        """Return whom the morning job of `day` looks at, in order, and forget them."""
        return self._resolved(self._mornings.pop(day))

    def _resolved(self, customer_ids: set[int]) -> list[Member]:
        found = {member.customer_id: member for member in map(self.member, customer_ids) if member is not None}
        return [found[customer_id] for customer_id in sorted(found) if not found[customer_id].is_gone]

    def keep(self, receipt: Receipt) -> None:
        """Keep a receipt for API call C7; the oldest is forgotten when there are too many."""
        self.receipts[receipt.transaction_id] = receipt
        if len(self.receipts) > self._receipts_kept:
            del self.receipts[next(iter(self.receipts))]

    def rolling_spend(self, member: Member, at_ms: int) -> int:
        """Return the member's spend of the 12 months before an instant, in hundredths, forgetting what no rule needs."""
        start = self.calendar.months_before(at_ms, 12)
        while member.bills and member.bills[0].created_ms <= start:
            member.bills.popleft()
        return member.spend.roll(start, self.calendar.months_before(at_ms, self.spend_months))


def _no_job(day: int) -> Handler:
    raise AssertionError(f"no job is set for day {day}")


class Step:
    """The events of one thing that happens: one API request, instants that never stand still."""

    def __init__(self, world: World, at_ms: int, request: str) -> None:
        self.world = world
        self.at_ms = at_ms
        self.request = request
        self.events: list[SimEvent] = []
        self._last_ms = 0

    def at(self, offset_ms: int) -> int:
        """Return the instant so far from the step's own, or just after the event before."""
        self._last_ms = max(self.at_ms + offset_ms, self._last_ms + 1)
        return self._last_ms

    def emit(self, kind: str, offset_ms: int, data: object, *, member: Member | None, ref: str = "") -> SimEvent:
        """Add the next event."""
        event = self.world.writer.event(kind, self.at(offset_ms), self.request, data, member=member, ref=ref)
        self.events.append(event)
        return event
