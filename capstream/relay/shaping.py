"""The pace of requests to a streaming inlet: Adobe's published figures for Adobe's addresses, or what a source says.

Source: guardrails.md 1 (1,000 requests and 10,000 messages a second, of the whole organisation).
"""

from urllib.parse import urlsplit

from capstream.kernel.clock import Clock
from capstream.relay.delivery import Sleep
from capstream.relay.sources import Source

_PUBLISHED = (1_000, 10_000)
_ADOBE = (".adobe.net", ".adobe.io", ".adobe.com", ".adobedc.net")
_LONGEST_S = 60.0  #: all that can wait at once is through by then; more means that the clock was put back


class Pace:
    """Spreads requests over time; shared by all who post for one organisation. 0: no limit."""

    def __init__(self, requests_per_s: int, messages_per_s: int, clock: Clock, sleep: Sleep) -> None:
        self._request_s = 1 / requests_per_s if requests_per_s else 0.0
        self._message_s = 1 / messages_per_s if messages_per_s else 0.0
        self._clock = clock
        self._sleep = sleep
        self._free_s = 0.0

    async def take(self, messages: int) -> None:
        """Return when a request with so many messages may be sent."""
        now_s = self._clock() / 1000
        start_s = max(self._free_s, now_s) if self._free_s - now_s < _LONGEST_S else now_s
        self._free_s = start_s + max(self._request_s, messages * self._message_s)
        if start_s > now_s:
            await self._sleep(start_s - now_s)


def published(inlet_url: str) -> tuple[int, int]:
    """Return the requests and messages a second that an address takes by what is published of it."""
    host = urlsplit(inlet_url).hostname or ""
    return _PUBLISHED if f".{host}".endswith(_ADOBE) else (0, 0)


def wanted(source: Source) -> tuple[int, int]:
    """Return the requests and messages a second of a source: its own settings before what is published."""
    requests, messages = published(source.inlet_url)
    return source.limits.requests_per_second or requests, source.limits.messages_per_second or messages
