"""Questions to the Profile Access API and their answers, apart from HTTP. Source: profile.md 4."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from capstream.aep.identity_service.extraction import Resolver
from capstream.aep.identity_service.graphs import Graphs
from capstream.aep.identity_service.namespaces import Namespaces
from capstream.aep.identity_service.resolution import AskedIdentities
from capstream.aep.identity_service.rules import Identity
from capstream.aep.profile import errors
from capstream.aep.profile.filters import position_token
from capstream.aep.profile.model import MergePolicy, StoredEvent
from capstream.aep.profile.policies import MergePolicies
from capstream.aep.profile.reader import EventPage, EventQuery, Position, Profile, ProfileReader
from capstream.aep.profile.rules import project
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json, loads


@dataclass(frozen=True, slots=True)
class Asked:
    """The identity a question is about."""

    xid: str
    entity_id: str  #: as the caller wrote it
    namespace: str  #: code as the caller wrote it, empty when asked by XID


@dataclass(frozen=True, slots=True)
class Sources:
    """What answers are made from."""

    reader: ProfileReader
    policies: MergePolicies
    namespaces: Namespaces
    graphs: Graphs
    asked: AskedIdentities


def asked_identity(sources: Sources, org_id: str, entity_id: str, namespace: str) -> Asked:
    """Return whom the caller means. Errors: 400 for an unknown namespace, 422 for a value that cannot be an identity."""
    if not entity_id:
        raise errors.bad_request("entityId is required and must not be empty")
    if not namespace:
        return Asked(entity_id, entity_id, "")
    table = sources.namespaces.table(org_id)
    found = table.find(namespace)
    if found is None:
        raise errors.bad_request(f"entityIdNS: namespace '{namespace}' does not exist")
    identity = Resolver(org_id, table).of(found, entity_id)
    if not isinstance(identity, Identity):
        raise errors.unusable_identity(f"entityId: '{entity_id}' is no valid value of namespace '{namespace}'")
    return Asked(identity.xid, entity_id, namespace)


def policy_of(sources: Sources, sandbox_id: str, policy_id: str) -> MergePolicy:
    """Return the named merge policy, or the default one. Errors: 400 when there is none of that id."""
    if not policy_id:
        return sources.policies.default(sandbox_id)
    found = sources.policies.get(sandbox_id, policy_id)
    if found is None:
        raise errors.bad_request(f"mergePolicyId: merge policy '{policy_id}' does not exist")
    return found


def profile_answer(asked: Asked, profile: Profile, policy: MergePolicy, fields: Sequence[str]) -> dict[str, Json]:
    """Return the answer's entry for one identity."""
    requested: dict[str, Json] = {"entityId": asked.entity_id}
    if asked.namespace:
        requested["entityIdNS"] = {"code": asked.namespace}
    entity = project(profile.entity, fields) if fields else dict(profile.entity)
    if not fields or "identities" in fields:
        entity["identities"] = [_identity(identity, profile) for identity in profile.identities]
    return {
        "entityId": asked.xid,
        "mergePolicy": {"id": policy.id},
        "requestedIdentity": requested,
        "sources": list(profile.datasets),
        "tags": list(profile.batches),
        "identityGraph": list(profile.graph),
        "entity": entity,
        "lastModifiedAt": rfc3339(profile.modified_ms),
    }


def nobody(asked: Asked) -> dict[str, Json]:
    """Return the entry of an identity without data in an answer about several."""
    return {"entityId": asked.xid, "sources": [""], "entity": {}, "lastModifiedAt": "1970-01-01T00:00:00Z"}


def events_answer(
    asked: Asked, page: EventPage, query: EventQuery, fields: Sequence[str], link: Sequence[tuple[str, str]]
) -> dict[str, Json]:
    """Return a page of events. `link` is the next page's query without its token."""
    events, more = page
    start = position_token(_place(events[0])) if events else ""
    following = position_token(_place(events[-1])) if more else ""
    tokens = [("start", following), ("offsets", following)]
    href = f"/entities?{urlencode([*tokens, *link])}" if more else ""
    return {
        "_page": {
            "orderby": "-timestamp" if query.newest_first else "timestamp",
            "start": start,
            "count": len(events),
            "next": following,
        },
        "children": [_event(event, asked, fields) for event in events],
        "_links": {"next": {"href": href}},
    }


def _place(event: StoredEvent) -> Position:
    return Position(event.timestamp_ms, event.event_id)


def _event(event: StoredEvent, asked: Asked, fields: Sequence[str]) -> dict[str, Json]:
    entity = loads(event.entity)
    return {
        "relatedEntityId": asked.xid,
        "entityId": event.event_id,
        "timestamp": event.timestamp_ms,
        "entity": project(entity, fields) if fields else entity,
        "lastModifiedAt": rfc3339(event.ingested_ms),
    }


def _identity(identity: tuple[str, str], profile: Profile) -> dict[str, Json]:
    code, value = identity
    entry: dict[str, Json] = {"id": value, "namespace": {"code": code}}
    if identity == profile.primary:
        entry["primary"] = True
    return entry
