"""An endless stream of made-up retail bills, from a seed. Source: capillary.md 9.1."""

from bisect import bisect
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import accumulate
from math import exp, log, pi, sin

from capstream.capillary.programme.chance import Draws, draws
from capstream.capillary.retail import Bill, BillLine, local_midnight

_OPENS_MS, _OPEN_MS = 9 * 3_600_000, 12 * 3_600_000
_WEEK = (0.8, 0.85, 0.9, 1.0, 1.2, 1.5, 0.75)
_WARES = ("lantern", "heart holder", "tea towel", "storage tin", "cake stand", "night light", "jam jar", "paper chain")
_COLOURS = ("white", "red", "cream", "blue", "green", "pink", "vintage", "wooden")
_COUNTRIES = ("United Kingdom",) * 17 + ("EIRE", "Germany", "France")


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticShop:
    """What the made-up bills look like; `bills_per_day` is the mean of the year."""

    start_ms: int
    end_ms: int | None = None  #: None: for ever
    customers: int = 1_000
    bills_per_day: float = 60.0
    zipf: float = 1.1  #: exponent of the customers' shares
    mean_lines: float = 4.0  #: log-normal
    mean_amount: float = 35.0  #: log-normal
    skus: int = 400
    anonymous_share: float = 0.04
    return_share: float = 0.03
    zone: tzinfo = UTC
    currency: str = "GBP"


def synthetic_bills(shop: SyntheticShop, *, seed: int) -> Iterator[Bill]:
    """Return bills in the order of their till times: opening hours 09 to 21, busier on weekends and towards the year's end."""
    chance = draws(seed, "shop")
    shares = list(accumulate(1 / rank**shop.zipf for rank in range(1, shop.customers + 1)))
    recent: deque[Bill] = deque(maxlen=200)
    day = datetime.fromtimestamp(shop.start_ms / 1000, shop.zone).date()
    number = row = 0
    while True:
        opens = local_midnight(day, shop.zone) + _OPENS_MS
        mean = shop.bills_per_day * _WEEK[day.weekday()] * _season(day.timetuple().tm_yday)
        for till_ms in sorted(opens + int(chance.random() * _OPEN_MS) // 1000 * 1000 for _ in range(_poisson(chance, mean))):
            if till_ms < shop.start_ms:
                continue
            if shop.end_ms is not None and till_ms >= shop.end_ms:
                return
            number += 1
            if recent and chance.random() < shop.return_share:
                bill = _returned(recent[chance.randrange(len(recent))], number, till_ms, row, chance)
            else:
                customer = bisect(shares, chance.random() * shares[-1]) + 1
                anonymous = chance.random() < shop.anonymous_share
                bill = _sold(shop, number, till_ms, row, "" if anonymous else str(customer), chance)
                recent.append(bill)
            row += len(bill.lines)
            yield bill
        day += timedelta(days=1)


def _season(day_of_year: int) -> float:
    """Return the yearly factor: a wave with its height in November, mean 1."""
    return 1 + 0.35 * sin(2 * pi * (day_of_year - 228) / 365.25)


def _poisson(chance: Draws, mean: float) -> int:
    """Return a Poisson number; for large means its normal approximation."""
    if mean > 60:
        return max(0, round(chance.gauss(mean, mean**0.5)))
    limit, product, count = exp(-mean), chance.random(), 0
    while product > limit:
        product *= chance.random()
        count += 1
    return count


def _log_normal(chance: Draws, mean: float, sigma: float) -> float:
    return chance.lognormvariate(log(mean) - sigma * sigma / 2, sigma)


def _sold(shop: SyntheticShop, number: int, till_ms: int, row: int, customer_ref: str, chance: Draws) -> Bill:
    invoice_id = f"S{number:07d}"
    count = max(1, round(_log_normal(chance, shop.mean_lines, 0.6)))
    amount = _log_normal(chance, shop.mean_amount, 0.8)
    country = _COUNTRIES[int(customer_ref or 0) % len(_COUNTRIES)]
    lines = []
    for place in range(1, count + 1):
        article = chance.randrange(shop.skus)
        quantity = 1 + int(chance.expovariate(1.2))
        price = Decimal(max(1, round(amount / count / quantity * 100))) / 100
        name = f"{_COLOURS[article // 8 % 8]} {_WARES[article % 8]}"
        lines.append(
            BillLine(
                row + place,
                invoice_id,
                place,
                f"{20_000 + article}",
                name,
                quantity,
                price,
                till_ms,
                customer_ref,
                country,
                shop.currency,
            )
        )
    return Bill(invoice_id, customer_ref, till_ms, False, country, shop.currency, tuple(lines))


def _returned(sold: Bill, number: int, till_ms: int, row: int, chance: Draws) -> Bill:
    """Return the cancellation of a whole bill, or of one of its lines."""
    invoice_id = f"CS{number:07d}"
    back = sold.lines if chance.random() < 0.4 else (chance.choice(sold.lines),)
    lines = tuple(
        BillLine(
            row + place,
            invoice_id,
            place,
            line.sku,
            line.description,
            -line.quantity,
            line.unit_price,
            till_ms,
            line.customer_ref,
            line.country,
            line.currency,
        )
        for place, line in enumerate(back, 1)
    )
    return Bill(invoice_id, sold.customer_ref, till_ms, True, sold.country, sold.currency, lines)
