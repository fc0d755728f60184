"""Metrics are what the platform counted. Source: monitoring-alerts.md 1, 6."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipeline_world import (
    INLET,
    MEMBER_FLOW,
    MEMBERS,
    ORG,
    PROD,
    PURCHASE_FLOW,
    PURCHASES,
    START_MS,
    World,
    ask,
    body_of,
    member,
    purchase,
)

from capstream.aep.call import Answer, Handler
from capstream.aep.observability_insights import catalogue, series
from capstream.aep.observability_insights.api import handlers
from capstream.aep.observability_insights.calculation import Filter, Question, answer, bucket
from capstream.aep.observability_insights.intervals import BadInterval, interval
from capstream.aep.observability_insights.series import Point
from capstream.aep.streaming_ingestion.model import Counters
from capstream.aep.streaming_ingestion.recording import InletRecorder
from capstream.kernel.json import Json
from capstream.storage.sqlite import SqliteDocuments

ROWS = "timeseries.ingestion.dataset.recordsuccess.count"
DAY = "2024-09-17T00:00:00Z"
Report = Callable[..., Json]


class Books:
    """The inlets' own store, and the API over it and the pipeline's."""

    def __init__(self, world: World, folder: Path) -> None:
        self.counters = Counters()
        self.documents = SqliteDocuments(folder / "metrics.db")
        self.now_ms = START_MS
        self.recorder = InletRecorder(self.documents, self.counters.all, {INLET: PROD.id}.get, lambda: self.now_ms)
        self.handlers: Mapping[str, Handler] = handlers(world.state, self.documents, flush=self.recorder.flush)

    def post(self, *metrics: Json, **body: Json) -> Answer:
        whole = {"start": "2024-09-17T00:00:00Z", "end": "2024-09-19T00:00:00Z", "metrics": list(metrics)} | body
        return ask(self.handlers, "retrieveMetricsV2", body=whole)

    def dps(self, name: str, **more: Json) -> Any:
        (report,) = body_of(self.post({"name": name, **more}))["metricResponses"]
        assert (report["metric"], report["name"]) == (name, name)
        (points,) = report["datapoints"]
        return points["dps"]


@pytest.fixture
def books(world: World, tmp_path: Path) -> Books:
    return Books(world, tmp_path)


def test_records_are_counted_by_dataset_and_by_day(world: World, books: Books) -> None:
    world.accept(MEMBER_FLOW, member(1), member(2), member(3, points="x"))  # type: ignore[arg-type]
    world.accept(PURCHASE_FLOW, purchase(1, "T-1"))
    world.now_ms += 86_400_000
    world.accept(MEMBER_FLOW, member(4))
    world.now_ms += 60_000  # processed later than received: it still belongs to the minute of its reception
    world.drain()
    assert books.dps(ROWS) == {DAY: 3.0, "2024-09-18T00:00:00Z": 1.0}
    filters = [{"name": "dataSetId", "value": f"{MEMBERS}|{PURCHASES}", "groupBy": True}]
    (report,) = body_of(books.post({"name": ROWS, "filters": filters}))["metricResponses"]
    assert {each["groupBy"]["dataSetId"]: each["dps"] for each in report["datapoints"]} == {
        MEMBERS: {DAY: 2.0, "2024-09-18T00:00:00Z": 1.0},
        PURCHASES: {DAY: 1.0},
    }
    assert report["granularity"] == "DAY"
    only = [{"name": "datasetID", "value": PURCHASES}]
    assert books.dps(ROWS, filters=only) == {DAY: 1.0}
    sizes = books.dps("timeseries.ingestion.dataset.dailysize")
    assert books.dps("timeseries.ingestion.dataset.size") == {DAY: sizes[DAY], "2024-09-18T00:00:00Z": sum(sizes.values())}


def test_runs_and_metrics_of_a_day_add_up(world: World, books: Books) -> None:
    """The invariant of monitoring-alerts.md 1, over an hour's and a day's end and with records that fail."""
    for step in range(5):
        world.accept(MEMBER_FLOW, member(step), member(10 + step, points="x"))  # type: ignore[arg-type]
        world.now_ms += 7 * 3_600_000
        if step % 2:
            world.drain()
    world.drain()
    by_day: dict[str, float] = {}
    for run in world.runs.list(PROD.id, MEMBER_FLOW):
        records = run["metrics"]["recordSummary"]
        assert records["inputRecordCount"] == records["outputRecordCount"] + records["failedRecordCount"]
        day = bucket(run["params"]["windowStartTime"] * 1000, "DAY")
        by_day[day] = by_day.get(day, 0) + records["outputRecordCount"]
    assert len(by_day) == 2
    assert books.dps(ROWS, filters=[{"name": "dataSetId", "value": MEMBERS}]) == by_day


def test_what_identity_profile_and_validation_made_of_records(world: World, books: Books) -> None:
    stranger = {"_id": "nobody", "identityMap": {}}
    blank = {"_id": "blank", "identityMap": {"Email": [{"id": " ", "primary": True}]}}
    world.accept(MEMBER_FLOW, member(1), stranger, blank, member(2, points="x"))  # type: ignore[arg-type]
    world.drain()
    world.now_ms += 60_000
    world.drain()  # closes the window
    counted = {
        name: sum(books.dps(name, **more).values())
        for name, more in {
            "timeseries.identity.dataset.recordsuccess.count": {},
            "timeseries.profiles.dataset.recordread.count": {},
            "timeseries.profiles.dataset.recordsuccess.count": {},
            "timeseries.profiles.dataset.batchsuccess.count": {},
            "timeseries.ingestion.dataset.batchsuccess.count": {},
            "timeseries.ingestion.dataset.batchfailed.count": {},
            "timeseries.data.collection.validation.category.type.count": {},
            "timeseries.data.collection.validation.category.presence.count": {},
            "timeseries.identity.graph.imsorg.uniqueidentities.count": {},
        }.items()
    }
    assert list(counted.values()) == [1, 3, 1, 1, 1, 1, 1, 0, 2]
    skipped = books.dps(
        "timeseries.identity.dataset.namespacecode.recordskipped.count",
        filters=[{"name": "dataSetId", "value": MEMBERS}, {"name": "ns", "value": "Email"}],
    )
    assert skipped == {DAY: 1.0}


def test_inlet_counts_outlive_the_process_and_the_minute(books: Books, tmp_path: Path) -> None:
    counts = books.counters.of(INLET)
    counts.received, counts.received_bytes, counts.success, counts.failure = 5, 900, 4, 1
    received = "timeseries.data.collection.inlet.total.messages.received"
    assert books.dps(received) == {DAY: 5.0}  # a report flushes first
    books.counters.of("gone").received = 3  # an inlet that was deleted in between
    counts.received += 2
    books.now_ms += 60_000
    books.recorder.flush()
    books.documents.close()
    books.documents = SqliteDocuments(tmp_path / "metrics.db")
    books.handlers = handlers(books.documents, books.documents, flush=lambda: None)
    assert books.dps(received) == {DAY: 7.0}
    (report,) = body_of(books.post({"name": received}, granularity="minute"))["metricResponses"]
    assert report["datapoints"][0]["dps"] == {"2024-09-17T15:00:00Z": 5.0, "2024-09-17T15:01:00Z": 2.0}
    grouped = [{"name": "inletId", "value": INLET, "groupBy": True}]
    (report,) = body_of(books.post({"name": received, "filters": grouped}))["metricResponses"]
    assert report["datapoints"] == [{"groupBy": {"inletId": INLET}, "dps": {DAY: 7.0}}]


REFUSED = [
    ({"start": "2024-09-19T00:00:00Z", "end": "2024-09-17T00:00:00Z"}, "INSGHT-1000-400", "Start date cannot be after end date"),
    ({"start": None}, "INSGHT-1000-400", "start is missing"),
    ({"end": "tomorrow"}, "INSGHT-1000-400", "end tomorrow"),
    ({"granularity": "CENTURY"}, "INSGHT-1000-400", "granularity CENTURY"),
    ({"metrics": []}, "INSGHT-1001-400", "metrics is empty"),
    ({"metrics": [{"name": "timeseries.none"}]}, "INSGHT-1001-400", "timeseries.none is not a metric"),
    ({"metrics": ["x"]}, "INSGHT-1001-400", "object"),
    ({"metrics": [{"name": ROWS, "aggregator": "median"}]}, "INSGHT-1001-400", "aggregator median"),
    ({"metrics": [{"name": ROWS, "filters": [{"name": "colour", "value": "x"}]}]}, "INSGHT-1001-400", "filter colour"),
    ({"metrics": [{"name": ROWS, "filters": [{"name": "dataSetId"}]}]}, "INSGHT-1001-400", "has no value"),
    ({"metrics": [{"name": ROWS, "filters": [{"name": "dataSetId", "value": {"a": 1}}]}]}, "INSGHT-1001-400", "has no value"),
    ({"metrics": [{"name": ROWS, "filters": [{"name": "inletId", "value": "a"}]}]}, "INSGHT-1001-400", "its filters: dataSetId"),
    ({"metrics": [{"name": ROWS, "filters": [{"name": "ns", "value": "a"}]}]}, "INSGHT-1001-400", "its filters: dataSetId"),
    ({"start": 5}, "INSGHT-1000-400", "start is not a text"),
]


@pytest.mark.parametrize(("changed", "code", "words"), REFUSED, ids=[row[2] for row in REFUSED])
def test_what_a_report_cannot_be_made_of_is_refused(books: Books, changed: dict[str, Json], code: str, words: str) -> None:
    refused = books.post({"name": ROWS}, **changed)
    body = body_of(refused)
    assert (refused.status, body["status"]) == (400, 400)
    assert body["type"].endswith(code)
    assert words in body["title"]
    assert body["report"]["tenantInfo"] == {"sandboxName": "prod", "sandboxId": PROD.id, "imsOrgId": ORG}
    assert body["error-chain"][0]["errorCode"] == code


def test_metrics_of_what_the_platform_does_not_do_are_empty(books: Books) -> None:
    assert books.dps("timeseries.gdpr.jobs.totaljobs.count") == {}


def test_version_1_gives_days_newest_first(world: World, books: Books) -> None:
    world.accept(MEMBER_FLOW, member(1))
    world.now_ms += 86_400_000
    world.accept(MEMBER_FLOW, member(2), member(3))
    world.drain()
    query = [("metric", ROWS), ("metric", "timeseries.ingestion.dataset.batchfailed.count"), ("id", MEMBERS)]
    body = body_of(ask(books.handlers, "retrieveMetricsV1", query=query, now_ms=world.now_ms + 1))
    assert (body["id"], body["imsOrgId"], body["stats"]) == (MEMBERS, ORG, {})
    assert body["timeseries"] == {
        "granularity": "DAY",
        "items": [
            {"timestamp": "2024-09-18T00:00:00Z", "metrics": {ROWS: 2.0}},
            {"timestamp": DAY, "metrics": {ROWS: 1.0}},
        ],
        "_page": None,
        "_links": None,
    }
    narrow = [("metric", ROWS), ("dateRange", "2024-09-17T00:00:00Z/P1D")]
    items = body_of(ask(books.handlers, "retrieveMetricsV1", query=narrow))["timeseries"]["items"]
    assert [each["timestamp"] for each in items] == [DAY]
    for query, code in (
        ([], "INSGHT-1001-400"),
        ([("metric", "x")], "INSGHT-1001-400"),
        ([("metric", ROWS), ("dateRange", "x")], "INSGHT-1000-400"),
    ):
        refused = ask(books.handlers, "retrieveMetricsV1", query=query)
        assert body_of(refused)["errorCode"] == code
        assert body_of(refused)["httpStatus"] == refused.status == 400


@pytest.mark.parametrize(
    ("granularity", "wanted"),
    [("MINUTE", "19T15:07"), ("HOUR", "19T15:00"), ("WEEK", "16T00:00"), ("MONTH", "01T00:00")],
)
def test_buckets(granularity: str, wanted: str) -> None:
    assert bucket(1_726_758_440_123, granularity) == f"2024-09-{wanted}:00Z"


@pytest.mark.parametrize(
    "text", ["", "2024-09-17", "P7D", "2024-09-19T00:00:00Z/2024-09-17T00:00:00Z", "P/2024-09-17", "P99999999999D/2024-09-17"]
)
def test_bad_intervals(text: str) -> None:
    with pytest.raises(BadInterval):
        interval(text)


points = st.lists(
    st.builds(
        Point,
        st.sampled_from(["dataset/a", "dataset/b"]),
        st.integers(0, 5000).map(lambda minute: minute * series.MINUTE_MS),
        st.fixed_dictionaries({catalogue.ROWS: st.integers(0, 1000)}),
    ),
    unique_by=lambda point: (point.subject, point.at_ms),
)


@given(points, st.sampled_from(["MINUTE", "HOUR", "DAY", "WEEK", "MONTH"]))
def test_no_granularity_and_no_grouping_loses_a_record(found: list[Point], granularity: str) -> None:
    whole = catalogue.METRICS[ROWS]
    total = sum(point.counts[catalogue.ROWS] for point in found)
    either = Filter(label="dataSetId", values=frozenset("ab"), group=True)
    for filters in ([], [either]):
        dps = answer(Question(metric=whole, filters=filters, granularity=granularity), found, 0)
        assert sum(number for each in dps.values() for number in each.values()) == total
