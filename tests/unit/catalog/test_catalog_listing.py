from typing import Any

import pytest
from control_plane import ORG, ControlPlane
from hypothesis import given
from hypothesis import strategies as st

from capstream.aep.catalog.batches import BatchRecord, BatchStatus
from capstream.aep.catalog.listing import Kind, page
from capstream.aep.catalog.patching import Refused

KIND = Kind(frozenset({"name", "state", "flag", "created"}), {"createdAfter": "created", "createdBefore": "created"}, {})
OBJECTS: dict[str, dict[str, Any]] = {
    "1": {"name": "alpha", "created": 100, "flag": True, "tags": {"acp": ["enabled:true"]}, "ref": {"id": "https://a/x"}},
    "2": {"name": "Beta", "created": 300, "flag": False, "tags": {"acp": ["enabled:false"], "flow": ["f1"]}},
    "3": {"name": "gamma", "created": 200, "state": "DRAFT", "list": [{"id": "a"}, {"id": "b"}], "a*b": 1},
}

FILTERS = [
    ("", "123"),
    ("name=alpha", "1"),
    ("name=ALPHA,gamma", "13"),
    ("name=!alpha,beta", "3"),
    ("flag=True", "1"),
    ("created=100", "1"),
    ("property=state", "3"),
    ("property=!state", "12"),
    ("property=name~^[ag]", "13"),
    ("property=na*~a$", "123"),
    ("property=name==alpha", "1"),
    ("property=name!=alpha", "23"),
    ("property=created>=200", "23"),
    ("property=created<200", "1"),
    ("property=created>100&property=created<300", "3"),
    ("property=ref.id==https://a/x", "1"),
    ("property=list.id==b", "3"),
    ("property=a**b==1", "3"),
    ('property=name=="alpha"', "1"),
    ("property=flag==true", "1"),
    ("property=none==x", ""),
    ("tags=acp:enabled:true", "1"),
    ("tags=acp:enabled*", "12"),
    ("tags=acp:*,flow:f1", "2"),
    ("createdAfter=100", "23"),
    ("createdBefore=300&createdAfter=100", "3"),
    ("unknown=1&connectorId=x", "123"),
]


def query(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (part.partition("=") for part in text.split("&") if part)]


@pytest.mark.parametrize(("text", "wanted"), FILTERS)
def test_filters(text: str, wanted: str) -> None:
    assert "".join(page(OBJECTS, query(text), KIND)) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("orderBy=created", "132"),
        ("orderBy=desc:created", "231"),
        ("sort=asc:name", "213"),
        ("orderBy=state,desc:created", "321"),
        ("orderBy=desc:state,name", "321"),
        ("orderBy=created&limit=1&start=1", "3"),
        ("start=3", ""),
        ("limit=100&start=101", ""),
    ],
)
def test_order_and_pages(text: str, wanted: str) -> None:
    assert "".join(page(OBJECTS, query(text), KIND)) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=x",
        "start=-1",
        "start=x",
        "createdAfter=yesterday",
        "tags=acp",
        "orderBy=down:name",
        "property=name~(",
    ],
)
def test_what_cannot_be_answered_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        page(OBJECTS, query(text), KIND)


def test_a_regular_expression_that_never_ends_is_refused() -> None:
    with pytest.raises(Refused, match="too long"):
        page({"1": {"name": "a" * 5000 + "!"}}, [("property", "name~^(a+)+$|(?:a|a)*b(?:a|a)*$")], KIND)


def test_projection_leaves_out_what_is_missing() -> None:
    assert page(OBJECTS, query("properties=name, state"), KIND) == {
        "1": {"name": "alpha"},
        "2": {"name": "Beta"},
        "3": {"name": "gamma", "state": "DRAFT"},
    }
    assert page(OBJECTS, query("properties=none"), KIND) == {"1": {}, "2": {}, "3": {}}


def test_observable_schemas_come_twenty_at_a_time() -> None:
    many = {f"{number:03}": {"name": "x", "observableSchema": {}} for number in range(50)}
    assert len(page(many, query("limit=50&properties=observableSchema"), KIND)) == 20
    assert len(page(many, query("limit=50&properties=name"), KIND)) == 50


@given(st.integers(1, 100), st.integers(0, 150))
def test_pages_put_together_are_the_list(limit: int, count: int) -> None:
    many = {f"{number:04}": {"name": str(number)} for number in range(count)}
    got: dict[str, Any] = {}
    for start in range(0, count + 1, limit):
        got |= page(many, [("limit", str(limit)), ("start", str(start))], KIND)
    assert got == many


class TestBatches:
    @pytest.fixture
    def filled(self, plane: ControlPlane) -> ControlPlane:
        rows = [
            ("B1", "d1", BatchStatus.SUCCESS, 10),
            ("B2", "d1", BatchStatus.FAILED, 20),
            ("B3", "d2", BatchStatus.PROCESSING, 30),
        ]
        plane.add_batches(
            *(
                BatchRecord(batch_id, plane.prod.id, ORG, dataset_id, f"flow-{dataset_id}", status, created_ms, created_ms + 1)
                for batch_id, dataset_id, status, created_ms in rows
            )
        )
        return plane

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            ("", ["B1", "B2", "B3"]),
            ("?status=failure", ["B2"]),
            ("?status=failed,success", ["B1", "B2"]),
            ("?status=!failed", ["B1", "B3"]),
            ("?dataSet=d1", ["B1", "B2"]),
            ("?batch=B3", ["B3"]),
            ("?createdAfter=10&createdBefore=30", ["B2"]),
            ("?tags=flowId:flow-d2", ["B3"]),
            ("?orderBy=desc:created&limit=1", ["B3"]),
            ("?limit=2&start=2", ["B3"]),
        ],
    )
    def test_lists(self, filled: ControlPlane, query: str, wanted: list[str]) -> None:
        assert list(filled.call("GET", f"/data/foundation/catalog/batches{query}").json()) == wanted

    def test_one(self, filled: ControlPlane) -> None:
        answer = filled.call("GET", "/data/foundation/catalog/batches/B1?aggregate=true&properties=status")
        assert answer.json() == {"B1": {"status": "success"}}
        assert filled.call("GET", "/data/foundation/catalog/batches/none").json()["status"] == 404

    def test_distinct_values(self, filled: ControlPlane) -> None:
        answer = filled.call("GET", "/data/foundation/catalog/batches/uniques/status")
        assert answer.json() == ["failed", "processing", "success"]

    def test_the_last_ones_of_each_dataset(self, filled: ControlPlane) -> None:
        path = "/data/foundation/catalog/lastBatches"
        last = filled.call("GET", path).json()
        assert (
            last["d1"].items()
            >= {
                "lastBatchId": "B2",
                "lastBatchStatus": "failed",
                "lastSuccessfulBatchId": "B1",
                "lastFailedBatchId": "B2",
            }.items()
        )
        assert last["d2"]["lastBatchStatus"] == "processing"
        assert "lastSuccessfulBatchId" not in last["d2"]
        assert list(filled.call("GET", f"{path}?dataSetId=d2,d3").json()) == ["d2"]

    def test_values_of_a_tag_whose_name_has_slashes(self, filled: ControlPlane) -> None:
        body = {"name": "T", "schemaRef": {"id": "https://ns.adobe.com/xdm/context/profile"}}
        filled.call("POST", "/data/foundation/catalog/dataSets", json=body)
        tables = filled.call("GET", "/data/foundation/catalog/tags/adobe/pqs/table")
        assert tables.json() == {"adobe/pqs/table": ["t"]}
        flows = filled.call("GET", "/data/foundation/catalog/tags/flowId")
        assert flows.json() == {"flowId": ["flow-d1", "flow-d2"]}
        assert filled.call("GET", "/data/foundation/catalog/tags/none").status_code == 404
