"""Exact arithmetic: what a bill earns, what may pay for it, which tier it makes. Source: capillary.md 9.3.2."""

from decimal import Decimal

from capstream.capillary.programme import days
from capstream.capillary.programme.config import DowngradeTo, Programme, Promotion, Tier
from capstream.capillary.programme.ledger import Member, Receipt

_ONE = Decimal(1)
_HUNDRED = Decimal(100)


class Arithmetic:
    """Formulas of one programme. Points come and go in the ledger's whole parts."""

    def __init__(self, programme: Programme) -> None:
        self._programme = programme
        self._mode = programme.program.rounding.mode
        self._scale = int(10**programme.program.decimals)
        self._by_value = sorted(programme.tiers, key=lambda tier: -tier.n)

    def parts(self, points: Decimal) -> int:
        """Return points rounded as the programme rounds, in parts."""
        return int((points * self._scale).quantize(_ONE, self._mode))

    def number(self, parts: int) -> float:
        """Return parts as the JSON number of an event."""
        return parts / self._scale

    def eligible(self, receipt: Receipt) -> Decimal:
        """Return the money that earns: eligible lines less their share of the bill discount, less what points paid."""
        lines = sum(line.cents for line in receipt.bill.lines if line.is_points_eligible)
        money = Decimal(lines)
        if receipt.discount_cents and receipt.gross_cents:
            money -= money * receipt.discount_cents / receipt.gross_cents
        money /= _HUNDRED
        if receipt.redemption is not None:
            money -= self.worth(receipt.redemption.points)
        return max(Decimal(0), money)

    def worth(self, parts: int) -> Decimal:
        """Return the money that many points are worth."""
        return Decimal(parts) / self._scale * self._programme.program.points_to_currency

    def redeemable(self, current: int, amount_cents: int) -> int:
        """Return how much may pay for a bill: a multiple, 0 when it is less than the minimum."""
        rule = self._programme.redeem
        cap = rule.max_share_of_bill * amount_cents / _HUNDRED / self._programme.program.points_to_currency
        limit = min(Decimal(current) / self._scale, cap)
        points = int(limit // rule.multiple) * rule.multiple
        return points * self._scale if points >= max(rule.min, 1) else 0

    def base(self, eligible: Decimal, multiplier: Decimal) -> int:
        """Return round(eligible x rate x multiplier)."""
        return self.parts(eligible * self._programme.earn.base_per_unit * multiplier)

    def promised(self, base: int) -> int:
        """Return the share of the base that is held back."""
        return self.parts(Decimal(base) / self._scale * self._programme.earn.promised_share)

    def promotional(self, promotion: Promotion, eligible: Decimal) -> int:
        """Return what a promotion gives on top."""
        return promotion.bonus * self._scale + (self.base(eligible, promotion.multiplier) if promotion.multiplier else 0)

    def earns(self, promotion: Promotion, member: Member, day: int, eligible: Decimal) -> bool:
        """Return whether all conditions of the promotion hold for this bill."""
        return (
            eligible > 0
            and (not promotion.first_purchase or not member.has_bought)
            and (not promotion.weekdays or days.weekday(day) in promotion.weekdays)
            and (promotion.net_above is None or eligible > promotion.net_above)
            and member.promotion_earns.get(promotion.id, 0) < promotion.max_earns
            and promotion.starts <= days.iso(day) <= promotion.ends
        )

    def lot_expiry(self, day: int, months: int | None = None) -> int:
        """Return the expiry day of points of `day`."""
        rule = self._programme.expiry
        later = days.add_months(day, rule.months if months is None else months)
        return days.end_of_month(later) if rule.end_of_month else later

    def extended(self, expiry: int) -> int:
        """Return the later expiry day a big purchase gives."""
        return days.end_of_month(days.add_months(expiry, self._programme.expiry.extend_months))

    def tier_expiry(self, day: int, tier: Tier) -> int | None:
        """Return the last day of a tier reached on `day`; the base tier has none."""
        return None if tier.n == 1 else days.end_of_month(days.add_months(day, tier.validity_months))

    def reached(self, member: Member, spend_cents: int) -> int:
        """Return the highest tier the member's spend or lifetime points reach; never below the present one."""
        lifetime = member.lifetime // self._scale
        for tier in self._by_value:
            if tier.n <= member.tier:
                break
            by_spend = tier.spend is not None and spend_cents >= tier.spend * 100
            if by_spend or (tier.lifetime_points is not None and lifetime >= tier.lifetime_points):
                return tier.n
        return member.tier

    def below(self, tier: int, spend_cents: int) -> int:
        """Return the tier a member falls to."""
        to = self._programme.downgrade.to
        if to is DowngradeTo.LOWEST:
            return 1
        if to is DowngradeTo.ONE_BELOW:
            return max(1, tier - 1)
        fits = [other.n for other in self._programme.tiers if other.n < tier and spend_cents >= (other.spend or 0) * 100]
        return max(fits, default=1)
