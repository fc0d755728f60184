"""Which kinds of event show in a member's profile. Source: capillary.md 7.6."""

from typing import Final

from capstream.capillary.translation_config import TranslationConfig

_ALWAYS: Final = """
    pointsIssued pointsRedeemed pointsExpired pointsExpiryChange tierUpgraded tierDowngraded tierRenewed customerAdded
    customerUpdated CouponIssue CouponRedeem badgeEarned issuedPointsReversed redeemedPointsReversed
    promisedToCurrentPointsConversion manualPointsAdjustment pointsTransferredInitiated pointsTransferredReceived
    loyaltyCustomerMerge
"""
ALWAYS: Final[frozenset[str]] = frozenset(_ALWAYS.split())
"""Kinds that are followed by a profile payload (P)."""

WHEN_CHANGED: Final[frozenset[str]] = frozenset({"pointsExpiryReminder", "rewardIssued"})
"""Kinds that are followed by one only when the snapshot changed ((P))."""

PURCHASES: Final[frozenset[str]] = frozenset({"transactionAdded", "retroBillAdded"})
"""(P) too, but only where the source asks for it; else the amount rides on the next profile payload."""

REMEMBERED: Final[frozenset[str]] = ALWAYS | WHEN_CHANGED | PURCHASES | {"tierDowngradeReminder"}
"""Kinds that become part of a member's state."""


def shows_in_profile(name: str, config: TranslationConfig) -> bool:
    """Say whether a kind can be followed by a profile payload."""
    if name in PURCHASES:
        return config.profile_on_transaction
    return name in ALWAYS or name in WHEN_CHANGED or name == config.expiry_change_source


def is_remembered(name: str, config: TranslationConfig) -> bool:
    """Say whether a kind becomes part of a member's state."""
    return name in REMEMBERED or name == config.expiry_change_source
