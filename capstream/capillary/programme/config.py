"""The configuration of a loyalty programme, with the defaults of the simulator. Source: capillary.md 9.2."""

from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal
from enum import StrEnum

import msgspec

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json


class Rounding(StrEnum):
    """How points are rounded, always on exact decimals."""

    HALF_UP = "half_up"  #: half away from zero
    HALF_EVEN = "half_even"
    DOWN = "down"  #: towards zero
    UP = "up"  #: away from zero

    @property
    def mode(self) -> str:
        """Return the rounding mode of the decimal module."""
        modes = {"half_up": ROUND_HALF_UP, "half_even": ROUND_HALF_EVEN, "down": ROUND_DOWN, "up": ROUND_UP}
        return modes[self.value]


class DowngradeTo(StrEnum):
    """Where a member who misses the renewal goes."""

    ONE_BELOW = "one_below"
    APPROPRIATE = "appropriate"  #: the highest lower tier whose spend is reached
    LOWEST = "lowest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Org:
    """The tenant."""

    id: int = 700123
    zone: str = "Europe/London"
    cluster_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """The loyalty programme's own facts. `points_to_currency` is the money one point is worth."""

    id: int = 4101
    name: str = "CircleDefaultProgram"
    default: bool = True
    points_to_currency: Decimal = Decimal("0.05")
    decimals: int = 0
    rounding: Rounding = Rounding.HALF_UP


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """One tier. The base tier has neither `spend` nor `renew_spend` and never expires."""

    n: int
    name: str
    multiplier: Decimal = Decimal(1)
    spend: Decimal | None = None  #: of the last 12 months, that lifts a member here
    lifetime_points: int | None = None  #: lift a member here as well
    validity_months: int = 12
    renew_spend: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downgrade:
    """What happens at the end of a tier."""

    to: DowngradeTo = DowngradeTo.ONE_BELOW
    on_return: bool = True
    reminder_days: tuple[int, ...] = (30, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earn:
    """How a bill earns."""

    base_per_unit: Decimal = Decimal(1)
    promised_share: Decimal = Decimal("0.1")
    promised_delay_days: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """How long points live: a fixed number of months."""

    months: int = 12
    end_of_month: bool = True
    reminder_days: tuple[int, ...] = (7, 1)
    extend_if_purchase_above: Decimal = Decimal(100)
    extend_months: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeem:
    """How members pay with points."""

    probability: float = 0.06
    min: int = 100
    multiple: int = 50
    max_share_of_bill: Decimal = Decimal("0.5")
    reversal_probability: float = 0.02  #: ASSUMPTION: of each redemption, undone as a whole within ten days


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A promotion and its conditions, all of which must hold. `multiplier` earns on top of the base."""

    id: int
    name: str
    description: str = ""
    first_purchase: bool = False
    weekdays: tuple[int, ...] = ()  #: 0 is Monday; none means any day
    net_above: Decimal | None = None  #: of the eligible net amount
    bonus: int = 0
    multiplier: Decimal = Decimal(0)
    valid_days: int = 30
    max_earns: int = 1
    starts: str = "2000-01-01"
    ends: str = "2099-12-31"


@dataclass(frozen=True, slots=True, kw_only=True)
class CouponSeries:
    """The vouchers that rewards hand out."""

    series: int = 2483
    value: Decimal = Decimal("3.5")
    valid_days: int = 90
    redeem_probability: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewards:
    """When a reward is given."""

    issue_probability_on_redeem: float = 0.2
    coupon: CouponSeries = CouponSeries()


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """A badge for buying many different articles."""

    id: str = "66a0f3c1e4b0a91d5c7720aa"
    distinct_skus: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """What members do besides buying. ASSUMPTION: merges and deletions, like updates, are per member and month."""

    update_probability_per_month: float = 0.05
    merge_probability: float = 0.0005
    deletion_probability: float = 0.0002
    missing_email: float = 0.15
    missing_mobile: float = 0.05
    id_base: int = 900_000_000
    external_prefix: str = "UK-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shops:
    """The chain. ASSUMPTION: `online_share` of the bills are orders that are shipped and delivered."""

    home: str = "United Kingdom"
    online_share: float = 0.1
    wall_clock_share: float = 0.0  #: of the stores whose bill times are wall clock read in the cluster's zone


_TIERS = (
    Tier(n=1, name="Blue"),
    Tier(n=2, name="Silver", multiplier=Decimal("1.25"), spend=Decimal(500), renew_spend=Decimal(400)),
    Tier(n=3, name="Gold", multiplier=Decimal("1.5"), spend=Decimal(2000), renew_spend=Decimal(1600)),
    Tier(n=4, name="Platinum", multiplier=Decimal(2), spend=Decimal(6000), renew_spend=Decimal(5000)),
)
_PROMOTIONS = (
    Promotion(
        id=200517,
        name="Autumn welcome bonus",
        description="50 bonus points on the first purchase",
        first_purchase=True,
        bonus=50,
        valid_days=44,
    ),
    Promotion(
        id=200518,
        name="Double weekend",
        description="Points twice on weekend purchases above 60",
        weekdays=(5, 6),
        net_above=Decimal(60),
        multiplier=Decimal(1),
        max_earns=3,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """Everything the engine follows."""

    org: Org = Org()
    program: Program = Program()
    tiers: tuple[Tier, ...] = _TIERS
    downgrade: Downgrade = Downgrade()
    earn: Earn = Earn()
    expiry: Expiry = Expiry()
    redeem: Redeem = Redeem()
    promotions: tuple[Promotion, ...] = _PROMOTIONS
    rewards: Rewards = Rewards()
    badges: tuple[Badge, ...] = (Badge(),)
    customers: Customers = Customers()
    shops: Shops = Shops()

    def __post_init__(self) -> None:
        """Refuse what the engine could not follow."""
        if [tier.n for tier in self.tiers] != list(range(1, len(self.tiers) + 1)) or not self.tiers:
            raise InputError("tiers", "their numbers are not 1, 2, 3 …", "number them from the base tier up")
        if not 0 <= self.program.decimals <= 3:
            raise InputError("program.decimals", f"{self.program.decimals} is outside 0..3", "points have at most 3 decimals")
        if self.program.points_to_currency <= 0:
            raise InputError("program.points_to_currency", "a point is worth nothing", "give it a value above 0")
        if self.earn.promised_delay_days < 1:
            raise InputError("earn.promised_delay_days", "the job of that day is over", "give it at least 1")

    def tier(self, n: int) -> Tier:
        """Return the tier of that number."""
        return self.tiers[n - 1]


def programme_of(document: Json) -> Programme:
    """Return the programme a decoded TOML or JSON document describes; what it leaves out has its default.

    Errors: InputError naming the field.
    """
    try:
        return msgspec.convert(document, Programme)
    except msgspec.ValidationError as error:
        raise InputError("programme", str(error), "see the defaults in capstream.capillary.programme.config") from error
