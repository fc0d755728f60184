"""What Capillary's API answers about a simulated programme: bodies of the calls C2 to C9. Source: capillary.md 5.2."""

from datetime import time

from capstream.capillary.programme import days
from capstream.capillary.programme.engine import Engine, schedule
from capstream.capillary.programme.ledger import Member, Receipt
from capstream.capillary.retail import BillLine
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json

_LAST_SECOND = time(23, 59, 59)


class Answers:
    """The API's bodies, read from the ledger as it stands."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._programme = engine.programme
        self._program_id = engine.programme.program.id
        self._number = engine.world.arithmetic.number
        self._calendar = engine.world.calendar

    def customer(self, member: Member, embeds: frozenset[str] = frozenset()) -> Json:
        """Return C2: the customer."""
        joined = rfc3339(member.joined_ms)
        found: dict[str, Json] = {
            "id": member.customer_id,
            "profiles": [_profile(member)],
            "loyaltyInfo": {
                "loyaltyType": "loyalty",
                "attributionV2": {"createDate": joined},
                "lifetimePurchases": member.purchases_cents / 100,
            },
            "segments": {},
            "associatedWith": member.till.code,
            "extendedFields": {"gender": "undisclosed", "city": member.city},
            "cardDetails": [],
            "warnings": [],
        }
        if "points" in embeds:
            found |= {"pointsSummary": self.balance(member), "loyaltyProgramDetails": self.loyalty(member)["data"]}
        if "subscriptions" in embeds:
            found["subscriptionInfo"] = {}
        if "expirySchedules" in embeds:
            found["expirySchedules"] = self.expiry_schedule(member)["expirySchedules"]
        if "customerStatus" in embeds:
            found["customerStatus"] = {"status": "ACTIVE", "label": "Active"}
        return found

    def loyalty(self, member: Member) -> Json:
        """Return C3: the full loyalty state."""
        number, tier = self._number, self._programme.tier(member.tier)
        following = self._programme.tiers[tier.n] if tier.n < len(self._programme.tiers) else None
        ends = None if member.tier_expiry is None else self._calendar.rfc3339(member.tier_expiry, _LAST_SECOND)
        details = {
            "redeemed": number(member.redeemed),
            "expired": number(member.expired),
            "returned": number(member.returned),
            "adjusted": number(member.adjusted),
            "lifetimePoints": number(member.lifetime),
            "loyaltyPoints": number(member.current),
            "cumulativePurchases": member.purchases_cents / 100,
            "loyaltyId": member.customer_id,
            "currentSlab": tier.name,
            "nextSlab": "" if following is None else following.name,
            "nextSlabSerialNumber": -1 if following is None else following.n,
            "nextSlabDescription": "" if following is None else following.name,
            "slabSNo": tier.n,
            "slabExpiryDate": ends,
            "programId": self._program_id,
            "delayedPoints": number(member.promised_points),
            "delayedReturnedPoints": 0.0,
            "totalAvailablePoints": number(member.current + member.promised_points),
            "totalReturnedPoints": number(member.returned),
            "linkedPartnerPrograms": [],
        }
        return {"data": [details], "warnings": [], "errors": []}

    def balance(self, member: Member) -> Json:
        """Return C4: the balance."""
        number, promised = self._number, member.promised_points
        return {
            "entityId": member.customer_id,
            "entityType": "CUSTOMER",
            "totalPoints": number(member.current + promised),
            "mainPoints": number(member.current),
            "promisedPoints": number(promised),
            "promisedPointsBreakup": {"delayedAccrualPoints": number(promised), "externalTriggerBasedPoints": 0.0},
            "warnings": [],
        }

    def tiers(self, member: Member) -> Json:
        """Return C5: the tier."""
        tier = self._programme.tier(member.tier)
        following = self._programme.tiers[tier.n] if tier.n < len(self._programme.tiers) else None
        found = {
            "programId": self._program_id,
            "currentTierName": tier.name,
            "currentTierSerialNumber": tier.n,
            "tierExpiryDate": None if member.tier_expiry is None else f"{days.iso(member.tier_expiry)} 23:59:59",
            "nextTierName": None if following is None else following.name,
            "nextTierSerialNumber": -1 if following is None else following.n,
        }
        return {"entityId": member.customer_id, "entityType": "CUSTOMER", "programTiers": [found], "warnings": []}

    def expiry_schedule(self, member: Member) -> Json:
        """Return C6: what expires when."""
        entries = [
            {
                "points": self._number(points),
                "expiryDate": days.iso(day),
                "expiryDateISO": self._calendar.rfc3339(day, _LAST_SECOND),
                "programId": self._program_id,
                "pointsType": "bill_regular",
                "expiryType": "fixed",
            }
            for day, points in schedule(member)
        ]
        return {"id": member.customer_id, "expirySchedules": entries, "warnings": []}

    def transaction(self, receipt: Receipt) -> Json:
        """Return C7: the bill with lines and payments."""
        created = rfc3339(receipt.created_ms)
        returned: dict[str, Json] = {"canceled": False}
        if receipt.return_type is not None:
            returned["type"] = receipt.return_type
        if receipt.parent_id is not None:
            returned["parentTransactionId"] = receipt.parent_id
        return self._bill_header(receipt) | {
            "lineItems": [self._line(receipt, line) for line in receipt.bill.lines if not line.is_bill_discount],
            "paymentModes": self._payments(receipt),
            "customFields": {"basket_channel": "online" if receipt.is_online else "store"},
            "extendedFields": {"order_channel": "ONLINE" if receipt.is_online else "INSTORE"},
            "attribution": {"createDate": created, "modifiedDate": created},
            "autoUpdateTime": created,
            "returnDetails": returned,
            "warnings": [],
        }

    def transactions(self, member: Member, *, limit: int, offset: int) -> Json:
        """Return C8: the headers of the member's bills, newest first. ASSUMPTION: of those the programme still needs."""
        found = sorted(member.bills, key=lambda receipt: -receipt.created_ms)[offset : offset + limit]
        return {
            "pagination": {"limit": limit, "offset": offset, "total": len(member.bills)},
            "data": [self._bill_header(receipt) for receipt in found],
            "errors": [],
            "warnings": [],
        }

    def expiry_updates(self, member: Member, *, limit: int, offset: int) -> Json:
        """Return C9: the newest moves of expiry days."""
        changes = list(reversed(member.expiry_changes))[offset : offset + limit]
        return {
            "singlePointsExpiryUpdateList": [
                {
                    "expiryChangeTime": rfc3339(change.at_ms),
                    "eventName": "TransactionAdd",
                    "eventIdentifier": {"type": "eventId", "value": change.event_id},
                    "pointsNewExpiryDate": self._calendar.rfc3339(change.new_day, _LAST_SECOND),
                    "pointsUpdatedByProgram": [
                        {
                            "programId": self._program_id,
                            "points": self._number(change.points),
                            "pointsOldExpiryDate": self._calendar.rfc3339(change.old_day, _LAST_SECOND),
                        }
                    ],
                }
                for change in changes
            ]
        }

    def _bill_header(self, receipt: Receipt) -> dict[str, Json]:
        till = receipt.till
        store = {"id": till.store_id, "code": till.store_code, "name": till.store_name, "type": "STORE"}
        return {
            "id": receipt.transaction_id,
            "customerId": receipt.customer_id or 0,
            "type": receipt.bill_type,
            "source": "instore",
            "outlierStatus": "OUTLIER" if receipt.is_outlier else "NORMAL",
            "basketSize": float(sum(abs(line.quantity) for line in receipt.bill.lines if not line.is_bill_discount)),
            "retroTxn": False,
            "billDetails": {
                "billNumber": receipt.bill.invoice_id,
                "billingTime": rfc3339(receipt.bill.till_ms),
                "amount": receipt.amount_cents / 100,
                "grossAmount": receipt.gross_cents / 100,
                "discount": receipt.discount_cents / 100,
                "note": "",
                "billingStore": store,
                "returnDetails": {"canceled": False},
                "niReturnDetails": {},
                "invalidBill": False,
            },
        }

    def _line(self, receipt: Receipt, line: BillLine) -> Json:
        amount = line.cents / 100
        return {
            "id": receipt.first_line_id + line.line_no - 1,
            "customerId": receipt.customer_id or 0,
            "outlierStatus": "NORMAL",
            "valid": True,
            "returnDetails": {},
            "details": {
                "itemCode": line.sku,
                "description": line.description,
                "qty": float(abs(line.quantity)),
                "rate": float(line.unit_price),
                "value": amount,
                "discount": 0.0,
                "amount": amount,
                "serial": line.line_no - 1,
                "returnable": line.is_points_eligible,
                "returnableDays": -1,
                "attributes": {},
                "extendedFields": {},
                "attributesSet": [],
            },
        }

    def _payments(self, receipt: Receipt) -> list[Json]:
        """Return the tenders: what points paid, and the rest by card."""
        paid = receipt.redemption
        worth = 0 if paid is None else int(self._engine.world.arithmetic.worth(paid.points) * 100)
        parts = [("CardPayment", receipt.amount_cents - worth), *([("Points", worth)] if worth else [])]
        return [
            {
                "id": receipt.first_line_id * 2 + place,
                "mode": mode,
                "amount": cents / 100,
                "notes": "",
                "orgPaymentModeId": 8976 + place,
                "attributes": [],
            }
            for place, (mode, cents) in enumerate(parts)
        ]


def _profile(member: Member) -> Json:
    """Return the customer's profile in the one source that is simulated."""
    identifiers = [
        {"type": kind, "value": value}
        for kind, value in (("email", member.email), ("mobile", member.mobile), ("externalId", member.external_id))
        if value is not None
    ]
    joined = rfc3339(member.joined_ms)
    attribution = {"createDate": joined, "createdBy": {"code": member.till.code}, "modifiedDate": rfc3339(member.newest_ms)}
    return {
        "firstName": member.first_name,
        "lastName": member.last_name,
        "attribution": attribution,
        "fields": {"preferred_store": member.till.store_code},
        "allFields": {},
        "identifiers": identifiers,
        "commChannels": [],
        "source": "INSTORE",
        "userId": member.customer_id,
        "accountId": "",
        "conflictingProfileList": [],
        "autoUpdateTime": rfc3339(member.newest_ms),
        "identifiersAll": identifiers,
    }
