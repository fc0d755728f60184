"""The token service as an ASGI application, mounted under `/ims`. Source: ims.md 2-6."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from capstream.aep import operations
from capstream.aep.asgi import (
    AsgiApp,
    BodyRefused,
    ClientGone,
    Receive,
    Reply,
    Scope,
    Send,
    headers_of,
    places,
    read_body,
    send_answer,
)
from capstream.aep.call import Answer, ApiError, Operation
from capstream.aep.error_shapes import Fault, Reason, refuse
from capstream.aep.ims import parameters
from capstream.aep.ims.grants import Granted, Grants, refused
from capstream.aep.ims.model import Client, Clients, Organisations, Standing, Token, Tokens
from capstream.aep.ims.tokens import ACCESS
from capstream.aep.limits import Buckets, RateLimits
from capstream.aep.routing import Match, Router
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json
from capstream.storage.ports import StorageUnavailable

_BODY_LIMIT = 64 << 10
_FIXED_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_MEDIA_TYPE = "application/json;charset=UTF-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    now_ms: int

    def bearer(self) -> str:
        """Return the token of the Authorization header, else of the parameters."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else self.parameters.get("token", "")


_Handler = Callable[[_Request], Answer]


class _Service:
    """One method per operation of `operations/ims.toml`."""

    def __init__(self, organisations: Organisations, clients: Clients, tokens: Tokens, clock: Clock) -> None:
        self._organisations = organisations
        self._clients = clients
        self._tokens = tokens
        self._clock = clock
        self._grants = Grants(clients, tokens)

    def handlers(self) -> dict[str, _Handler]:
        """Return the handler of each operation; `authorize`, a browser login, has none."""
        return {
            "tokenV1": lambda request: self._answer(self._grants.token, request, in_ms=True),
            "tokenV2": lambda request: self._answer(self._grants.token, request),
            "tokenV3": lambda request: self._answer(self._grants.token, request),
            "token": lambda request: self._answer(self._grants.token, request, in_ms=True),
            "tokenOtherVersion": lambda request: self._answer(self._grants.token, request),
            "exchangeJwt": lambda request: self._answer(self._grants.exchange, request, in_ms=True),
            "exchangeJwtV1": lambda request: self._answer(self._grants.exchange, request, in_ms=True),
            "validateToken": self._validate,
            "invalidateToken": self._invalidate,
            "listOrganizations": self._list_organisations,
            "retrieveProfile": self._profile,
            "retrieveUserInfo": self._user_info,
            "listKeys": lambda _: Answer(body=self._tokens.key_set()),
        }

    def _answer(self, grant: Callable[[Mapping[str, str], int], Granted], request: _Request, *, in_ms: bool = False) -> Answer:
        """Return a token answer. The unit of `expires_in` is that of the endpoint called. Source: ims.md 7."""
        granted = grant(request.parameters, request.now_ms)
        left_ms = self._tokens.ttl_ms - max(1, self._clock() - request.now_ms)
        expires_in = left_ms if in_ms else left_ms // 1000
        body = {"access_token": granted.token, "token_type": "bearer", "expires_in": expires_in}
        return Answer(body=body | dict(granted.more))

    def _validate(self, request: _Request) -> Answer:
        token = request.parameters.get("token", "") or request.bearer()
        standing, known = self._tokens.inspect(token, request.now_ms)
        if known and request.parameters.get("client_id", known.caller.client_id) != known.caller.client_id:
            standing = Standing.BAD
        if known and known.claims["type"] != request.parameters.get("type", known.claims["type"]):
            standing = Standing.BAD
        if standing is not Standing.GOOD or known is None:
            return Answer(body={"valid": False, "reason": standing.value})
        return Answer(body={"valid": True, "expires_at": known.expires_ms, "token": known.claims})

    def _invalidate(self, request: _Request) -> Answer:
        if request.parameters.get("client_secret"):
            self._grants.client(request.parameters, request.now_ms)
        elif self._clients.get(request.parameters.get("client_id", "")) is None:
            raise refused(400, "invalid_client", "invalid client_id parameter")
        standing, known = self._tokens.inspect(request.parameters.get("token", "") or request.bearer(), request.now_ms)
        if known is None or known.caller.client_id != request.parameters["client_id"]:
            raise refused(400, "invalid_token", "the token was not issued to this client")
        if standing is Standing.GOOD:
            self._tokens.revoke(known, request.now_ms)
            log.info("token revoked", action="token_revoked", org=known.caller.org_id, client=known.caller.client_id)
        return Answer(body={})

    def _list_organisations(self, request: _Request) -> Answer:
        token, _ = self._account(request)
        found = self._organisations.get(token.caller.org_id)
        ident, _, source = token.caller.org_id.partition("@")
        entry: dict[str, Json] = {
            "orgName": found.name if found else token.caller.org_id,
            "orgRef": {"ident": ident, "authSrc": source},
            "orgType": "Enterprise",
            "countryCode": "US",
            "groups": [],
        }
        return Answer(body=[entry])

    def _profile(self, request: _Request) -> Answer:
        token, client = self._account(request)
        body = {"userId": token.caller.user_id, "account_type": "ind", "email": client.email, "countryCode": "US"}
        return Answer(body=body | {"ownerOrg": token.caller.org_id})

    def _user_info(self, request: _Request) -> Answer:
        token, client = self._account(request)
        return Answer(body={"sub": token.caller.user_id, "account_type": "ind", "email": client.email, "name": client.name})

    def _account(self, request: _Request) -> tuple[Token, Client]:
        standing, token = self._tokens.inspect(request.bearer(), request.now_ms)
        client = self._clients.get(token.caller.client_id) if token else None
        if token and token.claims["type"] != ACCESS:
            standing = Standing.BAD
        if standing is not Standing.GOOD or token is None or client is None:
            raise refused(401, "invalid_token", f"the access token is not valid: {standing.value}")
        return token, client


def ims_app(
    organisations: Organisations, clients: Clients, *, tokens: Tokens, clock: Clock, rate_limits: RateLimits | None = None
) -> AsgiApp:
    """Return the ASGI application that serves `/ims/**`."""
    buckets = Buckets(rate_limits or {})
    handlers = _Service(organisations, clients, tokens, clock).handlers()
    router = Router(operation for operation in operations.load() if operation.service == "ims")

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        debug_id = str(uuid.uuid4())
        now_ms = clock()
        match = router.match(scope["method"], (scope.get("raw_path") or scope["path"].encode()).decode("latin-1"))
        try:
            body = await read_body(receive, _BODY_LIMIT)
            found = await parameters.read(scope, headers, body)
            wait_s = buckets.wait_s(("", found.get("client_id", ""), "ims"), now_ms)
            request = _Request(parameters=found, headers=headers, now_ms=now_ms)
            answer = _too_many(wait_s) if wait_s else _run(handlers, match, request)
        except BodyRefused as error:
            answer = _fault(match, Reason.TOO_LARGE, error.reason)
        except ClientGone:
            return
        answer = replace(answer, headers={**answer.headers, **_FIXED_HEADERS, "X-DEBUG-ID": debug_id}, media_type=_MEDIA_TYPE)
        await send_answer(send, answer, Reply(scope, headers, debug_id))

    return app


def _run(handlers: Mapping[str, _Handler], match: Match, request: _Request) -> Answer:
    operation: Operation | None = match.operation
    if operation is None:
        if match.allowed:
            return _fault(match, Reason.NO_METHOD, f"supported methods: {', '.join(sorted(match.allowed))}")
        return _fault(match, Reason.NO_PATH, f"{match.path} does not exist")
    handler = handlers.get(operation.id)
    if handler is None:
        log.warning("operation missing", action="operation_missing", service="ims", operation=operation.id)
        return _fault(match, Reason.NOT_BUILT, f"{operation.id} is not implemented")
    try:
        return handler(request)
    except ApiError as error:
        return error.answer
    except StorageUnavailable as error:
        log.error("storage unavailable", action="storage_unavailable", exc=error, service="ims")
        return replace(_fault(match, Reason.UNAVAILABLE, "the store cannot be written now"), headers={"Retry-After": "5"})
    except Exception as error:  # noqa: BLE001 - the token service's own front door
        log.error(
            "request failed", action="request_failed", error=type(error).__name__, trace=places(error), operation=operation.id
        )
        return _fault(match, Reason.INTERNAL, "unexpected failure; the log has it")


def _too_many(wait_s: int) -> Answer:
    body = {"error": "too_many_requests", "error_description": "request limit reached"}
    return Answer(status=429, body=body, headers={"Retry-After": str(wait_s)})


def _fault(match: Match, reason: Reason, detail: str) -> Answer:
    return refuse("ims", Fault(reason=reason, detail=detail, path=match.path, request_id="", now_ms=0))
