"""How fast the simulated loyalty programme makes events: made-up bills, no network, no files."""

import time
from itertools import islice

from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.synthetic import SyntheticShop, synthetic_bills
from capstream.kernel.json import dumps

_BILLS = 8_000
_SHOP = SyntheticShop(start_ms=1_700_000_000_000, customers=2_000, bills_per_day=40)


def measure() -> dict[str, float]:
    """Return events per second of one core: made, and made and serialised."""
    bills = list(islice(synthetic_bills(_SHOP, seed=1), _BILLS))
    begun = time.perf_counter()
    made = sum(len(step) for step in Engine(seed=1).run(bills))
    bare_s = time.perf_counter() - begun
    begun = time.perf_counter()
    size = sum(len(dumps(event.body)) for step in Engine(seed=1).run(bills) for event in step)
    serialised_s = time.perf_counter() - begun
    return {
        "engine_events_per_s": made / bare_s,
        "engine_serialised_events_per_s": made / serialised_s,
        "engine_mean_event_bytes": size / made,
    }
