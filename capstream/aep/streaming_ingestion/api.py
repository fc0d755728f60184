"""The collection endpoints as an ASGI application. Source: streaming-ingestion.md 1-7; the gateway's rules do not apply here."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from capstream.aep.call import Caller
from capstream.aep.flow_service.model import Flows, Inlet, Inlets, Route, State
from capstream.aep.streaming_ingestion import errors, intake, wire
from capstream.aep.streaming_ingestion.errors import Refused, Violation, refused
from capstream.aep.streaming_ingestion.intake import Backlog, Intake, Pressure, Sender
from capstream.aep.streaming_ingestion.model import Counters, DatasetLookup, InletCounts, SyncAllowance, Targets
from capstream.aep.streaming_ingestion.rules import Circumstances, Verdict, classify
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json, JsonError, loads
from capstream.serving.port import Receive, Scope, Send
from capstream.storage.ports import Log

TokenVerifier = Callable[[str, int], Caller | None]
"""Returns who a token speaks for at an instant (epoch ms), None when it is invalid, expired or revoked."""

RecordValidator = Callable[[Route, Json], Sequence[Violation]]
"""Maps (when the route has a mapping) and validates one record. A message routed by its dataset has a route without flow."""

_METHODS = "POST, OPTIONS"
_TRUE = frozenset({"true", "1"})
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The stores, neighbours and limits of the collection endpoints."""

    log: Log
    flows: Flows
    inlets: Inlets
    datasets: DatasetLookup
    verify: TokenVerifier
    validate: RecordValidator
    clock: Clock
    backlog: Backlog
    unseal: Callable[[str], str]  #: opens the sealed HMAC secret of an inlet
    shard: int = 0  #: 0-9999, part of trace ids; differs between processes that serve one inlet
    backlog_limit: int = 1_000_000  #: unprocessed records
    overload_status: int = 503  #: 500 protects Kafka sinks without a dead-letter topic: streaming-ingestion.md 12


def collection_app(collection: Collection) -> "CollectionApp":
    """Return the ASGI application for `/collection/**` and its aliases."""
    return CollectionApp(collection)


class CollectionApp:
    """Serves single messages and batches. Answers never redirect, and errors always have a JSON body."""

    def __init__(self, collection: Collection) -> None:
        self._c = collection
        self._intake = Intake(collection.log, collection.shard)
        self._pressure = Pressure(collection.backlog, collection.backlog_limit)
        self._allowance = SyncAllowance()
        self._counters = Counters()

    def metrics(self) -> Mapping[str, InletCounts]:
        """Return what each inlet has seen since the start, by inlet id."""
        return self._counters.all()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = wire.headers_of(scope)
        extra = {"x-request-id": headers["x-request-id"]} if "x-request-id" in headers else {}
        try:
            status, body, more = await self._answer(scope, headers, receive)
        except Refused as error:
            status, body, more = error.status, error.body, error.headers
        except wire.SenderGone:
            return
        except Exception as error:  # noqa: BLE001 - the edge of the application: a client must get a body
            log.error("a collection request failed", action="collection_failed", exc=error)
            problem = refused(500, "The message could not be processed. Send it again.")
            status, body, more = 500, problem.body, {}
        await wire.respond(send, status, b"" if scope["method"] == "HEAD" else body, {**extra, **more})

    async def _answer(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> tuple[int, bytes, Mapping[str, str]]:
        method = scope["method"]
        if method not in ("POST", "OPTIONS"):
            raise refused(405, f"Method {method} is not supported; use POST", allow=_METHODS)
        place = wire.place_of(scope["path"])
        inlet = self._c.inlets.get(place.inlet_id) if place else None
        if place is None or inlet is None or not inlet.enabled:
            shown = place.inlet_id if place else scope["path"]
            raise refused(404, f"inletId: [{shown}] There is no such inlet. Check the streaming endpoint URL.")
        cors = _cors(inlet, headers)
        if method == "OPTIONS":
            return 204, b"", {"Allow": _METHODS, **cors}
        try:
            status, body = await self._post(_Request(place, inlet, headers, wire.query_of(scope)), receive)
        except Refused as error:
            error.headers |= cors
            raise
        return status, body, cors

    async def _post(self, request: "_Request", receive: Receive) -> tuple[int, bytes]:
        now_ms = self._c.clock()
        counts = self._counters.of(request.inlet.id)
        try:
            received = await wire.read_body(receive)
            counts.received_bytes += len(received)
            sender, body = self._admitted(request, received, now_ms)
        except Refused:  # nobody looked into the request: it counts as one message
            counts.received += 1
            counts.failure += 1
            raise
        circumstances = self._circumstances(request, now_ms)
        if request.place.is_batch:
            return 207, await self._batch(body, circumstances, sender, counts)
        counts.received += 1
        try:
            answer = await self._single(body, circumstances, sender, is_sync=request.is_sync)
        except Refused:
            counts.failure += 1
            raise
        counts.success += 1
        return 200, answer

    def _admitted(self, request: "_Request", received: bytes, now_ms: int) -> tuple[Sender, bytes]:
        sender = Sender(inlet=request.inlet, authenticated=self._authenticated(request, now_ms), received_ms=now_ms)
        wire.check_media_type(request.headers.get("content-type", ""))
        self._check_signature(request, received)
        if self._pressure.is_high(now_ms):
            message = "Too many messages wait to be processed. Send the request again later."
            raise refused(self._c.overload_status, message, retry_after_s=_RETRY_AFTER_S)
        return sender, wire.decoded_body(received, request.headers.get("content-encoding", ""))

    def _circumstances(self, request: "_Request", now_ms: int) -> Circumstances:
        return Circumstances(
            inlet=request.inlet,
            query_flow_id=request.query.get("x-adobe-flow-id", ""),
            header_flow_id=request.headers.get("x-adobe-flow-id", ""),
            header_dataset_id=request.headers.get("x-adobe-dataset-id", ""),
            sandbox_name=request.headers.get("x-sandbox-name", ""),
            routes=self._c.flows.routes_of_inlet(request.inlet.id),
            now_ms=now_ms,
            route=self._c.flows.route,
            target=Targets(self._c.datasets, request.inlet.sandbox.id).get,
        )

    async def _batch(self, body: bytes, circumstances: Circumstances, sender: Sender, counts: InletCounts) -> bytes:
        messages = intake.messages_of(body)
        verdicts = intake.judged(messages, body, circumstances)
        result = intake.batch_result(messages, verdicts, sender)
        try:
            await self._intake.append(result.records)
        except Refused:
            intake.add_batch(counts, len(messages), len(messages))
            raise
        intake.add_batch(counts, len(messages), result.refused)
        batch_id = self._intake.next_id(sender.received_ms)
        return intake.batch_receipt(sender.inlet.id, batch_id, self._c.clock(), result.responses)

    async def _single(self, body: bytes, circumstances: Circumstances, sender: Sender, *, is_sync: bool) -> bytes:
        message = intake.message_of(body)
        if is_sync:
            self._take_allowance(sender)
        verdict = classify(message, circumstances)
        inlet = sender.inlet
        if verdict.refusal:
            raise refused(400, errors.prefixed(inlet.id, inlet.org_id, verdict.refusal))
        if is_sync:
            self._validate(message, verdict, circumstances)
        xaction_id = self._intake.next_id(sender.received_ms)
        await self._intake.append([intake.record_of(xaction_id, message, verdict, sender)])
        validation = {"status": "pass"} if is_sync else {"skipped": True}
        return intake.receipt(inlet.id, xaction_id, sender.received_ms, validation)

    def _take_allowance(self, sender: Sender) -> None:
        wait_ms = self._allowance.take(sender.inlet.id, sender.received_ms)
        if wait_ms:
            message = "At most 60 requests a minute may ask for synchronous validation. Wait, or leave syncValidation out."
            raise refused(429, message, retry_after_s=-(-wait_ms // 1000))

    def _validate(self, message: bytes, verdict: Verdict, circumstances: Circumstances) -> None:
        """Map and validate a message before it is taken. What fails is dropped: the sender keeps it."""
        inlet = circumstances.inlet
        try:
            content = loads(message)
        except JsonError as error:
            raise refused(400, f"{errors.MALFORMED_TITLE}: {error}") from error
        route = verdict.route or _route_of_dataset(verdict.dataset_id, circumstances)
        record = content if verdict.form == "B" else content["body"]
        violations = self._c.validate(route, record.get("xdmEntity") if verdict.form == "A" else record)
        if violations:
            text = errors.prefixed(inlet.id, inlet.org_id, errors.INVALID_MESSAGE)
            raise refused(400, text, cause=errors.violations_cause(violations))

    def _authenticated(self, request: "_Request", now_ms: int) -> bool:
        """Return whether the sender proved who it is. Errors: Refused 401, 403 on inlets that demand it."""
        inlet = request.inlet
        org_id = request.headers.get("x-gw-ims-org-id", "")
        if inlet.authentication_required:
            scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
            if scheme.lower() != "bearer" or not token.strip():
                raise errors.unauthorized(errors.TOKEN_EMPTY)
            caller = self._c.verify(token.strip(), now_ms)
            if caller is None:
                raise errors.unauthorized(errors.TOKEN_INVALID)
            if caller.org_id != inlet.org_id:
                raise refused(403, errors.prefixed(inlet.id, inlet.org_id, "The token belongs to another organization"))
        if org_id and org_id != inlet.org_id:
            raise refused(403, errors.prefixed(inlet.id, inlet.org_id, "x-gw-ims-org-id names another organization"))
        return inlet.authentication_required

    def _check_signature(self, request: "_Request", body: bytes) -> None:
        """Check `x-hmac-sha256` on inlets with a shared secret: lower-case hex of the body as received (ASSUMPTION)."""
        if not request.inlet.hmac_secret:
            return
        secret = self._c.unseal(request.inlet.hmac_secret)
        wanted = hmac.new(secret.encode(), body, sha256).hexdigest()
        sent = request.headers.get("x-hmac-sha256", "")
        if not hmac.compare_digest(wanted.encode(), sent.encode("latin-1")):
            raise errors.unauthorized("[id] x-hmac-sha256 is missing or does not match the body")


@dataclass(frozen=True, slots=True)
class _Request:
    place: wire.Place
    inlet: Inlet
    headers: Mapping[str, str]
    query: Mapping[str, str]

    @property
    def is_sync(self) -> bool:
        """Return whether the sender asks for synchronous validation. Python's `True` is one spelling: aepp sends it."""
        value = self.query.get("syncvalidation") or self.query.get("synchronousvalidation") or ""
        return value.lower() in _TRUE


def _cors(inlet: Inlet, headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers that let browsers send to an unauthenticated inlet (ASSUMPTION: any origin)."""
    if inlet.authentication_required or "origin" not in headers:
        return {}
    wanted = headers.get("access-control-request-headers", "content-type")
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Allow-Headers": wanted,
        "Access-Control-Max-Age": "600",
    }


def _route_of_dataset(dataset_id: str, circumstances: Circumstances) -> Route:
    """Return a route without a flow, for a message that its dataset alone routes."""
    inlet, target = circumstances.inlet, circumstances.target(dataset_id)
    return Route(
        flow_id="",
        sandbox=inlet.sandbox,
        org_id=inlet.org_id,
        state=State.ENABLED,
        inlet_id=inlet.id,
        dataset_id=dataset_id,
        mapping_id="",
        mapping_version=0,
        schema_id=target.schema_id if target else "",
        flow_spec_id="",
        source_connection_id="",
        target_connection_id="",
    )
