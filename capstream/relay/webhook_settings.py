"""The webhook object of Capillary's API: what a registration says, and what is posted by it. Source: capillary.md 1.2."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from capstream.capillary.vocabulary import MAPPED, UNMAPPED
from capstream.kernel.json import Json, JsonError, dumps, loads

HIDDEN = "********"
"""Shown for the value of a header; sent back, the value stays as it is."""

_KINDS = MAPPED | UNMAPPED
_TYPES = ("HTTP", "QUEUE_INT")
_METHODS = ("POST", "PUT", "GET", "DELETE")
_MOST_CONNECTIONS = 100
_FLAGS = {
    "tillDetailsEnrichmentEnabled": "till_details",
    "storeDetailsEnrichmentEnabled": "store_details",
    "availablePointsBalanceEnrichmentEnabled": "balance",
}
_NOT_BUILT = ("awardedReferenceEnrichmentEnabled", "neoEnrichment")
_READ_ONLY = ("webHookId", "consumerGroupId", "noOfRetryAttempts", "attribution", "possibleValues")
_OURS = ("content-length", "transfer-encoding", "connection", "host")
_CHANNELS = ("instore", "ecommerce", "facebook", "wechat", "tmall", "toabao", "web_engage", "line", "martjack", "jd", "website")


class Unanswerable(Exception):
    """A question Capillary refuses: HTTP status, code and message of the answer."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """One registration. The three kinds of enrichment add what an event does not have by itself."""

    name: str
    url: str
    event_names: frozenset[str]
    headers: Mapping[str, str] = field(repr=False)  #: their values are secrets
    connections: int
    identifiers: tuple[Json, ...] = ()  #: as they were sent
    active: bool = True
    type: str = "HTTP"
    method: str = "POST"
    sla_s: int | None = None
    till_details: bool = False
    store_details: bool = False
    balance: bool = False

    @property
    def sources(self) -> frozenset[str]:
        """Return the sources whose identifiers are added, in lower case."""
        named = (each.get("source") if isinstance(each, dict) else each for each in self.identifiers)
        return frozenset(str(name).lower() for name in named)

    def wants(self, kind: str) -> bool:
        """Return whether events of a kind are posted."""
        return self.active and self.type == "HTTP" and kind in self.event_names

    def shaped(self, raw: bytes, kind: str) -> bytes:
        """Return the body of a fully enriched event as this webhook gets it; what is no JSON stays as it is."""
        if self.till_details and self.store_details and "instore" in self.sources and not self.balance:
            return raw
        try:
            body = loads(raw)
        except JsonError:
            return raw
        return dumps(self._shaped(body, kind))

    def _shaped(self, value: Json, kind: str) -> Json:
        if isinstance(value, list):
            return [self._shaped(each, kind) for each in value]
        if not isinstance(value, dict):
            return value
        shaped = {name: self._shaped(each, kind) for name, each in value.items()}
        for name, each in shaped.items():
            if not isinstance(each, dict):
                continue
            if name.endswith(("customerIdentifiers", "CustomerIdentifiers")):
                shaped[name] = {key: one for key, one in each.items() if key not in _CHANNELS or key in self.sources}
            elif name in ("enteredBy", "addedBy"):
                shaped[name] = {key: one for key, one in each.items() if self._tells(key)}
            elif name == "data" and self.balance:
                shaped[name] = each | _balance(each, kind)
        return shaped

    def _tells(self, member: str) -> bool:
        return {"till": self.till_details, "store": self.store_details}.get(member, True)

    def shown(self) -> dict[str, Json]:
        """Return the members of the webhook object that can be set; values of headers are hidden."""
        sla = {} if self.sla_s is None else {"slaInSeconds": self.sla_s}
        return {
            "name": self.name,
            "active": self.active,
            "eventNames": sorted(self.event_names),
            "webHookUrl": self.url,
            "webHookType": self.type,
            "methodType": self.method,
            "webHookHeaders": dict.fromkeys(self.headers, HIDDEN),
            "maxAllowedConnections": self.connections,
            "customerIdentifiersToBeEnriched": list(self.identifiers),
            **sla,
            **{name: getattr(self, attribute) for name, attribute in _FLAGS.items()},
        }


def registered(body: Json) -> WebhookSettings:
    """Return what a POST registers. Errors: Unanswerable; missing members are refused in the order of the documentation."""
    given = _object(body)
    for name, code in (("name", 400), ("eventNames", 51003), ("webHookUrl", 400), ("methodType", 400), ("webHookType", 400)):
        if given.get(name) is None:
            raise Unanswerable(400, code, f"{name} must not be null")
    if given.get("maxAllowedConnections") is None:
        raise Unanswerable(400, 300004, "maxAllowedConnections is missing")
    for name in ("active", "webHookHeaders", "customerIdentifiersToBeEnriched"):
        if given.get(name) is None:
            raise Unanswerable(400, 400, f"{name} must not be null")
    empty = WebhookSettings(name="", url="", event_names=frozenset(), headers={}, connections=1)
    return changed(empty, given)


def changed(before: WebhookSettings, body: Json) -> WebhookSettings:
    """Return what a PUT makes of a webhook: members that are not given stay. Errors: Unanswerable."""
    given = _object(body)
    for name in _NOT_BUILT:
        if given.get(name):
            raise Unanswerable(501, 501, f"{name} is not built: the simulator has no such enrichment; leave it out")
    members: dict[str, Json] = {}
    for name, read in _READERS.items():
        if name in given:
            attribute, value = read(name, given[name])
            members[attribute] = value
    if "headers" in members:
        members["headers"] = {
            name: before.headers.get(name, "") if value == HIDDEN else value for name, value in members["headers"].items()
        }
    return replace(before, **members)


def unknown_members(body: Json) -> list[str]:
    """Return the members of a body that mean nothing."""
    known = {*_READERS, *_READ_ONLY, *_NOT_BUILT}
    return sorted(name for name in body if name not in known)


def _object(body: Json) -> dict[str, Json]:
    if not isinstance(body, dict):
        raise Unanswerable(400, 400, "the body must be one JSON object")
    return body


def _balance(data: dict[str, Json], kind: str) -> dict[str, Json]:
    """Return `AvailablePointsBalance`: the sum over all programmes, of which the simulator has one."""
    if kind == "pointsIssued" and "programCurrentPoints" in data:
        return {"AvailablePointsBalance": data["programCurrentPoints"]}
    if kind == "pointsRedeemed" and data.get("redemptionFromEarningPrograms"):
        return {"AvailablePointsBalance": data["redemptionFromEarningPrograms"][0]["programCurrentPoints"]}
    return {}


def _name(member: str, value: Json) -> tuple[str, Json]:
    if not isinstance(value, str) or not value.strip() or len(value) > 255:
        raise Unanswerable(400, 400, f"{member} must be a text of 1 to 255 characters")
    return "name", value


def _flag(member: str, value: Json) -> tuple[str, Json]:
    if not isinstance(value, bool):
        raise Unanswerable(400, 400, f"{member} must be true or false")
    return _FLAGS.get(member, member), value


def _event_names(member: str, value: Json) -> tuple[str, Json]:
    if not isinstance(value, list) or not value:
        raise Unanswerable(400, 51003, f"{member} must name at least one event")
    for each in value:
        if not isinstance(each, str) or each not in _KINDS:
            raise Unanswerable(400, 400, f"{member}: {each!r} is no event; GET /v3/webHooks/eventMetaData lists them")
    return "event_names", frozenset(value)


def _url(member: str, value: Json) -> tuple[str, Json]:
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_address = False
    if not is_address or not value.isascii() or not value.isprintable() or " " in value:
        raise Unanswerable(400, 400, f"{member} must be an http or https address")
    return "url", value


def _choice(attribute: str, choices: tuple[str, ...], member: str, value: Json) -> tuple[str, Json]:
    if value not in choices:
        raise Unanswerable(400, 400, f"{member} must be one of {', '.join(choices)}")
    return attribute, value


def _headers(member: str, value: Json) -> tuple[str, Json]:
    if not isinstance(value, dict) or len(value) > 50:
        raise Unanswerable(400, 400, f"{member} must be an object of at most 50 headers")
    for name, text in value.items():
        is_token = name.isascii() and bool(name) and all(each.isalnum() or each in "!#$%&'*+-.^_`|~" for each in name)
        if not is_token or name.lower() in _OURS:
            raise Unanswerable(400, 400, f"{member}: {name!r} is no header that may be set")
        if not isinstance(text, str) or not text.isascii() or (text and not text.isprintable()):
            raise Unanswerable(400, 400, f"{member}: the value of {name} must be a text of one line, in ASCII")
    return "headers", dict(value)


def _connections(member: str, value: Json) -> tuple[str, Json]:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise Unanswerable(400, 51007, f"{member} must be greater than 0")
    if value > _MOST_CONNECTIONS:
        raise Unanswerable(400, 400, f"{member} must be at most {_MOST_CONNECTIONS} here")
    return "connections", value


def _sla(member: str, value: Json) -> tuple[str, Json]:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
        raise Unanswerable(400, 400, f"{member} must be a whole number of seconds")
    return "sla_s", value


def _identifiers(member: str, value: Json) -> tuple[str, Json]:
    """ASSUMPTION: an element is `{"source": "INSTORE"}`, or the name of the source (capillary.md 12, A2)."""
    named = [each.get("source") if isinstance(each, dict) else each for each in value] if isinstance(value, list) else [None]
    if not all(isinstance(each, str) and each for each in named):
        raise Unanswerable(400, 400, f'{member} must be an array of sources, such as {{"source":"INSTORE"}}')
    return "identifiers", tuple(value)


_READERS = {
    "name": _name,
    "active": _flag,
    "eventNames": _event_names,
    "webHookUrl": _url,
    "webHookType": lambda member, value: _choice("type", _TYPES, member, value),
    "methodType": lambda member, value: _choice("method", _METHODS, member, value),
    "webHookHeaders": _headers,
    "maxAllowedConnections": _connections,
    "slaInSeconds": _sla,
    "customerIdentifiersToBeEnriched": _identifiers,
    **dict.fromkeys(_FLAGS, _flag),
}
