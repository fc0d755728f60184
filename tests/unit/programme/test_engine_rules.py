"""The rules of returns, redemptions, tiers, merges and deletions, each at one member."""

from dataclasses import replace
from decimal import Decimal
from functools import partial
from uuid import NAMESPACE_URL, uuid5

import pytest
from programme_bills import PAYING, QUIET, bill, instant, only, run

from capstream.capillary.programme.acts import act_of
from capstream.capillary.programme.chance import Ids
from capstream.capillary.programme.config import Badge, Downgrade, DowngradeTo, Program, Rounding, Shops, programme_of
from capstream.capillary.programme.customers import delete, merge_with
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.ledger import InvariantBroken
from capstream.kernel.errors import InputError

SCALE = 1


def test_a_full_return_takes_the_promotion_and_gives_the_payment_back() -> None:
    engine = Engine(PAYING)
    run(engine, bill("1", "2024-01-08 12:00", ("X", 1, "400")))
    events = run(
        engine,
        bill("2", "2024-01-09 12:00", ("Y", 1, "20")),
        bill("C3", "2024-01-10 12:00", ("Y", -1, "20")),
    )
    redeemed, reversed_ = only(events, "pointsRedeemed"), only(events, "redeemedPointsReversed")
    assert redeemed.body["data"]["totalPointsRedeemed"] == 200
    assert reversed_.body["data"]["redeemedPointsReversedDetails"] == {"available": 200, "expired": 0}
    assert (
        reversed_.body["data"]["redemptionReversalToEarningPrograms"][0]["programCurrentPoints"]
        == engine.world.member(900000101).current
    )
    (row,) = engine.truth()
    assert row["pointsRedeemed"] == 0
    assert row["lifetimePurchases"] == 400


def test_a_return_takes_promised_points_first_then_the_bills_own_lot() -> None:
    engine = Engine(QUIET)
    events = run(engine, bill("1", "2024-01-09 12:00", ("X", 2, "50")), bill("C2", "2024-01-10 12:00", ("X", -1, "50")))
    data = only(events, "issuedPointsReversed").body["data"]
    assert (data["promisedPointsReversed"], data["regularPointsReversed"], data["promotionalPointsReversed"]) == (10, 40, [])
    (row,) = engine.truth()
    assert (row["points"], row["promisedPoints"], row["returnedPoints"]) == (100, 0, 40)


def test_a_full_return_also_takes_what_is_left_of_the_promotion() -> None:
    events = run(Engine(QUIET), bill("1", "2024-01-09 12:00", ("X", 1, "50")), bill("C2", "2024-01-10 12:00", ("X", -1, "50")))
    data = only(events, "issuedPointsReversed").body["data"]
    assert data["regularPointsReversed"] == 45
    assert [(part["promotionIdentifier"], part["promotionPoints"]) for part in data["promotionalPointsReversed"]] == [
        ("200517", 50)
    ]
    assert data["programCurrentPoints"] == 0


def test_a_return_without_the_original_bill_has_no_parent_and_takes_what_there_is() -> None:
    engine = Engine(QUIET)
    events = run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "10")), bill("C2", "2024-01-10 12:00", ("Y", -1, "500")))
    data = only(events, "issuedPointsReversed").body["data"]
    assert data["totalIssuedPointsReversed"] == 59  # 9 regular and 50 promotional, shortfall forgiven
    receipt = engine.receipt([event for event in events if event.kind == "transactionAdded"][-1].body["data"]["transactionId"])
    assert receipt is not None
    assert receipt.parent_id is None


def test_a_return_goes_to_the_newest_bill_with_enough_left() -> None:
    engine = Engine(QUIET)
    events = run(
        engine,
        bill("1", "2024-01-08 12:00", ("X", 5, "10")),
        bill("2", "2024-01-09 12:00", ("X", 2, "10")),
        bill("C3", "2024-01-10 12:00", ("X", -2, "10")),
        bill("C4", "2024-01-11 12:00", ("X", -1, "10")),
    )
    ids = [event.body["data"]["transactionId"] for event in events if event.kind == "transactionAdded"]
    parents = [receipt.parent_id for receipt in map(engine.receipt, ids) if receipt is not None]
    assert parents == [None, None, ids[1], ids[0]]


def test_a_reversal_after_the_expiry_day_expires_at_once() -> None:
    engine = Engine(PAYING)
    run(engine, bill("1", "2024-01-08 12:00", ("X", 1, "400")))
    (redemption,) = [
        receipt.redemption
        for event in run(engine, bill("2", "2024-02-19 12:00", ("Y", 1, "10")))
        if event.kind == "transactionAdded" and (receipt := engine.receipt(event.body["data"]["transactionId"])) is not None
    ]
    assert redemption is not None
    run(engine, until="2024-03-01 12:00")  # the promotion's lot, dated 2024-02-21, is over
    from capstream.capillary.programme.redemptions import undo

    engine.schedule(900000101, partial(undo, redemption=redemption))
    event = only(run(engine, until="2024-03-01 13:00"), "redeemedPointsReversed")
    assert event.body["data"]["redeemedPointsReversedDetails"] == {"available": 50, "expired": 50}
    (row,) = engine.truth()
    assert (row["pointsRedeemed"], row["expiredPoints"]) == (0, 50)


def test_a_return_below_the_renewal_spend_lowers_the_tier() -> None:
    engine = Engine(QUIET)
    events = run(
        engine, bill("1", "2024-01-09 12:00", ("X", 1, "350"), ("Y", 1, "160")), bill("C2", "2024-01-10 12:00", ("Y", -1, "160"))
    )
    data = only(events, "tierDowngraded").body["data"]
    assert (data["previousTierNumber"], data["downgradedTierNumber"], "tierExpiryDate" in data) == (2, 1, False)


@pytest.mark.parametrize(("to", "tier"), [(DowngradeTo.ONE_BELOW, 3), (DowngradeTo.LOWEST, 1), (DowngradeTo.APPROPRIATE, 2)])
def test_a_missed_renewal_lowers_the_tier(to: DowngradeTo, tier: int) -> None:
    engine = Engine(replace(QUIET, downgrade=Downgrade(to=to)))
    events = run(
        engine,
        bill("1", "2024-01-09 12:00", ("X", 1, "7000")),
        bill("2", "2024-06-09 12:00", ("X", 1, "600")),
        until="2025-02-02 00:00",
    )
    assert only(events, "tierUpgraded").body["data"]["upgradedTierNumber"] == 4
    assert only(events, "tierDowngraded").body["data"]["downgradedTierNumber"] == tier
    reminders = [event.body["data"]["scheduledDowngradeDate"] for event in events if event.kind == "tierDowngradeReminder"]
    assert reminders == ["2025-01-31", "2025-01-31"]


def test_a_merge_moves_everything_and_later_bills_follow() -> None:
    engine = Engine(QUIET)
    run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "600")), bill("2", "2024-01-09 13:00", ("X", 1, "100"), customer="102"))
    engine.schedule(900000102, partial(merge_with, victim_id=900000101))
    event = only(run(engine, until="2024-01-09 14:00"), "loyaltyCustomerMerge")
    (summary,) = event.body["data"]["survivorCustomerLoyaltySummary"]
    assert (summary["currentPoints"], summary["promisedPoints"], summary["tierNumber"]) == (540 + 50 + 90 + 50, 70, 2)
    later = run(engine, bill("3", "2024-02-09 12:00", ("X", 1, "10")))
    assert {one.customer_id for one in later if one.kind == "transactionAdded"} == {900000102}
    victim, survivor = engine.truth()
    assert (victim["merged_into"], victim["points"]) == (900000102, 0)
    assert survivor["lifetimePurchases"] == 710


def test_a_deleted_member_has_no_later_events() -> None:
    engine = Engine(QUIET)
    run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "600")))
    engine.schedule(900000101, delete)
    (event,) = run(engine, until="2024-01-09 14:00")
    assert event.body["data"]["customerStatus"]["currentLabel"] == "Deleted"
    assert event.body["apiRequestId"] == ""
    later = run(engine, bill("2", "2024-01-10 12:00", ("X", 1, "10")), until="2025-06-01 00:00")
    assert [one.kind for one in later] == ["notInterestedBillAdded"]
    assert next(engine.truth())["deleted"] is True


def test_anonymous_bills_belong_to_nobody() -> None:
    events = run(
        Engine(QUIET),
        bill("1", "2024-01-09 12:00", ("X", 1, "5"), customer=""),
        bill("C2", "2024-01-09 13:00", ("X", -1, "5"), customer=""),
    )
    assert [(event.kind, event.customer_id, event.body["data"]["billType"]) for event in events] == [
        ("notInterestedBillAdded", None, "NOT_INTERESTED"),
        ("notInterestedBillAdded", None, "NOT_INTERESTED_RETURN"),
    ]


def test_online_bills_are_shipped_and_delivered() -> None:
    engine = Engine(replace(QUIET, shops=Shops(online_share=1.0)))
    events = run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "5")), until="2024-01-14 00:00")
    told = [event.body["data"]["deliveryStatus"] for event in events if event.kind.startswith("transaction")]
    assert told == ["PLACED", "SHIPPED", "DELIVERED"]


def test_services_earn_nothing_and_the_bill_discount_is_spread() -> None:
    events = run(Engine(QUIET), bill("1", "2024-01-09 12:00", ("X", 1, "75"), ("POST", 1, "25"), ("D", -1, "10")))
    bill_data, points = only(events, "transactionAdded").body["data"], only(events, "pointsIssued").body["data"]
    assert (bill_data["amount"], bill_data["grossAmount"], bill_data["discount"]) == (90, 100, 10)
    assert points["regularPointsIssued"] + points["promisedPointsIssued"][0]["promisedPoints"] == 68  # 67.5, half away from zero


def test_a_bill_of_nothing_earns_nothing() -> None:
    events = run(Engine(QUIET), bill("1", "2024-01-09 12:00", ("X", 1, "0")))
    assert [event.kind for event in events] == ["customerAdded", "transactionAdded"]


def test_many_articles_earn_the_badge_once() -> None:
    engine = Engine(replace(QUIET, badges=(Badge(distinct_skus=3),)))
    lines = [(f"SKU{number}", 1, "1") for number in range(3)]
    events = run(engine, bill("1", "2024-01-09 12:00", *lines), bill("2", "2024-01-10 12:00", *lines))
    assert only(events, "badgeEarned").customer_id == 900000101


def test_points_may_have_decimals() -> None:
    program = Program(decimals=3, rounding=Rounding.DOWN)
    events = run(Engine(replace(QUIET, program=program)), bill("1", "2024-01-09 12:00", ("X", 1, "3.33")))
    assert only(events, "pointsIssued").body["data"]["regularPointsIssued"] == 2.997


def test_outliers_are_flagged() -> None:
    events = run(Engine(QUIET), bill("1", "2024-01-09 12:00", ("X", 10_000, "0.01")))
    assert only(events, "transactionAdded").body["data"]["outlierStatus"] == "OUTLIER"


def test_acts_from_outside_keep_the_ledger() -> None:
    engine = Engine(QUIET)
    run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "600")), bill("2", "2024-01-09 12:00", ("X", 1, "10"), customer="102"))
    asked: list[tuple[str, dict[str, int]]] = [
        ("redeem", {"points": 100}), ("adjust", {"points": 25}), ("transfer", {"points": 75, "to": 900000102}),
        ("force-tier", {"tier": 3}),
    ]  # fmt: skip
    for name, arguments in asked:
        engine.schedule(900000101, act_of(name, arguments, tiers=4, scale=SCALE))
    events = run(engine, until="2024-01-09 13:00")
    assert [event.kind for event in events] == [
        "pointsRedeemed", "manualPointsAdjustment", "pointsTransferredInitiated", "pointsTransferredReceived", "tierUpgraded",
    ]  # fmt: skip
    giver, receiver = engine.truth()
    assert (giver["points"], giver["pointsRedeemed"], giver["adjustedPoints"]) == (590 - 200, 100, 25)
    assert (receiver["points"], receiver["lifetimePoints"]) == (9 + 50 + 75, 9 + 50)


@pytest.mark.parametrize(
    ("name", "arguments", "path"),
    [
        ("fly", {}, "act"),
        ("redeem", {}, "points"),
        ("redeem", {"points": 0}, "points"),
        ("force-tier", {"tier": 9}, "tier"),
        ("merge", {}, "victim"),
    ],
)
def test_wrong_acts_name_the_argument(name: str, arguments: dict[str, int], path: str) -> None:
    with pytest.raises(InputError) as refused:
        act_of(name, arguments, tiers=4, scale=SCALE)
    assert refused.value.path == path


def test_ids_are_uuid5_of_seed_and_sequence() -> None:
    namespace = uuid5(NAMESPACE_URL, "capstream:simulator:7")
    ids = Ids(7)
    assert [ids.event()[0], ids.uuid()] == [str(uuid5(namespace, "1")), str(uuid5(namespace, "2"))]


def test_the_same_seed_gives_the_same_events() -> None:
    bills = [bill(str(number), f"2024-01-{number:02d} 12:00", ("X", number, "40")) for number in range(1, 25)]
    first, again, other = (
        [event.body for event in run(Engine(seed=seed), *bills, until="2025-03-01 00:00")] for seed in (5, 5, 6)
    )
    assert first == again
    assert [body["eventId"] for body in first] != [body["eventId"] for body in other]


def test_a_late_bill_takes_effect_when_it_is_read() -> None:
    bought = ("X", 1, "5")
    bills = bill("1", "2024-01-09 12:00", bought), bill("2", "2024-01-10 12:00", bought), bill("3", "2024-01-01 12:00", bought)
    _, late, _ = [event for event in run(Engine(QUIET), *bills) if event.kind == "transactionAdded"]
    assert late.created_at_ms >= instant("2024-01-10 12:00")
    assert late.body["data"]["billDate"] == instant("2024-01-01 12:00")


def test_a_broken_ledger_aborts_the_run() -> None:
    engine = Engine(QUIET)
    run(engine, bill("1", "2024-01-09 12:00", ("X", 1, "600")))
    engine.world.members[900000101].lifetime += 1
    with pytest.raises(InvariantBroken, match="900000101"):
        run(engine, bill("2", "2024-01-10 12:00", ("X", 1, "10")))


@pytest.mark.parametrize(
    "document", [{"tiers": [{"n": 2, "name": "Gold"}]}, {"program": {"decimals": 9}}, {"earn": {"base_per_unit": "much"}}]
)
def test_a_wrong_programme_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(InputError):
        programme_of(document)


def test_a_programme_is_read_from_a_document() -> None:
    programme = programme_of({"program": {"name": "Club", "points_to_currency": 0.1}, "redeem": {"probability": 0.5}})
    assert (programme.program.name, programme.program.points_to_currency, programme.redeem.probability) == (
        "Club",
        Decimal("0.1"),
        0.5,
    )
