"""The relay's webhook door as a backfill uses it: many events a request, patient with what passes, loud about what does not."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from capstream.kernel.errors import CapstreamError
from capstream.kernel.json import Json, dumps, loads

_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 30.0


@dataclass(slots=True)
class Pace:
    """At most `rows_per_s` rows a second, counted from the first; None: as fast as the relay takes them."""

    rows_per_s: float | None
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _free_at: float = field(default=0.0, init=False)

    def take(self, rows: int) -> None:
        """Wait until `rows` more may go."""
        if self.rows_per_s is None:
            return
        now = self.now()
        start = max(now, self._free_at)
        self._free_at = start + rows / self.rows_per_s
        if start > now:
            self.sleep(start - now)


class Door:
    """Posts events to one source's webhook address. One connection; closed by its owner."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        sleep: Callable[[float], None] = time.sleep,
        client: httpx.Client | None = None,
    ) -> None:
        self._url = url
        self._headers = {**headers, "content-type": "application/json"}
        self._sleep = sleep
        self._client = client or httpx.Client(timeout=60)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def post(self, events: Sequence[Json]) -> list[bool]:
        """Return for each event whether it was new (False: a repeat), once all are durable in the relay's journal.

        Waits for as long as the relay is busy, down or being restarted. Errors: CapstreamError when it refuses the request.
        """
        content, wait = dumps(list(events)), _FIRST_WAIT_S
        while True:
            try:
                answer = self._client.post(self._url, content=content, headers=self._headers)
            except httpx.TransportError:
                self._sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT_S)
                continue
            if answer.status_code == 200:
                return _verdicts(loads(answer.content), len(events))
            if answer.status_code != 429 and answer.status_code < 500:
                raise CapstreamError(f"the relay answered {answer.status_code} at {self._url}: {answer.text[:200]}")
            stated = answer.headers.get("retry-after", "")
            self._sleep(float(stated) if stated.isdecimal() else wait)
            wait = min(wait * 2, _LONGEST_WAIT_S)


def _verdicts(body: Json, count: int) -> list[bool]:
    found = body.get("events", [body])
    if len(found) != count:
        raise CapstreamError(f"the relay answered for {len(found)} of {count} events; is the address that of a relay?")
    return [each["status"] == "accepted" for each in found]
