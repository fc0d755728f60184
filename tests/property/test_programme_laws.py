"""The laws of the ledger on random histories; the events alone tell the same story as the ledger."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from capstream.capillary.programme.acts import act_of
from capstream.capillary.programme.config import Customers, Earn, Expiry, Program, Programme, Promotion, Redeem, Rounding, Shops
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.retail import Bill, BillLine
from capstream.kernel.json import Json

START_MS = 1_704_880_800_000
HOUR_MS = 3_600_000
LIVELY = Programme(
    redeem=Redeem(probability=0.5, min=10, multiple=5, reversal_probability=0.4),
    customers=Customers(update_probability_per_month=0.2, merge_probability=0.05, deletion_probability=0.01),
    shops=Shops(online_share=0.2),
    promotions=(
        Promotion(id=1, name="Welcome", first_purchase=True, bonus=50, valid_days=20),
        Promotion(id=2, name="Twice", multiplier=Decimal("0.7"), net_above=Decimal(30), valid_days=9, max_earns=5),
    ),
    expiry=Expiry(months=2, extend_if_purchase_above=Decimal(60)),
)


@dataclass(frozen=True)
class Purchase:
    customer: int
    wait_h: int
    lines: tuple[tuple[str, int, int], ...]
    is_return: bool


@dataclass(frozen=True)
class Act:
    customer: int
    name: str
    amount: int
    other: int


purchases = st.builds(
    Purchase,
    st.integers(0, 3),
    st.integers(0, 24 * 40),
    st.lists(st.tuples(st.sampled_from("ABCD"), st.integers(1, 4), st.integers(0, 90_000)), min_size=1, max_size=4).map(tuple),
    st.booleans(),
)
acts = st.builds(
    Act,
    st.integers(1, 3),
    st.sampled_from(["redeem", "adjust", "transfer", "merge", "delete", "force-tier"]),
    st.integers(1, 500),
    st.integers(1, 3),
)
histories = st.lists(st.one_of(purchases, purchases, purchases, acts), min_size=12, max_size=50)
programmes = st.builds(
    lambda decimals, rounding, share: replace(
        LIVELY, program=Program(decimals=decimals, rounding=rounding), earn=Earn(promised_share=Decimal(share) / 10)
    ),
    st.integers(0, 3),
    st.sampled_from(list(Rounding)),
    st.integers(0, 10),
)


def bill(number: int, at_ms: int, bought: Purchase) -> Bill:
    name = f"C{number}" if bought.is_return else str(number)
    sign = -1 if bought.is_return else 1
    customer = str(bought.customer) if bought.customer else ""
    lines = tuple(
        BillLine(place, name, place, sku, sku, sign * quantity, Decimal(cents) / 100, at_ms, customer, "France", "GBP")
        for place, (sku, quantity, cents) in enumerate(bought.lines, 1)
    )
    return Bill(name, customer, at_ms, bought.is_return, "France", "GBP", lines)


def play(programme: Programme, history: list[Purchase | Act], watch: Callable[[Engine, SimEvent], None]) -> Engine:
    """Run a history to a year after its end; the engine checks its invariants after every step."""
    engine = Engine(programme, seed=11)
    base, at_ms = programme.customers.id_base, START_MS
    for number, what in enumerate(history):
        if isinstance(what, Purchase):
            at_ms += what.wait_h * HOUR_MS
            engine.take(bill(number, at_ms, what))
        else:
            arguments = {"points": what.amount, "to": base + what.other, "victim": base + what.other, "tier": 1 + what.amount % 4}
            engine.schedule(base + what.customer, act_of(what.name, arguments, tiers=4, scale=1))
        for step in engine.advance(at_ms):
            for event in step:
                watch(engine, event)
    for step in engine.advance(at_ms + 400 * 24 * HOUR_MS):
        for event in step:
            watch(engine, event)
    return engine


class Books:
    """A second ledger, kept from the events alone."""

    def __init__(self) -> None:
        self.points: dict[int, float] = {}
        self.counters: dict[tuple[int, str], float] = {}
        self.newest: dict[int, int] = {}
        self.tiers: dict[int, int] = {}

    def add(self, customer_id: int, name: str, amount: float) -> None:
        self.counters[customer_id, name] = self.counters.get((customer_id, name), 0.0) + amount

    def read(self, event: SimEvent) -> None:
        customer_id, data = event.customer_id, event.body["data"]
        if customer_id is None:
            return
        assert event.created_at_ms > self.newest.get(customer_id, 0), "every later event of a member has a larger createdAt"
        self.newest[customer_id] = event.created_at_ms
        if event.kind == "loyaltyCustomerMerge":
            self._merge(data)
            return
        balance = data.get("programCurrentPoints")
        for key in ("redemptionFromEarningPrograms", "redemptionReversalToEarningPrograms"):
            balance = data[key][0]["programCurrentPoints"] if key in data else balance
        moved = self.points.get(customer_id, 0.0) + _delta(event.kind, data)
        assert balance is None or abs(balance - moved) < 1e-6, f"{event.kind}: stated {balance}, booked {moved}"
        self.points[customer_id] = moved
        for name, amount in _counted(event.kind, data):
            self.add(customer_id, name, amount)
        for key in ("upgradedTierNumber", "downgradedTierNumber", "currentTierNumber"):
            if key in data:
                self.tiers[customer_id] = data[key]

    def _merge(self, data: Json) -> None:
        survivor, victim = (data[f"{who}CustomerIdentifiers"]["customerId"] for who in ("survivor", "victim"))
        (summary,) = data["survivorCustomerLoyaltySummary"]
        self.points[survivor] = self.points.get(survivor, 0.0) + self.points.pop(victim, 0.0)
        assert abs(self.points[survivor] - summary["currentPoints"]) < 1e-6
        for (customer_id, name), amount in list(self.counters.items()):
            if customer_id == victim:
                self.add(survivor, name, amount)
        self.tiers[survivor] = summary["tierNumber"]


def _delta(kind: str, data: Json) -> float:
    plus = {"pointsIssued": "totalPointsIssued", "promisedToCurrentPointsConversion": "pointsConverted"}
    plus |= {"pointsTransferredReceived": "totalPointsTransferred"}
    minus = {
        "pointsRedeemed": "totalPointsRedeemed",
        "pointsExpired": "pointsExpired",
        "issuedPointsReversed": "totalIssuedPointsReversed",
    }
    minus |= {"manualPointsAdjustment": "totalPoinstDeducted", "pointsTransferredInitiated": "totalPointsTransferred"}
    if kind in plus:
        return float(data[plus[kind]])
    if kind in minus:
        return -float(data[minus[kind]])
    return float(data["redeemedPointsReversedDetails"]["available"]) if kind == "redeemedPointsReversed" else 0.0


def _counted(kind: str, data: Json) -> list[tuple[str, float]]:
    if kind == "pointsIssued":
        return [
            ("lifetimePoints", data["totalPointsIssued"]),
            ("promisedPoints", sum(p["promisedPoints"] for p in data["promisedPointsIssued"])),
        ]
    if kind == "promisedToCurrentPointsConversion":
        return [("lifetimePoints", data["pointsConverted"]), ("promisedPoints", -data["pointsConverted"])]
    if kind == "issuedPointsReversed":
        total = data["totalIssuedPointsReversed"]
        return [("lifetimePoints", -total), ("returnedPoints", total), ("promisedPoints", -data["promisedPointsReversed"])]
    if kind == "redeemedPointsReversed":
        total, expired = data["redeemedPointsReversed"], data["redeemedPointsReversedDetails"]["expired"]
        return [("pointsRedeemed", -total), ("expiredPoints", expired)]
    names = {"pointsRedeemed": ("pointsRedeemed", "totalPointsRedeemed"), "pointsExpired": ("expiredPoints", "pointsExpired")}
    names |= {"manualPointsAdjustment": ("adjustedPoints", "totalPoinstDeducted")}
    if kind == "transactionAdded":
        return [("lifetimePurchases", data["amount"] * (-1 if data["billType"] == "RETURN" else 1))]
    return [(names[kind][0], float(data[names[kind][1]]))] if kind in names else []


@settings(max_examples=150, deadline=None)
@given(programmes, histories)
def test_the_events_alone_add_up_to_the_ledger(programme: Programme, history: list[Purchase | Act]) -> None:
    books = Books()
    engine = play(programme, history, lambda _, event: books.read(event))
    for row in engine.truth():
        if "merged_into" in row:
            continue
        customer_id = row["customerId"]
        assert abs(row["points"] - books.points.get(customer_id, 0.0)) < 1e-6
        for name in (
            "lifetimePoints",
            "pointsRedeemed",
            "expiredPoints",
            "returnedPoints",
            "adjustedPoints",
            "promisedPoints",
            "lifetimePurchases",
        ):
            assert abs(row[name] - books.counters.get((customer_id, name), 0.0)) < 1e-6, name
        assert row["tierNumber"] == books.tiers.get(customer_id, 1)


@settings(max_examples=60, deadline=None)
@given(histories)
def test_lots_outlive_no_night(history: list[Purchase | Act]) -> None:
    engine = play(LIVELY, history, lambda *_: None)
    today = engine.world.calendar.day_of(engine.now_ms)
    for member in engine.world.members.values():
        if not member.is_gone:
            assert all(lot.expiry >= today - 1 for lot in member.lots)
            assert all(lot.convert_on >= today for lot in member.promised)
            assert member.tier_expiry is None or member.tier_expiry >= today - 1


@settings(max_examples=40, deadline=None)
@given(histories)
def test_a_history_repeats_itself(history: list[Purchase | Act]) -> None:
    first: list[Json] = []
    again: list[Json] = []
    play(LIVELY, history, lambda _, event: first.append(event.body))
    play(LIVELY, history, lambda _, event: again.append(event.body))
    assert first == again
