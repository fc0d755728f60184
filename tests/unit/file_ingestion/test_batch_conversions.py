"""Batch conversions: the rows of a batch through a mapping set into another dataset, on a real lake and a real pipeline."""

from dataclasses import replace
from typing import Any

import pytest
from file_world import LogOfWorld
from pipeline_world import MEMBER_FLOW, MEMBERS, PROD, PURCHASE_FLOW, PURCHASES, World, ask, body_of, member, purchase

from capstream.aep.call import Answer, Call
from capstream.aep.catalog.model import Datasets
from capstream.aep.data_prep import api
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.file_ingestion.converter import Converter
from capstream.aep.query_service.model import QueryService

SET = "7a1d" * 8
ROWS = [
    {"sourceType": "EXPRESSION", "source": "_id", "destination": "_id"},
    {"sourceType": "ATTRIBUTE", "source": "identityMap", "destination": "identityMap"},
    {"sourceType": "EXPRESSION", "source": "commerce.order.priceTotal * 10", "destination": "loyalty.points"},
    {"sourceType": "EXPRESSION", "source": "to_integer(eventType)", "destination": "loyalty.tier"},
]
BAD = [{"sourceType": "EXPRESSION", "source": 'to_integer(iif(_id == "e2", "x", "1"))', "destination": "loyalty.points"}]


class Conversions:
    """A world with a mapping set from purchases to members, and what serves conversions."""

    def __init__(self, world: World, rows: list[dict[str, str]]) -> None:
        self.world = world
        self.log = LogOfWorld(world)  # type: ignore[arg-type]
        uri = "https://ns.adobe.com/demo/schemas/members"
        made = {"id": SET, "version": 0, "mappings": rows, "xdmSchema": uri, "outputSchema": {"schemaRef": {"id": uri}}}
        MappingSets(world.control).save(PROD.id, made)
        for dataset_id in (MEMBERS, PURCHASES):
            world.change_dataset(dataset_id, {"basePath": f"lake://{PROD.name}/{dataset_id}"})

    def ask(self, operation: str, *, query: dict[str, str] | None = None, **params: str) -> tuple[int, Any]:
        world = self.world
        rows = QueryService(world.lake, Datasets(world.control), world.registry)
        handlers = api.handlers(MappingSets(world.control), world.registry, world.state, rows.sample)
        found = ask(handlers, operation, params=params, query=tuple((query or {}).items()), now_ms=world.now_ms)
        return found.status, body_of(found) if found.body is not None else None

    def order(self, batch_id: str, operation: str = "createBatchConversion") -> Any:
        query = {"destinationDataSetId": MEMBERS, "sourceBatchId": batch_id, "mappingSetId": SET}
        status, answer = self.ask(operation, query=query)
        assert status == 200, answer
        return answer

    def shown(self, made: Any) -> Any:
        return self.ask("retrieveBatchConversion", CONVERSION_ID=made["id"])[1]

    def convert(self) -> None:
        world = self.world
        exporter = QueryService(world.lake, Datasets(world.control), world.registry)
        folder = world.folder / "spool"
        Converter(world.control, world.state, self.log, exporter, folder, clock=lambda: world.now_ms).run_once()

    def purchases(self, count: int) -> str:
        """Return the closed batch of some purchases."""
        events = [purchase(at, f"e{at}", total=at + 0.5) for at in range(count)]
        self.world.accept(PURCHASE_FLOW, *events)
        self.world.drain()
        self.close_windows()
        (batch,) = self.world.batches_of(PURCHASES, "success")
        return str(batch["id"])

    def close_windows(self) -> None:
        self.world.now_ms += 61_000
        self.world.drain()


@pytest.fixture
def made(world: World) -> Conversions:
    return Conversions(world, ROWS)


def test_the_rows_of_a_batch_become_a_batch_of_another_dataset(made: Conversions, world: World) -> None:
    order = made.order(made.purchases(3))
    assert (order["status"], order["destinationDatasetId"], order["mappingSetId"]) == ("queued", MEMBERS, SET)
    made.convert()
    assert made.shown(order)["status"] == "processing"
    world.drain()
    done = made.shown(order)
    assert done["status"] == "success"
    (activity,) = done["activities"]
    assert (activity["type"], activity["status"], activity["recordCount"]) == ("transform", "success", 3)
    (warning,) = activity["errors"]
    assert (warning["code"], warning["recordCount"]) == ("MAPPER-3700-400", 3)
    (batch,) = world.batches_of(MEMBERS, "success")
    assert batch["id"] == done["destinationBatchId"]
    rows = QueryService(world.lake, Datasets(world.control), world.registry).preview(PROD, MEMBERS)
    assert sorted((row["_id"], row["loyalty"]["points"]) for row in rows) == [("e0", 5), ("e1", 15), ("e2", 25)]
    made.convert()  # nothing is left to be done, and no file either
    assert list((world.folder / "spool").iterdir()) == []
    assert made.ask("listConversionActivities", CONVERSION_ID=order["id"])[1] == [activity]
    assert made.ask("retrieveConversionActivity", CONVERSION_ID=order["id"], ACTIVITY_ID=activity["id"])[1] == activity


def test_a_rejected_record_fails_the_conversion_and_is_kept(world: World) -> None:
    made = Conversions(world, BAD)
    order = made.order(made.purchases(4))
    made.convert()
    world.drain()
    done = made.shown(order)
    assert (done["status"], done["activities"][0]["recordCount"]) == ("failed", 3)
    errors = done["activities"][0]["errors"]
    assert {error["recordCount"] for error in errors} == {1}
    assert "MAPPER-3700-400" in {error["code"] for error in errors}
    (failed,) = world.batches_of(MEMBERS, "failed")
    assert failed["id"] == done["failedBatchId"]


def test_a_batch_that_is_still_filled_is_waited_for(made: Conversions, world: World) -> None:
    world.accept(PURCHASE_FLOW, purchase(1, "e1"))
    world.drain()
    (open_batch,) = world.batches_of(PURCHASES, "processing")
    order = made.order(open_batch["id"])
    made.convert()
    assert made.shown(order)["status"] == "queued"
    made.close_windows()
    made.convert()
    world.drain()
    assert made.shown(order)["status"] == "success"


def test_a_process_that_dies_goes_on_without_writing_twice(made: Conversions, world: World) -> None:
    order = made.order(made.purchases(1200))
    made.log.left = 1
    with pytest.raises(KeyboardInterrupt):
        made.convert()
    made.log.left = 10
    made.convert()
    world.drain()
    assert made.shown(order)["activities"][0]["recordCount"] == 1200
    assert world.rows(MEMBERS) == 1200


def test_a_batch_whose_dataset_is_gone_fails(made: Conversions, world: World) -> None:
    order = made.order(made.purchases(1))
    world.delete_dataset(PURCHASES)
    made.convert()
    done = made.shown(order)
    assert done["status"] == "failed"
    assert "does not exist any more" in done["activities"][0]["errors"][0]["message"]


def test_lists_filters_and_waiting(made: Conversions, world: World) -> None:
    batch_id = made.purchases(1)
    first, second = made.order(batch_id), made.order(batch_id, "listBatchConversions")  # as aepp starts one
    assert first["createdDate"] != second["createdDate"]
    everything = made.ask("listBatchConversions", query={"orderBy": "createdDate"})[1]
    assert [one["id"] for one in everything["data"]] == [first["id"], second["id"]]
    assert everything["_page"] == {"count": 2, "limit": 10}
    for query in ({"status": "success"}, {"destinationDatasetId": PURCHASES}, {"property": "batchId==x"}):
        assert made.ask("listBatchConversions", query=query)[1]["data"] == []
    assert len(made.ask("listBatchConversions", query={"sourceBatchId": batch_id, "limit": "1"})[1]["data"]) == 1
    wait = {"query": {"status": "success"}, "CONVERSION_ID": first["id"]}
    assert made.ask("completeBatchConversion", **wait)[0] == 404
    assert made.ask("deleteMappingSet", MAPPING_SET_ID=SET)[0] == 409
    made.convert()
    world.drain()
    made.convert()
    assert made.ask("completeBatchConversion", **wait)[1]["id"] == first["id"]
    assert world.rows(MEMBERS) == 2  # one of each conversion
    assert made.ask("deleteMappingSet", MAPPING_SET_ID=SET)[0] == 204


def test_starting_one_with_get_needs_the_right_to_change(made: Conversions) -> None:
    world = made.world
    query = {"destinationDataSetId": MEMBERS, "sourceBatchId": made.purchases(1), "mappingSetId": SET}
    handlers = api.handlers(MappingSets(world.control), world.registry, world.state, lambda *_: [])

    def viewer(call: Call) -> Answer:
        return handlers["listBatchConversions"](replace(call, granted=lambda needed: needed != "manage-sources"))

    answer = ask({"list": viewer}, "list", query=tuple(query.items()))
    assert (answer.status, body_of(answer)["type"].rpartition("/")[2]) == (403, "MAPPER-3030-403")
    assert body_of(ask({"list": viewer}, "list"))["data"] == []


def test_what_is_refused(made: Conversions, world: World) -> None:
    batch_id = made.purchases(1)
    world.accept(MEMBER_FLOW, member(1))
    right = {"destinationDataSetId": MEMBERS, "sourceBatchId": batch_id, "mappingSetId": SET}
    for changed, status, code in (
        ({"sourceBatchId": ""}, 400, "MAPPER-3001-400"),
        ({"sourceBatchId": "none"}, 404, "MAPPER-3040-404"),
        ({"destinationDataSetId": "none"}, 404, "MAPPER-3040-404"),
        ({"destinationDataSetId": PURCHASES}, 400, "MAPPER-3002-400"),
        ({"mappingSetId": "none"}, 404, "MAPPER-3040-404"),
    ):
        found, answer = made.ask("createBatchConversion", query=right | changed)
        assert (found, answer["type"].rpartition("/")[2]) == (status, code)
        assert next(iter(changed)) in answer["detail"] or code == "MAPPER-3002-400"
    for query in ({"status": "done"}, {"property": "colour==x"}, {"limit": "0"}):
        assert made.ask("listBatchConversions", query=query)[0] == 400
    missing = {"CONVERSION_ID": "0" * 32, "ACTIVITY_ID": "0" * 32}
    for operation in (
        "retrieveBatchConversion",
        "listConversionActivities",
        "retrieveConversionActivity",
        "completeBatchConversion",
    ):
        assert made.ask(operation, **missing)[0] == 404


def test_a_mapping_set_is_suggested_for_the_rows_of_a_batch(made: Conversions) -> None:
    batch_id = made.purchases(2)
    status, found = made.ask("suggestMappingSet", query={"datasetId": MEMBERS, "batchId": batch_id})
    assert status == 200, found
    proposed = {one["source"]: one["destination"] for one in found["mappings"]}
    assert proposed["_id"] == "_id"
    assert found["xdmSchema"].endswith("/members")
    everything = made.ask("suggestMappingSet", query={"datasetId": MEMBERS, "batchId": batch_id, "excludeUnmapped": "False"})[1]
    sources = {one["source"] for one in everything["mappings"]}
    assert {"eventType", "timestamp", "commerce.order.priceTotal"} <= sources
    assert not any(source.startswith(("_ac", "_AC")) for source in sources)
    for query, code in (
        ({"datasetId": MEMBERS, "batchId": "none"}, 404),
        ({"datasetId": MEMBERS}, 400),
        ({"batchId": batch_id}, 400),
    ):
        assert made.ask("suggestMappingSet", query=query)[0] == code
