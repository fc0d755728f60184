"""One member under the default configuration, figure by figure. Source: capillary.md 9.3.3."""

from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from capstream.capillary.programme.config import Customers, Programme, Redeem, Shops
from capstream.capillary.programme.engine import Engine
from capstream.capillary.retail import Bill, BillLine
from capstream.kernel.json import Json

LONDON = ZoneInfo("Europe/London")
QUIET = Programme(
    redeem=Redeem(probability=1.0, reversal_probability=0.0),
    customers=Customers(
        update_probability_per_month=0, merge_probability=0, deletion_probability=0, missing_email=0, missing_mobile=0
    ),
    shops=Shops(online_share=0.0),
)


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=LONDON).timestamp() * 1000)


def bill(number: str, when: str, amount: str, *, quantity: int = 1) -> Bill:
    till_ms = instant(when)
    line = BillLine(1, number, 1, "A1", "lantern", quantity, Decimal(amount), till_ms, "101", "United Kingdom", "GBP")
    return Bill(number, "101", till_ms, number.startswith("C"), "United Kingdom", "GBP", (line,))


BILLS = (
    bill("A", "2024-01-10 12:00", "30.00", quantity=4),
    bill("CA", "2024-01-20 12:00", "30.00", quantity=-1),
    bill("B", "2024-03-05 12:00", "460.00"),
    bill("third", "2024-04-02 12:00", "90.00"),
    bill("D", "2024-11-20 12:00", "400.00"),
)


def programme_points(current: int, lifetime: int) -> Json:
    return {"programCurrentPoints": current, "programLifetimePoints": lifetime}


#: day, kind, the figures that must be in `data`
EXPECTED: list[tuple[str, str, Json]] = [
    (
        "2024-01-10",
        "pointsIssued",
        {"totalPointsIssued": 158, "regularPointsIssued": 108, **programme_points(158, 158)}
        | {"regularPointsBreakup": [{"points": 108, "expiryAt": "2025-01-31"}]},
    ),
    ("2024-01-10", "promotionEarned", {"promotionId": 200517, "promotionEarnedExpiryDate": "2024-02-23"}),
    (
        "2024-01-17",
        "promisedToCurrentPointsConversion",
        {
            "pointsConverted": 12,
            **programme_points(170, 170),
            "pointsConvertedBreakup": [{"points": 12, "expiryAt": "2025-01-31"}],
        },
    ),
    (
        "2024-01-20",
        "issuedPointsReversed",
        {"regularPointsReversed": 30, "totalIssuedPointsReversed": 30, **programme_points(140, 140)},
    ),
    ("2024-02-16", "pointsExpiryReminder", {"pointsScheduledForExpiry": 50, "scheduledExpiryDate": "2024-02-23"}),
    ("2024-02-22", "pointsExpiryReminder", {"pointsScheduledForExpiry": 50, "scheduledExpiryDate": "2024-02-23"}),
    ("2024-02-24", "pointsExpired", {"pointsExpired": 50}),
    (
        "2024-03-05",
        "pointsIssued",
        {"totalPointsIssued": 414, "regularPointsIssued": 414, **programme_points(504, 554)}
        | {"regularPointsBreakup": [{"points": 414, "expiryAt": "2025-03-31"}]},
    ),
    ("2024-03-05", "pointsExpiryChange", {}),
    ("2024-03-05", "tierUpgraded", {"previousTierNumber": 1, "upgradedTierNumber": 2, "tierExpiryDate": "2025-03-31"}),
    (
        "2024-03-12",
        "promisedToCurrentPointsConversion",
        {
            "pointsConverted": 46,
            **programme_points(550, 600),
            "pointsConvertedBreakup": [{"points": 46, "expiryAt": "2025-03-31"}],
        },
    ),
    ("2024-04-02", "pointsRedeemed", {"totalPointsRedeemed": 550, "redeemedPointsCurrencyValue": 27.5}),
    (
        "2024-04-02",
        "pointsIssued",
        {"totalPointsIssued": 70, "regularPointsIssued": 70, **programme_points(70, 670)}
        | {"regularPointsBreakup": [{"points": 70, "expiryAt": "2025-04-30"}]},
    ),
    (
        "2024-04-09",
        "promisedToCurrentPointsConversion",
        {"pointsConverted": 8, **programme_points(78, 678), "pointsConvertedBreakup": [{"points": 8, "expiryAt": "2025-04-30"}]},
    ),
    (
        "2024-11-20",
        "pointsIssued",
        {"totalPointsIssued": 450, "regularPointsIssued": 450, **programme_points(528, 1128)}
        | {"regularPointsBreakup": [{"points": 450, "expiryAt": "2025-11-30"}]},
    ),
    ("2024-11-20", "pointsExpiryChange", {}),
    (
        "2024-11-27",
        "promisedToCurrentPointsConversion",
        {
            "pointsConverted": 50,
            **programme_points(578, 1178),
            "pointsConvertedBreakup": [{"points": 50, "expiryAt": "2025-11-30"}],
        },
    ),
    ("2025-04-01", "tierRenewed", {"currentTierNumber": 2, "tierExpiryDate": "2026-03-31"}),
    ("2025-10-24", "pointsExpiryReminder", {"pointsScheduledForExpiry": 78, "scheduledExpiryDate": "2025-10-31"}),
    ("2025-10-30", "pointsExpiryReminder", {"pointsScheduledForExpiry": 78, "scheduledExpiryDate": "2025-10-31"}),
    ("2025-11-01", "pointsExpired", {"pointsExpired": 78}),
]
QUIET_KINDS = ("customerAdded", "transactionAdded", "singlePointsExpiryUpdated", "CouponIssue", "rewardIssued", "CouponRedeem")


@pytest.fixture(scope="module")
def run() -> tuple[Engine, list[tuple[str, str, Json]]]:
    engine = Engine(QUIET, seed=7)
    events = [event for step in engine.run(BILLS) for event in step]
    events += [event for step in engine.advance(instant("2025-11-02 00:00")) for event in step]
    told = [
        (datetime.fromtimestamp(event.created_at_ms / 1000, LONDON).date().isoformat(), event.kind, event.body["data"])
        for event in events
    ]
    return engine, told


def test_every_event_comes_on_its_day(run: tuple[Engine, list[tuple[str, str, Json]]]) -> None:
    told = [(day, kind) for day, kind, _ in run[1] if kind not in QUIET_KINDS]
    assert told == [(day, kind) for day, kind, _ in EXPECTED]


@pytest.mark.parametrize("place", range(len(EXPECTED)), ids=lambda place: f"{EXPECTED[place][0]}-{EXPECTED[place][1]}")
def test_its_figures(run: tuple[Engine, list[tuple[str, str, Json]]], place: int) -> None:
    _, _, data = [told for told in run[1] if told[1] not in QUIET_KINDS][place]
    wanted = EXPECTED[place][2]
    assert {key: data[key] for key in wanted} == wanted


def test_promised_and_promotional_points_of_the_first_bill(run: tuple[Engine, list[tuple[str, str, Json]]]) -> None:
    data = next(data for _, kind, data in run[1] if kind == "pointsIssued")
    promised = data["promisedPointsIssued"][0]
    assert (promised["promisedPoints"], promised["promisedPointsConversionDate"]) == (12, "2024-01-17")
    promotional = data["promotionalPointsIssued"][0]
    assert (promotional["promotionPoints"], promotional["promotionPointsExpiryDate"]) == (50, "2024-02-23")


def test_the_redemption_states_the_balance_before_the_bill_earns(run: tuple[Engine, list[tuple[str, str, Json]]]) -> None:
    data = next(data for _, kind, data in run[1] if kind == "pointsRedeemed")
    assert data["redemptionFromEarningPrograms"] == [{"programId": 4101, "pointsRedeemed": 550, "programCurrentPoints": 0}]


@pytest.mark.parametrize(
    ("day", "moves"),
    [
        ("2024-03-05", [(78, "2025-01-31", "2025-07-31"), (12, "2025-01-31", "2025-07-31")]),
        ("2024-11-20", [(70, "2025-04-30", "2025-10-31"), (8, "2025-04-30", "2025-10-31")]),
    ],
)
def test_big_purchases_move_the_earliest_lots(
    run: tuple[Engine, list[tuple[str, str, Json]]], day: str, moves: list[tuple[int, str, str]]
) -> None:
    data = next(data for when, kind, data in run[1] if kind == "pointsExpiryChange" and when == day)
    told = [(lot["points"], lot["pointsPreviousExpiryDate"], lot["newExpiryDate"]) for lot in data["updatedPointsExpiryBreakup"]]
    assert told == moves


def test_the_ledger_at_the_end(run: tuple[Engine, list[tuple[str, str, Json]]]) -> None:
    (row,) = run[0].truth()
    figures = {key: row[key] for key in ("points", "lifetimePoints", "pointsRedeemed", "expiredPoints", "returnedPoints")}
    assert figures == {"points": 500, "lifetimePoints": 1178, "pointsRedeemed": 550, "expiredPoints": 128, "returnedPoints": 30}
    assert row["lots"] == [{"date": "2025-11-30", "points": 500}]
    assert (row["tier"], row["tierNumber"], row["tierExpiryDate"], row["promisedPoints"]) == ("Silver", 2, "2026-03-31", 0)
    assert row["lifetimePurchases"] == 1040
