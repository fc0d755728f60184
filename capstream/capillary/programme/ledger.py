"""A member's ledger: lots, promised points, tier, counters, bills; and the moves that keep its laws. Source: capillary.md 9.3.

Points are whole numbers of the programme's smallest part (1 point at 0 decimals, 1/1000 at 3); money is whole hundredths;
days are whole numbers (`days.py`).
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from capstream.capillary.programme.shops import Till
from capstream.capillary.retail import Bill
from capstream.kernel.json import Json


class LotKind(StrEnum):
    """Where the points of a lot came from."""

    REGULAR = "regular"
    PROMO = "promo"
    CONVERTED = "converted"
    TRANSFER = "transfer"


class InvariantBroken(Exception):
    """The ledger contradicts itself: a bug of the engine, never of the input."""


@dataclass(slots=True)
class Lot:
    """Points with one expiry day. Lots are used up in the order (expiry, id)."""

    id: int
    points: int
    remaining: int
    expiry: int
    kind: LotKind
    bill_id: int | None
    promotion_id: int | None = None
    is_extended: bool = False


@dataclass(slots=True)
class PromisedLot:
    """Points that become redeemable on `convert_on`."""

    id: int
    points: int
    convert_on: int
    receipt: "Receipt"
    event_log_id: int


@dataclass(slots=True)
class Redemption:
    """What paid for a bill: which lots gave how much, in the order taken."""

    id: str
    summary_id: int
    bill_id: int | None
    bill_number: str
    till: Till | None
    points: int
    parts: list[tuple[Lot, int]]
    is_reversed: bool = False


@dataclass(slots=True)
class Receipt:
    """A bill as the programme booked it: what API call C7 shows."""

    transaction_id: int
    first_line_id: int
    bill: Bill
    bill_type: str  #: REGULAR, RETURN, NOT_INTERESTED, NOT_INTERESTED_RETURN
    customer_id: int | None
    till: Till
    created_ms: int
    gross_cents: int
    discount_cents: int
    is_online: bool
    status: str
    is_outlier: bool
    multiplier: Decimal = Decimal(1)
    redemption: Redemption | None = None
    returned: dict[str, int] | None = None  #: sku -> quantity that came back
    parent_id: int | None = None
    return_type: str | None = None

    @property
    def amount_cents(self) -> int:
        """Return the net amount, never negative."""
        return max(0, self.gross_cents - self.discount_cents)

    @property
    def is_fully_returned(self) -> bool:
        """Return whether everything has come back; services need not, unless nothing else was sold."""
        lines = [line for line in self.bill.lines if line.is_points_eligible] or list(self.bill.lines)
        sold: dict[str, int] = {}
        for line in lines:
            sold[line.sku] = sold.get(line.sku, 0) + line.quantity
        back = self.returned or {}
        return all(back.get(sku, 0) >= quantity for sku, quantity in sold.items())

    def has_left(self, sku: str, quantity: int) -> bool:
        """Return whether that much of the article was sold here and has not come back."""
        sold = sum(line.quantity for line in self.bill.lines if line.sku == sku)
        return sold - (self.returned or {}).get(sku, 0) >= quantity

    def take_back(self, sku: str, quantity: int) -> None:
        """Remember that the article came back."""
        self.returned = self.returned or {}
        self.returned[sku] = self.returned.get(sku, 0) + quantity


@dataclass(slots=True)
class Coupon:
    """A voucher."""

    id: int
    code: str
    issued_ms: int
    valid_till_ms: int
    will_be_used: bool


@dataclass(slots=True)
class ExpiryChange:
    """One move of expiry days, for API call C9."""

    at_ms: int
    points: int
    old_day: int
    new_day: int
    event_id: str


@dataclass(slots=True)
class Spend:
    """The amounts of the last months, with the sum of a window that only moves forward."""

    entries: deque[tuple[int, int]] = field(default_factory=deque)  #: (instant, cents), ascending
    window_cents: int = 0
    _left: deque[tuple[int, int]] = field(default_factory=deque)  #: too old for the window, young enough for a renewal

    def add(self, instant: int, cents: int) -> None:
        """Add a bill; returns are negative."""
        self.entries.append((instant, cents))
        self.window_cents += cents

    def roll(self, start: int, keep_from: int) -> int:
        """Return the sum after `start`, forgetting everything up to `keep_from`."""
        while self.entries and self.entries[0][0] <= start:
            entry = self.entries.popleft()
            self.window_cents -= entry[1]
            self._left.append(entry)
        while self._left and self._left[0][0] <= keep_from:
            self._left.popleft()
        return self.window_cents

    def between(self, start: int, end: int) -> int:
        """Return the sum of the instants in [start, end)."""
        return sum(cents for part in (self._left, self.entries) for instant, cents in part if start <= instant < end)

    def merge(self, other: "Spend") -> None:
        """Take over another member's amounts."""
        self.entries = deque(sorted([*self.entries, *other.entries]))
        self._left = deque(sorted([*self._left, *other._left]))
        self.window_cents += other.window_cents


@dataclass(slots=True)
class Member:
    """One customer of the programme and the ledger of their points."""

    customer_id: int
    external_id: str
    email: str | None
    mobile: str | None
    first_name: str
    last_name: str
    city: str
    till: Till
    joined_ms: int
    newest_ms: int  #: createdAt of the newest event
    identifiers: Json = None  #: shared by this member's events: nobody may change it
    bill_identifiers: Json = None
    lots: list[Lot] = field(default_factory=list)
    promised: list[PromisedLot] = field(default_factory=list)
    current: int = 0
    lifetime: int = 0
    redeemed: int = 0
    expired: int = 0
    returned: int = 0
    adjusted: int = 0
    transferred_in: int = 0
    transferred_out: int = 0
    purchases_cents: int = 0
    tier: int = 1
    tier_since_ms: int = 0
    tier_expiry: int | None = None
    spend: Spend = field(default_factory=Spend)
    bills: deque[Receipt] = field(default_factory=deque)
    has_bought: bool = False
    promotion_earns: dict[int, int] = field(default_factory=dict)
    coupons: list[Coupon] = field(default_factory=list)
    skus: set[str] = field(default_factory=set)
    badges: set[str] = field(default_factory=set)
    expiry_changes: deque[ExpiryChange] = field(default_factory=lambda: deque(maxlen=10))
    merged_into: int | None = None
    is_deleted: bool = False

    @property
    def is_gone(self) -> bool:
        """Return whether the member was merged into another or deleted."""
        return self.is_deleted or self.merged_into is not None

    @property
    def promised_points(self) -> int:
        """Return what is promised and not yet redeemable."""
        return sum(lot.points for lot in self.promised)

    def add(self, lot: Lot) -> None:
        """Add a lot with points in it."""
        insort(self.lots, lot, key=order)
        self.current += lot.remaining

    def take(self, wanted: int, among: Callable[[Lot], bool] | None = None) -> list[tuple[Lot, int]]:
        """Return what the lots gave, first to expire first, never more than they hold. Emptied lots leave the ledger."""
        parts: list[tuple[Lot, int]] = []
        emptied = False
        for lot in self.lots:
            if wanted <= 0:
                break
            if among is not None and not among(lot):
                continue
            points = min(wanted, lot.remaining)
            lot.remaining -= points
            wanted -= points
            emptied = emptied or not lot.remaining
            parts.append((lot, points))
        if emptied:
            self.lots = [lot for lot in self.lots if lot.remaining]
        self.current -= given(parts)
        return parts

    def give_back(self, lot: Lot, points: int) -> None:
        """Return points to the lot they came from."""
        if not lot.remaining:
            insort(self.lots, lot, key=order)
        lot.remaining += points
        self.current += points

    def move_expiry(self, lots: Iterable[Lot], day: int) -> None:
        """Give these lots another expiry day, once in their life."""
        for lot in lots:
            lot.expiry = day
            lot.is_extended = True
        self.lots.sort(key=order)

    def check(self, tiers: int) -> None:
        """Raise InvariantBroken unless the ledger's laws hold."""
        held = 0
        for lot in self.lots:
            if lot.remaining <= 0:
                raise InvariantBroken(f"member {self.customer_id}: lot {lot.id} holds {lot.remaining}")
            held += lot.remaining
        booked = self.lifetime + self.transferred_in - self.transferred_out - self.redeemed - self.expired - self.adjusted
        if not self.current == held == booked:
            raise InvariantBroken(f"member {self.customer_id}: current {self.current}, lots {held}, counters {booked}")
        if not 1 <= self.tier <= tiers:
            raise InvariantBroken(f"member {self.customer_id}: tier {self.tier} is outside 1..{tiers}")


def order(lot: Lot) -> tuple[int, int]:
    """Return the place of a lot: first to expire first, then oldest."""
    return lot.expiry, lot.id


def given(parts: Iterable[tuple[Lot, int]]) -> int:
    """Return the sum of what lots gave."""
    return sum(points for _, points in parts)


_COUNTERS = (
    "current", "lifetime", "redeemed", "expired", "returned", "adjusted", "transferred_in", "transferred_out", "purchases_cents",
)  # fmt: skip


def merge(survivor: Member, victim: Member) -> None:
    """Move everything the victim's ledger holds to the survivor; the victim is left with nothing."""
    survivor.lots = sorted([*survivor.lots, *victim.lots], key=order)
    survivor.promised += victim.promised
    for counter in _COUNTERS:
        setattr(survivor, counter, getattr(survivor, counter) + getattr(victim, counter))
        setattr(victim, counter, 0)
    if (victim.tier, victim.tier_expiry or 0) > (survivor.tier, survivor.tier_expiry or 0):
        survivor.tier, survivor.tier_expiry, survivor.tier_since_ms = victim.tier, victim.tier_expiry, victim.tier_since_ms
    survivor.spend.merge(victim.spend)
    survivor.bills = deque(sorted([*survivor.bills, *victim.bills], key=lambda receipt: receipt.created_ms))
    survivor.has_bought = survivor.has_bought or victim.has_bought
    for promotion, earns in victim.promotion_earns.items():
        survivor.promotion_earns[promotion] = survivor.promotion_earns.get(promotion, 0) + earns
    survivor.coupons += victim.coupons
    survivor.skus |= victim.skus
    survivor.badges |= victim.badges
    survivor.expiry_changes.extend(victim.expiry_changes)
    victim.lots, victim.promised, victim.coupons, victim.spend, victim.bills = [], [], [], Spend(), deque()
    victim.merged_into = survivor.customer_id
