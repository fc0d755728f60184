"""What the handlers of all Flow Service entities share: where they are kept, their members, etags, lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from capstream.aep.call import Answer, Call, JsonError
from capstream.aep.flow_service import patching, rules
from capstream.aep.flow_service.errors import invalid, not_found, refusal
from capstream.aep.flow_service.file_store import OpenFiles
from capstream.aep.flow_service.landing_zone import Zones
from capstream.aep.flow_service.listing import (
    BadQuery,
    Document,
    Listing,
    Ordered,
    Sorted,
    listing_of,
    matches,
    order_path,
    page,
    projected,
    search_of,
)
from capstream.aep.flow_service.model import Flows, Inlets, State
from capstream.aep.flow_service.secrets import Vault
from capstream.aep.flow_service.shelf import Shelf
from capstream.aep.flow_service.specs import Specs, connection_specs, flow_specs
from capstream.aep.resource import Resources
from capstream.kernel.ids import new_etag, new_uuid
from capstream.kernel.json import Json
from capstream.storage.ports import Documents, Transaction


class DatasetLookup(Protocol):
    """The datasets of Catalog, as far as flows need them."""

    def get(self, sandbox_id: str, dataset_id: str) -> Document | None:
        """Return a dataset, or None."""
        ...

    def all(self, sandbox_id: str) -> dict[str, Document]:
        """Return every dataset of the sandbox by id."""
        ...


class MappingSetLookup(Protocol):
    """The mapping sets of Data Prep, as far as flows need them."""

    def get(self, sandbox_id: str, mapping_id: str, version: int | None) -> Document | None:
        """Return a version of a mapping set (None: the newest), or None."""
        ...


class RunLookup(Protocol):
    """The runs the pipeline keeps."""

    def list(self, sandbox_id: str, flow_id: str | None) -> list[Document]:
        """Return the runs of one flow, or of all flows of the sandbox."""
        ...

    def entities(self, sandbox_id: str, flow_id: str | None) -> Ordered:
        """Return the same for lists: shown when they are looked at."""
        ...

    def last_closed(self, sandbox_id: str, flow_id: str) -> Document | None:
        """Return the newest run of a flow that is closed, or None."""
        ...

    def get(self, sandbox_id: str, run_id: str) -> Document | None:
        """Return a run, or None."""
        ...


CredentialCheck = Callable[[str, str], bool]
"""Returns whether (client id, client secret) can obtain a token."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of entity. `name` is its path segment, error-report type and link target."""

    name: str
    collection: str
    resolved: frozenset[str] = frozenset()  #: members that are looked up or changed when an entity is shown


CONNECTIONS = Kind("connections", "connections", frozenset({"auth"}))
SOURCE_CONNECTIONS = Kind("sourceConnections", "source_connections")
TARGET_CONNECTIONS = Kind("targetConnections", "target_connections")
FLOWS = Kind("flows", "flows", frozenset({"options", "lastRunDetails"}))
RUNS = Kind("runs", "runs")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowService:
    """The stores and neighbours that the handlers work with."""

    documents: Documents
    datasets: DatasetLookup
    mapping_sets: MappingSetLookup
    runs: RunLookup
    vault: Vault
    can_obtain_token: CredentialCheck
    open_files: OpenFiles  #: opens a session with the parameters of a connection to files
    zones: Zones  #: the Data Landing Zones
    public_url: str = ""  #: where inlets are reached from outside; empty: the scheme and host of each request
    activation_delay_ms: int = 0  #: rehearses the live service's pause between creating a flow and first data
    strict: bool = False  #: gateway.md 12
    forget_flow: Callable[[Transaction, str, str], None] = lambda *_: None  #: what else goes with a flow: (sandbox, flow)

    shelves: dict[str, Shelf] = field(default_factory=dict)

    def shelf(self, kind: Kind) -> Shelf:
        """Return the entities of one kind for lists: decoded and in order."""
        return self.shelves.setdefault(kind.collection, Shelf(self.documents, kind.collection))

    @property
    def connection_specs(self) -> Specs:
        """Return the connection specs."""
        return connection_specs(self.documents)

    @property
    def flow_specs(self) -> Specs:
        """Return the flow specs."""
        return flow_specs(self.documents)

    @property
    def flows(self) -> Flows:
        """Return the routes as they are now."""
        return Flows(self.documents)

    @property
    def inlets(self) -> Inlets:
        """Return the inlets as they are now."""
        return Inlets(self.documents)

    def of(self, kind: Kind) -> Resources:
        """Return the entities of one kind."""
        return Resources(self.documents, kind.collection)

    def existing(self, call: Call, kind: Kind, resource_id: str) -> Document:
        """Return an entity. Errors: 1439-404."""
        found = self.of(kind).get(call.sandbox.id, resource_id)
        if found is None:
            raise not_found(call, kind.name, resource_id)
        return found

    def inlet_url(self, call: Call, inlet_id: str) -> str:
        """Return the URL of an inlet; it is never stored, because the public URL may change."""
        return f"{self.public_url or call.base_url}/collection/{inlet_id}"


def object_of(call: Call) -> Document:
    """Return the body as an object. Errors: 1405 (empty), 1100 (not JSON, not an object)."""
    body = json_of(call)
    if not isinstance(body, dict):
        raise invalid(call, "the body must be a JSON object")
    if not body:
        raise refusal(call, 1405, "The request body is empty. Send a JSON object.")
    return body


def json_of(call: Call) -> Json:
    """Return the decoded body. Errors: 1405 (empty), 1100 (not JSON)."""
    if call.body.strip() in (b"", b"null"):
        raise refusal(call, 1405, "The request body is empty. Send a JSON value.")
    try:
        return call.json()
    except JsonError as error:
        raise invalid(call, f"the body is not JSON: {error}") from error


def optional_json_of(call: Call) -> Json:
    """Return the decoded body, None when there is none. Errors: 1100 (not JSON)."""
    return None if call.body.strip() == b"" else json_of(call)


def named(call: Call, body: Document) -> str:
    """Return the name in a create body. Errors: 1100 when it is missing or empty."""
    name = body.get("name")
    if not isinstance(name, str) or not name.strip():
        raise invalid(call, "name is missing; give the resource a name")
    return name


def spec_id_of(call: Call, body: Document, member: str) -> str:
    """Return `<member>.id` of a create body. Errors: 1413 when it is missing."""
    reference = body.get(member)
    found = reference.get("id") if isinstance(reference, dict) else None
    if not isinstance(found, str) or not found:
        raise refusal(call, 1413, f"{member}.id is missing; name an existing specification")
    return found


def spec_reference(body: Document, member: str, spec: Document) -> Document:
    """Return `{id, version}` of a spec as an entity carries it; the version defaults to 1.0."""
    version = (body.get(member) or {}).get("version") or spec.get("version") or "1.0"
    return {"id": spec["id"], "version": str(version)}


def is_draft(call: Call) -> bool:
    """Return whether a create call asks for a draft."""
    return call.arg("mode").lower() == "draft"


def new_entity(call: Call, members: Document, state: State) -> Document:
    """Return a new entity: the common members and `members`."""
    etag = new_etag(call.now_ms)
    common: Document = {
        "id": new_uuid(),
        "createdAt": call.now_ms,
        "updatedAt": call.now_ms,
        "createdBy": call.caller.user_id,
        "updatedBy": call.caller.user_id,
        "createdClient": call.caller.client_id,
        "updatedClient": call.caller.client_id,
        "sandboxId": call.sandbox.id,
        "sandboxName": call.sandbox.name,
        "imsOrgId": call.caller.org_id,
    }
    return common | members | {"state": state.value, "version": etag, "etag": etag}


def touched(call: Call, entity: Document, **members: Json) -> Document:
    """Return `entity` after a change by this call: new etag, new update members."""
    etag = new_etag(call.now_ms)
    update = {"updatedAt": call.now_ms, "updatedBy": call.caller.user_id, "updatedClient": call.caller.client_id}
    return entity | members | update | {"version": etag, "etag": etag}


def receipt(entity: Document, status: int = 200) -> Answer:
    """Return the `{"id","etag"}` answer of every write."""
    return Answer(status=status, body={"id": entity["id"], "etag": entity["etag"]})


def created(kind: Kind, entity: Document, **extra: Json) -> Answer:
    """Return the 201 answer of a create, with the place of the new entity."""
    location = {"Location": f"/data/foundation/flowservice/{kind.name}/{entity['id']}"}
    return Answer(status=201, body={"id": entity["id"], "etag": entity["etag"]} | extra, headers=location)


def check_etag(call: Call, entity: Document, *, required: bool = True, strict: bool = False) -> None:
    """Compare `If-Match` (header, else the query parameter of Adobe's collection) with the entity.

    Errors: 1403-400 when required and absent, 1404-412 when it differs.
    """
    sent = call.headers.get("if-match") or ("" if strict else call.arg("if-match"))
    if not sent and required:
        raise refusal(call, 1403, "The If-Match header is missing. Send the etag of the version you want to change.")
    if sent and sent.strip() != "*" and not rules.etags_match(sent, entity["etag"]):
        detail = f"Supplied version=[{sent}] does not match the current version on entity=[{entity['etag']}]"
        raise refusal(call, 1404, detail, id=entity["id"])


def changes_of(call: Call) -> list[patching.Change]:
    """Return the operations of a PATCH body. Errors: 1405, 1434, 1455; 1456 for `/state`, 1455 for read-only members."""
    try:
        changes = patching.changes_of(json_of(call))
    except patching.BadPatch as error:
        raise refusal(call, error.code, error.reason) from error
    for change in changes:
        if change.steps[0] == "state":
            raise refusal(call, 1456, "state cannot be patched; use POST .../action with op ENABLE, DISABLE or PUBLISH")
        if change.steps[0] in rules.READ_ONLY:
            raise refusal(call, 1455, f"path {change.path} is read-only")
    return changes


def apply_changes(call: Call, document: Document, changes: list[patching.Change], *, name_required: bool = True) -> Document:
    """Return `document` patched. Errors: 1455; 1100 when a name it needs is gone."""
    try:
        result = patching.patched(document, changes)
    except patching.BadPatch as error:
        raise refusal(call, error.code, error.reason) from error
    if name_required:
        named(call, result)
    return result


Shown = Callable[[Document], Document]


def listed(call: Call, kind: Kind, documents: Ordered, shown: Shown) -> Answer:
    """Return the answer to `GET /<kind>`. `shown` adds what is resolved at read time, before filters look at it."""
    return list_answer(kind, documents, shown, listing_for(call, call.query))


def searched(call: Call, kind: Kind, documents: Ordered, shown: Shown) -> Answer:
    """Return the answer to `POST /<kind>/search`."""
    return list_answer(kind, documents, shown, search_listing(call))


def listing_for(call: Call, query: Sequence[tuple[str, str]]) -> Listing:
    """Return the listing of a GET. Errors: those of the catalogue for lists."""
    try:
        return listing_of(query)
    except BadQuery as error:
        bad_query(call, error)


def search_listing(call: Call) -> Listing:
    """Return the listing of a search body. Errors: those of the catalogue for lists."""
    try:
        return search_of(json_of(call), call.arg("continuationToken"))
    except BadQuery as error:
        bad_query(call, error)


def bad_query(call: Call, error: BadQuery) -> NoReturn:
    """Raise the catalogue's error for a bad list request."""
    raise refusal(call, error.code, error.reason) from error


def list_answer(kind: Kind, documents: Ordered, shown: Shown, listing: Listing) -> Answer:
    """Return one page. `_links` is always there: aepp indexes it. Source: gateway.md 5.1 (1).

    Documents are shown when they are on the page, or when a condition asks for what is resolved at read time.
    """
    if order_path(listing).split(".")[0] in kind.resolved:
        documents, shown = Sorted(map(shown, documents)), _as_it_is
    plain = [each for each in listing.conditions if each.path.split(".")[0] not in kind.resolved]
    resolved = [each for each in listing.conditions if each not in plain]

    def wanted(document: Document) -> bool:
        return matches(document, plain) and (not resolved or matches(shown(document), resolved))

    if listing.count_only:
        return Answer(body={"count": sum(wanted(each) for each in documents)})
    items, token = page(documents, listing, wanted)
    links = {"next": {"href": f"/{kind.name}?continuationToken={token}"}} if token else {}
    return Answer(body={"items": [projected(shown(each), listing.members) for each in items], "_links": links})


def _as_it_is(document: Document) -> Document:
    return document


def publishable(call: Call, entity: Document, kind: Kind) -> str:
    """Check that an action on a connection, source or target connection is a publication that can happen now.

    Errors: 1402, 1406, 1408, 1422.
    """
    operation = call.arg("op").upper()
    problem = rules.action_problem(operation, call.args("subOp"), optional_json_of(call))
    if problem:
        raise refusal(call, *problem)
    if operation != "PUBLISH" or entity["state"] != State.DRAFT:
        detail = f"op {operation} is not possible on {kind.name} {entity['id']} in state {entity['state']}"
        raise refusal(call, 1422, detail, id=entity["id"], type=kind.name)
    return operation
