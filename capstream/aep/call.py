"""What a handler gets and gives: one Call in, one Answer out, ApiError for every documented refusal."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from capstream.kernel.json import Json, JsonError, dumps, loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row of `operations/<service>.toml`. Source: the service's specification or contract."""

    id: str  #: operationId of the specification, e.g. `createConnection`
    service: str  #: folder name, e.g. `flow_service`
    method: str
    path: str  #: full path with `{name}` parameters, e.g. `/data/foundation/flowservice/connections/{id}`
    permission: str = ""  #: what the caller needs: any one of the names between commas, for every comma; empty when nothing
    sandboxed: bool = True  #: False for organisation-level operations, which ignore `x-sandbox-name`


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls, read from the access token."""

    org_id: str
    client_id: str
    user_id: str  #: technical account id, becomes `createdBy`
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """The sandbox a call works in."""

    id: str
    name: str
    type: str = "production"
    default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One authenticated request, matched to an operation."""

    operation: Operation
    method: str
    path: str  #: decoded, without trailing slash
    params: Mapping[str, str]  #: path parameters, percent-decoded once
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]  #: names in lower case
    body: bytes
    caller: Caller
    sandbox: Sandbox
    base_url: str  #: scheme and host of the request, without trailing slash
    request_id: str
    now_ms: int
    granted: Callable[[str], bool] = lambda _: True  #: whether the caller holds what a `permission` text asks for

    def arg(self, name: str, default: str = "") -> str:
        """Return the first value of a query parameter, names compared without case."""
        wanted = name.lower()
        return next((value for key, value in self.query if key.lower() == wanted), default)

    def args(self, name: str) -> list[str]:
        """Return every value of a repeatable query parameter."""
        wanted = name.lower()
        return [value for key, value in self.query if key.lower() == wanted]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a boolean query parameter: true/True/1 or false/False/0. Source: gateway.md 5.1 (5)."""
        value = self.arg(name).lower()
        return default if value == "" else value in {"true", "1"}

    def json(self) -> Json:
        """Return the decoded body; raises JsonError, which the gateway turns into the service's 400."""
        try:
            return loads(self.body)
        except UnicodeDecodeError as error:
            raise JsonError("a string is not UTF-8") from error
        except RecursionError as error:
            raise JsonError("the value is nested too deeply") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A response. `body` is a JSON value unless it is bytes; None sends no body."""

    status: int = 200
    body: Json = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str = "application/json"

    def content(self) -> bytes:
        """Return the bytes to send."""
        if self.body is None:
            return b""
        return self.body if isinstance(self.body, bytes) else dumps(self.body)


Handler = Callable[[Call], Answer]
"""Handles one operation. Plain and synchronous: control-plane work is a few reads and at most one commit."""


class ApiError(Exception):
    """A documented refusal, in the exact body its service publishes."""

    def __init__(
        self,
        status: int,
        body: Json,
        *,
        media_type: str = "application/json",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {body}")
        self.answer = Answer(status=status, body=body, media_type=media_type, headers=headers or {})

    @classmethod
    def of(cls, answer: Answer) -> "ApiError":
        """Return the error that sends `answer`."""
        return cls(answer.status, answer.body, media_type=answer.media_type, headers=answer.headers)


__all__ = ["Answer", "ApiError", "Call", "Caller", "Handler", "JsonError", "Operation", "Sandbox"]
