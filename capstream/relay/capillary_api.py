"""The client of one Capillary API: token, rate, concurrency, circuit breaker. Source: capillary.md 5.1, 5.3, 5.4."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from capstream.capillary.results import Answered
from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.relay.sources import CapillaryApi
from capstream.relay.throttle import Breaker, Bucket

_TOKEN_PATH = "/v3/oauth/token/generate"  # noqa: S105 - a path
_TOKEN_HEADER = "X-CAP-API-OAUTH-TOKEN"  # noqa: S105 - a header name
_TIME_HEADER = "x-capstream-time"
_TIMEOUT = httpx.Timeout(30.0)
_FRESH_SHARE = 0.8
_RETRIED_CODES = frozenset({521, 461, 500, 4001})


@dataclass(frozen=True, slots=True)
class NotNow:
    """No answer for now: refused by our own limits (`was_called` False), or failed on the way."""

    reason: str
    was_called: bool


@dataclass(frozen=True, slots=True)
class NotEver:
    """The API will not answer this call: no such member, no permission."""

    reason: str


Reply = Answered | NotNow | NotEver


class CapillaryClient:
    """Calls one API with one set of credentials."""

    def __init__(self, http: httpx.AsyncClient, api: CapillaryApi, clock: Clock) -> None:
        self._http = http
        self._api = api
        self._clock = clock
        self._slots = asyncio.Semaphore(max(api.concurrency, 1))
        self._bucket = Bucket(api.per_minute, clock())
        self._breaker = Breaker()
        self._token = ""
        self._token_stale_ms = 0
        self._token_lock = asyncio.Lock()

    async def get(self, path: str, params: Mapping[str, str]) -> Reply:
        """Return what the API says; never waits for its own rate limit."""
        now = self._clock()
        if not self._bucket.take(now):
            return NotNow("the limit of calls per minute is used up", was_called=False)
        if not self._breaker.allows(now):
            return NotNow("the circuit breaker is open", was_called=False)
        reply: Reply = NotNow("the call was cancelled", was_called=True)
        try:
            async with self._slots:
                reply = await self._authorised(path, params)
        finally:
            if isinstance(reply, NotNow):
                self._breaker.failed(self._clock())
            else:
                self._breaker.succeeded()
        return reply

    async def _authorised(self, path: str, params: Mapping[str, str]) -> Reply:
        token = await self._fresh_token(refused="")
        if not isinstance(token, str):
            return token
        response = await self._request(path, params, token)
        if isinstance(response, httpx.Response) and response.status_code == 401:
            token = await self._fresh_token(refused=token)
            if not isinstance(token, str):
                return token
            response = await self._request(path, params, token)
        if not isinstance(response, httpx.Response):
            return response
        return self._judged(path, response)

    async def _request(self, path: str, params: Mapping[str, str], token: str) -> httpx.Response | NotNow:
        url = self._api.host.rstrip("/") + path
        headers = {_TOKEN_HEADER: token, "accept": "application/json"}
        try:
            return await self._http.get(url, params=params, headers=headers, timeout=_TIMEOUT)
        except httpx.HTTPError as error:
            return NotNow(f"the API cannot be reached: {type(error).__name__}", was_called=True)

    def _judged(self, path: str, response: httpx.Response) -> Reply:
        request_id = response.headers.get("x-cap-requestid", "")
        status = response.status_code
        try:
            body = loads(response.content)
        except JsonError:
            return NotNow(f"answer {status} is not JSON (request {request_id})", was_called=True)
        codes = _error_codes(body)
        if response.is_success and not codes:
            stated = response.headers.get(_TIME_HEADER, "")
            return Answered(body, int(stated) if stated.isdigit() else self._clock())
        log.warning("API call refused", action="capillary_api_refused", status=status, codes=sorted(codes), request=request_id)
        if status == 429 or status >= 500 or status == 401 or codes & _RETRIED_CODES:
            return NotNow(f"answer {status} (request {request_id})", was_called=True)
        return NotEver(f"answer {status}, codes {sorted(codes)} (request {request_id})")

    async def _fresh_token(self, *, refused: str) -> str | NotNow | NotEver:
        async with self._token_lock:
            if self._token and self._token != refused and self._clock() < self._token_stale_ms:
                return self._token
            body = dumps({"key": self._api.key, "secret": self._api.secret})
            headers = {"content-type": "application/json"}
            try:
                url = self._api.host.rstrip("/") + _TOKEN_PATH
                response = await self._http.post(url, content=body, headers=headers, timeout=_TIMEOUT)
                data = loads(response.content)["data"] if response.is_success else {}
                token, lifetime_s = str(data["accessToken"]), float(data["ttlSeconds"])
            except httpx.HTTPError as error:
                return NotNow(f"the token cannot be fetched: {type(error).__name__}", was_called=True)
            except (JsonError, KeyError, TypeError, ValueError):
                return NotNow(f"the token was refused with {response.status_code}", was_called=True)
            self._token, self._token_stale_ms = token, self._clock() + int(lifetime_s * 1000 * _FRESH_SHARE)
            return token


def _error_codes(body: Json) -> set[int]:
    """Return the codes of the errors an answer lists; some come with status 200."""
    listed = body.get("errors") if isinstance(body, dict) else None
    if not isinstance(listed, list):
        return set()
    return {int(item["code"]) for item in listed if isinstance(item, dict) and str(item.get("code", "")).isdigit()}
