"""`aepp`, unmodified, against Catalog, Flow Service, sandboxes, Data Prep and streaming ingestion: the everyday calls."""

from types import ModuleType, SimpleNamespace

import pytest
from running import eventually

pytestmark = pytest.mark.parity
PROFILE = "https://ns.adobe.com/xdm/context/profile"
CONTENT_TYPE = "application/vnd.adobe.xed-full+json;version=1"


@pytest.fixture(scope="module")
def clients(client: ModuleType) -> SimpleNamespace:
    """One instance of every module under test."""
    from aepp.catalog import Catalog
    from aepp.dataprep import DataPrep
    from aepp.flowservice import FlowService
    from aepp.ingestion import DataIngestion
    from aepp.sandboxes import Sandboxes
    from aepp.schema import Schema

    return SimpleNamespace(
        schema=Schema(), catalog=Catalog(), flow=FlowService(), prep=DataPrep(), ingestion=DataIngestion(), sandboxes=Sandboxes()
    )


@pytest.fixture(scope="module")
def schema_id(clients: SimpleNamespace) -> str:
    fields = {"name": {"type": "string"}, "size": {"type": "integer"}}
    body = {
        "type": "object",
        "title": "Control plane fields",
        "meta:intendedToExtend": [PROFILE],
        "definitions": {
            "customFields": {"type": "object", "properties": {"_capstream": {"type": "object", "properties": fields}}}
        },
    }
    group = clients.schema.createFieldGroup(body | {"allOf": [{"$ref": "#/definitions/customFields"}]})
    made = clients.schema.createProfileSchema("Control plane", fieldGroupIds=[group["$id"]])
    return str(made["$id"])


@pytest.fixture(scope="module")
def dataset_id(clients: SimpleNamespace, schema_id: str) -> str:
    (link,) = clients.catalog.createDataSet(name="Control plane dataset", schemaId=schema_id)
    return str(link.rpartition("/")[2])


@pytest.fixture(scope="module")
def mapping_id(clients: SimpleNamespace, schema_id: str) -> str:
    rules = [
        {"sourceType": "ATTRIBUTE", "source": "id", "destination": "_id"},
        {"sourceType": "EXPRESSION", "source": "lower(name)", "destination": "_capstream.name"},
    ]
    return str(clients.prep.createMappingSet(schemaId=schema_id, mappingList=rules, validate=True)["id"])


@pytest.fixture(scope="module")
def stream(clients: SimpleNamespace, schema_id: str, dataset_id: str, mapping_id: str) -> SimpleNamespace:
    """A raw streaming connection with its source, its target and a flow that maps."""
    flow = clients.flow
    base = flow.createConnectionStreaming(name="parity", sourceId="parity", dataType="raw", paramName="parity")
    source = flow.createSourceConnectionStreaming(connectionId=base["id"], name="parity source", format="json")
    target = flow.createTargetConnectionDataLake(name="parity target", datasetId=dataset_id, schemaId=schema_id)
    made = flow.createFlowStreaming(
        name="parity flow",
        source_connection_id=source["id"],
        target_connection_id=target["id"],
        transformation=True,
        transformation_mapping_id=mapping_id,
        transformation_name="Mapping",
    )
    return SimpleNamespace(base=base["id"], source=source["id"], target=target["id"], flow=made["flow"]["id"])


def test_sandboxes(clients: SimpleNamespace) -> None:
    sandboxes = clients.sandboxes
    assert [one["name"] for one in sandboxes.getSandboxes()] == ["prod"]
    assert sandboxes.getSandboxId("prod") == sandboxes.getSandbox("prod")["id"]
    assert {one["id"] for one in sandboxes.getSandboxTypes()} == {"production", "development"}
    assert sandboxes.createSandbox(name="dev1", title="Dev", type_sandbox="development")["name"] == "dev1"
    assert sandboxes.updateSandbox("dev1", {"title": "Renamed"})["title"] == "Renamed"
    assert sandboxes.deleteSandbox("dev1") in {200, 202}


def test_datasets(clients: SimpleNamespace, dataset_id: str, schema_id: str) -> None:
    catalog = clients.catalog
    assert catalog.getDataSet(dataset_id)[dataset_id]["schemaRef"]["id"] == schema_id
    assert catalog.getDataSets()[dataset_id]["name"] == "Control plane dataset"
    assert dataset_id in set(catalog.getDatasetsInfos()["id"])
    assert "observableSchema" in catalog.getDataSetObservableSchema(dataset_id)
    assert len(catalog.getDataSetViews(dataset_id)) == 1
    link = [f"@/dataSets/{dataset_id}"]
    assert catalog.enableDatasetProfile(dataset_id) == link
    assert catalog.enableDatasetIdentity(dataset_id) == link
    assert catalog.getDataSet(dataset_id)[dataset_id]["tags"]["unifiedProfile"][0] == "enabled:true"
    assert catalog.disableDatasetProfile(dataset_id) == link
    assert catalog.disableDatasetIdentity(dataset_id) == link
    assert catalog.patchDataset(dataset_id, data={"description": "patched"}) == link
    assert catalog.patchDatasetV2(dataset_id, {"name": "Renamed"}) == link
    found = catalog.getDataSet(dataset_id)[dataset_id]
    assert (found["name"], found["description"]) == ("Renamed", "patched")


def test_a_dataset_is_made_and_deleted(clients: SimpleNamespace, schema_id: str) -> None:
    (link,) = clients.catalog.createDataSet(name="To be deleted", schemaId=schema_id)
    made = link.rpartition("/")[2]
    clients.catalog.deleteDataSet(made)
    assert made not in clients.catalog.getDataSets()


def test_mapping_sets(clients: SimpleNamespace, mapping_id: str, schema_id: str) -> None:
    prep = clients.prep
    assert "concat" in {one["function"] for one in prep.getMappingSetFunctions()}
    assert "+" in {one["operatorSymbol"] for one in prep.getMappingSetOperators()}
    found = prep.getMappingSet(mapping_id)
    assert found["outputSchema"]["schemaRef"]["id"] == schema_id
    assert mapping_id in {one["id"] for one in prep.getMappingSets()}
    rules = prep.copyMappingRules(found, "_capstream")
    assert [rule["destination"] for rule in rules] == ["_id", "_capstream.name"]
    one = {"sourceType": "EXPRESSION", "source": "size_of(items)", "destination": "_capstream.size"}
    added = prep.createMappingSetMapping(mapping_id, one)
    assert prep.getMappingSetMapping(mapping_id, added["id"])["destination"] == "_capstream.size"
    assert prep.updateMappingSetMapping(mapping_id, added["id"], {**added, "source": "size_of(things)"})["version"] == 1
    assert len(prep.getMappingSetMappings(mapping_id)) == 3
    assert prep.deleteMappingSetMapping(mapping_id, added["id"]) in {200, 204}
    assert prep.updateMappingSet(mapping_id, rules)["id"] == mapping_id
    schema = {"schemaRef": {"id": schema_id, "contentType": CONTENT_TYPE}}
    shown = prep.previewDataOutput({"id": "x-1", "name": "ADA"}, {"outputSchema": schema, "mappings": rules})
    assert shown["data"] == {"_id": "x-1", "_capstream": {"name": "ada"}}


def test_connection_and_flow_specifications(clients: SimpleNamespace) -> None:
    flow = clients.flow
    names = flow.getConnectionSpecsMap()
    assert names["capillary-streaming-events"] == "6360f136-5980-4111-8bdf-15d29eab3b5a"
    assert flow.getConnectionSpecIdFromName("Streaming Connection") == "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb"
    spec = flow.getFlowSpecs()[0]
    assert flow.getFlowSpec(spec["id"])["name"] == spec["name"]


def test_connections_and_flows(clients: SimpleNamespace, stream: SimpleNamespace) -> None:
    flow = clients.flow
    assert stream.base in {one["id"] for one in flow.getConnections()}
    assert flow.getConnection(stream.base)["auth"]["params"]["inletUrl"].startswith("http://localhost")
    assert stream.source in {one["id"] for one in flow.getSourceConnections()}
    assert stream.target in {one["id"] for one in flow.getTargetConnections()}
    shown = flow.getFlow(stream.flow)
    assert (shown["sourceConnectionIds"], shown["targetConnectionIds"]) == ([stream.source], [stream.target])
    operations = [{"op": "replace", "path": "/name", "value": "parity flow renamed"}]
    assert flow.updateFlow(stream.flow, shown["etag"], operations)["id"] == stream.flow
    assert flow.postFlowAction(stream.flow, "disable")["id"] == stream.flow
    assert flow.getFlow(stream.flow)["state"] == "disabled"
    assert flow.postFlowAction(stream.flow, "enable")["id"] == stream.flow
    assert "parity flow renamed" in {one["name"] for one in flow.getFlows()}
    assert flow.patchConnection(stream.base, [{"op": "replace", "path": "/name", "value": "parity renamed"}])["id"] == stream.base
    etag = flow.getSourceConnection(stream.source)["etag"]
    operations = [{"op": "replace", "path": "/name", "value": "source renamed"}]
    assert flow.updateSourceConnection(stream.source, etag, operations)["id"] == stream.source


def test_messages_become_a_run_and_a_batch(clients: SimpleNamespace, stream: SimpleNamespace, dataset_id: str) -> None:
    flow, ingestion = clients.flow, clients.ingestion
    inlet = flow.getConnection(stream.base)["auth"]["params"]["inletUrl"].rpartition("/")[2]
    answer = ingestion.streamMessage(inletId=inlet, data={"id": "r-1", "name": "ADA"}, flowId=stream.flow)
    assert (answer["inletId"], answer["syncValidation"]) == (inlet, {"skipped": True})
    several = ingestion.streamMessages(
        inletId=inlet, data=[{"id": "r-2", "name": "B"}, {"id": "r-3", "name": "C"}], flowId=stream.flow
    )
    assert len(several["responses"]) == 2

    def written() -> int:
        runs = [run for run in flow.getRuns() if run["flowId"] == stream.flow]
        return sum(run["metrics"]["recordSummary"]["outputRecordCount"] for run in runs)

    eventually(lambda: written() == 3, what="three records in the flow's runs")
    batches = clients.catalog.getBatches(dataSet=dataset_id)
    assert all(batch["relatedObjects"][0]["id"] == dataset_id for batch in batches.values())
    assert dataset_id in clients.catalog.getLastBatches(dataset_id)


def test_a_batch_is_converted(clients: SimpleNamespace, dataset_id: str, mapping_id: str) -> None:
    """Starts a conversion the way aepp does it, with GET; it waits until the batch is complete."""
    prep = clients.prep
    batch_id = next(iter(clients.catalog.getBatches(dataSet=dataset_id)))
    made = prep.createXDMConversion(dataset_id, batch_id, mapping_id)
    assert (made["status"], made["sourceBatchId"]) == ("queued", batch_id)
    assert prep.getXDMBatchConversion(made["id"])["mappingSetId"] == mapping_id
    (activity,) = prep.getXDMBatchConversionActivities(made["id"])
    assert activity["type"] == "transform"
    found = prep.getXDMBatchConversions(dataSetId=dataset_id, batchId=batch_id)
    assert made["id"] in str(found)


def test_a_mapping_set_is_suggested(clients: SimpleNamespace, dataset_id: str) -> None:
    batch_id = next(iter(clients.catalog.getBatches(dataSet=dataset_id)))
    found = clients.prep.getMappingSuggestions(dataSetId=dataset_id, batchId=batch_id)
    assert "_id" in {one["destination"] for one in found["mappings"]}


def test_everything_is_taken_down_again(clients: SimpleNamespace, schema_id: str) -> None:
    flow = clients.flow
    base = flow.createConnectionStreaming(name="to go", sourceId="to go", dataType="xdm", paramName="to go")
    source = flow.createSourceConnectionStreaming(connectionId=base["id"], name="source to go", format="json")
    assert flow.deleteSourceConnection(source["id"]) == 204
    assert flow.deleteConnection(base["id"]) == 204
    rule = {"sourceType": "ATTRIBUTE", "source": "id", "destination": "_id"}
    made = clients.prep.createMappingSet(schemaId=schema_id, mappingList=[rule])
    assert clients.prep.deleteMappingSet(made["id"]) in {200, 204}
