"""Capillary's own API in front of the simulated programme: OAuth token, C1 to C9, deliveries. Source: capillary.md 5, 9.5."""

import asyncio
import hmac
import secrets
from base64 import b64decode
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from hashlib import md5
from random import Random

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from capstream.capillary.programme.acts import act_of
from capstream.capillary.programme.answers import Answers
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.ledger import Member
from capstream.kernel.clock import Clock
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.relay.webhook_api import Answer as WebhookAnswer
from capstream.relay.webhook_api import WebhookApi, whole_number
from capstream.relay.webhook_settings import Unanswerable

_MINUTE_MS = 60_000
_TOKEN_HEADERS = ("x-cap-api-oauth-token", "cap-api-access-token")
_LARGEST_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class FacadeOptions:
    """How well the API behaves. Without `key` any credentials are good."""

    key: str = ""
    secret: str = field(default="", repr=False)
    token_ttl_s: int = 300
    latency_ms: float = 0.0  #: median of a log-normal; 0: none
    error_share: float = 0.0  #: answered 500
    throttle_share: float = 0.0  #: answered 429
    per_minute: int = 0  #: 0: no limit
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """What `/_sim` can do with the run."""

    state: Callable[[], Json]
    commands: Mapping[str, Callable[[], None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the API tells of the run besides its ledger."""

    control: Control | None = None
    webhooks: WebhookApi | None = None


class Facade:
    """The API of one engine. It reads the ledger only between the engine's steps: both live on one event loop."""

    def __init__(self, engine: Engine, options: FacadeOptions, clock: Clock, run: Run | None = None) -> None:
        self._engine = engine
        self._answers = Answers(engine)
        self._options = options
        self._clock = clock
        self._control = run.control if run else None
        self._webhooks = run.webhooks if run else None
        self._chance = Random(options.seed)  # noqa: S311 - faults must repeat themselves
        self._tokens: dict[str, int] = {}
        self._recent: deque[int] = deque()
        self.calls: dict[str, int] = {}

    def app(self) -> Starlette:
        """Return the ASGI application."""
        customers = "/v2/customers/{customer_id:int}"
        routes = [
            Route("/v3/oauth/token/generate", self._token, methods=["POST"]),
            self._call("C1", "/v2/customers/lookup", self._lookup),
            self._call("C2", "/v2/customers/lookup/customerDetails", self._details_by_identifier),
            self._call("C3", "/v2/customers/lookup/loyaltyDetails", self._loyalty_by_identifier),
            self._call("C4", "/v2/customers/points/balance/{customer_id:int}", self._of_member(self._answers.balance)),
            self._call("C2", customers, self._details),
            self._call("C3", f"{customers}/loyaltyDetails", self._of_member(self._answers.loyalty)),
            self._call("C4", f"{customers}/points/balance", self._of_member(self._answers.balance)),
            self._call("C5", f"{customers}/tierDetails", self._of_member(self._answers.tiers)),
            self._call("C6", f"{customers}/pointsExpirySchedule", self._of_member(self._answers.expiry_schedule)),
            self._call("C7", "/v2/transactions/{transaction_id:int}", self._transaction),
            self._call("C8", f"{customers}/transactions", self._transactions),
            self._call("C9", f"{customers}/singlePointsExpiryUpdates", self._expiry_updates),
        ]
        if self._webhooks is not None:
            routes += [self._webhook_call(*call, answer) for call, answer in self._webhooks.calls().items()]
        routes += [
            Route("/v3/webHooks{rest:path}", _not_built, methods=["GET"]),
            Route("/v3/events{rest:path}", _not_built, methods=["GET"]),
        ]
        if self._control is not None:
            routes += [
                Route("/_sim/state", self._state, methods=["GET"]),
                Route("/_sim/members/{customer_id:int}/{act}", self._act, methods=["POST"]),
                Route("/_sim/{command}", self._command, methods=["POST"]),
            ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _unknown})

    def _call(self, name: str, path: str, answer: Callable[[Request], tuple[Json, int]]) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answered(name, request, answer)

        return Route(path, endpoint, methods=["GET"])

    def _webhook_call(self, method: str, path: str, answer: WebhookAnswer) -> Route:
        """Return a route whose body is read before its turn comes."""

        async def endpoint(request: Request) -> Response:
            raw = await _body(request) if method in ("POST", "PUT") else b""
            return await self._answered(path.split("/")[2], request, lambda asked: answer(asked, _parsed(raw)))

        return Route(path, endpoint, methods=[method])

    async def _answered(self, name: str, request: Request, answer: Callable[[Request], tuple[Json, int]]) -> Response:
        self.calls[name] = self.calls.get(name, 0) + 1
        await self._wait()
        try:
            self._admit(request)
            body, as_of_ms = answer(request)
        except Unanswerable as refused:
            return self._answer(refused.status, _errors(refused.code, str(refused)), self._engine.now_ms)
        return self._answer(200, body, as_of_ms)

    def _answer(self, status: int, body: Json, as_of_ms: int) -> Response:
        headers = {"X-Capstream-Time": str(as_of_ms), "X-Cap-Requestid": new_hex32()}
        return Response(dumps(body), status, headers, media_type="application/json")

    async def _wait(self) -> None:
        if self._options.latency_ms > 0:
            await asyncio.sleep(self._options.latency_ms / 1000 * self._chance.lognormvariate(0, 0.5))

    def _admit(self, request: Request) -> None:
        options, now_ms = self._options, self._clock()
        while self._recent and self._recent[0] <= now_ms - _MINUTE_MS:
            self._recent.popleft()
        if (options.per_minute and len(self._recent) >= options.per_minute) or self._chance.random() < options.throttle_share:
            raise Unanswerable(429, 429, "Too Many Requests")
        self._recent.append(now_ms)
        if not self._is_authorised(request, now_ms):
            raise Unanswerable(401, 401, "Unauthorized: the token is missing, unknown or expired")
        if self._chance.random() < options.error_share:
            raise Unanswerable(500, 500, "Internal server error")

    def _is_authorised(self, request: Request, now_ms: int) -> bool:
        for name in _TOKEN_HEADERS:
            token = request.headers.get(name)
            if token is not None:
                return self._tokens.get(token, 0) > now_ms
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return False
        try:
            till, _, password = b64decode(credentials, validate=True).decode().partition(":")
        except ValueError:
            return False
        hashed = md5(self._options.secret.encode(), usedforsecurity=False).hexdigest()  # as Capillary has tills send it
        return not self._options.key or (_same(till, self._options.key) and _same(password, hashed))

    async def _token(self, request: Request) -> Response:
        try:
            asked = loads(await request.body())
        except JsonError:
            asked = None
        key, secret = (asked.get("key"), asked.get("secret")) if isinstance(asked, dict) else (None, None)
        is_text = isinstance(key, str) and isinstance(secret, str) and bool(key) and bool(secret)
        is_known = not self._options.key or (_same(str(key), self._options.key) and _same(str(secret), self._options.secret))
        if not is_text or not is_known:
            return self._answer(401, _errors(401, "Unauthorized: invalid key or secret"), self._engine.now_ms)
        now_ms, token = self._clock(), secrets.token_urlsafe(24)
        self._tokens = {old: until for old, until in self._tokens.items() if until > now_ms}
        self._tokens[token] = now_ms + self._options.token_ttl_s * 1000
        data = {"accessToken": token, "ttlSeconds": self._options.token_ttl_s}
        return self._answer(200, {"data": data, "errors": None}, self._engine.now_ms)

    def _of_member(self, answer: Callable[[Member], Json]) -> Callable[[Request], tuple[Json, int]]:
        def respond(request: Request) -> tuple[Json, int]:
            member, as_of_ms = self._member(request.path_params["customer_id"])
            return answer(member), as_of_ms

        return respond

    def _member(self, customer_id: int) -> tuple[Member, int]:
        asked = self._engine.ask(customer_id)
        if asked is None:
            raise Unanswerable(400, 8015, "Customer not found for the given identifiers")
        if asked.member.merged_into is not None:
            raise Unanswerable(400, 8069, f"Customer is merged into another account: {asked.member.merged_into}")
        if asked.member.is_deleted:
            raise Unanswerable(400, 8015, "Customer is deleted after PII delete request")
        return asked.member, asked.as_of_ms

    def _found(self, request: Request) -> tuple[Member, int]:
        """Return the member an identifier names. ASSUMPTION: only the INSTORE source is simulated."""
        if request.query_params.get("source", "INSTORE") not in ("INSTORE", "ALL"):
            raise Unanswerable(400, 8011, "Invalid source")
        kind, value = request.query_params.get("identifierName", ""), request.query_params.get("identifierValue", "")
        attribute = {"mobile": "mobile", "email": "email", "externalId": "external_id"}.get(kind)
        if attribute is None or not value:
            raise Unanswerable(400, 8013, "Identifier invalid")
        for member in self._engine.world.members.values():
            if getattr(member, attribute) == value:
                return self._member(member.customer_id)
        raise Unanswerable(400, 8015, "Customer not found for the given identifiers")

    def _lookup(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._found(request)
        return {"entity": member.customer_id, "warnings": []}, as_of_ms

    def _details(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._member(request.path_params["customer_id"])
        return self._answers.customer(member, _embeds(request)), as_of_ms

    def _details_by_identifier(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._found(request)
        return self._answers.customer(member, _embeds(request)), as_of_ms

    def _loyalty_by_identifier(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._found(request)
        return self._answers.loyalty(member), as_of_ms

    def _transaction(self, request: Request) -> tuple[Json, int]:
        receipt = self._engine.receipt(request.path_params["transaction_id"])
        if receipt is None or request.query_params.get("type", receipt.bill_type) != receipt.bill_type:
            raise Unanswerable(404, 404, "Transaction not found")
        return self._answers.transaction(receipt), self._engine.now_ms

    def _transactions(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._member(request.path_params["customer_id"])
        limit = min(whole_number(request, "limit", 20), 1000)
        return self._answers.transactions(member, limit=limit, offset=whole_number(request, "offset", 0)), as_of_ms

    def _expiry_updates(self, request: Request) -> tuple[Json, int]:
        member, as_of_ms = self._member(request.path_params["customer_id"])
        limit = min(whole_number(request, "limit", 10), 10)
        return self._answers.expiry_updates(member, limit=limit, offset=whole_number(request, "offset", 0)), as_of_ms

    async def _state(self, _: Request) -> Response:
        state = self._control.state() if self._control is not None else {}
        return self._answer(200, {**state, "apiCalls": dict(self.calls)}, self._engine.now_ms)

    async def _command(self, request: Request) -> Response:
        command = self._control.commands.get(request.path_params["command"]) if self._control is not None else None
        if command is None:
            return self._answer(501, _errors(501, f"/_sim/{request.path_params['command']} is not built"), self._engine.now_ms)
        command()
        return await self._state(request)

    async def _act(self, request: Request) -> Response:
        customer_id, now_ms = request.path_params["customer_id"], self._engine.now_ms
        try:
            self._member(customer_id)
            arguments = loads(await request.body() or b"{}")
            if not isinstance(arguments, dict):
                raise InputError("body", "is no object", "send the act's arguments as a JSON object")
            programme = self._engine.programme
            scale = int(10**programme.program.decimals)
            act = act_of(request.path_params["act"], arguments, tiers=len(programme.tiers), scale=scale)
        except (InputError, JsonError) as error:
            return self._answer(400, _errors(400, str(error)), now_ms)
        except Unanswerable as refused:
            return self._answer(refused.status, _errors(refused.code, str(refused)), now_ms)
        self._engine.schedule(customer_id, act)
        return self._answer(202, {"scheduled": request.path_params["act"], "customerId": customer_id}, now_ms)


def _embeds(request: Request) -> frozenset[str]:
    return frozenset(request.query_params.get("embed", "").split(","))


def _errors(code: int, message: str) -> Json:
    """Return Capillary's error body. ASSUMPTION: business errors come with HTTP 400."""
    return {"data": None, "errors": [{"status": False, "code": code, "message": message}], "warnings": []}


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


async def _body(request: Request) -> bytes | None:
    """Return the body, None when it is too long to be one of a webhook."""
    body = b""
    async for part in request.stream():
        if len(body) + len(part) > _LARGEST_BODY:
            return None
        body += part
    return body


def _parsed(raw: bytes | None) -> Json:
    if raw is None:
        raise Unanswerable(413, 413, f"the body exceeds {_LARGEST_BODY} bytes")
    try:
        return loads(raw) if raw else None
    except JsonError as error:
        raise Unanswerable(400, 400, f"the body is not JSON: {error}") from error


async def _not_built(request: Request) -> Response:
    message = f"{request.method} {request.url.path} is not built in the simulated Capillary"
    return Response(dumps(_errors(501, message)), 501, media_type="application/json")


def _unknown(_: Request, error: Exception) -> Response | Awaitable[Response]:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response(dumps(_errors(status, str(getattr(error, "detail", error)))), status, media_type="application/json")
