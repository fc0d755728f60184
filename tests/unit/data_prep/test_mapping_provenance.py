"""Where mapped values came from, and that a traced record is the mapped record."""

from typing import Any

import pytest
from mapping_world import mapping_cases, rows, schema

from capstream.aep.data_prep.compiler import compile_set
from capstream.aep.data_prep.provenance import Trace, Tracer
from capstream.aep.data_prep.resolving import Surroundings
from capstream.aep.data_prep.rows import rows_of
from capstream.kernel.ids import new_uuid
from capstream.lang.hierarchy_functions import Budget
from capstream.lang.nodes import Index, Name
from capstream.lang.paths import path_text

RECORD: Any = {
    "address": {"line1": "a", "more": {"q": [1, 2]}},
    "items": [{}, {"sku": "b", "n": "m"}, {"n": "z"}],
    "list": ["u", "v"],
    "codes": "p,q",
    "flat.key": 5,
    "store": 7,
}


def traced(*listed: tuple[str, str, str], record: Any = RECORD, target: Any = None) -> Trace:
    return Tracer(rows(*listed), schema(target)).trace(Surroundings(record, 0, Budget(), new_uuid))


def origins(trace: Trace) -> dict[str, Any]:
    return {field.path: (field.row, [one.path for one in field.inputs]) for field in trace.fields}


def test_a_copied_object_and_the_row_that_overrides_it() -> None:
    trace = traced(("A", "address", "addr"), ("A", "store", "addr.line1"))
    assert origins(trace) == {
        "addr.line1": (2, ["store"]),
        "addr.more.q[0]": (1, ["address.more.q[0]"]),
        "addr.more.q[1]": (1, ["address.more.q[1]"]),
    }
    assert trace.record["addr"]["line1"] == 7


def test_elements_keep_their_source_position_though_gaps_are_removed() -> None:
    trace = traced(("A", "items[*].sku", "p[*].SKU"), ("E", "upper(items[*].n)", "p[*].name"), ("S", "x", "p[*].c"))
    assert origins(trace) == {
        "p[0].SKU": (1, ["items[1].sku"]),
        "p[0].name": (2, ["items[1].n"]),
        "p[0].c": (3, []),
        "p[1].name": (2, ["items[2].n"]),
        "p[1].c": (3, []),
    }


def test_arrays_laid_out_gathered_and_bound() -> None:
    trace = traced(("A", "list", "m[*].s"), ("A", "items[*].n", "all"), ("A", "list[*]", "one[1]"), ("A", "flat.key", "f"))
    assert origins(trace) == {
        "m[0].s": (1, ["list[0]"]),
        "m[1].s": (1, ["list[1]"]),
        "all[0]": (2, ["items[*].n"]),
        "all[1]": (2, ["items[*].n"]),
        "one[0]": (3, ["list[1]"]),
        "f": (4, ["flat.key"]),
    }


def test_what_expressions_read() -> None:
    trace = traced(("E", "concat(store, '-', address.line1)", "a"), ("E", "explode(codes)", "x[*].s"), ("E", "now()", "t"))
    assert [one.to_json() for one in trace.fields[0].inputs] == [
        {"path": "store", "value": 7},
        {"path": "address.line1", "value": "a"},
    ]
    assert origins(trace)["x[1].s"] == (2, ["codes"])
    assert origins(trace)["t"] == (3, [])


def test_a_single_value_wrapped_into_an_array() -> None:
    trace = traced(
        ("A", "store", "l"), target={"type": "object", "properties": {"l": {"type": "array", "items": {"type": "string"}}}}
    )
    assert origins(trace) == {"l[0]": (1, ["store"])}
    assert (trace.fields[0].value, trace.fields[0].inputs[0].value) == ("7", 7)


def test_rows_that_failed_and_rows_that_gave_nothing() -> None:
    trace = traced(("A", "nowhere", "a"), ("E", "to_integer(codes)", "b"), ("A", "store", "c"))
    assert [row.destination for row in trace.silent] == ["a"]
    assert [problem.destination for problem in trace.problems] == ["b"]


def leaves(value: Any, steps: tuple[Any, ...] = ()) -> list[tuple[str, Any]]:
    if not value or not isinstance(value, dict | list):
        return [(path_text(steps), value)]
    members = value.items() if isinstance(value, dict) else enumerate(value)
    return [leaf for key, one in members for leaf in leaves(one, (*steps, Name(key) if isinstance(key, str) else Index(key)))]


@pytest.mark.parametrize("case", mapping_cases(), ids=lambda case: case["id"])
def test_the_trace_holds_every_value_of_the_mapped_record(case: dict[str, Any]) -> None:
    allowed = case.get("allowNullValues", False)
    mapped, _ = compile_set(rows_of(case), schema(case["schema"]), allow_null_values=allowed)(case["input"])
    tracer = Tracer(rows_of(case), schema(case["schema"]), allow_null_values=allowed)
    trace = tracer.trace(Surroundings(case["input"], 0, Budget(), new_uuid))
    found = [(field.path, field.value) for field in trace.fields]
    assert sorted(found, key=str) == sorted(leaves(mapped) if mapped else [], key=str)
    assert trace.record == mapped
