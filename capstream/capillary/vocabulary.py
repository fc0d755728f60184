"""The names Capillary uses: event kinds with their aliases, and the member names the normaliser recognises in any case.

Source: capillary.md 1.4 (aliases, stray blanks), 2 (shared objects), 3 and 4 (members per kind).
"""

from typing import Final

_MAPPED: Final = """
    customerAdded customerUpdated transactionAdded transactionUpdated pointsIssued pointsRedeemed pointsExpired
    pointsExpiryReminder pointsExpiryChange tierUpgraded tierDowngraded tierRenewed tierDowngradeReminder
    promotionEarned rewardIssued updateRewardTransaction CouponIssue CouponRedeem badgeEarned issuedPointsReversed
    redeemedPointsReversed promisedToCurrentPointsConversion manualPointsAdjustment singlePointsExpiryUpdated
    pointsTransferredInitiated pointsTransferredReceived loyaltyCustomerMerge promotionIssued retroBillAdded
    notInterestedBillAdded customerSubscription
"""
_UNMAPPED: Final = """
    alternateCurrenciesIssued issuedAlternateCurrenciesReversed promisedToCurrentAlternateCurrencyConversion
    cardUpdated cartPromotionIssued cartPromotionRedeemed cartPromotionRevoked cartPromotionEarned promotionCreated
    promotionUpdated revokeIssuedPromotion revokeEarnedPromotion rewardCreated rewardUpdated rewardExpiryReminder
    issueRewardFailure groupCreated groupUpdated groupMemberAdded groupMemberRemoved pointsContributionToGroup
    partnerProgramLinked partnerProgramUpdated partnerProgramDelinked supplementaryMembershipExpiryReminder
    targetValueAchieved targetAchievedValueUpdated targetValueUpdated targetPeriodStarted targetPeriodCompleted
    targetCustomerEnrolment unifiedTargetsAchieved unifiedTargetsUnAchieved streakLevelAchieved streakLevelUnAchieved
    streakCustomerEnrolment streakCustomerUnEnrolment streakStart streakEnd transactionRejected
    rejectedTransactionRetrigger requestUpdated requestWorkflowEvent
"""

MAPPED: Final[frozenset[str]] = frozenset(_MAPPED.split())
"""Kinds that have a translation."""

OF_ONE_MEMBER: Final[frozenset[str]] = frozenset(_MAPPED.split()[:14])
"""The kinds of Adobe's source: each is about the one member in `customerIdentifiers`. Source: capillary.md 3."""

UNMAPPED: Final[frozenset[str]] = frozenset(_UNMAPPED.split())
"""Kinds Capillary documents that are journalled and go no further (class UNMAPPED_EVENT)."""

# `IssueBulkCoupon` is listed twice in the contract, as an alias and as a kind without a mapping.
# Names are resolved first, so it is an alias.
_ALIASES: Final = {
    "pointstransferinitiated": "pointsTransferredInitiated",
    "pointstransferreceived": "pointsTransferredReceived",
    "issuebulkcoupon": "CouponIssue",
}
_CANONICAL: Final = {name.lower(): name for name in MAPPED | UNMAPPED} | _ALIASES


def canonical_name(name: str) -> str:
    """Return the canonical spelling of an event name; a name nobody documented comes back trimmed."""
    if name in MAPPED:
        return name
    compact = "".join(name.split())
    return _CANONICAL.get(compact.lower(), name.strip())


_MEMBERS: Final = """
    eventName eventId eventLogId eventType orgId refId apiRequestId loyaltyEventId createdAt data traceAttributes body
    attributes consumerGroupId actionType timeStamp errors warnings

    customerIdentifiers customerId firstName lastName loyaltyType instore id mobile email externalId cardnumber
    card_number cardexternalid cardNumbers ecommerce facebook wechat tmall toabao taobao web_engage line martjack jd
    website mobile_app accounts accountId identifiers identifierType identifierValue enteredBy addedBy enteredAt user
    username till code name store externalId1 externalId2 triggeringActivity key value requestId entityInformation
    entityType entityId additionalAttributes loyaltyProgramDetails loyaltyProgramId isDefault pointsToCurrencyRatio
    tiers tierNumber tierName customFields extendedFields updatedFields fieldName previousValue currentValue source
    fieldType customerStatus previousStatus previousLabel currentStatus currentLabel reason

    transactionId billNumber billClientId amount grossAmount discount currencyCode billDate billType deliveryStatus
    outlierStatus lineItemCount

    totalPointsIssued regularPointsIssued regularPointsBreakup points expiryAt promotionalPointsIssued promotionName
    promotionIdentifier promotionType promotionPoints promotionPointsExpiryDate promisedPointsIssued promisedPoints
    isExternalTriggerBased promisedPointsConversionDate programCurrentPoints programLifetimePoints
    AvailablePointsBalance behavioralEventAttributes totalPointsRedeemed redemptionSummaryId
    redeemedPointsCurrencyValue redemptionNotes redemptionBillNumber isGroupRedemption redemptionFromEarningPrograms
    programId pointsRedeemed pointsExpired pointsScheduledForExpiry scheduledExpiryDate updatedPointsExpiryBreakup
    pointAwardedRefID pointsAwardedRefType promotionId pointsPreviousExpiryDate expiryUpdateReasonType
    expiryUpdateReasonNote newExpiryDate newExpirySetType previousTierNumber upgradedTierNumber tierExpiryDate notes
    upgradeType downgradedTierNumber currentTierNumber renewType scheduledDowngradeDate

    promotionDescription promotionStartDate promotionEndDate promotionEarnedDate promotionEarnedExpiryDate
    pointsOfferType promotionEarnSource earnCriteria issualId earnedId earnRestrictions limitOn kpi maxLimit
    redemptionRestrictions restrictionType periodType periodUnit restrictionRefreshDate
    linkedTargetGroupVsTargetRuleIdMap promotionIssuedDate promotionIssuedExpiryDate issueRestrictions

    rewardId type redemptionType startDate endDate issueDateTime eventDateTime intouchPoints intouchSeriesId priority
    tier group label intouchRewardDetails intouchCouponCode codeExpiry vendorRewardDetails vendorVoucher
    transactionUpdates fulfillmentStatus transactionCustomFields addedAt coupons coupon valid_till issued_on
    series_info description seriesType clientHandlingType discount_code discount_type discount_value issualType
    redemptionId redemptionDate transaction bill_id number badgeId issuedOn earnId earnedOn earnConstraints
    constraintLevel constraintType rollType rollValue maxEarnLimit currentEarnCount

    totalIssuedPointsReversed regularPointsReversed promisedPointsReversed promotionalPointsReversed
    currentEventPromisedPointsReturned currentEventRegularPointsReturned currentEventTotalPointsReturned
    currentEventPromotionPointsReturnedDetails redeemedPointsReversed redeemedPointsReversedDetails available expired
    redemptionReversalToEarningPrograms pointsConverted pointsConvertedType pointsConversionSource
    earningActivityReference pointsConvertedBreakup totalPoinstDeducted programPointsSplit pointsAwardedId pointsType
    updatedPointsExpiry oldExpiryDate totalPointsTransferred transferReceivingCustomerIdentifiers
    transferReceivingEntityInformation transferInitiatingCustomerIdentifiers transferInitiatingEntityInformation
    survivorCustomerIdentifiers victimCustomerIdentifiers survivorCustomerLoyaltySummary lifetimePoints currentPoints
    subscriptions sourceName sourceAccountId channel ouId ouCode

    history
"""

MEMBERS: Final[frozenset[str]] = frozenset(_MEMBERS.split())
"""Member names in canonical spelling."""

MEMBER_OF: Final[dict[str, str]] = {name.lower(): name for name in MEMBERS}
"""Lower-case member name -> canonical spelling."""

OPAQUE: Final[frozenset[str]] = frozenset(
    {"traceAttributes", "transactionCustomFields", "linkedTargetGroupVsTargetRuleIdMap", "history"}
)
"""Members whose own keys belong to the brand, to tracing or to an import (`capillary.history`): kept as they are."""
