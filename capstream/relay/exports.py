"""The CSV exports Capillary would have made of a simulated run: zipped, one file a template. Source: capillary.md 8.1, 8.2."""

import csv
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from capstream.capillary.programme import days
from capstream.capillary.programme.answers import Answers
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.kernel.json import Json

_BILL = ("bill_id", "bill_number", "bill_amount", "bill_discount", "initial_bill_value", "currency_code", "bill_outlier")
_LINE = ("line_item_id", "item_code", "description", "quantity", "rate", "line_item_amount", "line_item_discount")
_WHERE = (
    "user.user_id",
    "date.date",
    "time.time",
    "zone_till.store",
    "zone_till.store_name",
    "zone_till.till",
    "zone_till.timezone",
)
_COLUMNS = {
    "Transactions": (*_BILL, *_LINE, "initial_line_item_value", *_WHERE),
    "ReturnTransactions": (*_BILL, *_LINE, "line_item_value", "issued_bill_id", "return type", *_WHERE),
    "PaymentMode": ("bill_id", "payment_mode_details_id", "payment_mode_amount", "payment_mode"),
    "Members": (
        "loyalty_points", "lifetime_points", "expired_points", "redeemed_points", "cancelled_points", "lifetime_purchased",
        "auto_update_time_loyalty", "auto_update_time_cps", "user.user_id", "user.mobile", "user.email",
        "user.customer_external_id", "user.first_name", "user.last_name", "user.slab_name", "user.slab_number",
        "user.slab_expiry_date", "user.loyalty_type", "user.source", "user.is_merged_customer", "user.merged_user_id",
        "date.date", "time.time", "timezone",
    ),
}  # fmt: skip


class Exports:
    """Writes the bills as they happen and the members at the end. Memory does not grow with the bills."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._engine = engine
        self._answers = Answers(engine)
        self._zone = ZoneInfo(engine.programme.org.zone)
        self._folder = folder
        self._open = ExitStack()
        self._writers: dict[str, Any] = {}

    def event(self, event: SimEvent) -> None:
        """Write the bill an event is about, when it is a new one."""
        if event.kind not in ("transactionAdded", "notInterestedBillAdded"):
            return
        receipt = self._engine.receipt(int(event.body["data"]["transactionId"]))
        if receipt is None:
            return
        call = self._answers.transaction(receipt)
        is_return = receipt.bill_type in ("RETURN", "NOT_INTERESTED_RETURN")
        writer = self._writer("ReturnTransactions" if is_return else "Transactions")
        for row in _bill_rows(receipt, call, self._zone):
            writer.writerow(row)
        for tender in call["paymentModes"]:
            self._writer("PaymentMode").writerow(
                {
                    "bill_id": receipt.transaction_id,
                    "payment_mode_details_id": tender["id"],
                    "payment_mode_amount": tender["amount"],
                    "payment_mode": tender["mode"],
                }
            )

    def close(self) -> None:
        """Close what is open; what was not finished stays a part."""
        self._open.close()

    def finish(self) -> None:
        """Write the members as they stand and complete the archives."""
        writer = self._writer("Members")
        for member in self._engine.world.members.values():
            if not member.is_deleted:
                writer.writerow(self._member_row(member))
        self.close()

    def _member_row(self, member: Member) -> dict[str, Json]:
        details = self._answers.loyalty(member)["data"][0]
        joined = datetime.fromtimestamp(member.joined_ms / 1000, UTC).astimezone(self._zone)
        return {
            "loyalty_points": details["loyaltyPoints"],
            "lifetime_points": details["lifetimePoints"],
            "expired_points": details["expired"],
            "redeemed_points": details["redeemed"],
            "cancelled_points": details["returned"],
            "lifetime_purchased": details["cumulativePurchases"],
            "auto_update_time_loyalty": member.newest_ms,
            "auto_update_time_cps": self._engine.now_ms,
            "user.user_id": member.customer_id,
            "user.mobile": member.mobile or "",
            "user.email": member.email or "",
            "user.customer_external_id": member.external_id,
            "user.first_name": member.first_name,
            "user.last_name": member.last_name,
            "user.slab_name": details["currentSlab"],
            "user.slab_number": details["slabSNo"],
            "user.slab_expiry_date": "" if member.tier_expiry is None else days.iso(member.tier_expiry),
            "user.loyalty_type": "loyalty",
            "user.source": "INSTORE",
            "user.is_merged_customer": int(member.merged_into is not None),
            "user.merged_user_id": member.merged_into or "",
            "date.date": f"{joined:%Y-%m-%d}",
            "time.time": f"{joined:%H:%M:%S}.{joined.microsecond // 1000:03d}",
            "timezone": str(self._zone),
        }

    def _writer(self, template: str) -> Any:
        if template not in self._writers:
            stamp = "2024-01-01-00-00-00"
            name = f"Simulated_{template}_{stamp}"
            archive = self._open.enter_context(zipfile.ZipFile(self._folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED))
            # One entry at a time may be open in an archive, and every archive has one.
            entry = self._open.enter_context(archive.open(f"{name}.csv", "w", force_zip64=True))
            text = self._open.enter_context(io.TextIOWrapper(entry, "utf-8", newline=""))
            writer = csv.DictWriter(text, _COLUMNS[template])
            writer.writeheader()
            self._writers[template] = writer
        return self._writers[template]


def _bill_rows(receipt: Receipt, call: Json, zone: ZoneInfo) -> Iterator[dict[str, Json]]:
    header, is_return = call["billDetails"], receipt.bill_type in ("RETURN", "NOT_INTERESTED_RETURN")
    there = datetime.fromtimestamp(receipt.bill.till_ms / 1000, UTC).astimezone(zone)
    shared: dict[str, Json] = {
        "bill_id": receipt.transaction_id,
        "bill_number": header["billNumber"],
        "bill_amount": header["amount"],
        "bill_discount": header["discount"],
        "initial_bill_value": header["grossAmount"],
        "currency_code": receipt.bill.currency,
        "bill_outlier": call["outlierStatus"],
        "user.user_id": receipt.customer_id or "",
        "date.date": f"{there:%Y-%m-%d}",
        "time.time": f"{there:%H:%M:%S}",
        "zone_till.store": header["billingStore"]["code"],
        "zone_till.store_name": header["billingStore"]["name"],
        "zone_till.till": receipt.till.code,
        "zone_till.timezone": str(zone),
    }
    if is_return:
        back = call["returnDetails"]
        shared |= {"issued_bill_id": back.get("parentTransactionId", ""), "return type": back.get("type", "")}
    for line in call["lineItems"]:
        details = line["details"]
        yield shared | {
            "line_item_id": line["id"],
            "item_code": details["itemCode"],
            "description": details["description"],
            "quantity": details["qty"],
            "rate": details["rate"],
            "line_item_amount": details["amount"],
            "line_item_discount": details["discount"],
            "line_item_value" if is_return else "initial_line_item_value": details["value"],
        }
