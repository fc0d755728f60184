"""Access tokens of the OAuth Server-to-Server flow, fetched once for all who ask. Source: ims.md 3, 4, 7."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx

from capstream.kernel import log
from capstream.kernel.clock import Clock
from capstream.kernel.errors import Permanent, Transient
from capstream.kernel.json import Json, JsonError, loads
from capstream.relay.retry import retry_after_s

_SEVEN_DAYS_S = 604_800
_LEAST_REST_MS = 60_000
_TIMEOUT = httpx.Timeout(15.0)
_WHOLE_S = 30.0  # for the whole answer, however slowly it drips


Report = Callable[[str, int, str], None]
"""Hears of each try: (client id, when the new token expires, or 0 and why there is none)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """An OAuth Server-to-Server client."""

    token_url: str
    client_id: str
    client_secret: str
    scopes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Token:
    """An access token and its life in epoch milliseconds."""

    value: str
    fetched_ms: int
    expires_ms: int

    def is_stale(self, now_ms: int) -> bool:
        """Return whether less than a minute, or less than 5 % of the lifetime, remains."""
        rest = max(_LEAST_REST_MS, (self.expires_ms - self.fetched_ms) // 20)
        return now_ms >= self.expires_ms - rest


def token_of(answer: Json, now_ms: int) -> Token:
    """Return the token of a token endpoint's answer.

    `expires_in` is in seconds at some endpoints and in milliseconds at others, so the token's own claims decide when it
    has them; otherwise a number above seven days' seconds is milliseconds. Source: ims.md 7.
    Errors: Permanent when the answer holds no token.
    """
    value = answer.get("access_token") if isinstance(answer, dict) else None
    if not isinstance(value, str) or not value:
        raise Permanent("IMS_ANSWER", "the token endpoint answered without an access_token")
    claims = _claims(value)
    try:
        expires_ms = int(claims["created_at"]) + int(claims["expires_in"])
    except (KeyError, TypeError, ValueError):
        expires_ms = now_ms + _lifetime_ms(answer.get("expires_in"))
    return Token(value, now_ms, expires_ms)


def _lifetime_ms(expires_in: Json) -> int:
    try:
        number = float(expires_in)
    except (TypeError, ValueError):
        return 0  # unknown: good for this once
    return int(number if number > _SEVEN_DAYS_S else number * 1000)


def _claims(token: str) -> dict[str, Json]:
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError, JsonError):
        return {}
    return claims if isinstance(claims, dict) else {}


class Tokens:
    """The tokens of one client: cached, refreshed before they expire, one request in flight."""

    def __init__(
        self, client: httpx.AsyncClient, credentials: Credentials, clock: Clock, report: Report = lambda *_: None
    ) -> None:
        self._client = client
        self._report = report
        self._credentials = credentials
        self._clock = clock
        self._lock = asyncio.Lock()
        self._token: Token | None = None

    async def get(self) -> str:
        """Return a token that is good for a while.

        Errors: Transient when the endpoint cannot answer now and no token is left, Permanent when it refuses the client.
        """
        token = self._token
        if token is not None and not token.is_stale(self._clock()):
            return token.value
        async with self._lock:
            if (token := self._token) is not None and not token.is_stale(self._clock()):
                return token.value
            try:
                self._token = await self._fetch()
            except Transient:
                if token is None or token.expires_ms <= self._clock():
                    raise
                return token.value  # not fresh any more, but still good
            return self._token.value

    async def renew(self, refused: str) -> str:
        """Return another token than `refused`, which was answered 401 or 403. Errors: as `get`."""
        async with self._lock:
            if self._token is None or self._token.value == refused:
                self._token = await self._fetch()
            return self._token.value

    async def _fetch(self) -> Token:
        try:
            token = await self._fetched()
        except (Transient, Permanent) as error:
            self._report(self._credentials.client_id, 0, error.reason)
            raise
        self._report(self._credentials.client_id, token.expires_ms, "")
        return token

    async def _fetched(self) -> Token:
        credentials = self._credentials
        form = {
            "grant_type": "client_credentials",
            "client_id": credentials.client_id,
            "client_secret": credentials.client_secret,
            "scope": ",".join(credentials.scopes),
        }
        try:
            async with asyncio.timeout(_WHOLE_S):
                response = await self._client.post(credentials.token_url, data=form, timeout=_TIMEOUT)
        except (httpx.HTTPError, TimeoutError) as error:
            raise Transient(f"the token endpoint cannot be reached: {type(error).__name__}") from error
        now = self._clock()
        if response.is_success:
            token = token_of(_json(response), now)
            log.info("token fetched", action="token_fetched", client=credentials.client_id, expires_ms=token.expires_ms)
            return token
        if response.status_code in (408, 429) or response.status_code >= 500:
            asked = retry_after_s(response.headers.get("retry-after"), now)
            raise Transient(f"the token endpoint answered {response.status_code}", retry_after_s=asked)
        raise Permanent("IMS_REFUSED", f"the token endpoint answered {response.status_code}: {_reason(response)}")


def _json(response: httpx.Response) -> Json:
    try:
        return loads(response.content)
    except JsonError as error:
        raise Transient("the token endpoint answered something that is not JSON") from error


def _reason(response: httpx.Response) -> str:
    """Return the error code and description of the answer, never more: it may echo what was sent."""
    try:
        answer = loads(response.content)
    except JsonError:
        return "no JSON"
    if not isinstance(answer, dict):
        return "no object"
    return f"{answer.get('error', 'no error code')}: {answer.get('error_description', '')}"[:200]
