"""The simulator on the real retail files, and its bodies against the contract's event shapes."""

import json
import os
from collections import Counter
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.normalise import normalise
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.programs import Programs
from capstream.capillary.records import MemberState
from capstream.capillary.results import Refused
from capstream.capillary.retail import Bill, Reject, RetailFormat, bills_of, read_rows
from capstream.capillary.translate import TranslationConfig, profile_payload, translate
from capstream.kernel.json import Json
from capstream.relay.faults import Faults, Feed

SHARED = Path(os.environ.get("CAPSTREAM_SHARED", Path(__file__).parents[2].parent / "shared"))
FORM = RetailFormat(zone=ZoneInfo("Europe/London"))


def data_file(name: str) -> Path:
    path = SHARED / "data" / name
    if not path.exists():
        pytest.skip(f"{path} is absent: set CAPSTREAM_SHARED to the folder that holds data/{name}")
    return path


def read(path: Path) -> tuple[list[Bill], list[Reject]]:
    with path.open(newline="", encoding="utf-8") as file:
        found = list(bills_of(read_rows(file, FORM)))
    return [one for one in found if isinstance(one, Bill)], [one for one in found if isinstance(one, Reject)]


@pytest.mark.parametrize(
    ("name", "rows", "rejected"),
    [
        ("online_retail_lines.csv", 4792, {"stock_write_off": 462, "accounting_adjustment": 1}),
        ("online_retail_invoices.csv", 18532, {}),
    ],
)
def test_every_row_is_a_bill_line_or_a_reject(name: str, rows: int, rejected: dict[str, int]) -> None:
    bills, rejects = read(data_file(name))
    numbers = sorted([line.row for bill in bills for line in bill.lines] + [reject.row for reject in rejects])
    assert numbers == list(range(1, rows + 1))
    assert Counter(reject.reason.value for reject in rejects) == rejected


@pytest.fixture(scope="module")
def histories() -> dict[str, tuple[Engine, list[SimEvent], int]]:
    """Each file's engine, events and number of bills; the engine checks the ledgers after every step."""
    found: dict[str, tuple[Engine, list[SimEvent], int]] = {}
    for name in ("online_retail_lines.csv", "online_retail_invoices.csv"):
        bills, _ = read(data_file(name))
        engine = Engine(seed=1)
        found[name] = (engine, [event for step in engine.run(bills) for event in step], len(bills))
    return found


@pytest.mark.parametrize("name", ["online_retail_lines.csv", "online_retail_invoices.csv"])
def test_every_bill_is_one_event(histories: dict[str, tuple[Engine, list[SimEvent], int]], name: str) -> None:
    engine, events, bills = histories[name]
    kinds = Counter(event.kind for event in events)
    assert kinds["transactionAdded"] + kinds["notInterestedBillAdded"] == bills == engine.bills_booked
    assert kinds["customerAdded"] == len(list(engine.truth()))
    assert len({event.event_id for event in events}) == len(events)


@pytest.mark.parametrize("name", ["online_retail_lines.csv", "online_retail_invoices.csv"])
def test_the_newest_stated_balance_is_the_ledger(histories: dict[str, tuple[Engine, list[SimEvent], int]], name: str) -> None:
    engine, events, _ = histories[name]
    balances: dict[int, float] = {}
    for event in events:
        data, customer_id = event.body["data"], event.customer_id
        if customer_id is None:
            continue
        for key in ("redemptionFromEarningPrograms", "redemptionReversalToEarningPrograms"):
            data = data[key][0] if key in data else data
        if event.kind == "loyaltyCustomerMerge":
            balances[customer_id] = data["survivorCustomerLoyaltySummary"][0]["currentPoints"]
        elif event.kind == "pointsExpired":
            balances[customer_id] = balances[customer_id] - data["pointsExpired"]
        elif "programCurrentPoints" in data:
            balances[customer_id] = data["programCurrentPoints"]
    rows = [row for row in engine.truth() if "merged_into" not in row]
    assert {row["customerId"]: row["points"] for row in rows if row["customerId"] in balances} == {
        row["customerId"]: balances[row["customerId"]] for row in rows if row["customerId"] in balances
    }
    assert all(row["points"] == 0 for row in rows if row["customerId"] not in balances)


def unknown_fields(told: Json, published: Json, path: str = "") -> list[str]:
    """Return the fields an event has that the published shape of its kind has not."""
    if isinstance(told, dict) and isinstance(published, dict):
        found = []
        for key, value in told.items():
            found += unknown_fields(value, published[key], f"{path}.{key}") if key in published else [f"{path}.{key}"]
        return found
    if isinstance(told, list) and isinstance(published, list) and published:
        return [name for value in told for name in unknown_fields(value, published[0], f"{path}[]")]
    return [] if _kind(told) == _kind(published) else [f"{path}: {_kind(told)} instead of {_kind(published)}"]


def _kind(value: Json) -> str:
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_events_have_the_published_shapes(histories: dict[str, tuple[Engine, list[SimEvent], int]]) -> None:
    folder = SHARED / "contracts" / "capillary-events"
    if not folder.exists():
        pytest.skip(f"{folder} is absent: set CAPSTREAM_SHARED to the folder that holds contracts/capillary-events")
    wrong: set[tuple[str, str]] = set()
    for _, events, _ in histories.values():
        seen: Counter[str] = Counter()
        for event in events:
            seen[event.kind] += 1
            if seen[event.kind] > 50:
                continue
            published = json.loads((folder / f"{event.kind}.json").read_text())
            wrong |= {(event.kind, name) for name in unknown_fields(event.body, published)}
    assert not wrong


SAME = ("points", "lifetimePoints", "pointsRedeemed", "expiredPoints", "returnedPoints", "adjustedPoints", "promisedPoints")


def test_the_relays_profiles_equal_the_ledger_however_events_are_shuffled() -> None:
    bills, _ = read(data_file("online_retail_lines.csv"))
    engine = Engine(seed=1)
    feed = Feed(engine.run(bills), Faults(out_of_order=0.2, duplicates=0.1, missing_event_id=0.0), seed=1)
    states: dict[tuple[str, str], MemberState] = {}
    programs, config, seen = Programs(), TranslationConfig(), set[str | None]()
    while (posting := feed.next()) is not None:
        event = normalise(posting.raw, posting.virtual_ms)
        assert isinstance(event, NormalisedEvent)
        if event.event_id not in seen:
            seen.add(event.event_id)
            assert not isinstance(translate(event, states, programs, config, {}), Refused)
    compared = 0
    for row in engine.truth():
        if "merged_into" in row or "deleted" in row:
            continue
        key = ("700123", str(row["customerId"]))
        loyalty = profile_payload(key, states[key], programs, config).body["loyalty"]
        assert {name: loyalty[name] for name in SAME} == {name: row[name] for name in SAME}
        assert loyalty["tier"] == row["tier"]
        assert loyalty["lifetimePurchases"] == pytest.approx(row["lifetimePurchases"], abs=0.005)
        compared += 1
    assert compared > 800
