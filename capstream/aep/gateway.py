"""The platform's front door: one ASGI application in front of every service.

A request goes through one chain: mounted application? → path known? → key, token, organisation → operation → sandbox →
permission → handler → answer. Whatever happens on the way, the client gets a body in the shape of the service it called.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from capstream.aep import operations
from capstream.aep.asgi import (
    AsgiApp,
    BodyRefused,
    ClientGone,
    Receive,
    Reply,
    Scope,
    Send,
    base_url,
    decompress,
    headers_of,
    lifespan,
    places,
    read_body,
    send_answer,
)
from capstream.aep.call import Answer, ApiError, Call, Caller, Handler, Operation, Sandbox
from capstream.aep.error_shapes import Fault, Reason, refuse
from capstream.aep.gateway_ports import ClientRegistry, Permits, SandboxDirectory, TokenVerifier
from capstream.aep.limits import ANY_OTHER, Buckets, RateLimits
from capstream.aep.routing import Match, Router
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import JsonError
from capstream.storage.ports import StorageUnavailable

CONSOLE_CLIENT = "exc_app"
"""The client id of Adobe's own interface; clients send it with somebody else's token. Source: gateway.md 2."""

_ALIASES: Mapping[str, str] = {
    "/data/foundation/mappingSets": "/data/foundation/conversion/mappingSets",
    "/data/foundation/connectors": "/data/foundation/conversion",
    "/flowservice": "/data/foundation/flowservice",
}
_CASELESS = ("catalog",)
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_ORG_ID = re.compile(r"[0-9A-Fa-f]{24}@AdobeOrg")
_UNSET_VARIABLE = re.compile(r"\{\{.*\}\}")
_MOST_PARAMETERS = 500
_BODY_TYPES = frozenset({"application/json", "application/json-patch+json", "application/octet-stream"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayOptions:
    """What an installation may set."""

    operations: Sequence[Operation] = field(default_factory=operations.load)
    permits: Permits | None = None  #: None grants everything (single-user mode)
    strict: bool = False  #: refuse what the documents forbid but clients send. Source: gateway.md 12
    body_limit: int = 16 << 20  #: bytes
    rate_limits: RateLimits = field(default_factory=dict)  #: by service
    threaded: frozenset[tuple[str, str]] = frozenset()  #: (service, operationId) of handlers that wait: run beside the loop
    denied: Callable[[Call], None] = lambda _: None  #: told of every call that lacks its permission
    count: Callable[[str, str, int], None] | None = None  #: told service, operationId and status of every answer


@dataclass(frozen=True, slots=True)
class _Request:
    """An HTTP request on its way through the chain."""

    scope: Scope
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    now_ms: int
    match: Match


class Gateway:
    """Serves every operation of the tables; one without a handler answers 501 by name."""

    def __init__(
        self,
        handlers: Mapping[str, Mapping[str, Handler]],
        tokens: TokenVerifier,
        clients: ClientRegistry,
        sandboxes: SandboxDirectory,
        clock: Clock,
        extra: Sequence[tuple[str, AsgiApp]] = (),
        options: GatewayOptions | None = None,
    ) -> None:
        """`handlers` maps service to operationId to handler; `extra` maps path prefixes to applications of their own.

        The prefix `/` takes what neither another prefix nor any service owns.
        """
        self._options = options or GatewayOptions()
        served = [operation for operation in self._options.operations if operation.service != "ims"]
        self._handlers = _bound(served, handlers)
        self._router = Router(served, folded=_CASELESS)
        for alias, target in _ALIASES.items():
            if any(operation.path.startswith(target) for operation in served):
                self._router.alias(alias, target)
        self._tokens = tokens
        self._clients = clients
        self._sandboxes = sandboxes
        self._clock = clock
        self._buckets = Buckets(self._options.rate_limits)
        known = {operation.service for operation in self._options.operations} | {ANY_OTHER}
        if unknown := sorted(self._options.rate_limits.keys() - known):
            raise InputError("gateway.rate_limits", f"no service {unknown[0]}", f"known: {', '.join(sorted(known))}")
        mounts = [(prefix.rstrip("/"), app) for prefix, app in extra]
        self._extra = sorted((mount for mount in mounts if mount[0]), key=lambda mount: -len(mount[0]))
        self._at_root = next((app for prefix, app in mounts if not prefix), None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope."""
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif (app := self._mounted(scope["path"])) is not None:
            await app(scope, receive, send)
        else:
            await self._serve(scope, receive, send)

    def _mounted(self, path: str) -> AsgiApp | None:
        if "//" in path:
            path = "/" + "/".join(part for part in path.split("/") if part)
        for prefix, app in self._extra:
            if path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/"):
                return app
        return None if self._at_root is None or self._router.owns(path) else self._at_root

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        asked = headers.get("x-request-id", "")
        reply = Reply(scope, headers, asked if _REQUEST_ID.fullmatch(asked) else new_hex32())
        raw_path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        match = self._router.match(scope["method"], raw_path)
        request = _Request(scope, headers, b"", reply.request_id, self._clock(), match)
        try:
            body = await read_body(receive, self._options.body_limit)
            if encoding := headers.get("content-encoding", ""):
                body = decompress(body, encoding, self._options.body_limit)
        except BodyRefused as refused:
            answer = _refusal(request, Reason.TOO_LARGE if refused.too_large else Reason.BAD_BODY, refused.reason)
        except ClientGone:
            return
        else:
            whole = _Request(scope, headers, body, reply.request_id, request.now_ms, match)
            operation = match.operation
            waits = operation is not None and (operation.service, operation.id) in self._options.threaded
            answer = await asyncio.to_thread(self._answer, whole) if waits else self._answer(whole)
            if operation is not None and self._options.count is not None:
                self._options.count(operation.service, operation.id, answer.status)
        await send_answer(send, answer, reply)

    def _answer(self, request: _Request) -> Answer:
        """Return the answer to a whole request, its body as bytes; never raises."""
        try:
            answer = _serialised(self._handle(request))
        except ApiError as error:
            answer = error.answer
        except JsonError as error:
            answer = _refusal(request, Reason.BAD_BODY, f"The request body is not valid JSON: {error}")
        except InputError as error:
            answer = _refusal(request, Reason.BAD_INPUT, str(error))
        except StorageUnavailable as error:
            log.error("storage unavailable", action="storage_unavailable", exc=error, **_facts(request))
            answer = _refusal(request, Reason.UNAVAILABLE, "The store cannot be written now: try again in a few seconds.")
            answer = Answer(status=503, body=answer.body, media_type=answer.media_type, headers={"Retry-After": "5"})
        except Exception as error:  # noqa: BLE001 - the gateway is where unforeseen failures become a 500
            log.error(
                "request failed", action="request_failed", error=type(error).__name__, trace=places(error), **_facts(request)
            )
            answer = _refusal(request, Reason.INTERNAL, f"Unexpected failure; the log has it under {request.request_id}.")
        if answer.status >= 400 and answer.body is None:
            bodiless = _refusal(
                request, _reason_of(answer.status), f"The request failed with status {answer.status}.", answer.status
            )
            return Answer(status=answer.status, body=bodiless.body, media_type=bodiless.media_type, headers=answer.headers)
        return answer

    def _handle(self, request: _Request) -> Answer:
        match = request.match
        if not self._router.owns(match.path):
            return _refusal(request, Reason.NO_PATH, "Resource not found")
        caller = self._authenticate(request.headers, request.now_ms)
        self._slow_down(caller, match.service, request.now_ms)
        operation = match.operation
        if operation is None:
            return _unmatched(request)
        if self._options.strict:
            _check_content_type(request)
        sandbox = self._sandbox(request, operation, caller)
        granted = self._granted(request, operation, caller, sandbox)
        call = _call(request, operation, caller, sandbox, granted)
        if not granted(operation.permission):
            self._options.denied(call)
            raise ApiError.of(_refusal(request, Reason.NO_PERMISSION, _lacking(operation, sandbox)))
        handler = self._handlers.get((operation.service, operation.id))
        if handler is None:
            log.warning("operation missing", action="operation_missing", service=operation.service, operation=operation.id)
            return _refusal(request, Reason.NOT_BUILT, f"{operation.id} ({operation.service}) is not implemented.")
        return handler(call)

    def _authenticate(self, headers: Mapping[str, str], now_ms: int) -> Caller:
        """Return the caller, or refuse in the documented order. Source: gateway.md 3."""
        key = headers.get("x-api-key", "")
        if not key:
            raise _gateway_error("403000", "Api Key is required")
        if key != CONSOLE_CLIENT and not self._clients.is_known(key):
            raise _gateway_error("403003", "Api Key is invalid")
        authorization = headers.get("authorization", "")
        if not authorization:
            raise _gateway_error("403010", "Oauth token is missing.")
        scheme, _, token = authorization.partition(" ")
        caller = self._tokens.verify(token.strip(), now_ms) if scheme.lower() == "bearer" else None
        if caller is None:
            raise _gateway_error("401013", "Oauth token is not valid")
        org_id = headers.get("x-gw-ims-org-id", "")
        if not org_id:
            raise _gateway_error("400003", "Missing header")
        if not _ORG_ID.fullmatch(org_id) or not self._clients.is_bound(caller.client_id):
            raise _gateway_error("403027", "User region is missing")
        if org_id != caller.org_id or (self._options.strict and key != caller.client_id):
            raise _gateway_error("403025", "Profile is not valid")
        return caller

    def _slow_down(self, caller: Caller, service: str, now_ms: int) -> None:
        if wait_s := self._buckets.wait_s((caller.org_id, caller.client_id, service), now_ms):
            raise _gateway_error("429050", "Too many requests", {"Retry-After": str(wait_s)})

    def _sandbox(self, request: _Request, operation: Operation, caller: Caller) -> Sandbox:
        name = request.headers.get("x-sandbox-name", "").strip()
        wanted_id = request.headers.get("x-sandbox-id", "").strip()
        sandbox: Sandbox | None = None
        if not operation.sandboxed or not (name or wanted_id):
            if operation.sandboxed and self._options.strict:
                raise ApiError.of(_refusal(request, Reason.NO_SANDBOX_HEADER, "The header x-sandbox-name is missing."))
            sandbox = self._default(operation, caller)
        elif name:
            sandbox = self._sandboxes.by_name(caller.org_id, name)
            if sandbox and wanted_id and sandbox.id != wanted_id:
                sandbox = None
        elif found := self._sandboxes.by_id(wanted_id):
            mine = self._sandboxes.by_name(caller.org_id, found.name)  # an id alone does not say whose sandbox it is
            sandbox = found if mine and mine.id == found.id else None
        if sandbox is None:
            named = name or wanted_id or "prod"
            raise ApiError.of(_refusal(request, Reason.NO_SANDBOX, f"The sandbox {named} was not found or is not active."))
        return sandbox

    def _default(self, operation: Operation, caller: Caller) -> Sandbox | None:
        """Return the default sandbox; an organisation-level operation works while that one is being reset, too."""
        default = self._sandboxes.default(caller.org_id)
        if default is None or not operation.sandboxed:
            return default
        return self._sandboxes.by_name(caller.org_id, default.name)

    def _granted(self, request: _Request, operation: Operation, caller: Caller, sandbox: Sandbox) -> Callable[[str], bool]:
        """Return the check of a permission text for this call; a valid user token speaks in place of the bearer token."""
        permits = self._options.permits
        if permits is None:
            return lambda _: True
        user_token = request.headers.get("x-user-token", "")
        subject = (self._tokens.verify(user_token, request.now_ms) if user_token else None) or caller
        where = sandbox if operation.sandboxed else None
        return lambda needed: not needed or (subject.org_id == caller.org_id and permits(subject, where, needed))


def _bound(served: Sequence[Operation], handlers: Mapping[str, Mapping[str, Handler]]) -> dict[tuple[str, str], Handler]:
    """Return the handlers by (service, operationId). Errors: ValueError for one no table lists."""
    known = {(operation.service, operation.id) for operation in served}
    bound = {(service, name): handler for service, named in handlers.items() for name, handler in named.items()}
    if unlisted := sorted(bound.keys() - known):
        raise ValueError(f"handlers without an operation in the tables: {unlisted}")
    return bound


def _serialised(answer: Answer) -> Answer:
    """Return the answer with its body as bytes, so that a body that cannot be written is a 500 like any other bug."""
    if answer.body is None or isinstance(answer.body, bytes):
        return answer
    return Answer(status=answer.status, body=answer.content(), headers=answer.headers, media_type=answer.media_type)


def _check_content_type(request: _Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.body and not (kind in _BODY_TYPES or (kind.startswith("application/vnd.") and kind.endswith("+json"))):
        raise ApiError.of(_refusal(request, Reason.BAD_INPUT, "A valid content-type must be specified"))


def _gateway_error(code: str, message: str, headers: Mapping[str, str] | None = None) -> ApiError:
    return ApiError(int(code[:3]), {"error_code": code, "message": message}, headers=headers)


def _refusal(request: _Request, reason: Reason, detail: str, status: int = 0) -> Answer:
    """Return the refusal in the shape of the service the path belongs to."""
    fault = Fault(
        reason=reason,
        detail=detail,
        path=request.match.path,
        request_id=request.request_id,
        now_ms=request.now_ms,
        org_id=request.headers.get("x-gw-ims-org-id", ""),
        method=request.scope["method"],
        status=status,
    )
    return refuse(request.match.service, fault)


def _reason_of(status: int) -> Reason:
    known = {403: Reason.NO_PERMISSION, 404: Reason.NO_PATH, 405: Reason.NO_METHOD, 413: Reason.TOO_LARGE, 501: Reason.NOT_BUILT}
    return known.get(status, Reason.INTERNAL if status >= 500 else Reason.BAD_INPUT)


def _unmatched(request: _Request) -> Answer:
    allowed = request.match.allowed
    if not allowed:
        return _refusal(request, Reason.NO_PATH, f"The resource {request.match.path} does not exist.")
    methods = ", ".join(sorted(allowed))
    text = f"{request.scope['method']} is not supported by {request.match.path}; supported: {methods}."
    answer = _refusal(request, Reason.NO_METHOD, text)
    return Answer(status=answer.status, body=answer.body, media_type=answer.media_type, headers={"Allow": methods})


def _lacking(operation: Operation, sandbox: Sandbox) -> str:
    needed = " and ".join(" or ".join(group.split()) for group in operation.permission.split(","))
    where = f"in sandbox {sandbox.name}" if operation.sandboxed else "in this organisation"
    return f"The permission {needed} is missing {where}. An administrator grants it with a role."


def _call(request: _Request, operation: Operation, caller: Caller, sandbox: Sandbox, granted: Callable[[str], bool]) -> Call:
    query = request.scope.get("query_string", b"")
    return Call(
        operation=operation,
        method=request.scope["method"],
        path=request.match.path,
        params=request.match.params,
        query=_parameters(query.decode("latin-1")) if query else (),
        headers=request.headers,
        body=request.body,
        caller=caller,
        sandbox=sandbox,
        base_url=base_url(request.scope, request.headers),
        request_id=request.request_id,
        now_ms=request.now_ms,
        granted=granted,
    )


def _parameters(query: str) -> list[tuple[str, str]]:
    """Return the decoded query; parameters left as a `{{variable}}` are dropped. Source: gateway.md 5.1 (6)."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as error:
        raise InputError("query", f"more than {_MOST_PARAMETERS} parameters", "send fewer") from error
    return [pair for pair in pairs if not _UNSET_VARIABLE.fullmatch(pair[1])] if "{" in query or "%7" in query else pairs


def _facts(request: _Request) -> dict[str, Any]:
    match = request.match
    return {
        "service": match.service,
        "operation": match.operation.id if match.operation else "",
        "request_id": request.request_id,
    }
