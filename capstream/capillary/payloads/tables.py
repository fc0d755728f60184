"""What each kind writes below `capillary`: the rows of capillary.md 7.7 with the types and lengths of xdm.md 9.1, as data."""

from typing import Final

from capstream.capillary.payloads.forms import (
    Row,
    amount,
    code,
    count,
    day_end,
    day_start,
    flag,
    identifier,
    limit,
    many,
    moment,
    named_values,
    points,
    record,
    text,
    total,
)

_word, _name, _note = text(64), text(255), text(1024)
_id, _number_id, _program_id = identifier(), identifier(decimal=True), identifier(64, decimal=True)

Section = tuple[str, tuple[Row, ...]]
"""A member below `capillary` and the rows that make it of the event's `data`; the empty name stands for `capillary` itself."""

FIELDS: Final[tuple[Row, ...]] = (
    ("customFields", "customFields", named_values),
    ("extendedFields", "extendedFields", named_values),
)

TRANSACTION: Final[tuple[Row, ...]] = (
    ("id", "transactionId", _number_id),
    ("billClientId", "billClientId", _id),
    ("billType", "billType", _word),
    ("deliveryStatus", "deliveryStatus", _word),
    ("outlierStatus", "outlierStatus", _word),
    ("lineItemCount", "lineItemCount", count),
)

_AFTER: Final[tuple[Row, ...]] = (
    ("balanceAfter", "programCurrentPoints", points),
    ("lifetimeAfter", "programLifetimePoints", points),
)

_LIMITS: Final[tuple[Row, ...]] = (
    ("limitOn", "limitOn", _word),
    ("kpi", "kpi", text(128)),
    ("restrictionType", "restrictionType", _word),
    ("periodType", "periodType", _word),
    ("periodUnit", "periodUnit", _word),
    ("restrictionRefreshDate", "restrictionRefreshDate", day_end),
    ("maxLimit", "maxLimit", limit),
)

_PROMOTION: Final[tuple[Row, ...]] = (
    ("id", "promotionId", _number_id),
    ("name", "promotionName", _name),
    ("description", "promotionDescription", _note),
    ("startDate", "promotionStartDate", day_start),
    ("endDate", "promotionEndDate", day_end),
    ("issuedDate", "promotionIssuedDate", day_start),
    ("earnedDate", "promotionEarnedDate", day_start),
    ("offerType", "pointsOfferType", _word),
    ("earnSource", "promotionEarnSource", _word),
    ("earnCriteria", "earnCriteria", _word),
    ("issualId", "issualId", _number_id),
    ("earnedId", "earnedId", _number_id),
    ("customFields", "customFields", named_values),
    ("earnRestrictions", "earnRestrictions", many(record(*_LIMITS))),
    ("issueRestrictions", "issueRestrictions", many(record(*_LIMITS))),
    ("redemptionRestrictions", "redemptionRestrictions", many(record(*_LIMITS))),
)

SERIES: Final[tuple[Row, ...]] = (
    ("id", "id", _number_id),
    ("description", "description", _note),
    ("seriesType", "seriesType", _word),
    ("clientHandlingType", "clientHandlingType", _word),
    ("discountCode", "discount_code", _name),
    ("discountType", "discount_type", _word),
    ("discountValue", "discount_value", amount),
    ("validTill", "valid_till", moment),
)

ISSUED_COUPON: Final[tuple[Row, ...]] = (
    ("id", "id", _number_id),
    ("code", "code", code),
    ("validTill", "valid_till", moment),
    ("issuedOn", "issued_on", moment),
)

REDEEMED_COUPON: Final[tuple[Row, ...]] = (
    ("id", "id", _number_id),
    ("code", "code", code),
    ("redeemedOn", "redemptionDate", moment),
    ("redemptionId", "redemptionId", _number_id),
)

EXPIRY: Final[tuple[Row, ...]] = (("points", "points", points), ("date", "expiryAt", day_end))
PROMOTION_EXPIRY: Final[tuple[Row, ...]] = (
    ("points", "promotionPoints", points),
    ("date", "promotionPointsExpiryDate", day_end),
    ("promotionId", "promotionIdentifier", _id),
)

REWARD_UPDATE: Final[tuple[Row, ...]] = (
    ("id", "rewardId", _number_id),
    ("transactionId", "transactionId", _number_id),
    ("fulfillmentStatus", "fulfillmentStatus", _word),
    ("customFields", "transactionCustomFields", named_values),
)

MERGED_PROGRAM: Final[tuple[Row, ...]] = (
    ("id", "loyaltyProgramId", _program_id),
    ("points", "currentPoints", points),
    ("lifetimePoints", "lifetimePoints", points),
    ("promisedPoints", "promisedPoints", points),
    ("tierNumber", "tierNumber", count),
)

SECTIONS: Final[dict[str, tuple[Section, ...]]] = {
    "customerAdded": (
        (
            "registration",
            (
                ("source", "source", _word),
                ("accountId", "accountId", _id),
                ("loyaltyType", "loyaltyType", _word),
                *FIELDS,
            ),
        ),
    ),
    "customerUpdated": (
        (
            "",
            (
                (
                    "changes",
                    "updatedFields",
                    many(
                        record(
                            ("fieldName", "fieldName", _name),
                            ("fieldType", "fieldType", _word),
                            ("previousValue", "previousValue", _note),
                            ("currentValue", "currentValue", _note),
                            ("source", "source", _word),
                            ("accountId", "accountId", _id),
                        )
                    ),
                ),
            ),
        ),
    ),
    "pointsIssued": (
        (
            "points",
            (
                ("total", "totalPointsIssued", points),
                ("regular", "regularPointsIssued", points),
                ("promotional", "promotionalPointsIssued", total("promotionPoints")),
                ("promised", "promisedPointsIssued", total("promisedPoints")),
                *_AFTER,
                ("expiry", "regularPointsBreakup", many(record(*EXPIRY))),
                (
                    "promisedSchedule",
                    "promisedPointsIssued",
                    many(
                        record(
                            ("points", "promisedPoints", points),
                            ("date", "promisedPointsConversionDate", day_start),
                            ("promotionId", "promotionIdentifier", _id),
                        )
                    ),
                ),
            ),
        ),
    ),
    "pointsRedeemed": (
        (
            "redemption",
            (
                ("summaryId", "redemptionSummaryId", _number_id),
                ("currencyValue", "redeemedPointsCurrencyValue", amount),
                ("billNumber", "redemptionBillNumber", _id),
                ("notes", "redemptionNotes", _note),
                ("isGroup", "isGroupRedemption", flag),
                (
                    "programs",
                    "redemptionFromEarningPrograms",
                    many(
                        record(
                            ("id", "programId", _program_id),
                            ("points", "pointsRedeemed", points),
                            ("balanceAfter", "programCurrentPoints", points),
                        )
                    ),
                ),
            ),
        ),
    ),
    "pointsExpired": (("points", (("expired", "pointsExpired", points),)),),
    "pointsExpiryReminder": (
        (
            "points",
            (
                ("scheduledForExpiry", "pointsScheduledForExpiry", points),
                ("scheduledExpiryDate", "scheduledExpiryDate", day_end),
            ),
        ),
    ),
    "pointsExpiryChange": (
        (
            "",
            (
                (
                    "expiryChanges",
                    "updatedPointsExpiryBreakup",
                    many(
                        record(
                            ("awardedRefId", "pointAwardedRefID", _number_id),
                            ("awardedRefType", "pointsAwardedRefType", _word),
                            ("promotionId", "promotionId", _number_id),
                            ("points", "points", points),
                            ("previousDate", "pointsPreviousExpiryDate", day_end),
                            ("newDate", "newExpiryDate", day_end),
                            ("setType", "newExpirySetType", _word),
                            ("reason", "expiryUpdateReasonType", _word),
                            ("note", "expiryUpdateReasonNote", _note),
                        )
                    ),
                ),
            ),
        ),
    ),
    "tierUpgraded": (
        ("tier", (("expiryDate", "tierExpiryDate", day_end), ("type", "upgradeType", _word), ("notes", "notes", _note))),
    ),
    "tierDowngraded": (("tier", (("expiryDate", "tierExpiryDate", day_end),)),),
    "tierRenewed": (
        ("tier", (("expiryDate", "tierExpiryDate", day_end), ("type", "renewType", _word), ("notes", "notes", _note))),
    ),
    "tierDowngradeReminder": (("tier", (("scheduledDowngradeDate", "scheduledDowngradeDate", day_end),)),),
    "promotionEarned": (("promotion", (*_PROMOTION, ("expiryDate", "promotionEarnedExpiryDate", day_end))),),
    "promotionIssued": (("promotion", (*_PROMOTION, ("expiryDate", "promotionIssuedExpiryDate", day_end))),),
    "rewardIssued": (
        (
            "reward",
            (
                ("id", "rewardId", _number_id),
                ("type", "type", _word),
                ("redemptionType", "redemptionType", _word),
                ("pointsCost", "intouchPoints", points),
                ("tier", "tier", _name),
                ("group", "group", _name),
                ("label", "label", _name),
                ("seriesId", "intouchSeriesId", _number_id),
                ("transactionId", "transactionId", _number_id),
                ("startDate", "startDate", moment),
                ("endDate", "endDate", moment),
            ),
        ),
    ),
    "badgeEarned": (
        (
            "badge",
            (
                ("id", "badgeId", _id),
                ("issualId", "issualId", _id),
                ("issuedOn", "issuedOn", moment),
                ("earnId", "earnId", _id),
                ("earnedOn", "earnedOn", moment),
                (
                    "constraints",
                    "earnConstraints",
                    many(
                        record(
                            ("level", "constraintLevel", _word),
                            ("type", "constraintType", _word),
                            ("rollType", "rollType", _word),
                            ("rollValue", "rollValue", amount),
                            ("maxEarnLimit", "maxEarnLimit", limit),
                            ("currentEarnCount", "currentEarnCount", amount),
                        )
                    ),
                ),
            ),
        ),
    ),
    "issuedPointsReversed": (("points", (("reversed", "totalIssuedPointsReversed", points), *_AFTER)),),
    "redeemedPointsReversed": (("points", (("redemptionReversed", "redeemedPointsReversed", points),)),),
    "promisedToCurrentPointsConversion": (
        (
            "points",
            (("converted", "pointsConverted", points), *_AFTER, ("expiry", "pointsConvertedBreakup", many(record(*EXPIRY)))),
        ),
    ),
    "manualPointsAdjustment": (("points", (("adjusted", "totalPoinstDeducted", points),)),),
    "pointsTransferredInitiated": (("points", (("transferred", "totalPointsTransferred", points),)),),
    "pointsTransferredReceived": (("points", (("transferred", "totalPointsTransferred", points),)),),
    "customerSubscription": (
        (
            "",
            (
                (
                    "subscriptions",
                    "subscriptions",
                    many(
                        record(
                            ("source", "sourceName", _word),
                            ("accountId", "sourceAccountId", _id),
                            ("channel", "channel", _word),
                            ("priority", "priority", _word),
                            ("previousStatus", "previousStatus", _word),
                            ("currentStatus", "currentStatus", _word),
                        )
                    ),
                ),
            ),
        ),
    ),
}
"""Kind -> sections read straight from `data`. Members that need more than one value are added by parts.py."""
