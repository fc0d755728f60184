"""Calls of every operation of Flow Service, good and bad."""

from whole_platform import CAPILLARY, FLOWS, LAKE, Platform

NONE = "00000000-0000-4000-8000-000000000000"
RENAME = [{"op": "replace", "path": "/name", "value": "renamed"}]
LANDING_ZONE = "26f526f2-58f4-4712-961d-e41bf1ccc0e8"


def flow_service(it: Platform) -> None:
    made = it.flow_to_a_dataset()
    capillary = {
        "name": "Capillary",
        "connectionSpec": {"id": CAPILLARY, "version": "1.0"},
        "auth": {"specName": "OAuth generic-rest-connector", "params": {"clientId": "c", "clientSecret": "s"}},
    }
    connection = it.says("createConnection", "POST", f"{FLOWS}/connections", json=capillary).json()["id"]
    draft = it.says("createConnection", "POST", f"{FLOWS}/connections?mode=draft", json=capillary).json()["id"]
    it.says("createConnection", "POST", f"{FLOWS}/connections", json={"name": "x", "connectionSpec": {"id": NONE}})
    it.says("performAction", "POST", f"{FLOWS}/connections/{draft}/action?op=publish")
    it.says("performAction", "POST", f"{FLOWS}/connections/{draft}/action?op=publish")
    for query in ("", "?limit=1", "?count=true", "?property=state==enabled&orderby=-name"):
        it.says("listConnections", "GET", f"{FLOWS}/connections{query}")
    it.says("listConnections", "GET", f"{FLOWS}/connections?limit=0")
    it.says("retrieveConnection", "GET", f"{FLOWS}/connections/{connection}")
    it.says("retrieveConnection", "GET", f"{FLOWS}/connections/{NONE}")
    it.says("testConnection", "GET", f"{FLOWS}/connections/{connection}/test")
    it.says("getByConnectionId", "GET", f"{FLOWS}/connections/{connection}/explore?objectType=root")
    it.says("exploreConfigByConnectionId", "GET", f"{FLOWS}/connections/{connection}/configs")
    search = {"queryString": "property=state==enabled", "limit": 2}
    it.says("getConnectionsByFilters", "POST", f"{FLOWS}/connections/search", json=search)
    it.says("getConnectionsByFilters", "POST", f"{FLOWS}/connections/search", json=[])
    etag = {"if-match": it.call("GET", f"{FLOWS}/connections/{connection}").json()["items"][0]["etag"]}
    it.says("patchConnection", "PATCH", f"{FLOWS}/connections/{connection}", json=RENAME, headers=etag)
    it.says("patchConnection", "PATCH", f"{FLOWS}/connections/{connection}", json=RENAME, headers=etag)
    it.says("patchConnection", "PATCH", f"{FLOWS}/connections/{connection}", json=RENAME)
    it.says("deleteConnection", "DELETE", f"{FLOWS}/connections/{made['base']}")
    it.says("deleteConnection", "DELETE", f"{FLOWS}/connections/{connection}/")
    _specs(it)
    _ends(it, made)
    _flows(it, made)
    _runs(it, made)
    _files(it, made)
    it.says("deleteByFlow", "DELETE", f"{FLOWS}/flows/{made['flow']}")
    it.says("deleteByFlow", "DELETE", f"{FLOWS}/flows/{made['flow']}")
    it.says("deleteSourceConnection", "DELETE", f"{FLOWS}/sourceConnections/{made['source']}")
    it.says("deleteTargetConnection", "DELETE", f"{FLOWS}/targetConnections/{made['target']}")


def _files(it: Platform, made: dict[str, str]) -> None:
    """A flow that takes files from the Data Landing Zone, and a run of it."""
    spec = {"id": LANDING_ZONE, "version": "1.0"}
    it.says("exploreByConnectionSpecId", "GET", f"{FLOWS}/connectionSpecs/{LANDING_ZONE}/explore?objectType=root")
    zone = it.made(f"{FLOWS}/connections", {"name": "zone", "connectionSpec": spec})
    it.says("getByConnectionId", "GET", f"{FLOWS}/connections/{zone}/explore?objectType=root")
    source = {"name": "files", "connectionSpec": spec, "data": {"format": "json"}, "params": {"path": "in/*.json"}}
    flow = {
        "name": "files",
        "flowSpec": {"id": "9753525b-82c7-4dce-8a9b-5ccfce2b9876", "version": "1.0"},
        "sourceConnectionIds": [it.made(f"{FLOWS}/sourceConnections", source)],
        "targetConnectionIds": [made["target"]],
        "scheduleParams": {"startTime": 4_000_000_000, "frequency": "once"},
    }
    flow_id = it.made(f"{FLOWS}/flows", flow)
    run = it.says("createFlowRun", "POST", f"{FLOWS}/runs", json={"flowId": flow_id}).json()["id"]
    it.says("retrieveFlowRun", "GET", f"{FLOWS}/runs/{run}")
    it.says("postAction", "POST", f"{FLOWS}/runs/{run}/action?op=RE_TRIGGER")
    it.says("deleteByFlow", "DELETE", f"{FLOWS}/flows/{flow_id}")


def _specs(it: Platform) -> None:
    for kind, stem in (("connectionSpecs", "ConnectionSpec"), ("flowSpecs", "FlowSpec")):
        it.says(f"list{stem}s", "GET", f"{FLOWS}/{kind}")
        spec = it.call("GET", f"{FLOWS}/{kind}?property=name==generic-streaming,GenericStreamingAEP").json()["items"][0]
        it.says(f"retrieve{stem}", "GET", f"{FLOWS}/{kind}/{spec['id']}")
        it.says(f"retrieve{stem}", "GET", f"{FLOWS}/{kind}/{NONE}")
        it.says(f"create{stem}", "POST", f"{FLOWS}/{kind}", json=spec)
        it.says(f"create{stem}", "POST", f"{FLOWS}/{kind}", json={})
        it.says(f"update{stem}", "PUT", f"{FLOWS}/{kind}/{spec['id']}", json=spec)
        it.says(f"update{stem}", "PUT", f"{FLOWS}/{kind}/{NONE}", json=spec)
    it.says("exploreByConnectionSpecId", "GET", f"{FLOWS}/connectionSpecs/{CAPILLARY}/explore")
    it.says("configByConnectionSpecId", "GET", f"{FLOWS}/connectionSpecs/{CAPILLARY}/configs?outputType=activationDatasets")
    it.says("configByConnectionSpecId", "GET", f"{FLOWS}/connectionSpecs/{NONE}/configs")
    it.says("searchFlowSpecs", "POST", f"{FLOWS}/flowSpecs/search", json={"limit": 2})
    it.says("searchFlowSpecs", "POST", f"{FLOWS}/flowSpecs/search", json={"limit": "many"})


def _ends(it: Platform, made: dict[str, str]) -> None:
    lake = {"name": "t", "connectionSpec": {"id": LAKE, "version": "1.0"}, "params": {"dataSetId": made["dataset"]}}
    source = {"name": "s", "connectionSpec": {"id": CAPILLARY, "version": "1.0"}}
    for kind, stem, body, action in (
        ("sourceConnections", "SourceConnection", source, "performAction_1"),
        ("targetConnections", "TargetConnection", lake, "performAction_2"),
    ):
        end = it.says(f"create{stem}", "POST", f"{FLOWS}/{kind}", json=body).json()["id"]
        draft = it.says(f"create{stem}", "POST", f"{FLOWS}/{kind}?mode=draft", json=body).json()["id"]
        it.says(f"create{stem}", "POST", f"{FLOWS}/{kind}", json={"name": "x"})
        it.says(action, "POST", f"{FLOWS}/{kind}/{draft}/action?op=PUBLISH")
        it.says(action, "POST", f"{FLOWS}/{kind}/{draft}/action?op=PUBLISH")
        it.says(f"get{stem}s", "GET", f"{FLOWS}/{kind}?limit=2")
        it.says(f"get{stem}s", "GET", f"{FLOWS}/{kind}?orderby=!")
        it.says(f"retrieve{stem}", "GET", f"{FLOWS}/{kind}/{end}")
        it.says(f"retrieve{stem}", "GET", f"{FLOWS}/{kind}/{NONE}")
        etag = {"if-match": it.call("GET", f"{FLOWS}/{kind}/{end}").json()["items"][0]["etag"]}
        it.says(f"patch{stem}", "PATCH", f"{FLOWS}/{kind}/{end}", json=RENAME, headers=etag)
        it.says(f"patch{stem}", "PATCH", f"{FLOWS}/{kind}/{end}", json=[{"op": "move", "path": "/name"}], headers=etag)
        it.says(f"delete{stem}", "DELETE", f"{FLOWS}/{kind}/{made[kind.removesuffix('Connections')]}")


def _flows(it: Platform, made: dict[str, str]) -> None:
    flow = it.call("GET", f"{FLOWS}/flows/{made['flow']}").json()["items"][0]
    body = {name: flow[name] for name in ("flowSpec", "sourceConnectionIds", "targetConnectionIds")} | {"name": "second"}
    scheduled = body | {"scheduleParams": {"startTime": "1", "interval": 15}}
    second = it.says("createFlow", "POST", f"{FLOWS}/flows", json=scheduled).json()["id"]
    it.says("deleteByFlow", "DELETE", f"{FLOWS}/flows/{second}")
    it.says("createFlow", "POST", f"{FLOWS}/flows", json=body | {"state": "enabled"})
    for query in ("", "?limit=1", "?count=true", "?property=inheritedAttributes.properties.isSourceFlow==true"):
        it.says("listFlows", "GET", f"{FLOWS}/flows{query}")
    it.says("listFlows", "GET", f"{FLOWS}/flows?count=true&limit=3")
    it.says("retrieveFlow", "GET", f"{FLOWS}/flows/{made['flow']}")
    it.says("retrieveFlow", "GET", f"{FLOWS}/flows/{NONE}")
    it.says("getFlowsByFilters", "POST", f"{FLOWS}/flows/search", json={"queryString": "property=state==enabled"})
    it.says("getFlowsByFilters", "POST", f"{FLOWS}/flows/search", json={"queryString": "property=name~x"})
    it.says("patchFlow", "PATCH", f"{FLOWS}/flows/{made['flow']}", json=RENAME, headers={"if-match": flow["etag"]})
    it.says("patchFlow", "PATCH", f"{FLOWS}/flows/{made['flow']}", json=RENAME, headers={"if-match": flow["etag"]})
    for operation in ("DISABLE", "DISABLE", "ENABLE", "FINALIZE"):
        it.says("postStateTransition", "POST", f"{FLOWS}/flows/{made['flow']}/action?op={operation}")


def _runs(it: Platform, made: dict[str, str]) -> None:
    run = it.says("listFlowRuns", "GET", f"{FLOWS}/runs?property=flowId=={made['flow']}").json()["items"][0]
    it.says("listFlowRuns", "GET", f"{FLOWS}/runs?property=metrics.statusSummary.status==Success")
    it.says("listFlowRuns", "GET", f"{FLOWS}/runs?property=a~b")
    it.says("retrieveFlowRun", "GET", f"{FLOWS}/runs/{run['id']}")
    it.says("retrieveFlowRun", "GET", f"{FLOWS}/runs/{NONE}")
    it.says("createFlowRun", "POST", f"{FLOWS}/runs", json={"flowId": made["flow"], "status": "active"})
    it.says("updateRun", "PUT", f"{FLOWS}/runs/{run['id']}", json={}, headers={"if-match": run["etag"]})
    it.says("postAction", "POST", f"{FLOWS}/runs/{run['id']}/action?op=RE_TRIGGER")
