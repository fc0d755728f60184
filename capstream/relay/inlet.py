"""One POST of a batch of records to one flow of a streaming inlet. Source: streaming-ingestion.md 1, 2, 16."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import httpx

from capstream.kernel.clock import Clock
from capstream.kernel.errors import Permanent, Transient
from capstream.relay.answers import Answer, Pause, TryAgain, Unauthorised
from capstream.relay.ims import Tokens
from capstream.relay.retry import retry_after_s
from capstream.relay.verdicts import judge

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_WHOLE_S = 120.0  # for the whole answer: a byte now and then must not hold a lane for ever
_READ = httpx.ByteStream(b"")  # stands where an answer was read from
_ENVELOPE = len(b'{"messages":[]}')


Turn = Callable[[int], Awaitable[None]]
"""Returns when a request with so many records may be sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowAddress:
    """Where the records of one dataflow go."""

    inlet_url: str  #: the single-message URL as the connection or flow shows it
    flow_id: str
    org_id: str
    gzip: bool = False


def batch_url(inlet_url: str) -> str:
    """Return the batch form of an inlet URL: `/collection/{id}` becomes `/collection/batch/{id}`."""
    url = inlet_url.rstrip("/")
    if "/collection/batch/" in url:
        return url
    head, found, inlet_id = url.rpartition("/collection/")
    return f"{head}/collection/batch/{inlet_id}" if found else url


def request_body(records: Sequence[bytes]) -> bytes:
    """Return the body that carries already encoded records."""
    return b'{"messages":[' + b",".join(records) + b"]}"


def body_size(records: Sequence[bytes]) -> int:
    """Return the length of `request_body(records)`."""
    return _ENVELOPE + sum(map(len, records)) + max(len(records) - 1, 0)


class Inlet:
    """Posts to one flow, with a token; a refused token is replaced once a request."""

    def __init__(
        self, client: httpx.AsyncClient, tokens: Tokens, address: FlowAddress, clock: Clock, turn: Turn | None = None
    ) -> None:
        self._turn = turn
        self._client = client
        self._tokens = tokens
        self._address = address
        self._clock = clock
        self._url = batch_url(address.inlet_url)

    async def post(self, records: Sequence[bytes]) -> Answer:
        """Return what the platform made of the records; never raises for what network or platform do."""
        try:
            if self._turn is not None:
                await self._turn(len(records))
            token = await self._tokens.get()
            answer = await self._send(records, token)
            if isinstance(answer, Unauthorised):
                answer = await self._send(records, await self._tokens.renew(token))
        except Transient as error:
            return TryAgain(error.reason, error.retry_after_s)
        except Permanent as error:
            return Pause(0, error.reason)
        return answer

    async def _send(self, records: Sequence[bytes], token: str) -> Answer:
        body = request_body(records)
        headers = {
            "content-type": "application/json",
            "authorization": f"Bearer {token}",
            "x-adobe-flow-id": self._address.flow_id,
            "x-gw-ims-org-id": self._address.org_id,
        }
        if self._address.gzip:
            body = gzip.compress(body, 1)
            headers["content-encoding"] = "gzip"
        try:
            async with asyncio.timeout(_WHOLE_S):
                response = await self._client.post(self._url, content=body, headers=headers, timeout=_TIMEOUT)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Pause(0, f"the inlet URL is unusable: {error}")
        except (httpx.HTTPError, TimeoutError) as error:
            return TryAgain(f"the inlet cannot be reached: {type(error).__name__}")
        response.stream = _READ  # else the two hold each other, and the posted body, until the garbage collector comes
        asked = retry_after_s(response.headers.get("retry-after"), self._clock())
        return judge(response.status_code, response.content, records=len(records), retry_after_s=asked)
