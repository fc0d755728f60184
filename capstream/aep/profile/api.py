"""The operations of the Profile API that are built: access to entities, merge policies (reading), sample status."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.identity_service.resolution import AskedIdentities
from capstream.aep.profile import deletion, errors
from capstream.aep.profile.access import (
    Asked,
    Sources,
    asked_identity,
    events_answer,
    nobody,
    policy_of,
    profile_answer,
)
from capstream.aep.profile.filters import BadFilter, properties_filter, read_position
from capstream.aep.profile.model import EVENT_CLASS, PROFILE_CLASS
from capstream.aep.profile.policies import MergePolicies, rendered
from capstream.aep.profile.preview import Preview
from capstream.aep.profile.reader import EventQuery, ProfileReader
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

MOST_IDENTITIES = 100  # ASSUMPTION
MOST_EVENTS = 1000


def handlers(control: Documents, state: Documents, inlet_end: Callable[[], int]) -> Mapping[str, Handler]:
    """Return the handlers by operation. `inlet_end` gives the newest offset of the inlet log: a deletion reaches to it."""
    sources = Sources(
        ProfileReader(state, control), MergePolicies(control), Namespaces(control), Graphs(state), AskedIdentities(control)
    )
    preview = Preview(state, sources.namespaces)
    return {
        "retrieveEntity": lambda call: _retrieve(sources, call),
        "retrieveMultipleEntities": lambda call: _retrieve_several(sources, call),
        "deleteEntity": lambda call: _delete(sources, call, (control, state), inlet_end()),
        "getMany": lambda call: _policies(sources.policies, call),
        "retrieveMergePolicy": lambda call: _policy(sources.policies, call),
        "bulkGetMergePolicies": lambda call: _policies_by_id(sources.policies, call),
        "previewSampleStatus": lambda call: Answer(body=preview.status(call.sandbox.id, call.now_ms)),
        "profileDatasetReport": lambda call: Answer(body=preview.by_dataset(call.sandbox.id, call.now_ms)),
        "profileNamespaceReport": lambda call: Answer(
            body=preview.by_namespace(call.sandbox.id, call.caller.org_id, call.now_ms)
        ),
    }


def _retrieve(sources: Sources, call: Call) -> Answer:
    schema = call.arg("schema.name")
    if schema == EVENT_CLASS:
        return _retrieve_events(sources, call)
    if schema != PROFILE_CLASS:
        raise _wrong_schema(schema)
    asked = asked_identity(sources, call.caller.org_id, call.arg("entityId"), call.arg("entityIdNS"))
    policy = policy_of(sources, call.sandbox.id, call.arg("mergePolicyId"))
    profile = sources.reader.profile(call.sandbox.id, asked.xid, policy, sources.namespaces.table(call.caller.org_id))
    if profile is None:
        raise errors.not_found("No profile fragment is stored under this identity nor its graph.")
    return Answer(body={asked.xid: profile_answer(asked, profile, policy, _listed(call.arg("fields")))})


def _retrieve_events(sources: Sources, call: Call) -> Answer:
    entity_id = call.arg("relatedEntityId") or call.arg("entityId")
    namespace = call.arg("relatedEntityIdNS") or call.arg("entityIdNS")
    asked = asked_identity(sources, call.caller.org_id, entity_id, namespace)
    policy = policy_of(sources, call.sandbox.id, call.arg("mergePolicyId"))
    names = {"start", "offsets"}
    link = [(name, value) for name, value in call.query if name.lower() not in names]
    query = _event_query(
        {
            "startTime": call.arg("startTime"),
            "endTime": call.arg("endTime"),
            "limit": call.arg("limit"),
            "orderby": call.arg("orderby"),
            "start": call.arg("start") or call.arg("offsets"),
        },
        call.args("property"),
    )
    page = sources.reader.events(call.sandbox.id, asked.xid, policy, query)
    return Answer(body=events_answer(asked, page, query, _listed(call.arg("fields")), link))


def _retrieve_several(sources: Sources, call: Call) -> Answer:
    body = call.json()
    if not isinstance(body, dict):
        raise errors.bad_request("the body must be a JSON object")
    schema = _member(body.get("schema"), "name")
    identities = body.get("identities")
    if schema not in {PROFILE_CLASS, EVENT_CLASS}:
        raise _wrong_schema(schema)
    if not isinstance(identities, list) or not 0 < len(identities) <= MOST_IDENTITIES:
        raise errors.bad_request(f"identities: a list of 1 to {MOST_IDENTITIES} identities is required")
    answered: dict[str, Json] = {}
    failed: list[Json] = []
    for identity in identities:
        try:
            asked, found = _answer_one(sources, call, body, identity)
            answered[asked.xid] = found
        except ApiError as error:
            status, detail = error.answer.status, error.answer.body["detail"]
            named = _member(identity, "entityId") or _member(identity, "relatedEntityId")
            told = {"message": f"UPS-MRG-1000001: {detail}", "cause": error.answer.body["title"], "statusCode": str(status)}
            failed.append({"xid": named, "error": told})
    if failed:
        return Answer(status=207, body=failed)
    return Answer(body=answered)


def _answer_one(sources: Sources, call: Call, body: dict[str, Json], identity: Json) -> tuple[Asked, dict[str, Json]]:
    is_event = _member(body.get("schema"), "name") == EVENT_CLASS
    prefix = "relatedEntityId" if is_event and _member(identity, "relatedEntityId") else "entityId"
    namespace = identity.get(f"{prefix}NS") if isinstance(identity, dict) else None
    asked = asked_identity(sources, call.caller.org_id, _member(identity, prefix), _member(namespace, "code"))
    policy = policy_of(sources, call.sandbox.id, str(body.get("mergePolicyId") or ""))
    fields = [str(field) for field in body.get("fields") or []]
    if not is_event:
        table = sources.namespaces.table(call.caller.org_id)
        profile = sources.reader.profile(call.sandbox.id, asked.xid, policy, table)
        return asked, nobody(asked) if profile is None else profile_answer(asked, profile, policy, fields)
    window = body.get("timeFilter") or {}
    wanted = {
        "startTime": str(window.get("startTime") or ""),
        "endTime": str(window.get("endTime") or ""),
        "limit": str(body.get("limit") or ""),
        "orderby": str(body.get("orderby") or body.get("orderBy") or ""),
        "start": str(body.get("start") or body.get("offsets") or ""),
    }
    query = _event_query(wanted, [])
    answer = events_answer(asked, sources.reader.events(call.sandbox.id, asked.xid, policy, query), query, fields, [])
    following = answer["_page"]["next"]
    if following:
        payload = body | {"identities": [identity], "start": following}
        answer["_links"] = {"next": {"href": "/entities", "payload": payload}}
    return asked, answer


def _delete(sources: Sources, call: Call, stores: tuple[Documents, Documents], inlet_end: int) -> Answer:
    schema = call.arg("schema.name")
    if schema != PROFILE_CLASS:
        raise _wrong_schema(schema)
    asked = asked_identity(sources, call.caller.org_id, call.arg("entityId"), call.arg("entityIdNS"))
    policy = policy_of(sources, call.sandbox.id, call.arg("mergePolicyId"))
    cluster = sources.reader.cluster(call.sandbox.id, asked.xid, policy)
    control, state = stores
    order = deletion.new_deletion(call.sandbox.id, cluster, inlet_end=inlet_end, now_ms=call.now_ms)
    deletion.order(control, state, order)
    return Answer(status=202)


def _policies(policies: MergePolicies, call: Call) -> Answer:
    found = [rendered(policy, call.caller.org_id, call.sandbox) for policy in policies.all(call.sandbox.id)]
    for name, path in _POLICY_FILTERS.items():
        wanted = call.arg(name)
        if wanted:
            found = [policy for policy in found if _at(policy, path) == wanted.lower()]
    key = (call.arg("orderby") or "").strip()
    if key.lstrip("+- "):
        found.sort(key=lambda policy: str(policy.get(key.lstrip("+- "), "")), reverse=key.startswith("-"))
    limit = _number("limit", call.arg("limit"), 20)
    start = _number("start", call.arg("start"), 0)
    page = found[start : start + limit]
    following = start + limit
    href = f"/config/mergePolicies?start={following}&limit={limit}" if following < len(found) else ""
    counts = {"totalCount": len(found), "pageSize": len(page), "count": len(page)}
    return Answer(body={"_page": counts, "children": page, "_links": {"next": {"href": href, "templated": False}}})


_POLICY_FILTERS: Mapping[str, tuple[str, ...]] = {
    "schema.name": ("schema", "name"),
    "identityGraph.type": ("identityGraph", "type"),
    "attributeMerge.type": ("attributeMerge", "type"),
    "version": ("version",),
    "default": ("default",),
}


def _policy(policies: MergePolicies, call: Call) -> Answer:
    policy_id = call.params["mergePolicyId"]
    found = policies.get(call.sandbox.id, policy_id)
    if found is None:
        raise errors.problem(404, "UPCFG-100012", "Not Found", f"merge policy '{policy_id}' does not exist")
    return Answer(body=rendered(found, call.caller.org_id, call.sandbox))


def _policies_by_id(policies: MergePolicies, call: Call) -> Answer:
    body = call.json()
    wanted = body.get("ids") if isinstance(body, dict) else None
    if not isinstance(wanted, list) or not wanted:
        raise errors.bad_request('ids: a list of {"id": ...} is required')
    results: dict[str, Json] = {}
    for entry in wanted:
        policy_id = _member(entry, "id")
        found = policies.get(call.sandbox.id, policy_id)
        missing = errors.problem_body(404, "UPCFG-100012", "Not Found", f"merge policy '{policy_id}' does not exist")
        results[policy_id] = missing if found is None else rendered(found, call.caller.org_id, call.sandbox)
    return Answer(status=207, body={"results": results})


def _event_query(wanted: Mapping[str, str], properties: Sequence[str]) -> EventQuery:
    try:
        query = EventQuery(
            start_ms=_instant("startTime", wanted["startTime"]),
            end_ms=_instant("endTime", wanted["endTime"]),
            newest_first=_is_descending(wanted["orderby"]),
            limit=min(_number("limit", wanted["limit"], MOST_EVENTS), MOST_EVENTS),
            wanted=properties_filter(properties),
        )
        return replace(query, after=read_position(wanted["start"])) if wanted["start"] else query
    except BadFilter as error:
        raise errors.bad_request(str(error)) from error


def _is_descending(text: str) -> bool:
    name = text.strip().lstrip("+-").strip()
    if name not in {"", "timestamp"}:
        raise errors.bad_request(f"orderby: '{text}' is not supported, use +timestamp or -timestamp")
    return text.strip().startswith("-")


def _instant(name: str, text: str) -> int | None:
    if not text:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise errors.bad_request(f"{name}: '{text}' is not a time in epoch milliseconds") from error


def _number(name: str, text: str, default: int) -> int:
    if not text:
        return default
    if not (text.isascii() and text.isdigit()):
        raise errors.bad_request(f"{name}: '{text}' is not a number of 0 or more")
    return int(text)


def _listed(text: str) -> list[str]:
    return [path.strip() for path in text.split(",") if path.strip()]


def _member(value: Json, name: str) -> str:
    found = value.get(name) if isinstance(value, dict) else None
    return found if isinstance(found, str) else ""


def _at(value: Json, path: Sequence[str]) -> str:
    for name in path:
        value = value[name]
    return str(value).lower()


def _wrong_schema(schema: str) -> ApiError:
    if not schema:
        return errors.bad_request(f"schema.name is required: {PROFILE_CLASS} or {EVENT_CLASS}")
    if schema in {"_xdm.context.account", "_xdm.context.opportunity"}:
        return errors.not_found(f"nothing of the class {schema} is stored")
    return errors.bad_request(f"schema.name: '{schema}' is not supported here")
