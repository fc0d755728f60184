"""The operations of the Identity Service: namespaces, XIDs, graphs. Source: identity.md 2.3, 3."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.identity_service.extraction import Resolver
from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.identity_service.namespaces import MOST_CUSTOM, Namespace, Namespaces, NamespaceTable, read_wanted
from capstream.aep.identity_service.resolution import AskedIdentities
from capstream.aep.identity_service.rules import Graph, Identity, Member
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

MOST_ASKED = 1000
_ALGORITHM = "STITCH_ALL"


@dataclass(frozen=True, slots=True)
class _Service:
    namespaces: Namespaces
    graphs: Graphs
    asked: AskedIdentities


@dataclass(frozen=True, slots=True)
class _Question:
    """One identity of a request: how it was named, and its XID (empty when the pair is not valid)."""

    named: Json  #: the composite or the XID string, as sent
    xid: str
    form: str  #: `xid`, `nsid`, `ns` or `namespace`


def handlers(control: Documents, state: Documents) -> Mapping[str, Handler]:
    """Return the handlers by operation."""
    service = _Service(Namespaces(control), Graphs(state), AskedIdentities(control))
    return {
        "getIdNamespaces": lambda call: _list_namespaces(service, call),
        "createNamespace": lambda call: _create_namespace(service, call),
        "retrieveIdentityNamespace": lambda call: Answer(body=_plain(_namespace(service, call))),
        "updateIdentityNamespace": lambda call: _update_namespace(service, call),
        "retrieveIdentity": lambda call: _retrieve_identity(service, call),
        "getGraphs": lambda call: _graphs(service, call),
        "listClusterMembers": lambda call: _cluster(service, call),
        "getListOfClusterMembers": lambda call: _clusters(service, call),
        "listClusterMembersByPost": lambda call: _clusters(service, call),
    }


def _list_namespaces(service: _Service, call: Call) -> Answer:
    return Answer(body=[_plain(namespace) for namespace in service.namespaces.table(call.caller.org_id).all()])


def _create_namespace(service: _Service, call: Call) -> Answer:
    wanted = read_wanted(call.json())
    if isinstance(wanted, str):
        raise _problem("UIS-4001", 400, "Bad Request", wanted)
    table = service.namespaces.table(call.caller.org_id)
    if any(namespace.code.lower() == wanted.code.lower() for namespace in table.all()):
        raise _problem("UIS-4090", 409, "Conflict", f"Namespace code '{wanted.code}' already exists.")
    if any(namespace.name.lower() == wanted.name.lower() for namespace in table.all()):
        raise _problem("UIS-4090", 409, "Conflict", f"Namespace name '{wanted.name}' already exists.")
    if sum(namespace.custom for namespace in table.all()) >= MOST_CUSTOM:
        raise _problem("UIS-4001", 400, "Bad Request", f"An organization has at most {MOST_CUSTOM} custom namespaces.")
    return Answer(body=_plain(service.namespaces.create(call.caller.org_id, wanted, call.now_ms)))


def _update_namespace(service: _Service, call: Call) -> Answer:
    stored = _namespace(service, call)
    wanted = read_wanted(call.json())
    if isinstance(wanted, str):
        raise _problem("UIS-4001", 400, "Bad Request", wanted)
    if not stored.custom:
        raise _problem("UIS-4064", 403, "Forbidden", f"Namespace '{stored.code}' is a standard one and cannot be changed.")
    if wanted.code != stored.code or wanted.id_type.value != stored.idType:
        raise _problem("UIS-4001", 400, "Bad Request", "'code' and 'idType' of a namespace cannot be changed.")
    changed = msgspec.structs.replace(stored, name=wanted.name, description=wanted.description, updateTime=call.now_ms)
    service.namespaces.save(call.caller.org_id, changed)
    return Answer(body=[_plain(changed)])


def _namespace(service: _Service, call: Call) -> Namespace:
    text = call.params["ID"]
    found = service.namespaces.table(call.caller.org_id).numbered(int(text)) if text.isascii() and text.isdigit() else None
    if found is None:
        raise _problem("UIS-4040", 404, "Not Found", f"Namespace '{text}' does not exist.")
    return found


def _retrieve_identity(service: _Service, call: Call) -> Answer:
    table = service.namespaces.table(call.caller.org_id)
    namespace = call.arg("namespace") or call.arg("nsid")
    identity = _identity(call.caller.org_id, table, namespace, call.arg("id"))
    if identity is None:
        raise _invalid(namespace, call.arg("id"))
    if service.graphs.identity(call.sandbox.id, identity.xid) is None:
        service.asked.remember(call.sandbox.id, identity)
    return Answer(body={"xid": identity.xid})


def _graphs(service: _Service, call: Call) -> Answer:
    body = call.json()
    if not isinstance(body, dict):
        raise _invalid_input("The request body must be a JSON object.")
    projection = body.get("projection_type")
    if projection not in {"set", "graph"}:
        reason = f"Validation error Request id: {call.request_id}."
        message = "Graph Request Invalid - projection types available are [graph|set]."
        raise ApiError(400, {"reason": reason, "message": message})
    if projection == "graph" and (body.get("aam_properties") or {}).get("return_data_sources"):
        raise _invalid_input("aam_properties.return_data_sources is available with projection_type 'set' only.")
    table = service.namespaces.table(call.caller.org_id)
    questions = _questions(body, call.caller.org_id, table)
    foreign = str(body.get("graph_type") or "pdg") not in {"pdg", "private"}
    by_xid = bool(questions) and questions[0].form == "xid"
    wanted = _filter(body, table)
    graphs: list[Json] = []
    unprocessed: list[Json] = []
    for question in questions:
        members = service.graphs.members(call.sandbox.id, question.xid) if question.xid and not foreign else []
        if not members:
            unprocessed.append(question.named)
            continue
        shown = [member for member in members if wanted is None or member.nsid in wanted or member.xid == question.xid]
        entry: dict[str, Json] = {"xid" if by_xid else "composite_xid": question.named}
        if projection == "set":
            entry["members"] = [_named(member, question.form, table) for member in shown]
            if (body.get("aam_properties") or {}).get("return_data_sources"):
                entry["datasources"] = []
        else:
            graph = service.graphs.graph(call.sandbox.id, question.xid)
            entry |= _drawn(graph, shown, question.form, table, edges_meta=bool(body.get("require_edge_meta_data")))
        graphs.append(entry)
    rest = "unprocessed_xids" if by_xid else "unprocessed_composite_xids"
    return Answer(body={"version": "2.0", "graphs": graphs, rest: unprocessed, "algo_type": _ALGORITHM})


def _drawn(
    graph: Graph | None, shown: Sequence[Member], form: str, table: NamespaceTable, *, edges_meta: bool
) -> dict[str, Json]:
    """Return vertices and edges of a graph."""
    by_xid = {member.xid: member for member in shown}
    one, pair = ("xid", "xid_pair") if form == "xid" else ("composite_xid", "composite_xid_pair")
    edges: list[Json] = []
    for link in graph.links if graph else ():
        if link.a not in by_xid or link.b not in by_xid:
            continue
        edge: dict[str, Json] = {
            pair: [_named(by_xid[link.a], form, table), _named(by_xid[link.b], form, table)],
            "first_established_ts": link.first_ms,
            "last_established_ts": link.last_ms,
        }
        if edges_meta:
            edge |= {"dataset_ids": list(link.datasets), "batch_ids": list(link.batches)}
        edges.append(edge)
    vertices = [{one: _named(member, form, table), "last_updated_ts": member.updated_ms} for member in shown]
    return {"vertices": vertices, "edges": edges}


def _filter(body: dict[str, Json], table: NamespaceTable) -> set[int] | None:
    """Return the namespace ids that `filter` lets through, None when it names none. Other predicates are ignored."""
    wanted: set[int] | None = None
    for entry in body.get("filter") or []:
        for predicate in (entry.get("predicate") or []) if isinstance(entry, dict) else []:
            if predicate.get("v_prop") in {"ns", "nsid"} and predicate.get("op") in {"=", "in"}:
                values = predicate.get("value")
                codes = values if isinstance(values, list) else [values]
                found = [table.find(str(code)) for code in codes]
                wanted = (wanted or set()) | {namespace.id for namespace in found if namespace}
    return wanted


def _cluster(service: _Service, call: Call) -> Answer:
    org_id, table = call.caller.org_id, service.namespaces.table(call.caller.org_id)
    if call.arg("xid"):
        question = _Question(call.arg("xid"), call.arg("xid"), "xid")
    else:
        form = "namespace" if call.arg("namespace") else "nsid"
        composite = {form: call.arg(form), "id": call.arg("id")}
        question = _question(composite, form, org_id, table)
        if not question.xid:
            raise _invalid(call.arg(form), call.arg("id"))
    return Answer(body=_member_lists(service, call.sandbox.id, [question], table, call.arg("graph-type", "pdg")))


def _clusters(service: _Service, call: Call) -> Answer:
    body = call.json()
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, dict):
        raise _invalid_input("The request body must be a JSON object.")
    org_id, table = call.caller.org_id, service.namespaces.table(call.caller.org_id)
    for member, form in (("xids", "xid"), ("compositeXids", "nsid"), ("compositeXidsWithNamespace", "namespace")):
        if body.get(member):
            questions = [_question(one, form, org_id, table) for one in body[member]]
            return Answer(body=_member_lists(service, call.sandbox.id, questions, table, str(body.get("graph-type") or "pdg")))
    raise _invalid_input("One of xids, compositeXids, compositeXidsWithNamespace is required.")


def _member_lists(
    service: _Service, sandbox_id: str, questions: Sequence[_Question], table: NamespaceTable, graph_type: str
) -> dict[str, Json]:
    """Return the deprecated answer. Source: identity.md 3.2."""
    clusters: list[Json] = []
    unprocessed: list[Json] = []
    for question in questions:
        members = service.graphs.members(sandbox_id, question.xid) if question.xid and graph_type == "pdg" else []
        if not members:
            unprocessed.append(question.named)
            continue
        key = "xid" if question.form == "xid" else "compositeXid"
        clusters.append({key: question.named, "members": [_named(member, question.form, table) for member in members]})
    return {"version": "1.1.0", "clusters": clusters, "unprocessedRecords": unprocessed, "algo_type": _ALGORITHM}


def _questions(body: dict[str, Json], org_id: str, table: NamespaceTable) -> list[_Question]:
    # aepp sends `composite_xid`: a dict, a list of them, or a list of XIDs.
    asked = body.get("composite_xids") or body.get("composite_xid") or body.get("xids") or []
    asked = asked if isinstance(asked, list) else [asked]
    if not 0 < len(asked) <= MOST_ASKED:
        raise _invalid_input(f"composite_xids or xids: 1 to {MOST_ASKED} identities are required.")
    forms = ["xid" if isinstance(one, str) else "ns" if isinstance(one, dict) and "ns" in one else "nsid" for one in asked]
    return [_question(one, form, org_id, table) for one, form in zip(asked, forms, strict=True)]


def _question(named: Json, form: str, org_id: str, table: NamespaceTable) -> _Question:
    if form == "xid":
        value = named.get("xid") if isinstance(named, dict) else named
        return _Question(value, str(value), "xid")
    if not isinstance(named, dict):
        return _Question(named, "", form)
    identity = _identity(org_id, table, str(named.get(form, "")), str(named.get("id", "")))
    return _Question(named, identity.xid if identity else "", form)


def _identity(org_id: str, table: NamespaceTable, namespace: str, value: str) -> Identity | None:
    found = table.find(namespace) if namespace and value else None
    identity = Resolver(org_id, table).of(found, value) if found else None
    return identity if isinstance(identity, Identity) else None


def _named(member: Member, form: str, table: NamespaceTable) -> Json:
    if form == "xid":
        return member.xid
    if form == "nsid":
        return {"nsid": member.nsid, "id": member.value}
    namespace = table.numbered(member.nsid)
    return {form: namespace.code if namespace else str(member.nsid), "id": member.value}


def _plain(namespace: Namespace) -> Json:
    return msgspec.to_builtins(namespace)


def _problem(code: str, status: int, title: str, detail: str) -> ApiError:
    body = {"type": f"https://ns.adobe.com/aep/errors/{code}-{status}", "status": status, "title": title, "detail": detail}
    return ApiError(status, body)


def _invalid(namespace: str, value: str) -> ApiError:
    return _invalid_input(
        f"The provided namespace={namespace} and id={value} is invalid. Please provide a valid namespace and id in your request."
    )


def _invalid_input(detail: str) -> ApiError:
    return ApiError(400, {"title": "InvalidInput", "status": 400, "detail": detail})
