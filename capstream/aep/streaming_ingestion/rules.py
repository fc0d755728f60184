"""Which form a message has, which flow or dataset takes it, and why it is refused. Pure: lookups are passed in.

Source: streaming-ingestion.md 3 (classification), 6 (per-message errors), 10 (upserts).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from capstream.aep.flow_service.model import Inlet, Route
from capstream.aep.flow_service.rules import major_version
from capstream.aep.streaming_ingestion import errors
from capstream.aep.streaming_ingestion.messages import Form
from capstream.kernel.json import Json

DATA_OPERATIONS = frozenset({"", "create", "merge", "delete"})
IDENTITY_OPERATIONS = frozenset({"", "create"})
_BRACE, _BRACKET = 0x7B, 0x5B
_ABSENT = msgspec.Raw()
_ROUTING_MEMBERS = ("flowId", "datasetId", "operations")


class Target(NamedTuple):
    """A dataset as far as a message can be judged against it."""

    schema_id: str
    schema_major: int
    is_profile: bool  #: enabled for Profile
    is_record: bool  #: class behaviour record, not time-series


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """All that concerns every message of one request."""

    inlet: Inlet
    query_flow_id: str
    header_flow_id: str
    header_dataset_id: str
    sandbox_name: str  #: `x-sandbox-name`, empty when not sent
    routes: Sequence[Route]  #: the flows of the inlet
    now_ms: int
    route: Callable[[str], Route | None]
    target: Callable[[str], Target | None]
    known: dict["Glance", "Verdict"] = field(default_factory=dict)  #: verdicts of this request so far


class Operations(NamedTuple):
    """`header.operations` of an upsert or delete."""

    data: str = ""
    identity: str = ""
    identity_dataset_id: str = ""


class Verdict(NamedTuple):
    """What becomes of one message. A refusal that names a flow or a dataset is kept there."""

    form: Form
    route: Route | None  #: the flow that takes the message, None when its dataset alone does
    flow_id: str
    dataset_id: str
    refusal: str = ""
    operations: Operations = Operations()


class Glance(NamedTuple):
    """What a look at the outside of a message shows; equal glances of one request lead to equal verdicts.

    `header` holds the JSON texts of the members that decide (empty: absent), so that a time stamp makes no difference.
    """

    header: tuple[bytes, ...] | None = None  #: in the order of `_DECIDING`; None unless `header` is an object
    is_body_object: bool = False
    meta: bytes = b""  #: JSON text of `body.xdmMeta`
    entity: bool | None = None  #: True: `body.xdmEntity` is an object; False: it is something else; None: absent
    has_patches: bool = False  #: the body carries JSON Patch operations


BARE = Glance()
"""A message without an object `header`."""

_DECIDING = ("flowId", "datasetId", "imsOrgId", "schemaRef", "operations")


class _Header(msgspec.Struct, rename="camel"):
    flow_id: msgspec.Raw = _ABSENT
    dataset_id: msgspec.Raw = _ABSENT
    ims_org_id: msgspec.Raw = _ABSENT
    schema_ref: msgspec.Raw = _ABSENT
    operations: msgspec.Raw = _ABSENT


class _Body(msgspec.Struct, rename="camel"):
    xdm_meta: msgspec.Raw = _ABSENT
    xdm_entity: msgspec.Raw = _ABSENT
    operations: msgspec.Raw = _ABSENT


class _Envelope(msgspec.Struct):
    header: _Header | None = None
    body: _Body | None = None


class _LooseEnvelope(msgspec.Struct):
    header: msgspec.Raw = _ABSENT
    body: msgspec.Raw = _ABSENT


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_loose = msgspec.json.Decoder(_LooseEnvelope).decode
_decode_header = msgspec.json.Decoder(_Header).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_decode_any = msgspec.json.Decoder().decode


def may_have_header(text: bytes) -> bool:
    """Return whether JSON text could have a key `header`: without its letters, or an escape to spell them, it has none."""
    return b'"header"' in text or (b"\\" in text and b"\\u" in text)


def glance(message: bytes) -> Glance:
    """Return what a JSON object shows of an envelope; the record inside is not decoded. Errors: msgspec.DecodeError."""
    header, body = _envelope(message)
    if header is None:
        return BARE
    members = (
        bytes(header.flow_id),
        bytes(header.dataset_id),
        bytes(header.ims_org_id),
        bytes(header.schema_ref),
        bytes(header.operations),
    )
    if body is None:
        return Glance(members)
    entity = None if body.xdm_entity is _ABSENT else memoryview(body.xdm_entity)[0] == _BRACE
    patches = body.operations is not _ABSENT and memoryview(body.operations)[0] == _BRACKET
    return Glance(members, True, bytes(body.xdm_meta), entity, patches)


def _envelope(message: bytes) -> tuple[_Header | None, _Body | None]:
    try:
        whole = _decode_envelope(message)
    except msgspec.ValidationError:  # header or body is no object
        loose = _decode_loose(message)
        header, body = bytes(loose.header), bytes(loose.body)
        return (
            _decode_header(header) if header[:1] == b"{" else None,
            _decode_body(body) if body[:1] == b"{" else None,
        )
    return whole.header, whole.body


def classify(message: bytes, circumstances: Circumstances) -> Verdict:
    """Return the verdict on one message."""
    if message[:1] != b"{":
        return _refusal(errors.UNKNOWN_FORMAT)
    try:
        shown = glance(message) if may_have_header(message) else BARE
        known = circumstances.known
        verdict = known.get(shown)
        if verdict is None:
            verdict = known[shown] = judge(shown, circumstances)
    except msgspec.DecodeError:
        return _refusal(errors.UNKNOWN_FORMAT)
    return verdict


def judge(shown: Glance, circumstances: Circumstances) -> Verdict:
    """Return the verdict on a message that shows `shown`. For `BARE` it depends on the request alone.

    Errors: msgspec.DecodeError when a number of the header is out of range.
    """
    seen = _look(shown)
    inlet, header = circumstances.inlet, seen.header or {}
    if circumstances.sandbox_name not in ("", inlet.sandbox.name):
        return _refusal(errors.WRONG_SANDBOX)
    named = _named_dataset(header, circumstances)
    route, explicit, refusal = _resolved(header, circumstances, named)
    if refusal:
        return refusal
    if route is None and inlet.data_type == "raw":
        return _refusal(errors.FLOW_ID_MISSING, _known(circumstances, named))
    form = _form(seen, route)
    if form == "A" and route and not explicit and inlet.data_type != "raw" and named not in ("", route.dataset_id):
        route = None  # aepp streams to inlets without naming a flow: the dataset in the header routes the message
    dataset_id = named if route is None else route.dataset_id
    kept_at = _known(circumstances, named) if route is None else dataset_id
    text = _objection(form, seen, circumstances, (route, named, dataset_id))
    if text:
        return Verdict("B", route, route.flow_id if route else "", kept_at, text)
    operations = operations_of(header) if form in ("A", "C") else Operations()
    return Verdict(form or "B", route, route.flow_id if route else "", dataset_id, "", operations or Operations())


class _Look(NamedTuple):
    """A glance with the deciding members of its header read."""

    header: Mapping[str, Json] | None
    schema_ref: Json
    shown: Glance


def _look(shown: Glance) -> _Look:
    if shown.header is None:
        return _Look(None, None, shown)
    texts = zip(_DECIDING, shown.header, strict=True)
    meta = _decode_any(shown.meta) if shown.meta else None
    schema_ref = meta.get("schemaRef") if isinstance(meta, dict) else None
    return _Look({name: _decode_any(text) for name, text in texts if text}, schema_ref, shown)


def _refusal(text: str, dataset_id: str = "") -> Verdict:
    return Verdict("B", None, "", dataset_id, text)


def _known(circumstances: Circumstances, dataset_id: str) -> str:
    return dataset_id if dataset_id and circumstances.target(dataset_id) else ""


def _named_dataset(header: Mapping[str, Json], circumstances: Circumstances) -> str:
    named = header.get("datasetId")
    return named if isinstance(named, str) and named else circumstances.header_dataset_id


def _resolved(header: Mapping[str, Json], circumstances: Circumstances, named: str) -> tuple[Route | None, bool, Verdict | None]:
    """Return (route, whether the sender named it, refusal)."""
    sent = header.get("flowId")
    ids = {sent if isinstance(sent, str) else "", circumstances.query_flow_id, circumstances.header_flow_id} - {""}
    if len(ids) > 1:
        text = f"{errors.INVALID_FLOW}: message, query and header name different flows"
        return None, True, _refusal(text, _known(circumstances, named))
    if not ids:
        open_routes = [each for each in circumstances.routes if each.is_open(circumstances.now_ms)]
        return (open_routes[0] if len(open_routes) == 1 else None), False, None
    route = circumstances.route(ids.pop())
    if route is None or route.inlet_id != circumstances.inlet.id:
        return None, True, _refusal(errors.INVALID_FLOW, _known(circumstances, named))
    if not route.is_open(circumstances.now_ms):
        # Kept under the dataset alone: a disabled flow opens no run.
        return None, True, _refusal(errors.INVALID_FLOW, route.dataset_id)
    return route, True, None


def _form(seen: _Look, route: Route | None) -> Form | None:
    """Return the form of a message, None when it has none of the three."""
    is_mapped = route is not None and bool(route.mapping_id)
    if seen.header is not None:
        if "schemaRef" in seen.header and seen.shown.entity is not None:
            return "A"
        if seen.shown.is_body_object and seen.shown.entity is None:
            if is_mapped and any(name in seen.header for name in _ROUTING_MEMBERS):
                return "C"
            if not is_mapped and "schemaRef" in seen.header:
                return "A"  # accepted; fails later with "Payload body is missing xdmEntity"
    return "B" if is_mapped else None


def _objection(form: Form | None, seen: _Look, circumstances: Circumstances, place: tuple[Route | None, str, str]) -> str:
    """Return why a message whose flow is known (or that its dataset routes) is refused, empty when it is taken."""
    route, named, dataset_id = place
    if form is None:
        return errors.HEADER_MANDATORY if seen.header is None else errors.UNKNOWN_FORMAT
    if seen.header is not None and form != "B" and not _is_of_org(seen.header, circumstances.inlet):
        return errors.WRONG_ORG
    if circumstances.header_dataset_id not in ("", named) or (route is not None and named not in ("", route.dataset_id)):
        return errors.INVALID_DATASET
    if form == "B" or seen.header is None:
        return ""
    target = circumstances.target(dataset_id) if dataset_id else None
    if target is None:
        return errors.INVALID_DATASET
    if form == "A" and not _has_schema(seen, target):
        return errors.UNKNOWN_FORMAT
    return _operations_objection(seen, circumstances, dataset_id, target)


def _is_of_org(header: Mapping[str, Json], inlet: Inlet) -> bool:
    return header.get("imsOrgId") in (None, "", inlet.org_id)


def _has_schema(seen: _Look, target: Target) -> bool:
    """Return whether header and body name the dataset's schema, and the entity is an object or absent."""
    wanted = (target.schema_id, target.schema_major)
    header = seen.header or {}
    return seen.shown.entity is not False and _schema(header.get("schemaRef")) == wanted and _schema(seen.schema_ref) == wanted


def _schema(reference: Json) -> tuple[str, int] | None:
    if not isinstance(reference, dict) or not isinstance(reference.get("id"), str):
        return None
    return reference["id"], major_version(str(reference.get("contentType") or ""))


def operations_of(header: Mapping[str, Json]) -> Operations | None:
    """Return the upsert operations of a header, None when they are not of the documented form."""
    sent = header.get("operations")
    if sent is None:
        return Operations()
    if not isinstance(sent, dict):
        return None
    found = Operations(*(str(sent.get(name) or "") for name in ("data", "identity", "identityDatasetId")))
    return found if found.data in DATA_OPERATIONS and found.identity in IDENTITY_OPERATIONS else None


def _operations_objection(seen: _Look, circumstances: Circumstances, dataset_id: str, target: Target) -> str:
    if seen.shown.has_patches:
        return f"{errors.INVALID_OPERATIONS}: JSON Patch operations on the inlet are deprecated; send operations.data merge"
    operations = operations_of(seen.header or {})
    if operations is None:
        return f"{errors.INVALID_OPERATIONS}: data is one of create, merge, delete; identity is create"
    if operations.data in ("merge", "delete") and not (target.is_profile and target.is_record):
        return f"{errors.INVALID_OPERATIONS}: {operations.data} needs a Profile-enabled dataset of record data"
    if not operations.identity:
        return ""
    if not operations.identity_dataset_id:
        return f"{errors.INVALID_OPERATIONS}: identityDatasetId is required when identity is set"
    identities = circumstances.target(operations.identity_dataset_id)
    is_other = operations.identity_dataset_id != dataset_id
    if identities is None or not is_other or identities.schema_id != target.schema_id:
        return f"{errors.INVALID_OPERATIONS}: identityDatasetId must be another dataset of the same schema"
    return ""
