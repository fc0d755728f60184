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
