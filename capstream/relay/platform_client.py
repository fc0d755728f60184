"""A small client of Experience Platform's control APIs: headers, lists, errors that say which step failed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

import httpx

from capstream.kernel.errors import Permanent, Transient
from capstream.kernel.json import Json, JsonError, dumps, loads

_MAX_PAGES = 1000
_TIMEOUT = httpx.Timeout(30.0)


class PlatformRefused(Permanent):
    """The platform answered 4xx. `status` is the answer's."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__("PLATFORM_REFUSED", reason)
        self.status = status


@dataclass(frozen=True, slots=True)
class PlatformClient:
    """Calls one platform in one sandbox. `headers` are the four of the gateway."""

    http: httpx.AsyncClient
    base_url: str
    headers: Mapping[str, str]

    async def call(
        self,
        method: str,
        path: str,
        *,
        body: Json = None,
        accept: str = "application/json",
        params: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> Json:
        """Return the decoded answer, None when it has no body.

        Errors: Transient for 429, 5xx and network failures, PlatformRefused for every other refusal; both name the call.
        """
        headers = {**self.headers, "accept": accept, **({"if-match": etag} if etag else {})}
        content = None
        if body is not None:
            content = dumps(body)
            headers["content-type"] = "application/json"
        where = f"{method} {path}"
        try:
            response = await self.http.request(
                method, self.base_url.rstrip("/") + path, content=content, headers=headers, params=params, timeout=_TIMEOUT
            )
        except httpx.HTTPError as error:
            raise Transient(f"{where}: the platform cannot be reached ({type(error).__name__})") from error
        if response.is_success:
            return _decoded(response, where)
        reason = f"{where}: {response.status_code} {response.text[:500]}"
        if response.status_code == 429 or response.status_code >= 500:
            raise Transient(reason)
        raise PlatformRefused(response.status_code, reason)

    async def items(self, path: str, *, params: Mapping[str, str] | None = None) -> list[dict[str, Json]]:
        """Return all items of a Flow Service list, page by page."""
        found: list[dict[str, Json]] = []
        query = dict(params or {})
        for _ in range(_MAX_PAGES):
            page = await self.call("GET", path, params=query or None)
            found += page.get("items", [])
            following = ((page.get("_links") or {}).get("next") or {}).get("href")
            if not following or not page.get("items"):
                break
            query = {**query, **dict(_query(following))}
        return found


def _query(href: str) -> Iterator[tuple[str, str]]:
    for name, values in parse_qs(urlsplit(href).query).items():
        yield name, values[-1]


def _decoded(response: httpx.Response, where: str) -> Json:
    if not response.content:
        return None
    try:
        return loads(response.content)
    except JsonError as error:
        raise Transient(f"{where}: the answer is not JSON") from error
