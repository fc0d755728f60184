"""The public HTTP APIs as the commands use them: a token, the four headers, errors in words."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any

import httpx

from capstream.credentials import Credentials
from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.json import Json, JsonError, dumps, loads


class Refused(CapstreamError):
    """The server answered with an error status."""

    def __init__(self, method: str, path: str, response: httpx.Response) -> None:
        super().__init__(f"{method} {path} answered {response.status_code}: {_reason(response)}")
        self.status = response.status_code


def _reason(response: httpx.Response) -> str:
    try:
        body = loads(response.content)
    except JsonError:
        return response.text[:300]
    if isinstance(body, dict):
        for key in ("detail", "errorMessage", "message", "error_description", "title"):
            if isinstance(body.get(key), str):
                return str(body[key])
    return response.text[:300]


class PlatformClient:
    """A caller of the platform and the relay with one technical account."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials
        self._http = httpx.Client(timeout=60)
        self._token = ""

    def __enter__(self) -> "PlatformClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._http.close()

    def platform(
        self, method: str, path: str, *, body: Json = None, query: dict[str, Any] | None = None, accept: str = "*/*"
    ) -> Json:
        """Return the decoded answer of a platform API; a token that is good no longer is replaced once.

        Errors: Refused, CapstreamError when nobody listens.
        """
        was_kept = bool(self._token)
        try:
            return self._platform(method, path, body=body, query=query, accept=accept)
        except Refused as refused:
            if refused.status != httpx.codes.UNAUTHORIZED or not was_kept:
                raise
        self._token = ""
        return self._platform(method, path, body=body, query=query, accept=accept)

    def _platform(self, method: str, path: str, *, body: Json, query: dict[str, Any] | None, accept: str) -> Json:
        headers = {
            "authorization": f"Bearer {self._access_token()}",
            "x-api-key": self.credentials.client_id,
            "x-gw-ims-org-id": self.credentials.org_id,
            "x-sandbox-name": self.credentials.sandbox,
            "accept": accept,
        }
        return self._call(method, self.credentials.platform_url + path, headers=headers, body=body, query=query)

    def text(self, path: str, query: dict[str, Any]) -> str:
        """Return a platform answer that is not JSON."""
        answer: str = self.platform("GET", path, query=query)
        return answer

    def relay(self, method: str, path: str, *, body: Json = None, query: dict[str, Any] | None = None) -> Json:
        """Return the decoded answer of the relay's own API. Errors: InputError when a name in the path would lead elsewhere."""
        if any(part in ("", ".", "..") for part in path.split("/")[1:]) or set(path) & set("?#%\\"):
            raise InputError(path, "a name in it is empty, or no name", "give the key or id as a list shows it")
        auth = httpx.BasicAuth(self.credentials.client_id, self.credentials.client_secret)
        return self._call(method, self.credentials.relay_url + path, auth=auth, body=body, query=query)

    def administration(self, method: str, path: str, *, body: Json = None) -> Json:
        """Return the decoded answer of an endpoint of the platform that takes the account itself, without a token."""
        auth = httpx.BasicAuth(self.credentials.client_id, self.credentials.client_secret)
        return self._call(method, self.credentials.platform_url + path, auth=auth, body=body)

    def _access_token(self) -> str:
        if not self._token:
            form = {
                "grant_type": "client_credentials",
                "client_id": self.credentials.client_id,
                "client_secret": self.credentials.client_secret,
                "scope": self.credentials.scopes,
            }
            self._token = self._call("POST", f"{self.credentials.ims_url}/ims/token/v3", form=form)["access_token"]
        return self._token

    def _call(self, method: str, url: str, *, body: Json = None, form: Mapping[str, str] | None = None, **options: Any) -> Json:
        headers = {**options.pop("headers", {}), **({"content-type": "application/json"} if body is not None else {})}
        query: dict[str, Any] | None = options.pop("query", None)
        content = dumps(body) if body is not None else None
        try:
            response = self._http.request(method, url, params=query, headers=headers, content=content, data=form, **options)
        except httpx.TransportError as error:
            raise CapstreamError(f"no answer from {url}: {error}; is the server running (`capstream up`)?") from error
        if response.status_code >= 400:
            raise Refused(method, response.request.url.path, response)
        kind = response.headers.get("content-type", "")
        if "json" not in kind or "ndjson" in kind:
            return response.text
        return loads(response.content) if response.content else None
