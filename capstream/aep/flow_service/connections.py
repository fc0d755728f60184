"""Connections ("accounts"): credentials, their check, the inlet they open. Source: flow-service.md 2, 3.1, 4, 6, 7."""

from collections.abc import Mapping

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.flow_service import rules
from capstream.aep.flow_service.entities import (
    CONNECTIONS,
    FLOWS,
    SOURCE_CONNECTIONS,
    FlowService,
    Shown,
    apply_changes,
    changes_of,
    check_etag,
    created,
    is_draft,
    listed,
    named,
    new_entity,
    object_of,
    publishable,
    receipt,
    searched,
    spec_id_of,
    spec_reference,
    touched,
)
from capstream.aep.flow_service.errors import invalid, not_built, refusal
from capstream.aep.flow_service.exploring import explore, holds_files, problem_of, proven
from capstream.aep.flow_service.file_store import HOST_KEY
from capstream.aep.flow_service.internal import all_of
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.model import Inlet, State, remove_inlet, save_inlet
from capstream.aep.flow_service.patching import Change
from capstream.aep.flow_service.secrets import MASK, is_sealed, masked, sealed, sealed_text, secret_members
from capstream.aep.flow_service.shelf import Entities
from capstream.aep.flow_service.specs import HTTP_API, Spec, auth_spec, is_streaming_source
from capstream.kernel.ids import new_inlet_id
from capstream.kernel.json import Json, dumps
from capstream.kernel.sftp import key_problem
from capstream.storage.ports import Transaction

_INLET_MEMBERS = ("inletId", "inletUrl")
_CHANGEABLE = frozenset({State.ENABLED, State.DISABLED})


def handlers(service: FlowService) -> dict[str, Handler]:
    """Return the handlers of the connection operations by operationId."""
    return {
        "listConnections": lambda call: listed(call, CONNECTIONS, _all(service, call), _shown(service, call)),
        "createConnection": lambda call: _create(service, call),
        "retrieveConnection": lambda call: Answer(body={"items": [_shown(service, call)(_existing(service, call))]}),
        "testConnection": lambda call: _test(service, call),
        "getByConnectionId": lambda call: _explore(service, call),
        "performAction": lambda call: _act(service, call),
        "deleteConnection": lambda call: _delete(service, call),
        "patchConnection": lambda call: _patch(service, call),
        "exploreConfigByConnectionId": lambda call: _configs(service, call),
        "getConnectionsByFilters": lambda call: searched(call, CONNECTIONS, _all(service, call), _shown(service, call)),
    }


def _all(service: FlowService, call: Call) -> Entities:
    return service.shelf(CONNECTIONS).all(call.sandbox.id)


def _existing(service: FlowService, call: Call) -> Document:
    return service.existing(call, CONNECTIONS, call.params["id"])


def _shown(service: FlowService, call: Call) -> Shown:
    """Return the function that shows a stored connection: secrets masked, the inlet URL resolved now."""

    def shown(connection: Document) -> Document:
        auth = connection.get("auth")
        if not auth:
            return connection
        params = masked(auth["params"])
        if params.get("inletId"):
            params["inletUrl"] = service.inlet_url(call, params["inletId"])
        return connection | {"auth": auth | {"params": params}}

    return shown


def _create(service: FlowService, call: Call) -> Answer:
    body = object_of(call)
    name = named(call, body)
    spec = _spec(service, call, spec_id_of(call, body, "connectionSpec"))
    members: Document = {"name": name, "description": body.get("description")}
    members["connectionSpec"] = spec_reference(body, "connectionSpec", spec)
    auth = _auth(service, call, spec, body.get("auth"), name)
    if auth is not None:
        members["auth"] = auth
    state = State.DRAFT if is_draft(call) else State.ENABLED
    connection = new_entity(call, {key: value for key, value in members.items() if value is not None}, state)
    if state is State.ENABLED:
        _prove(service, call, connection, spec)
    with service.documents.transaction() as change:
        if state is State.ENABLED:
            _open_inlet(call, change, connection, spec)
        _put(call, change, connection)
    return created(CONNECTIONS, connection)


def _prove(service: FlowService, call: Call, connection: Document, spec: Spec) -> None:
    """Open a session with an enabled connection to files; its server's key becomes the one that is trusted."""
    if holds_files(spec) and connection.get("auth"):
        connection["auth"]["params"][HOST_KEY] = proven(service, call, connection)


def _spec(service: FlowService, call: Call, spec_id: str) -> Spec:
    spec = service.connection_specs.get(spec_id)
    if spec is None:
        raise refusal(call, 1413, f"The connection spec {spec_id} does not exist.", id=spec_id, type="connectionSpecs")
    return spec


def _put(call: Call, change: Transaction, connection: Document) -> None:
    change.put(CONNECTIONS.collection, [(f"{call.sandbox.id}/{connection['id']}", dumps(connection))])


def _auth(service: FlowService, call: Call, spec: Spec, sent: Json, name: str) -> Document | None:
    """Return `auth` ready to store, None for specs without authentication (aepp sends none there)."""
    if not spec.get("authSpec"):
        if is_streaming_source(spec):
            params = sent.get("params") if isinstance(sent, dict) else None
            return {"specName": "", "params": _with_defaults(spec, {}, params or {}, name)}
        return None
    if not isinstance(sent, dict) or not isinstance(sent.get("params"), dict):
        raise invalid(call, "auth must be an object with specName and params")
    chosen = _checked_auth(call, spec, sent, frozenset())
    schema = chosen.get("spec") or {}
    params = {key: value for key, value in sent["params"].items() if key not in _INLET_MEMBERS}
    if is_streaming_source(spec):
        params = _with_defaults(spec, schema, params, name)
    return {"specName": chosen["name"], "params": sealed(service.vault, params, secret_members(schema), {})}


def _checked_auth(call: Call, spec: Spec, auth: Mapping[str, Json], kept: frozenset[str]) -> Document:
    """Return the authentication spec that `auth` names and satisfies. Errors: 1415, 1100."""
    chosen = auth_spec(spec, str(auth.get("specName") or ""))
    if chosen is None:
        names = ", ".join(repr(each.get("name")) for each in spec["authSpec"])
        detail = f"auth.specName {auth.get('specName')!r} is not one of the connection spec's: {names}"
        raise refusal(call, 1415, detail, id=spec["id"], type="connectionSpecs")
    problems = rules.param_problems(chosen.get("spec") or {}, auth["params"], given=kept)
    if auth["params"].get("dataType") not in (None, "xdm", "raw"):
        problems.append("auth.params.dataType must be xdm or raw")
    if auth["params"].get(HOST_KEY) and (problem := key_problem(str(auth["params"][HOST_KEY]))):
        problems.append(f"auth.params.{HOST_KEY}: {problem}")
    if problems:
        raise invalid(call, "; ".join(problems))
    return chosen


def _with_defaults(spec: Spec, schema: Mapping[str, Json], params: Mapping[str, Json], name: str) -> Document:
    """Return inlet parameters with every default spelled out: they read back explicitly."""
    properties: Mapping[str, Json] = schema.get("properties") or {}
    inlet: Document = {"dataType": "xdm" if spec["id"] == HTTP_API else "raw", "authenticationRequired": False}
    inlet |= {key: rule["default"] for key, rule in properties.items() if isinstance(rule, dict) and "default" in rule}
    chosen = inlet | {key: value for key, value in params.items() if value is not None}
    chosen["name"] = chosen.get("name") or name
    chosen["sourceId"] = chosen.get("sourceId") or chosen["name"]
    return chosen


def _open_inlet(call: Call, change: Transaction, connection: Document, spec: Spec) -> None:
    """Give an enabled streaming connection its inlet; its id becomes part of `auth.params`."""
    if not is_streaming_source(spec):
        return
    params = connection["auth"]["params"]
    if not params.get("inletId"):
        params["inletId"] = new_inlet_id(call.caller.org_id, call.sandbox.id, connection["id"])
    save_inlet(change, _inlet(call, connection))


def _inlet(call: Call, connection: Document) -> Inlet:
    params = connection["auth"]["params"]
    return Inlet(
        id=params["inletId"],
        org_id=connection["imsOrgId"],
        sandbox=call.sandbox,
        source_id=str(params["sourceId"]),
        data_type=str(params["dataType"]),
        authentication_required=bool(params["authenticationRequired"]),
        connection_id=connection["id"],
        enabled=connection["state"] == State.ENABLED,
        hmac_secret=sealed_text(params.get("hmacSecret")),
    )


def _patch(service: FlowService, call: Call) -> Answer:
    stored = _existing(service, call)
    check_etag(call, stored, strict=service.strict)
    _check_changeable(call, stored)
    changes = changes_of(call)
    if any(change.steps[0] == "connectionSpec" for change in changes):
        raise refusal(call, 1414, "The connection spec of a connection cannot be changed. Create another connection.")
    spec = _spec(service, call, stored["connectionSpec"]["id"])
    visible = _shown(service, call)(stored)
    patched = apply_changes(call, visible, [_merging(change, visible) for change in changes])
    updated = touched(call, patched)
    if "auth" in stored:
        updated["auth"] = _patched_auth(service, call, spec, patched.get("auth"), stored["auth"])
        if any(change.steps[0] == "auth" for change in changes):
            _forget_host_key(updated["auth"]["params"], stored["auth"]["params"])
            _prove(service, call, updated, spec)
    with service.documents.transaction() as change:
        if updated.get("auth", {}).get("params", {}).get("inletId"):
            save_inlet(change, _inlet(call, updated))
        _put(call, change, updated)
    return receipt(updated)


def _forget_host_key(params: Document, before: Document) -> None:
    """Leave out the key of another server than the one the parameters now name."""
    moved = any(params.get(name) != before.get(name) for name in ("host", "port"))
    if moved and params.get(HOST_KEY) == before.get(HOST_KEY):
        params.pop(HOST_KEY, None)


def _merging(change: Change, visible: Document) -> Change:
    """Return a change of `/auth/params` as a merge: it replaces the given members and leaves the others."""
    if change.steps != ("auth", "params") or change.op == "remove" or not isinstance(change.value, dict):
        return change
    return Change(op=change.op, steps=change.steps, value=visible["auth"]["params"] | change.value)


def _patched_auth(service: FlowService, call: Call, spec: Spec, sent: Json, stored: Document) -> Document:
    if not isinstance(sent, dict) or not isinstance(sent.get("params"), dict):
        raise invalid(call, "auth must stay an object with specName and params")
    kept = frozenset(name for name, value in stored["params"].items() if is_sealed(value) and sent["params"].get(name) == MASK)
    params = {name: value for name, value in sent["params"].items() if name not in _INLET_MEMBERS}
    schema: Mapping[str, Json] = {}
    if spec.get("authSpec"):
        schema = _checked_auth(call, spec, sent | {"params": params}, kept).get("spec") or {}
    if is_streaming_source(spec):
        params = _with_defaults(spec, schema, params, str(stored["params"]["name"]))
    params |= {name: value for name, value in stored["params"].items() if name == "inletId"}
    return {
        "specName": sent.get("specName", ""),
        "params": sealed(service.vault, params, secret_members(schema), stored["params"]),
    }


def _check_changeable(call: Call, connection: Document) -> None:
    if connection["state"] not in _CHANGEABLE:
        detail = f"Connection {connection['id']} is in state {connection['state']}; it can be changed when enabled or disabled"
        raise refusal(call, 1416, detail, id=connection["id"], type="connections")


def _delete(service: FlowService, call: Call) -> Answer:
    connection = _existing(service, call)
    _check_changeable(call, connection)
    flow_id = _user_of(service, call, connection["id"])
    if flow_id:
        detail = f"Connection {connection['id']} is used by flow {flow_id}. Delete the flow first."
        raise refusal(call, 1418, detail, id=connection["id"], type="connections")
    inlet = service.inlets.get(connection["id"])
    with service.documents.transaction() as change:
        change.delete(CONNECTIONS.collection, [f"{call.sandbox.id}/{connection['id']}"])
        if inlet is not None:
            remove_inlet(change, inlet)
    return Answer(status=204)


def _user_of(service: FlowService, call: Call, connection_id: str) -> str:
    """Return the id of a flow that draws on this connection, empty when none does."""
    sources = {
        source["id"] for source in all_of(service, call, SOURCE_CONNECTIONS) if source.get("baseConnectionId") == connection_id
    }
    flows = all_of(service, call, FLOWS)
    return next((flow["id"] for flow in flows if not sources.isdisjoint(flow["sourceConnectionIds"])), "")


def _act(service: FlowService, call: Call) -> Answer:
    connection = _existing(service, call)
    check_etag(call, connection, required=False)
    publishable(call, connection, CONNECTIONS)
    spec = _spec(service, call, connection["connectionSpec"]["id"])
    published = touched(call, connection, state=State.ENABLED.value)
    _prove(service, call, published, spec)
    with service.documents.transaction() as change:
        _open_inlet(call, change, published, spec)
        _put(call, change, published)
    return receipt(published)


def _test(service: FlowService, call: Call) -> Answer:
    """Say whether the stored credentials obtain a token or open a session; true for specs without any (ASSUMPTION)."""
    connection = _existing(service, call)
    spec = _spec(service, call, connection["connectionSpec"]["id"])
    if not is_streaming_source(spec) and not holds_files(spec):
        raise not_built(call, f"The connection test of spec {spec['name']}")
    if holds_files(spec):
        problem = problem_of(service, call, connection, spec)
        return Answer(body={"result": not problem} | ({"message": problem} if problem else {}))
    params = (connection.get("auth") or {}).get("params") or {}
    client_id, secret = params.get("clientId"), sealed_text(params.get("clientSecret"))
    usable = not client_id or not secret or service.can_obtain_token(str(client_id), service.vault.unseal(secret))
    return Answer(body={"result": usable})


def _explore(service: FlowService, call: Call) -> Answer:
    connection = _existing(service, call)
    return explore(service, call, connection, _spec(service, call, connection["connectionSpec"]["id"]))


def _configs(service: FlowService, call: Call) -> Answer:
    connection = _existing(service, call)
    spec = _spec(service, call, connection["connectionSpec"]["id"])
    columns = (spec.get("exploreSpec") or {}).get("columns") or []
    items = [{"columnName": each.get("name"), "columnType": each.get("type")} for each in columns]
    return Answer(body={"items": items})
