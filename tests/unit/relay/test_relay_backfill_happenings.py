"""Backfill of the Points, Slab Change Log and Coupons exports: experience events with names for ever, no balance moved."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from relay_rig import Rig
from webhook_door import WebhookDoor

from capstream.capillary.happenings import Happenings
from capstream.capillary.history import Importer
from capstream.relay.backfill.book import Book
from capstream.relay.backfill.door import Door, Pace
from capstream.relay.backfill.files import exports_in
from capstream.relay.backfill.run import Backfill, Options, write_rejects
from capstream.relay.sources import Sources

UTC_ZONE = ZoneInfo("UTC")
CUTOVER = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp() * 1000)

POINTS = """user_id,event_id,allocated_points,deducted_points,awarded_ref_id,bill_id,points_event_type.type,deduction_type.type,\
deduction_summary_id,redemption_bill_number,deduction_currency_value,awarded_expiry_date,awarded_program,date.date,time.time
900000101,501,100,,1,880100001,TransactionAdd,,,,,2025-09-30,4101,2024-09-17,15:02:58
900000101,502,,40,1,,,redeemed,77,B-9,2.5,,,2024-10-01,10:00:00
900000101,501,50,,2,880100001,TransactionAdd,,,,,2025-10-31,4101,2024-09-17,15:02:58
900000101,503,,10,1,,,expired,,,,,,2024-11-01,02:00:00
900000101,504,,5,1,,,return,,,,,,2024-11-02,02:00:00
900000101,505,,6,1,,,manual adjustment,,,,,,2024-11-03,02:00:00
900000101,506,,7,1,,,redemption_reversal,,,,,,2024-11-04,02:00:00
900000101,507,,8,1,,,redeemed_by_transfer,,,,,,2024-11-05,02:00:00
900000101,508,,9,1,,,expiry_reverted,,,,,,2024-11-06,02:00:00
900000101,509,20,,3,,TransactionAdd,,,,,,,2025-01-01,00:00:00
"""
SLABS = """user.user_id,slab_name,event_date_time,notes,slab_change_action,previous slab,slab_change_source
900000101,Silver,2024-10-19 12:30:00,spend,Upgrade,Blue,rule
900000101,Silver,19-10-2025 12:30:00,,renewal,,rule
900000101,Silver,2024-12-19 12:30:00,,renewal,,rule
900000101,Blue,2024-12-20 12:30:00,,sideways,,rule
"""
COUPONS = """user_id,coupon_code,issual_coupon_id,bill_id,used_bill_number,\
coupon_event_type,coupon_series,issual_date,expiry_date,date
900000101,NWCOFFEE,41770001,,,Issued,2483,2024-10-20,2025-04-20,
900000101,NWCOFFEE,41770001,880101933,NW014-9,Redeemed,2483,2024-10-20,2025-04-20,2024-11-08
"""


@pytest.fixture
def rig(tmp_path: Path, sources: Sources, clock: Any) -> Iterator[Rig]:
    found = Rig(tmp_path, sources, clock)
    yield found
    found.close()


@pytest.fixture
def door(tmp_path: Path, rig: Rig, vault: Any, clock: Any) -> Iterator[WebhookDoor]:
    with WebhookDoor(tmp_path, vault, clock) as found:
        yield found


def imported(url: str, work: Path, folder: Path) -> dict[str, int]:
    options = Options(
        importer=Importer("700123", zone=UTC_ZONE, program_id="4101"),
        happenings=Happenings("700123", zone=UTC_ZONE, cutover_ms=CUTOVER, program_id="4101"),
        pace=Pace(None),
    )
    book, gate = Book(work / "progress.db"), Door(url, {"authorization": "Bearer webhook-secret"})
    try:
        counts = Backfill(book, gate, options).run(exports_in(folder)[0])
        write_rejects(book, work / "rejects")
    finally:
        gate.close()
        book.close()
    assert counts["read"] == sum(count for name, count in counts.items() if name != "read")
    return counts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "exports"
    found.mkdir()
    return found


def test_points_become_events_with_names_for_ever_and_move_no_balance(
    rig: Rig, door: WebhookDoor, folder: Path, tmp_path: Path
) -> None:
    (folder / "Daily_Points_2024-12-01-00-00-00.csv").write_text(POINTS)
    counts = imported(door.url, tmp_path / "work", folder)
    rig.drain()
    assert counts == {"read": 10, "delivered": 8, "rejected": 1, "later": 1}
    assert rig.letters() == []
    events = {name.removeprefix("capillary:700123:hist:"): body for name, body in rig.edge.events().items()}
    assert {name: body["eventType"] for name, body in events.items()} == {
        "awarded:501": "loyalty.pointsIssued",
        "redeemed:502": "loyalty.pointsRedeemed",
        "expired:503": "loyalty.pointsExpired",
        "return:504": "loyalty.pointsReversed",
        "manual_adjustment:505": "loyalty.pointsAdjusted",
        "redemption_reversal:506": "loyalty.redemptionReversed",
        "redeemed_by_transfer:507": "loyalty.pointsTransferredOut",
    }
    award = events["awarded:501"]
    assert award["timestamp"] == "2024-09-17T15:02:58.000Z"
    assert award["capillary"]["points"]["total"] == 150
    assert [lot["points"] for lot in award["capillary"]["points"]["expiry"]] == [100, 50]
    assert award["loyalty"]["pointsGained"][0]["transactionId"] == "880100001"
    assert events["redeemed:502"]["capillary"]["redemption"]["currencyValue"] == 2.5
    assert events["expired:503"]["capillary"]["points"] == {"expired": 10}
    for body in rig.edge.profiles().values():
        assert not {"points", "lifetimePoints", "pointsRedeemed", "expiredPoints"} & body["loyalty"].keys()
    refused = (tmp_path / "work" / "rejects" / "Points.csv").read_text()
    assert "expiry_reverted" in refused
    again = imported(door.url, tmp_path / "other", folder)
    assert again["duplicates"] == counts["delivered"]


def test_tiers_and_coupons_become_events(rig: Rig, door: WebhookDoor, folder: Path, tmp_path: Path) -> None:
    (folder / "DailySlabChange_SlabChangeLog_2019-10-29-12-30-02_1572356331802.csv").write_text(SLABS)
    (folder / "Coupons.csv").write_text(COUPONS)
    counts = imported(door.url, tmp_path / "work", folder)
    rig.drain()
    assert counts == {"read": 6, "delivered": 4, "duplicates": 0, "rejected": 1, "later": 1}
    assert rig.letters() == []
    events = rig.edge.events()
    by_type = {body["eventType"]: (name, body["capillary"]) for name, body in events.items()}
    assert by_type["loyalty.tierUpgraded"][1]["tier"] == {"to": {"name": "Silver"}, "from": {"name": "Blue"}, "notes": "spend"}
    assert by_type["loyalty.tierRenewed"][1]["tier"] == {"current": {"name": "Silver"}}
    name, issued = by_type["loyalty.couponIssued"]
    assert name == "capillary:700123:hist:coupon_issued:41770001"
    assert issued["coupon"]["validTill"] == "2025-04-20T23:59:59.000Z"
    assert issued["coupon"]["code"] != "NWCOFFEE"
    assert by_type["loyalty.couponRedeemed"][1]["coupon"]["billId"] == "880101933"
    assert events[by_type["loyalty.couponRedeemed"][0]]["timestamp"] == "2024-11-08T00:00:00.000Z"
    for body in rig.edge.profiles().values():
        assert "tier" not in body["loyalty"]


REDEMPTIONS = """user_id,redemption_summary_id,redeemed_points,deduction_currency_value,redemption_bill_number,notes,\
date.date,time.time
900000101,77,40,2.5,B-9,,2024-10-01,10:00:00
900000101,78,25,,B-10,at the till,2024-10-02,10:00:00
900000101,79,25,,,,2025-10-02,10:00:00
900000101,80,,,,,2024-10-02,10:00:00
"""
REMINDERS = """user.user_id,points,expiry_date,date,time
900000101,12.5,2024-11-30,2024-11-23,06:00:00
900000101,12.5,2024-11-30,2024-11-29,06:00:00
900000101,12.5,soon,2024-11-29,06:00:00
"""


def test_redemptions_and_reminders_become_events_and_no_redemption_comes_twice(
    rig: Rig, door: WebhookDoor, folder: Path, tmp_path: Path
) -> None:
    (folder / "Daily_PointsRedemptionSummary_2024-12-01-00-00-00.csv").write_text(REDEMPTIONS)
    (folder / "Daily_PointsExpiryReminderInfo_2024-12-01-00-00-00.csv").write_text(REMINDERS)
    (folder / "Daily_Points_2024-12-01-00-00-00.csv").write_text("\n".join(POINTS.splitlines()[i] for i in (0, 2)) + "\n")
    counts = imported(door.url, tmp_path / "work", folder)
    rig.drain()
    assert counts == {"read": 8, "delivered": 4, "duplicates": 1, "rejected": 2, "later": 1}
    assert rig.letters() == []
    events = {name.removeprefix("capillary:700123:hist:"): body for name, body in rig.edge.events().items()}
    reminder = "expiry_reminder:900000101-2024-11-30-"
    assert events.keys() == {"redeemed:502", "redemption:78", f"{reminder}1732341600000", f"{reminder}1732860000000"}
    about = events["redemption:78"]["capillary"]["redemption"]
    assert about == {"summaryId": "78", "billNumber": "B-10", "notes": "at the till"}
    assert events["redemption:78"]["loyalty"]["pointsRedemption"][0]["value"] == 25
    points = events[f"{reminder}1732341600000"]["capillary"]["points"]
    assert points == {"scheduledForExpiry": 12.5, "scheduledExpiryDate": "2024-11-30T23:59:59.000Z"}
    rejects = tmp_path / "work" / "rejects"
    assert "redeemed_points,is missing" in (rejects / "PointsRedemptionSummary.csv").read_text()
    assert "expiry_date,'soon' is no day" in (rejects / "PointsExpiryReminderInfo.csv").read_text()
    (folder / "Later_Points_2024-12-02-00-00-00.csv").write_text(POINTS.replace(",77,", ",78,"))
    later = imported(door.url, tmp_path / "work", folder)
    assert (later["duplicates"], later["delivered"]) == (1, 7)  # 502 now names a redemption that came already


MEMBERS = """user_id,mobile,customer_external_id,is_merged_customer,merged_user_id,loyalty_points,auto_update_time_cps
900000101,447700900101,CRM-1,0,,70,1731000002
900000102,447700900102,CRM-2,1,900000101,30,1731000002
900000103,447700900102,CRM-3,1,900000109,30,1731000002
"""
MERGES = """merge_event_id,user_id,victim_external_id,victim_mobile,date,time
31,900000101,,447700900102,2024-10-05,12:00:00
32,900000101,CRM-9,,2024-10-05,12:00:00
33,900000104,,447700900102,2024-10-05,12:00:00
"""
PROFILES = """id_unique,id_email,id_mobile,id_external,comm_channel_email,auto_update_time
900000101,member-0001@example.com,,CRM-1,other@example.com,1731000005
900000105,member-0005@example.com,,,,1731000005
nobody,member-0006@example.com,,,,1731000005
"""


def test_merges_tie_members_and_profiles_bring_identities(rig: Rig, door: WebhookDoor, folder: Path, tmp_path: Path) -> None:
    (folder / "Members.csv").write_text(MEMBERS)
    (folder / "Daily_CustomerMergeEventLog_2024-12-01-00-00-00.csv").write_text(MERGES)
    (folder / "Profiles.csv").write_text(PROFILES)
    (folder / "Transactions.csv").write_text(
        "bill_id,bill_amount,line_item_id,item_code,user_id,date\n880100009,10,1,A,900000102,2024-09-01\n"
    )
    counts = imported(door.url, tmp_path / "work", folder)
    rig.drain()
    assert counts == {"read": 10, "delivered": 5, "duplicates": 0, "rejected": 3, "merged": 2, "later": 0}
    assert rig.letters() == []
    events = rig.edge.events()
    merge = events["capillary:700123:hist:merge:31"]
    assert (merge["eventType"], merge["capillary"]["merge"]) == ("loyalty.customerMerged", {"victimCustomerId": "900000102"})
    bill = events["capillary:700123:txn:880100009"]
    assert bill["capillary"]["customerId"] == "900000101"
    found = rig.edge.profiles()
    survivor = found["capillary:700123:member:900000101"]
    assert survivor["loyalty"]["points"] == 70
    assert [each["id"] for each in survivor["identityMap"]["capillaryUserId"]] == ["900000101", "900000102"]
    assert [each["id"] for each in survivor["identityMap"]["email"]] == ["member-0001@example.com"]
    assert {each["id"] for each in survivor["identityMap"]["phone"]} == {"+447700900101", "+447700900102"}
    assert found["capillary:700123:member:900000102"]["loyalty"]["status"] == "merged"
    other = found["capillary:700123:member:900000105"]
    assert other["identityMap"]["email"][0]["id"] == "member-0005@example.com"
    rejects = (tmp_path / "work" / "rejects" / "CustomerMergeEventLog.csv").read_text()
    assert "fits no member" in rejects
    assert "fits several members" in rejects
    assert "id_unique,'nobody' is no id" in (tmp_path / "work" / "rejects" / "Profiles.csv").read_text()
