"""How fast mapping sets run: parse, map and serialise one record after another, on one core.

Prints records per second of processor time for a 20-row transaction with 4 line items, the way the pipeline takes (decoded into
what the set reads) and through plain JSON, its stages, the same set written by hand and as closures, and the curves over the
number of line items and of fields.
"""

import gc
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench.mapping_rivals import by_hand, closures
from capstream.aep.data_prep.compiler import Program, compile_set
from capstream.aep.data_prep.rows import Row, SourceType
from capstream.aep.pipeline.reading import reader
from capstream.kernel.json import Json, dumps, loads
from capstream.xdm.schema import Field, Schema

WHOLE = "parse+map+serialise"
LINE_COUNTS = (1, 4, 16, 64, 250, 1000)
FIELD_COUNTS = (10, 40, 160, 640)
_A, _S, _E = SourceType.ATTRIBUTE, SourceType.STATIC, SourceType.EXPRESSION

ROWS = [
    Row(_A, "_id", "_id"),
    Row(_A, "timestamp", "timestamp"),
    Row(_S, "commerce.purchases", "eventType"),
    Row(_A, "commerce.commerceScope.storeCode", "commerce.commerceScope.storeCode"),
    Row(_A, "commerce.order.priceTotal", "commerce.order.priceTotal"),
    Row(_A, "_id", "commerce.order.purchaseID"),
    Row(_E, "1", "commerce.purchases.value"),
    Row(_A, "identityMap.email.id", "identityMap.email[0].id"),
    Row(_A, "identityMap.email.authenticatedState", "identityMap.email[0].authenticatedState"),
    Row(_A, "identityMap.email.primary", "identityMap.email[0].primary"),
    Row(_A, "productLineItems[*].SKU", "productListItems[*].SKU"),
    Row(_A, "productLineItems[*].name", "productListItems[*].name"),
    Row(_A, "productLineItems[*].quantity", "productListItems[*].quantity"),
    Row(_A, "productLineItems[*].priceTotal", "productListItems[*].priceTotal"),
    Row(_A, "productLineItems[*].discountAmount", "productListItems[*].discountAmount"),
    Row(_S, "INR", "productListItems[*].currencyCode"),
    Row(_E, "upper(productLineItems[*].SKU)", "productListItems[*]._demo.code"),
    Row(_E, "size_of(productLineItems)", "_demo.itemCount"),
    Row(_E, "sha256(lower(trim(identityMap.email[0].id)))", "_demo.emailHash"),
    Row(_E, 'iif(commerce.order.priceTotal > 100, "large", "small")', "_demo.basket"),
]


def _object(**children: Field) -> Field:
    return Field(kind="object", children=children)


def _schema() -> Schema:
    string, number, moment = Field(kind="string"), Field(kind="number"), Field(kind="date-time")
    item = _object(
        SKU=string, name=string, quantity=Field(kind="long"), priceTotal=number, discountAmount=number,
        currencyCode=string, _demo=_object(code=string),
    )  # fmt: skip
    identity = _object(id=string, authenticatedState=string, primary=Field(kind="boolean"))
    root = _object(
        _id=string,
        timestamp=moment,
        eventType=string,
        commerce=_object(
            commerceScope=_object(storeCode=string),
            order=_object(priceTotal=number, purchaseID=string),
            purchases=_object(value=number),
        ),
        identityMap=Field(kind="map", values=Field(kind="array", items=identity)),
        productListItems=Field(kind="array", items=item),
        _demo=_object(itemCount=Field(kind="long"), emailHash=string, basket=string),
    )
    return Schema(id="bench", title="bench", behaviour="time-series", class_id="bench", root=root)


def record(lines: int) -> dict[str, Any]:
    """Return a transaction with that many line items."""
    items = [
        {"SKU": f"sku_{at:04d}", "quantity": at % 9 + 1, "priceTotal": at * 1.5 + 4, "name": f"Item {at}", "discountAmount": 0.5}
        for at in range(lines)
    ]
    return {
        "_id": "T0002",
        "timestamp": "2025-07-14T12:05:00Z",
        "identityMap": {"email": [{"authenticatedState": "ambiguous", "id": "member-0001@example.com", "primary": True}]},
        "commerce": {"commerceScope": {"storeCode": "HSR"}, "order": {"priceTotal": 214.5}},
        "productLineItems": items,
    }


def _rates(works: dict[str, Callable[[], object]], *, slices: int = 150, slice_seconds: float = 0.002) -> dict[str, float]:
    """Return calls per second of processor time, the best of many short slices taken in turns.

    Other work on the machine shares its caches and its core: only the least disturbed slices say what the code itself costs.
    """
    counts = {}
    for name, work in works.items():
        work()
        start = time.process_time()
        for _ in range(20):
            work()
        counts[name] = max(1, int(slice_seconds * 20 / max(time.process_time() - start, 1e-9)))
    best = dict.fromkeys(works, 0.0)
    for _ in range(slices):
        for name, work in works.items():
            turns = range(counts[name])
            start = time.process_time()
            for _ in turns:
                work()
            best[name] = max(best[name], len(turns) / (time.process_time() - start))
    return best


def measure() -> dict[str, float]:
    """Return records per second by stage, by rival and by number of line items; `compile_ms` is milliseconds."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as every process does
    start = time.perf_counter()
    program = compile_set(ROWS, _schema())
    result = {"compile_ms": (time.perf_counter() - start) * 1000}
    body = dumps(record(4))
    parsed = loads(body)
    run, hand, closed = program.run, by_hand(program.general), closures(program.general)
    mapped = run(parsed)
    if mapped[1] or not program.source or not mapped == hand(parsed) == closed(parsed):
        raise RuntimeError(f"the benchmark's mapping sets do not run as they should: {mapped[1]}")
    typed = program.typed()
    assert typed is not None
    record_of, decoded = msgspec.json.Decoder(typed.record).decode, msgspec.json.decode(body, type=typed.record)
    works: dict[str, Callable[[], object]] = {
        WHOLE: _whole(program, body, mapped[0]),
        "parse": lambda: record_of(body),
        "map": lambda: typed.run(decoded),
        "serialise": lambda: dumps(mapped[0]),
        f"{WHOLE}, plain JSON": lambda: dumps(run(loads(body))[0]),
        "parse, plain JSON": lambda: loads(body),
        "map, plain JSON": lambda: run(parsed),
        f"{WHOLE}, written by hand": lambda: dumps(hand(loads(body))[0]),
        "map, written by hand": lambda: hand(parsed),
        f"{WHOLE}, closures": lambda: dumps(closed(loads(body))[0]),
        "map, general engine": lambda: program.general(parsed),
    }
    for lines in LINE_COUNTS:
        wide = record(lines)
        works[f"{WHOLE}, {lines} line items"] = _whole(program, dumps(wide), run(wide)[0])
    for count in FIELD_COUNTS:
        flat = {f"field{at}": f"value {at}" for at in range(count)}
        works[f"{WHOLE}, {count} fields"] = _whole(_copying(count), dumps(flat), {"copied": flat})
    return result | _rates(works)


def _whole(program: Program, body: bytes, expected: Json) -> Callable[[], object]:
    """Return the way of a message through the pipeline, as far as mapping goes."""
    typed = program.typed()
    assert typed is not None
    mapped = reader(typed, "B").mapped
    assert mapped(body) == (expected, [])
    return lambda: dumps(mapped(body)[0])  # type: ignore[index]


def _copying(count: int) -> Program:
    """Return the program of a set that copies so many fields, each by a row of its own."""
    rows = [Row(_A, f"field{at}", f"copied.field{at}") for at in range(count)]
    children = {f"field{at}": Field(kind="string") for at in range(count)}
    root = _object(copied=_object(**children))
    return compile_set(rows, Schema(id="wide", title="wide", behaviour="record", class_id="wide", root=root))


def main() -> None:
    """Print the measurements."""
    figures = measure()
    for name, value in figures.items():
        micros = "" if name.endswith("ms") else f"{1e6 / value:12.2f} us"
        print(f"{name:42s} {value:14,.1f} {micros}")
    print(f"of the speed of the function written by hand: {figures[WHOLE] / figures[f'{WHOLE}, written by hand']:.0%}")


if __name__ == "__main__":
    main()
