"""The profile payload: the full documented example, what is unknown, who is merged or deleted."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from capstream.capillary.results import Translated
from capstream.capillary.translate import awaits_tier_list

Published = Callable[..., dict[str, Any]]

DOCUMENTED = json.loads("""
{"_id":"capillary:700123:member:900000101",
 "identityMap":{"capillaryUserId":[{"id":"900000101","authenticatedState":"ambiguous","primary":true}],
   "email":[{"id":"member-0001@example.com","authenticatedState":"ambiguous","primary":false}],
   "phone":[{"id":"+447700900101","authenticatedState":"ambiguous","primary":false}],
   "capillaryExternalId":[{"id":"CRM-0001","authenticatedState":"ambiguous","primary":false}]},
 "loyalty":{"tier":"Silver","points":1160,"lifetimePoints":1310,"expiredPoints":50,"pointsRedeemed":100,
   "program":"CircleDefaultProgram","status":"active",
   "joinDate":"2024-09-12T09:30:11.902Z","loyaltyID":["900000101"],"tierUpgradeDate":"2024-10-19T11:20:05.310Z",
   "tierExpiryDate":"2025-10-31T23:59:59.000Z","nextTier":"Gold",
   "promisedPoints":0,"returnedPoints":42,"adjustedPoints":0,"lifetimePurchases":1310,
   "pointsExpiration":[{"pointsExpiring":6,"pointsExpirationDate":"2025-09-30T23:59:59.000Z"},
     {"pointsExpiring":1139,"pointsExpirationDate":"2025-10-31T23:59:59.000Z"}]},
 "capillary":{"orgId":"700123","customerId":"900000101","loyaltyType":"loyalty","source":"INSTORE","programId":"4101",
   "tierNumber":2,"customerStatus":"Active",
   "programs":[{"id":"4101","name":"CircleDefaultProgram","isDefault":true,"points":1160,"lifetimePoints":1310,
     "pointsRedeemed":100,"expiredPoints":50,"promisedPoints":0,"tier":"Silver","tierNumber":2,
     "tierExpiryDate":"2025-10-31T23:59:59.000Z"}],
   "customFields":{"preferred_store":"str.nw.014"},"extendedFields":{"gender":"undisclosed","city":"Bristol"},
   "stateVersion":17,"asOf":"2024-12-05T12:41:09.330Z",
   "lastEvent":{"name":"pointsRedeemed","id":"cc81acf0-2988-51d8-9cc9-4f8a61e0a4a3"},"quality":["schedule_approximate"]}}
""")


def _october(published: Published) -> list[dict[str, Any]]:
    """Return the purchases of October that stand in brackets in the worked ledger: 1139 points, all of one expiry date."""
    events = []
    for number, (amount, points, after) in enumerate(((420.0, 400.0, 571.0), (420.0, 400.0, 971.0), (363.5, 339.0, 1310.0))):
        at = 1728000000000 + number * 86_400_000
        bill = {"transactionId": 880100400 + number, "amount": amount, "billDate": at - 60_000, "enteredAt": at - 60_000}
        events.append(published("transactionAdded", _eventId=f"october-bill-{number}", _createdAt=at, **bill))
        gain = {"programCurrentPoints": after, "programLifetimePoints": after, "regularPointsIssued": points}
        gain |= {"regularPointsBreakup": [{"points": points, "expiryAt": "2025-10-31"}], "promotionalPointsIssued": []}
        events.append(
            published("pointsIssued", _eventId=f"october-points-{number}", _createdAt=at + 500, promisedPointsIssued=[], **gain)
        )
    return events


def _history(published: Published) -> list[dict[str, Any]]:
    returned = {"transactionId": 880100099, "amount": 42.0, "billType": "RETURN"}
    status = {"customerStatus": {"currentLabel": "Active"}, "updatedFields": [], "extendedFields": [], "source": "INSTORE"}
    return [
        published("customerAdded"),
        published("transactionAdded"),
        published("pointsIssued"),
        published("transactionUpdated"),
        published("promotionEarned"),
        published("transactionAdded", _eventId="return", _createdAt=1726936812500, **returned),
        published("issuedPointsReversed"),
        published("promisedToCurrentPointsConversion"),
        published("customerUpdated", _eventId="status", _createdAt=1727300000000, accountId="", **status),
        *_october(published),
        published("tierUpgraded"),
        published("pointsExpiryReminder"),
        published("pointsExpired"),
        published("pointsRedeemed"),
    ]


def test_documented_profile_is_the_snapshot_of_its_ledger(desk: Any, published: Published) -> None:
    for body in _history(published):
        assert isinstance(desk.take(body), Translated)
    assert desk.profile() == DOCUMENTED


def test_later_ledger_of_the_documented_member(desk: Any, published: Published) -> None:
    for body in _history(published):
        desk.take(body)
    desk.take(published("redeemedPointsReversed"))
    assert (desk.profile()["loyalty"]["points"], desk.profile()["loyalty"]["pointsRedeemed"]) == (1200, 60)
    price = {"totalPointsRedeemed": 80.0, "redemptionFromEarningPrograms": [{"programId": 4101, "pointsRedeemed": 80.0}]}
    price["redemptionFromEarningPrograms"][0]["programCurrentPoints"] = 1120.0
    desk.take(published("pointsRedeemed", _eventId="price-of-reward", _createdAt=1737396332000, **price))
    desk.take(published("pointsExpiryChange"))
    desk.take(published("manualPointsAdjustment"))
    assert (desk.profile()["loyalty"]["points"], desk.profile()["loyalty"]["adjustedPoints"]) == (1095, 25)
    desk.take(published("loyaltyCustomerMerge"))
    assert (desk.profile()["loyalty"]["points"], desk.profile()["loyalty"]["lifetimePoints"]) == (1415, 1630)
    desk.take(published("pointsTransferredInitiated"))
    desk.take(published("tierRenewed"))
    loyalty = desk.profile()["loyalty"]
    assert (loyalty["points"], loyalty["lifetimePoints"], loyalty["tierExpiryDate"]) == (1340, 1630, "2026-10-31T23:59:59.000Z")
    assert "pointsRedeemed" not in loyalty, "the victim's counters are unknown, so the survivor's are too"


def test_what_no_event_has_stated_is_left_out(desk: Any, published: Published) -> None:
    desk.take(published("pointsRedeemed"))
    loyalty = desk.profile()["loyalty"]
    assert loyalty["points"] == 1160
    assert not {"pointsRedeemed", "expiredPoints", "lifetimePoints", "lifetimePurchases", "tier"} & loyalty.keys()


def test_registration_starts_at_zero_in_the_base_tier_once_the_list_is_known(desk: Any, published: Published) -> None:
    desk.take(published("customerAdded"))
    loyalty = desk.profile()["loyalty"]
    assert {loyalty[name] for name in ("points", "lifetimePoints", "pointsRedeemed", "expiredPoints", "lifetimePurchases")} == {0}
    assert "tier" not in loyalty
    assert awaits_tier_list("700123", desk.state(), desk.programs, desk.config)
    outcome = desk.take(published("tierDowngraded"))
    assert isinstance(outcome, Translated)
    assert outcome.learned == "4101"
    assert not awaits_tier_list("700123", desk.state(), desk.programs, desk.config)
    assert (desk.profile()["loyalty"]["tier"], desk.profile()["loyalty"]["nextTier"]) == ("Blue", "Silver")
    assert desk.profile()["capillary"]["tierNumber"] == 1


def test_zero_seed_is_withdrawn_when_the_member_turns_out_to_be_older(desk: Any, published: Published) -> None:
    desk.take(published("customerAdded"))
    desk.take(published("promotionIssued", _createdAt=1726133412480 - 6 * 60_000))
    assert "points" not in desk.profile()["loyalty"]


def test_an_event_less_than_five_minutes_before_leaves_the_zero_seed(desk: Any, published: Published) -> None:
    desk.take(published("customerAdded"))
    desk.take(published("promotionIssued", _createdAt=1726133412480 - 4 * 60_000))
    assert desk.profile()["loyalty"]["points"] == 0


@pytest.mark.parametrize(
    ("change", "why"),
    [({"loyaltyType": "non_loyalty"}, "not enrolled"), ({"enteredAt": 1726133411902 - 25 * 3_600_000}, "registered long before")],
)
def test_registrations_that_do_not_start_at_zero(desk: Any, published: Published, change: dict[str, Any], why: str) -> None:
    desk.take(published("customerAdded", **change))
    assert "points" not in desk.profile()["loyalty"], why


def test_victim_goes_first_and_keeps_identities_and_status_only(desk: Any, published: Published) -> None:
    victim = published("customerAdded", _eventId="victim-added", _createdAt=1726133412480)
    victim["data"]["customerIdentifiers"] = published("loyaltyCustomerMerge")["data"]["victimCustomerIdentifiers"]
    desk.take(victim)
    desk.take(published("customerAdded"))
    outcome = desk.take(published("loyaltyCustomerMerge"))
    assert isinstance(outcome, Translated)
    assert outcome.touched == [("700123", "900000555"), ("700123", "900000101")]
    gone = desk.profile("900000555")
    assert gone["loyalty"] == {"status": "merged"}
    assert gone["capillary"].keys() == {"orgId", "customerId", "stateVersion", "asOf", "lastEvent"}
    survivor = desk.profile()
    ids = [item["id"] for item in survivor["identityMap"]["capillaryUserId"]]
    assert ids == ["900000101", "900000555"]
    flagged = [item["id"] for items in survivor["identityMap"].values() for item in items if item["primary"]]
    assert flagged == ["900000101"]
    assert {item["id"] for item in survivor["identityMap"]["email"]} == {"member-0001@example.com", "member-0155@example.com"}
    assert survivor["loyalty"]["pointsRedeemed"] == 0, "both were known to start at zero"


def test_later_events_of_the_victim_belong_to_the_survivor(desk: Any, published: Published) -> None:
    desk.take(published("loyaltyCustomerMerge"))
    late = published("pointsTransferredReceived", _createdAt=1748766047470)
    late["data"]["customerIdentifiers"]["customerId"] = 900000555
    outcome = desk.take(late)
    assert isinstance(outcome, Translated)
    assert outcome.touched == [("700123", "900000101")]
    assert outcome.transactions[0].body["capillary"]["customerId"] == "900000101"
    assert desk.profile()["loyalty"]["points"] == 1415 + 75


def test_deleted_member_is_reduced_and_reported(make_desk: Callable[..., Any], published: Published) -> None:
    desk = make_desk(pii={"names": True})
    desk.take(published("customerAdded"))
    assert desk.profile()["person"] == {"name": {"firstName": "Member", "lastName": "0001"}}
    deletion = {
        "updatedFields": [],
        "customerStatus": {"currentLabel": "Deleted", "reason": "asked"},
        "firstName": None,
        "lastName": None,
    }
    outcome = desk.take(published("customerUpdated", **deletion))
    assert isinstance(outcome, Translated)
    assert outcome.deleted == [("700123", "900000101")]
    body = desk.profile()
    assert body["loyalty"] == {"status": "deleted"}
    assert "person" not in body
    assert b"Bristol" not in desk.kept[("700123", "900000101")]
    assert b"0001\xa0" not in desk.kept[("700123", "900000101")]


@pytest.mark.parametrize(
    ("label", "status"),
    [("Active", "active"), ("Fraud suspected", "suspended"), ("Internal", "disabled"), ("VIP lounge", "vip lounge")],
)
def test_status_follows_the_label(desk: Any, published: Published, label: str, status: str) -> None:
    desk.take(published("customerUpdated", customerStatus={"currentLabel": label}))
    assert desk.profile()["loyalty"]["status"] == status
    assert desk.profile()["capillary"]["customerStatus"] == label


def test_coupon_of_reward_issue_and_redemption_is_one_entry_in_any_order(
    make_desk: Callable[..., Any], published: Published
) -> None:
    bodies = [published("rewardIssued"), published("CouponIssue"), published("CouponRedeem")]
    found = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        desk = make_desk(pii={"voucher_codes": "plain"})
        for index in order:
            desk.take(bodies[index])
        found.append(desk.profile()["loyalty"]["rewards"]["coupons"])
    coupon = {"id": "NWCOFFEE7Q2", "state": "redeemed", "name": "Coffee voucher", "series": "2483", "discountValue": 3.5}
    coupon |= {"startDate": "2025-01-20T18:05:33.000Z", "endDate": "2025-04-20T22:59:59.000Z"}
    assert found == [[coupon]] * 3


def test_badges_are_listed_once(desk: Any, published: Published) -> None:
    desk.take(published("badgeEarned"))
    desk.take(published("badgeEarned"))
    badge = {"id": "66a0f3c1e4b0a91d5c7720aa", "state": "earned", "startDate": "2025-03-10T14:22:51.001Z"}
    assert desk.profile()["loyalty"]["rewards"]["badges"] == [badge]


def test_purchases_ride_on_the_next_profile_unless_asked_for(make_desk: Callable[..., Any], published: Published) -> None:
    for wanted in (False, True):
        desk = make_desk(profile={"on_transaction": wanted})
        desk.take(published("customerAdded"))
        outcome = desk.take(published("transactionAdded"))
        assert isinstance(outcome, Translated)
        assert bool(outcome.touched) is wanted
        assert desk.profile()["loyalty"]["lifetimePurchases"] == 148.5


def test_reminder_that_changes_nothing_sends_no_profile(desk: Any, published: Published) -> None:
    desk.take(published("pointsIssued"))
    first = desk.take(published("pointsExpiryReminder", pointsScheduledForExpiry=30.0))
    again = desk.take(
        published("pointsExpiryReminder", _eventId="again", _createdAt=1729749700000, pointsScheduledForExpiry=30.0)
    )
    assert isinstance(first, Translated)
    assert isinstance(again, Translated)
    assert (len(first.touched), len(again.touched)) == (1, 0)


def test_points_with_three_decimals_stay_exact(desk: Any, published: Published) -> None:
    desk.take(published("customerAdded"))
    for number in range(10):
        desk.take(published("pointsExpired", _eventId=f"e{number}", _createdAt=1730419634512 + number, pointsExpired=0.269))
    assert desk.profile()["loyalty"]["expiredPoints"] == 2.69
    assert desk.profile()["loyalty"]["points"] == -2.69
