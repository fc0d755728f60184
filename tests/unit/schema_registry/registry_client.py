"""A registry on a real store, called the way the gateway calls it: method, path, body, Accept."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from capstream.aep.call import Answer, ApiError, Call, Caller, Handler, Operation, Sandbox
from capstream.aep.operations import load
from capstream.aep.routing import Router
from capstream.aep.schema_registry.api import handlers
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.kernel.json import Json, dumps, loads

BASE = "/data/foundation/schemaregistry"
SCHEMAS = Path(__file__).parents[3] / "capstream" / "relay" / "schemas"
XDM = "https://ns.adobe.com/xdm/"
FULL = "application/vnd.adobe.xed-full+json; version=1"
STORED = "application/vnd.adobe.xed+json; version=1"
PROD = Sandbox(id="4f1c8b52-0000-4000-8000-000000000001", name="prod", default=True)


@dataclass
class Registry:
    """Sends requests to the handlers; `tick` makes every request one second later than the one before."""

    model: SchemaRegistry
    used: set[str] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=lambda: {"email", "phone", "capillaryuserid", "ecid"})
    now_ms: int = 1_726_585_471_000
    strict: bool = False
    sandbox: Sandbox = PROD
    router: Router = field(default_factory=lambda: Router(load()))
    tables: dict[bool, dict[str, Handler]] = field(default_factory=dict)

    def send(
        self, method: str, path: str, body: Json = None, *, accept: str = "", query: str = "", content_type: str = ""
    ) -> Answer:
        match = self.router.match(method, BASE + path)
        assert match.operation is not None, f"{method} {path} is no operation"
        self.now_ms += 1000
        table = self._handlers()
        try:
            return table[match.operation.id](
                self._call(
                    match.operation, match.params, match.path, body, {"accept": accept, "content-type": content_type}, query
                )
            )
        except ApiError as error:
            return error.answer

    def ok(self, method: str, path: str, body: Json = None, **options: Any) -> Json:
        answer = self.send(method, path, body, **options)
        assert answer.status < 300, answer.body
        return loads(answer.content()) if answer.body is not None else None

    def code(self, method: str, path: str, body: Json = None, **options: Any) -> str:
        """Return the error code, such as 1021-400."""
        answer = self.send(method, path, body, **options)
        assert answer.status >= 400, answer.body
        return str(answer.body["type"]).rsplit("XDM-", 1)[1]

    def _handlers(self) -> dict[str, Handler]:
        """Return the operations, built once as in a server."""
        if self.strict not in self.tables:
            self.tables[self.strict] = handlers(
                self.model,
                in_use=lambda _sandbox, uri: uri in self.used,
                namespace_code=lambda _sandbox, code: code.lower() if code.lower() in self.namespaces else "",
                strict_accept=self.strict,
            )
        return self.tables[self.strict]

    def _call(self, operation: Operation, params: Any, path: str, body: Json, headers: dict[str, str], query: str) -> Call:
        pairs = [tuple(part.partition("=")[::2]) for part in query.split("&") if part]
        return Call(
            operation=operation,
            method=operation.method,
            path=path,
            params=params,
            query=pairs,
            headers=headers,
            body=body if isinstance(body, bytes) else b"" if body is None else dumps(body),
            caller=Caller(org_id="A1B2@AdobeOrg", client_id="client", user_id="user@techacct"),
            sandbox=self.sandbox,
            base_url="http://localhost:8080",
            request_id=f"request{self.now_ms}",
            now_ms=self.now_ms,
        )

    def other_sandbox(self) -> "Registry":
        return replace(self, sandbox=Sandbox(id="4f1c8b52-0000-4000-8000-000000000002", name="dev", type="development"))


def capillary(name: str, **values: str) -> Json:
    """Return a shipped body with its placeholders filled in."""
    text = (SCHEMAS / name).read_text(encoding="utf-8")
    for key, value in {"TENANT_ID": "capstream", **values}.items():
        text = text.replace("{" + key + "}", value)
    return loads(text)


def group(title: str, fields: dict[str, Json], *, fits: str = "context/profile") -> Json:
    """Return the body of a field group with fields in the tenant's object."""
    return {
        "title": title,
        "type": "object",
        "meta:intendedToExtend": [XDM + fits],
        "definitions": {"customFields": {"properties": {"_capstream": {"type": "object", "properties": fields}}}},
        "allOf": [{"$ref": "#/definitions/customFields"}],
    }


def schema(title: str, *references: str, of: str = "context/profile") -> Json:
    """Return the body of a schema."""
    full = [name if "://" in name else XDM + name for name in (of, *references)]
    return {"title": title, "type": "object", "allOf": [{"$ref": reference} for reference in full]}


def encoded(uri: str) -> str:
    """Return an `$id` the way clients put it into a path."""
    return quote(uri, safe="")
