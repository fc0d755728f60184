"""Every public method of `aepp`'s control plane modules: those the other parity files leave out, and a count of all."""

import inspect
import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from running import eventually

pytestmark = pytest.mark.parity
PROFILE = "https://ns.adobe.com/xdm/context/profile"
HTTP = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
LAKE = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
STREAM = {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"}
RENAME = [{"op": "replace", "path": "/name", "value": "renamed"}]
HERE = Path(__file__)

LEFT_OUT = {
    "createFlowDataLakeToDataLandingZone": "writes to a landing zone: destinations are not part of the platform",
    "createFlowDataLandingZoneToDataLake": "file dataflows have their own tests (tests/unit/file_ingestion)",
    "exportDatasetToDLZ": "exports to a landing zone: destinations are not part of the platform",
    "getLandingZoneContent": "file dataflows have their own tests (tests/unit/file_ingestion)",
    "getDataSetExpiration": "reads /catalog/ttl, which is not built",
    "getResourceToFile": "runs curl with the arguments of getResource",
    "updateSandbox": "of the connector: sets a header, calls nothing",
    "update_sandbox_id": "of the connector: for service accounts, reads the sandbox as getSandbox does",
}


@pytest.fixture(scope="module")
def the(client: ModuleType) -> SimpleNamespace:
    """One instance of every module under test, and a dataset."""
    from aepp.accesscontrol import AccessControl
    from aepp.catalog import Catalog
    from aepp.datasets import DataSets
    from aepp.flowservice import FlowService
    from aepp.sandboxes import Sandboxes

    catalog = Catalog()
    (link,) = catalog.createDataSet(name="Every method", schemaId=PROFILE)
    return SimpleNamespace(
        access=AccessControl(),
        catalog=catalog,
        flow=FlowService(),
        labels=DataSets(),
        sandboxes=Sandboxes(),
        dataset=str(link.rpartition("/")[2]),
    )


@pytest.fixture(scope="module")
def stream(the: SimpleNamespace) -> SimpleNamespace:
    """A dataflow made by the general methods."""
    flow = the.flow
    auth = {"specName": "Streaming Connection", "params": {"dataType": "xdm", "name": "every", "sourceId": "every"}}
    base = flow.createConnection({"name": "every", "connectionSpec": HTTP, "auth": auth})["id"]
    source = flow.createSourceConnection({"name": "every", "baseConnectionId": base, "connectionSpec": HTTP})["id"]
    target = flow.createTargetConnection("every", LAKE, the.dataset)["id"]
    body = {"name": "every", "flowSpec": STREAM, "sourceConnectionIds": [source], "targetConnectionIds": [target]}
    made = flow.createFlow(STREAM["id"], obj=body | {"transformations": []})["id"]
    return SimpleNamespace(base=base, source=source, target=target, flow=made)


def test_roles_their_subjects_and_policies(the: SimpleNamespace) -> None:
    access = the.access
    body = {"name": "Every", "description": "d", "roleType": "user-defined"}
    role = access.connector.postData(f"{access.endpoint}/administration/roles", data=body)["id"]
    assert access.patchRole(role, {"op": "replace", "path": "/description", "value": "changed"})["description"] == "changed"
    assert access.putRole(role, body | {"name": "Every one"})["name"] == "Every one"
    assert access.patchSubjects(role, "0001@AdobeID", "add")["subjects"] == [{"subjectId": "0001@AdobeID", "subjectType": "user"}]
    assert [each["subjectId"] for each in access.getSubjects(role)] == ["0001@AdobeID"]
    assert access.deleteRole(role) == 204
    rule = {"effect": "Permit", "resource": "/orgs/o/sandboxes/*", "condition": "{}", "actions": ["com.adobe.action.read"]}
    policy = access.createPolicy({"name": "Every", "rules": [rule]})["id"]
    assert policy in {each["id"] for each in access.getPolicies()}
    assert access.getPolicy(policy)["rules"] == [rule]
    assert access.putPolicy(policy, {"name": "Put", "rules": [rule]})["name"] == "Put"
    assert access.patchPolicy(policy, "replace", "/description", "patched")["description"] == "patched"
    assert access.deletePolicy(policy) == 204
    (product,) = access.getProducts()
    assert {"name": "Data Ingestion"} in access.getPermissionCategories(product["id"])
    assert "manage-sources" in {each["id"] for each in access.getPermissionSets(product["id"])}


def test_datasets_views_and_batches(the: SimpleNamespace) -> None:
    catalog = the.catalog
    dataset = catalog.createDataSet(name="Not validated", schemaId=PROFILE)[0].rpartition("/")[2]
    link = [f"@/dataSets/{dataset}"]
    assert list(catalog.getResource(f"{catalog.endpoint}/dataSets/{dataset}")) == [dataset]
    assert catalog.getResources()["dataSets"] == "/dataSets"
    assert catalog.getProfileSnapshotDatasets() == {}
    view = next(iter(catalog.getDataSetViews(dataset)))
    assert list(catalog.getDataSetView(dataset, view)) == [view]
    assert catalog.getDataSetViewFiles(dataset, view) == {}
    assert catalog.enableDatasetUpsert(dataset) == link
    assert "isUpsert:true" in catalog.getDataSet(dataset)[dataset]["tags"]["unifiedProfile"]
    assert catalog.disableDatasetValidationContext(dataset) == link
    assert catalog.getDataSet(dataset)[dataset]["tags"]["acp_validationContext"] == ["disabled"]
    assert catalog.setDatasetTTL(dataset, "P3M") == link
    assert catalog.putDataset(dataset, catalog.getDataSet(dataset)[dataset] | {"description": "put"}) == link
    assert catalog.getDataSet(dataset)[dataset]["description"] == "put"
    assert catalog.createUnionProfileDataset()[0].startswith("@/dataSets/")
    batch = catalog.createBatch({"datasetId": dataset, "status": "loading"})[0].rpartition("/")[2]
    assert catalog.getBatch(batch)[batch]["status"] == "loading"
    assert catalog.findActiveBatch(batch) == batch


def test_labels_are_changed_and_removed(the: SimpleNamespace) -> None:
    labels, dataset = the.labels, the.dataset
    labels.createLabels(dataset, {"labels": ["C1"], "optionalLabels": []})
    place = f"{labels.endpoint}/datasets/{dataset}/labels"

    def etag() -> str:
        return str(labels.connector.session.head(place, headers=labels.connector.header, verify=False).headers["etag"])

    assert labels.headLabels(dataset) == {}  # aepp loses the headers of every 200 (catalog.md 6.3)
    assert labels.updateLabels(dataset, {"labels": ["C2"], "optionalLabels": []}, etag())["labels"] == ["C2"]
    assert labels.deleteLabels(dataset, etag()) == 204


def test_connections_and_flows_by_the_general_methods(the: SimpleNamespace, stream: SimpleNamespace) -> None:
    flow = the.flow
    assert flow.connectionTest(stream.base) == {"result": True}
    assert flow.createConnectionToUPS("to profile")["id"]
    assert flow.getConnectionSpec(HTTP["id"])["items"][0]["name"] == "Streaming Connection"
    assert HTTP["id"] in {each["id"] for each in flow.getConnectionSpecs()}
    assert flow.getFlowSpecIdFromNames("CloudStorageToAEP", "landing-zone", "datalake") == "9753525b-82c7-4dce-8a9b-5ccfce2b9876"
    target = flow.getTargetConnection(stream.target)
    assert flow.updateTargetConnection(stream.target, target["etag"], RENAME)["id"] == stream.target
    assert {each["id"] for each in flow.getResource(f"{flow.endpoint}/flows")["items"]} >= {stream.flow}
    assert flow.createRun(stream.flow)["title"] == "Invalid request"
    assert flow.getRun("none")["status"] == 404
    with pytest.raises(Exception, match="Require etag"):
        flow.updatePolicy(stream.flow, ["/dulepolicy/marketingActions/x"])  # aepp passes no etag: it cannot work anywhere
    source = flow.createSourceConnectionDataLake("lake", dataset_ids=[the.dataset])["id"]
    assert flow.deleteSourceConnection(source) == 204
    body = {"flowSpec": STREAM, "sourceConnectionIds": [stream.source], "targetConnectionIds": [stream.target]}
    second = flow.createFlow(STREAM["id"], obj=body | {"name": "second", "transformations": []})["id"]
    assert flow.deleteFlow(second) == 204
    unused = flow.createTargetConnection("unused", LAKE, the.dataset)["id"]
    assert flow.deleteTargetConnection(unused) == 204


def test_system_dataflows_into_profile_and_identity(the: SimpleNamespace) -> None:
    the.catalog.enableDatasetProfile(the.dataset)
    the.catalog.enableDatasetIdentity(the.dataset)
    flow = the.flow
    for every, one, runs in (("getUPSFlows", "getUPSFlow", "getUPSFlowRuns"), ("getUISFlows", "getUISFlow", "getUISFlowRuns")):
        assert getattr(flow, one)(the.dataset)["id"] in {each["id"] for each in getattr(flow, every)()}
        assert getattr(flow, runs)(the.dataset) == []


@pytest.mark.filterwarnings("ignore:getLandingZone:DeprecationWarning")
def test_the_landing_zone_and_specs_of_destinations(the: SimpleNamespace, stream: SimpleNamespace) -> None:
    flow = the.flow
    name = flow.getLandingZoneContainer()["containerName"]
    assert flow.getLandingZoneContainerName() == flow.getLandingZoneStorageName() == name
    assert flow.getLandingZoneContainerTTL() == flow.getLandingZoneStorageTTL()
    credential = flow.getLandingZoneCredential()
    assert credential["containerName"] == name
    assert flow.getLandingZoneSASToken().startswith("sv=")
    assert f"/{name}?sv=" in flow.getLandingZoneSASUri()
    assert flow.getLandingZoneStorageAccountName() == flow.getLandingZoneNamespace() == credential["storageAccountName"]
    assert flow.exploreLandingZone() == []
    assert flow.createSourceConnectionDataLandingZone("zone", path="a.csv")["id"]
    assert flow.createTargetConnectionDataLandingZone("zone", path="x")["id"]
    assert flow.createTargetConnectionDatasetToDataLandingZone("zone", stream.base, "x")["id"]
    assert flow.createBaseConnectionDLZTarget("zone")["id"]
    assert flow.getExportableDatasets(LAKE) == flow.getExportableDatasetsDLZ() == []
    for made in (flow.createBaseConnectionS3Target("s3", "a", "b"), flow.createBaseConnectionBlobTarget("blob", "c")):
        assert made["type"].endswith("FLOW-1413-400")  # destinations are not part of the platform


def test_the_manager_of_a_flow(the: SimpleNamespace, stream: SimpleNamespace) -> None:
    from aepp.flowservice import FlowManager

    manager = FlowManager(stream.flow)
    assert manager.getFlowSpec()["id"] == STREAM["id"]
    assert manager.getSourceConnection()["id"] == stream.source
    assert manager.getTargetConnection()["id"] == stream.target
    assert manager.getConnectionSpec()["items"][0]["id"] == HTTP["id"]
    assert manager.getTargetConnectionSpec()["items"]
    assert manager.summary()["id"] == stream.flow
    assert manager.getRuns() == []
    assert manager.updateFlow(RENAME)["id"] == stream.flow


def test_failed_batches_and_what_the_mapper_refused(the: SimpleNamespace, stream: SimpleNamespace) -> None:
    from aepp.ingestion import DataIngestion

    inlet = the.flow.getConnection(stream.base)["auth"]["params"]["inletUrl"].rpartition("/")[2]
    kind = {"id": PROFILE, "contentType": "application/vnd.adobe.xed-full+json;version=1"}
    header = {"schemaRef": kind, "datasetId": the.dataset, "flowId": stream.flow, "source": {"name": "every"}}
    header["imsOrgId"] = the.flow.connector.config["org_id"]
    message = {"header": header, "body": {"xdmMeta": {"schemaRef": kind}, "xdmEntity": {"_id": 5}}}
    answer = DataIngestion().streamMessage(inletId=inlet, data=message)
    assert answer["inletId"] == inlet, answer
    eventually(lambda: the.catalog.getFailedBatchesDF().size, what="a failed batch")
    assert list(the.catalog.getFailedBatchesDF()["dataSetId"]) == [the.dataset]
    assert the.catalog.getMapperErrors().empty
    text = json.dumps(message)
    assert the.catalog.jsonStreamMessages(the.catalog.decodeStreamBatch(text)) == [message]


def test_packages_from_sandbox_to_sandbox(the: SimpleNamespace) -> None:
    sandboxes = the.sandboxes
    sandboxes.createSandbox(name="every", title="Every", type_sandbox="development")
    artifact = {"type": "CATALOG_DATASET", "id": the.dataset}
    package = sandboxes.createPackage("every", "d", "PARTIAL", [artifact])["id"]
    assert [each["id"] for each in sandboxes.getPackages()] == [package]
    assert sandboxes.updatePackage(package, "UPDATE", "renamed", "said")["name"] == "renamed"
    assert sandboxes.updatePackage(package, "DELETE", artifacts=[artifact])["artifactsList"] == []
    assert sandboxes.updatePackage(package, "ADD", artifacts=[artifact])["artifactsList"][0]["id"] == the.dataset
    assert sandboxes.publishPackage(package)["jobId"]
    assert sandboxes.getPackage(package)["status"] == "PUBLISHED"
    assert [each["artifact"]["found"] for each in sandboxes.importPackageCheck(package, "every")] == [False]
    assert sandboxes.checkPermissions(package, "every") is None  # aepp returns nothing
    assert sandboxes.importPackage(package, "every")["destinationSandbox"]["name"] == "every"
    assert [each["artifact"]["found"] for each in sandboxes.importPackageCheck(package, "every")] == [True]
    assert [each["id"] for each in sandboxes.getPackageDependencies(package)] == [the.dataset]
    jobs = [sandboxes.getImportExportJobs(*which)["data"] for which in ((), (True,), (False, True))]
    assert [[each["requestType"] for each in found] for found in jobs] == [["IMPORT", "EXPORT"], ["IMPORT"], ["EXPORT"]]
    assert sandboxes.publishPackagePublic(package)["packageVisibility"] == "public"
    assert sandboxes.deletePackage(package) == 200
    assert sandboxes.resetSandbox("every")["state"] == "resetting"


def test_a_server_of_one_organisation_has_no_partners(the: SimpleNamespace) -> None:
    sandboxes, other = the.sandboxes, f"{'F' * 24}@AdobeOrg"
    assert list(sandboxes.createShareRequest([other], "a", "b")["failedRequests"]) == [other]
    assert sandboxes.approvingShareRequest("linking", "name", other)["status"] == 400  # aepp sends no body
    assert sandboxes.getShareRequests()["data"] == sandboxes.getTransfers() == sandboxes.getPublicPackages() == []
    assert sandboxes.transferPackage("package", [other])["status"] == 400
    assert sandboxes.getTransfer("none")["status"] == 404
    assert sandboxes.importPublicPackage(other, "package")["status"] == 400


def test_the_connector_fetches_tokens(the: SimpleNamespace) -> None:
    connector = the.flow.connector
    connector.setRetry(2)
    found = connector.get_oauth_token_and_expiry_for_config(connector.config)
    assert found.token.count(".") == 2
    assert found.expiry == 86_399  # seconds: of /ims/token/v3


def methods(kind: type) -> set[str]:
    return {name for name, each in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}


def test_no_method_is_forgotten(client: ModuleType) -> None:
    """Each public method is called above, in another parity file, or left out for a reason."""
    from aepp.accesscontrol import AccessControl
    from aepp.catalog import Catalog
    from aepp.connector import AdobeRequest
    from aepp.datasets import DataSets
    from aepp.flowservice import FlowService
    from aepp.observability import Observability
    from aepp.sandboxes import Sandboxes

    modules = (AccessControl, Catalog, AdobeRequest, DataSets, FlowService, Observability, Sandboxes)
    wanted = set[str]().union(*(methods(kind) for kind in modules))
    texts = "".join(each.read_text() for each in HERE.parent.glob("test_parity_aepp_*.py"))
    called = {name for name in wanted if re.search(rf"\.{name}\(|in \(.*\"{name}\"", texts)}
    carrying = {"getData", "headData", "postData", "patchData", "putData", "deleteData"}  # every call of every module
    assert wanted - called - carrying - LEFT_OUT.keys() == set()
