"""The operations of the Schema Registry. Source: schema-registry.md 4."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, urlencode

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.schema_registry import accept
from capstream.aep.schema_registry.csv_schema import schema_from_csv
from capstream.aep.schema_registry.descriptors import DescriptorWriter
from capstream.aep.schema_registry.errors import Faults, Refusal, api_error
from capstream.aep.schema_registry.forms import computed, listed
from capstream.aep.schema_registry.listing import matching, page
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.aep.schema_registry.patching import patched
from capstream.aep.schema_registry.relationships import NamespaceCode, Relationships
from capstream.aep.schema_registry.rpc import Rpc
from capstream.aep.schema_registry.shown import ShownCache
from capstream.aep.schema_registry.stats import stats
from capstream.aep.schema_registry.writing import SchemaUse, Writer, not_found, refusal_of
from capstream.kernel.json import Json, JsonError
from capstream.xdm.merge import CompositionError

_BASE = "/data/foundation/schemaregistry"
_OPERATIONS: Mapping[str, tuple[str, str, str, str, str, str]] = {
    "schemas": ("listSchemas", "retrieveSchema", "createSchema", "updateSchema", "patchSchema", "deleteSchema"),
    "classes": ("listClasses", "retrieveClass", "createClass", "replaceClass", "updateClass", "removeClass"),
    "fieldgroups": (
        "listFieldGroups",
        "retrieveFieldGroup",
        "createFieldGroup",
        "updateFieldGroup",
        "patchFieldGroup",
        "removeFieldGroup",
    ),
    "mixins": ("listMixins", "lookupMixin", "createMixin", "replaceMixin", "updateMixin", "removeMixin"),
    "datatypes": (
        "listDataTypes",
        "retrieveDataType",
        "createDataType",
        "replaceDatatype",
        "updateDataType",
        "deleteDatatype",
    ),
}


def handlers(
    registry: SchemaRegistry, *, in_use: SchemaUse, namespace_code: NamespaceCode, strict_accept: bool = False
) -> dict[str, Handler]:
    """Return operationId -> handler. `in_use` and `namespace_code` ask the services above this one."""
    relationships = Relationships(registry, namespace_code)
    writer = Writer(registry, in_use, relationships)
    resources = _Resources(registry, writer, strict_accept, ShownCache(registry))
    descriptors = _Descriptors(registry, DescriptorWriter(registry, relationships), strict_accept)
    rpc = Rpc(registry, writer)
    found: dict[str, Handler] = {
        "retrieveStats": lambda call: Answer(body=stats(registry, call.sandbox.id, call.caller.org_id)),
        "listBehaviors": partial(resources.all, "behaviors"),
        "retrieveBehavior": partial(resources.one, "behaviors"),
        "listUnionSchemas": partial(resources.all, "unions"),
        "retrieveUnionSchema": partial(resources.one, "unions"),
        "listDescriptors": descriptors.all,
        "retrieveDescriptor": descriptors.one,
        "createDescriptor": descriptors.create,
        "updateDescriptor": descriptors.replace,
        "deleteDescriptor": descriptors.remove,
        "retrieveExportPayload": lambda call: Answer(body=rpc.export(call.sandbox.id, call.params["id"])),
        "retrieveAuditLog": lambda call: Answer(body=rpc.audit_log(call.sandbox.id, call.params["id"])),
        "retrieveSampleData": lambda call: _sample(rpc, call),
        "importResource": lambda call: Answer(body=rpc.load(call, call.json())),
        "csvToSchema": lambda call: Answer(body=schema_from_csv(registry, call)),
        "importResourceThroughExport": lambda call: Answer(body=rpc.load(call, call.json())),
    }
    for name, operations in _OPERATIONS.items():
        kind = "mixins" if name == "fieldgroups" else name
        acts = (resources.all, resources.one, resources.create, resources.replace, resources.patch, resources.remove)
        found.update({operation: partial(act, kind) for operation, act in zip(operations, acts, strict=True)})
    return {operation: _guarded(handler) for operation, handler in found.items()}


def _guarded(handle: Callable[[Call], Answer]) -> Handler:
    """Return the handler with refusals put into the service's envelope."""

    def guarded(call: Call) -> Answer:
        try:
            return handle(call)
        except Refusal as refusal:
            raise api_error(refusal, call) from None
        except CompositionError as error:
            raise api_error(refusal_of(error), call) from None
        except JsonError as error:
            raise api_error(Refusal(Faults.BAD_REQUEST, f"The body is no JSON: {error}"), call) from None

    return guarded


def _sample(rpc: Rpc, call: Call) -> Answer:
    form = accept.for_unversioned(call.headers.get("accept", ""))
    return Answer(body=rpc.sample(call, call.params["id"], standard_names=form.notation == "xdm"))


def _container(call: Call) -> str:
    name = call.params.get("container", "tenant")
    if name not in {"tenant", "global"}:
        raise Refusal(Faults.UNKNOWN, f"There is no container {name}: use tenant or global.")
    return name


def _writable(call: Call) -> None:
    if _container(call) == "global":
        raise Refusal(Faults.FORBIDDEN, "The global library is read-only. Define resources in the tenant container.")


def _sent(body: Json, form: accept.Form) -> Answer:
    return Answer(body=body, media_type=f"{form.media_type};charset=UTF-8")


@dataclass(frozen=True, slots=True)
class _Resources:
    """Schemas, classes, field groups, data types, behaviours and unions."""

    registry: SchemaRegistry
    writer: Writer
    strict: bool
    lookups: ShownCache

    def all(self, kind: str, call: Call) -> Answer:
        container = _container(call)
        form = accept.for_list(call.headers.get("accept", ""), strict=self.strict)
        items = [computed(self.registry, call.sandbox.id, one) for one in self._of(kind, container, call.sandbox.id)]
        found = page(
            matching(items, call.args("property")),
            orderby=call.arg("orderby"),
            limit=call.arg("limit"),
            start=call.arg("start"),
        )
        results = [listed(self.registry, call.sandbox.id, one, form) for one in found.items]
        links = _links(call, found.next)
        if kind == "schemas" and container == "tenant":
            links["global_schemas"] = {"href": f"{call.base_url}{_BASE}/global/schemas"}
        body = {
            "results": results,
            "_page": {"orderby": found.orderby, "next": found.next, "count": len(results)},
            "_links": links,
        }
        return _sent(body, form)

    def one(self, kind: str, call: Call) -> Answer:
        _container(call)
        form = accept.for_lookup(call.headers.get("accept", ""), strict=self.strict)
        document = self._found(kind, call)
        if form.major != "1" and form.major != str(document["version"]).partition(".")[0]:
            raise not_found(kind, call.params["id"], form.version)
        return _sent(self.lookups.body(call.sandbox.id, document, form), form)

    def create(self, kind: str, call: Call) -> Answer:
        _writable(call)
        return Answer(status=201, body=self.writer.create(call, kind, call.json()))

    def replace(self, kind: str, call: Call) -> Answer:
        return Answer(body=self.writer.replace(call, kind, self._own(kind, call), call.json()))

    def patch(self, kind: str, call: Call) -> Answer:
        document = self._own(kind, call)
        return Answer(body=self.writer.replace(call, kind, document, patched(document, call.json())))

    def remove(self, kind: str, call: Call) -> Answer:
        self.writer.remove(call, kind, self._own(kind, call))
        return Answer(status=204)

    def _of(self, kind: str, container: str, sandbox_id: str) -> list[dict[str, Json]]:
        if kind == "unions":
            return self.registry.unions(sandbox_id) if container == "tenant" else []
        if container == "global" or kind == "behaviors":
            return self.registry.standard(kind)
        return self.registry.tenant(sandbox_id, kind)

    def _found(self, kind: str, call: Call) -> dict[str, Json]:
        """Return the resource an id names. Tenant lookups also find standard components and, among schemas, unions."""
        document = self.registry.document(call.sandbox.id, call.params["id"])
        if document is None or (call.params["container"] == "global" and "meta:sandboxId" in document):
            raise not_found(kind, call.params["id"])
        found = document["meta:resourceType"]
        # Clients look every part of a schema up as a field group: standard components of other kinds are shown there too.
        as_part = kind == "mixins" and "meta:sandboxId" not in document
        if found != kind and not as_part and not (kind == "schemas" and found == "unions"):
            raise not_found(kind, call.params["id"])
        return document

    def _own(self, kind: str, call: Call) -> dict[str, Json]:
        """Return a resource that may be written. Errors: Refusal 1606 for a standard one."""
        _writable(call)
        document = self._found(kind, call)
        if "meta:sandboxId" not in document or document["meta:resourceType"] == "unions":
            raise Refusal(Faults.FORBIDDEN, f"{document['$id']} is not a resource of the tenant: it is read-only.")
        return document


def _links(call: Call, start: str | None) -> dict[str, Json]:
    """Return `_links` of a list: the request of the next page, or null at the end."""
    if start is None:
        return {"next": None}
    kept = [(name, value) for name, value in call.query if name.lower() != "start"]
    return {"next": {"href": f"{call.base_url}{call.path}?{urlencode([*kept, ('start', start)], quote_via=quote)}"}}


@dataclass(frozen=True, slots=True)
class _Descriptors:
    registry: SchemaRegistry
    writer: DescriptorWriter
    strict: bool

    def all(self, call: Call) -> Answer:
        container = _container(call)
        form = accept.for_descriptors(call.headers.get("accept", ""), strict=self.strict)
        items = [] if container == "global" else self.registry.all_descriptors(call.sandbox.id)
        found = matching(items, call.args("property"))
        if "v2" in form:
            part = page(found, orderby=call.arg("orderby"), limit=call.arg("limit"), start=call.arg("start"))
            body: Json = {
                "results": [_descriptor(one, form) for one in part.items],
                "_page": {"orderby": part.orderby, "next": part.next, "count": len(part.items)},
                "_links": _links(call, part.next),
            }
            return _sent(body, form)
        kinds = dict.fromkeys(one["@type"] for one in found)
        return _sent({kind: [_descriptor(one, form) for one in found if one["@type"] == kind] for kind in kinds}, form)

    def one(self, call: Call) -> Answer:
        _container(call)
        form = accept.for_descriptor(call.headers.get("accept", ""), strict=self.strict)
        return _sent(self._found(call), form)

    def create(self, call: Call) -> Answer:
        _writable(call)
        return Answer(status=201, body=self.writer.create(call, call.json()))

    def replace(self, call: Call) -> Answer:
        _writable(call)
        return Answer(body=self.writer.replace(call, self._found(call), call.json()))

    def remove(self, call: Call) -> Answer:
        _writable(call)
        self.writer.remove(call, self._found(call))
        return Answer(status=204)

    def _found(self, call: Call) -> dict[str, Json]:
        document = self.registry.descriptor(call.sandbox.id, call.params["id"])
        if document is None or call.params["container"] == "global":
            raise Refusal(
                Faults.DESCRIPTOR_UNKNOWN, f"Requested descriptor resource {call.params['id']} with version 1 is not found"
            )
        return document


def _descriptor(document: dict[str, Json], form: accept.Form) -> Json:
    if "link" in form:
        return f"/tenant/descriptors/{document['@id']}"
    return document["@id"] if "id" in form else document
