"""Capillary events in envelope A. Source: capillary.md 1.4, 3, 4 and capillary-events/*.json."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from capstream.capillary.programme.arithmetic import Arithmetic
from capstream.capillary.programme.chance import Ids
from capstream.capillary.programme.config import Programme
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.capillary.programme.shops import Till
from capstream.kernel.json import Json

_LOGGED: Final = frozenset(
    {
        "pointsIssued", "pointsRedeemed", "pointsExpired", "issuedPointsReversed", "redeemedPointsReversed", "promotionEarned",
        "promisedToCurrentPointsConversion", "manualPointsAdjustment", "loyaltyCustomerMerge", "pointsTransferredInitiated",
        "pointsTransferredReceived",
    }
)  # fmt: skip
_LOYALTY: Final = frozenset(
    {
        "pointsIssued", "pointsRedeemed", "issuedPointsReversed", "redeemedPointsReversed", "promotionEarned",
        "pointsExpiryChange",
        "promisedToCurrentPointsConversion", "manualPointsAdjustment", "tierUpgraded", "tierDowngraded", "tierRenewed",
        "pointsTransferredInitiated", "pointsTransferredReceived",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimEvent:
    """One event of the simulated programme. Parts of `body` are shared with other events: nobody may change it."""

    body: Json
    created_at_ms: int
    customer_id: int | None  #: None for anonymous bills
    kind: str

    @property
    def event_id(self) -> str:
        """Return the event's id."""
        event_id: str = self.body["eventId"]
        return event_id


class Writer:
    """Writes the events of one run, numbering them, and remembers the newest instant of each member."""

    def __init__(self, programme: Programme, ids: Ids, arithmetic: Arithmetic) -> None:
        self.ids = ids
        self._org = programme.org.id
        self._number = arithmetic.number
        self.program_id = programme.program.id
        self.program_details: Json = {
            "id": programme.program.id,
            "name": programme.program.name,
            "isDefault": programme.program.default,
            "pointsToCurrencyRatio": float(programme.program.points_to_currency),
            "tiers": [{"tierNumber": tier.n, "tierName": tier.name} for tier in programme.tiers],
        }
        self._log_id = 39_200_000

    def event(self, kind: str, at_ms: int, request: str, data: Json, *, member: Member | None, ref: str = "") -> SimEvent:
        """Return the next event. `ref` is the part of refId after the org; loyalty events use their loyalty event id."""
        event_id, short = self.ids.event()
        loyalty_event_id = short if kind in _LOYALTY else None
        body: dict[str, Json] = {"eventName": kind, "eventId": event_id}
        if kind in _LOGGED:
            self._log_id += 1
            body["eventLogId"] = self._log_id
        body |= {
            "orgId": self._org,
            "refId": f"{self._org}_{ref or loyalty_event_id or request}",
            "apiRequestId": request,
            "createdAt": at_ms,
            "data": data,
            "loyaltyEventId": loyalty_event_id,
        }
        if member is None:
            return SimEvent(body, at_ms, None, kind)
        member.newest_ms = max(at_ms, member.newest_ms)
        return SimEvent(body, at_ms, member.customer_id, kind)

    @property
    def log_id(self) -> int:
        """Return the eventLogId of the newest logged event."""
        return self._log_id

    def on_program(self, member: Member, activity: Json, **data: Json) -> Json:
        """Return the data of a loyalty event with the members all of them share."""
        return {
            "customerIdentifiers": member.identifiers,
            "entityInformation": entity(member),
            "triggeringActivity": activity,
            "loyaltyProgramDetails": self.program_details,
            "loyaltyProgramId": self.program_id,
            **data,
        }

    def balances(self, member: Member) -> Json:
        """Return the two absolutes that points events state."""
        return {"programCurrentPoints": self._number(member.current), "programLifetimePoints": self._number(member.lifetime)}

    def share(self, member: Member, points: int, points_key: str = "pointsRedeemed") -> Json:
        """Return the element of a redemption's earning programs: the balance after it."""
        return {
            "programId": self.program_id,
            points_key: self._number(points),
            "programCurrentPoints": self._number(member.current),
        }


def entity(member: Member) -> Json:
    """Return entityInformation."""
    return {"entityType": "USER", "entityId": member.customer_id}


def activity(name: str, member: Member, identifiers: Sequence[tuple[str, str]] = (), till: Till | None = None) -> Json:
    """Return triggeringActivity."""
    found: dict[str, Json] = {"name": name, "identifiers": [{"key": key, "value": value} for key, value in identifiers]}
    if till is not None:
        found["enteredBy"] = till.entered_by
    return found | {"entityInformation": entity(member), "additionalAttributes": []}


def bill_activity(name: str, member: Member, receipt: Receipt, till: Till) -> Json:
    """Return triggeringActivity of something that happened through a bill."""
    identifiers = (("BillId", str(receipt.transaction_id)), ("billNumber", receipt.bill.invoice_id))
    return activity(name, member, identifiers, till)


def transaction(receipt: Receipt, bill_ms: int) -> Json:
    """Return the data of the bill events, without the customer. `bill_ms` is the till's time as Capillary shows it."""
    return {
        "amount": receipt.amount_cents / 100,
        "billClientId": f"pos-{receipt.bill.invoice_id}",
        "billNumber": receipt.bill.invoice_id,
        "billDate": bill_ms,
        "enteredAt": bill_ms,
        "transactionId": receipt.transaction_id,
        "deliveryStatus": receipt.status,
        "billType": receipt.bill_type,
        "lineItemCount": len(receipt.bill.lines),
        "discount": receipt.discount_cents / 100,
        "grossAmount": receipt.gross_cents / 100,
        "currencyCode": receipt.bill.currency,
        "outlierStatus": "OUTLIER" if receipt.is_outlier else "NORMAL",
        "enteredBy": receipt.till.entered_by,
        "customFields": [{"key": "basket_channel", "value": "online" if receipt.is_online else "store"}],
        "extendedFields": [{"key": "order_channel", "value": "ONLINE" if receipt.is_online else "INSTORE"}],
    }
