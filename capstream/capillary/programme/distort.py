"""The same event in other envelopes, and in the malformed ways a receiver must live with. Source: capillary.md 1.4, 9.4."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from capstream.kernel.json import Json, dumps

HUGE_BYTES = 5 * 1024 * 1024


class Envelope(StrEnum):
    """The four published shapes of one event."""

    FLAT = "A"
    BUS = "B"
    API = "C"
    BODY = "D"


class Malformation(StrEnum):
    """What can be wrong with a webhook."""

    TRUNCATED = "truncated"
    EMPTY = "empty"
    NOT_JSON = "not_json"
    INVALID_UTF8 = "invalid_utf8"
    MISSING_EVENT_NAME = "missing_event_name"
    MISSING_CUSTOMER_ID = "missing_customer_id"
    DATA_NULL = "data_null"
    NAN = "nan"
    UNKNOWN_EVENT_NAME = "unknown_event_name"
    HUGE_BODY = "huge_body"
    WRONG_SECRET = "wrong_secret"  # noqa: S105 - the name of a fault
    BOM = "bom"
    ARRAY_BODY = "array_body"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    IDS_AS_FLOATS = "ids_as_floats"
    IDS_AS_STRINGS = "ids_as_strings"
    KEYS_WITH_BLANKS = "keys_with_blanks"
    INSTORE_CASE = "instore_case"
    DUPLICATE_KEYS = "duplicate_keys"
    UNKNOWN_FIELDS = "unknown_fields"
    CREATED_AT_IN_SECONDS = "created_at_in_seconds"

    @property
    def is_readable(self) -> bool:
        """Return whether a tolerant receiver still understands the event."""
        return self in _READABLE

    def fits(self, kind: str) -> bool:
        """Return whether it may happen to that kind of event without changing what the events say together.

        Whole seconds would reorder the balances of one bill, so only kinds without absolutes get them.
        """
        return self is not Malformation.CREATED_AT_IN_SECONDS or kind in ("transactionUpdated", "promotionEarned")


@dataclass(frozen=True, slots=True)
class Malformed:
    """What goes over the wire instead: the body and the headers that differ."""

    raw: bytes
    headers: Mapping[str, str]


def wrap(body: Json, envelope: Envelope) -> Json:
    """Return the flat body in another envelope."""
    if envelope is Envelope.BODY:
        return {"body": body}
    if envelope is Envelope.API:
        return {"data": body, "errors": None, "warnings": None}
    if envelope is Envelope.FLAT:
        return body
    outer = {"eventId": body.get("eventId"), "eventLogId": body.get("eventLogId")}
    inner = {key: value for key, value in body.items() if key not in outer}
    return {
        **{key: value for key, value in outer.items() if value is not None},
        "eventType": f"{body['orgId']}_{body['eventName']}",
        "consumerGroupId": None,
        "actionType": "START",
        "timeStamp": body["createdAt"] + 11,
        "attributes": inner,
    }


def malform(body: Json, how: Malformation) -> Malformed:
    """Return the event spoilt in that way. What cannot be read any more is a copy with an id of its own."""
    if not how.is_readable:
        body = {**body, "eventId": f"spoilt-{body['eventId']}"}
    spoil = _SPOILERS.get(how)
    raw = spoil(body) if spoil is not None else dumps(_CHANGES[how](body))
    return Malformed(raw, _HEADERS.get(how, {}))


def _customer(body: Json, change: Callable[[Json], Json]) -> Json:
    data = body["data"]
    found = data.get("customerIdentifiers") if isinstance(data, dict) else None
    return {**body, "data": {**data, "customerIdentifiers": change(found)}} if found else body


def _without_customer(body: Json) -> Json:
    hidden = ("customerIdentifiers", "entityInformation", "triggeringActivity", "survivorCustomerIdentifiers")
    return {**body, "refId": "", "data": {key: value for key, value in body["data"].items() if key not in hidden}}


def _renamed(found: Json, old: str, new: str) -> Json:
    return {new if key == old else key: value for key, value in found.items()}


_READABLE = frozenset(
    {
        Malformation.BOM, Malformation.ARRAY_BODY, Malformation.WRONG_CONTENT_TYPE, Malformation.IDS_AS_FLOATS,
        Malformation.IDS_AS_STRINGS, Malformation.KEYS_WITH_BLANKS, Malformation.INSTORE_CASE, Malformation.DUPLICATE_KEYS,
        Malformation.UNKNOWN_FIELDS, Malformation.CREATED_AT_IN_SECONDS,
    }
)  # fmt: skip

_HEADERS: Mapping[Malformation, Mapping[str, str]] = MappingProxyType(
    {
        Malformation.WRONG_CONTENT_TYPE: {"content-type": "text/plain"},
        Malformation.WRONG_SECRET: {"authorization": "Bearer wrong"},
    }
)

_SPOILERS: Mapping[Malformation, Callable[[Json], bytes]] = MappingProxyType(
    {
        Malformation.TRUNCATED: lambda body: dumps(body)[: len(dumps(body)) // 2],
        Malformation.EMPTY: lambda _: b"",
        Malformation.NOT_JSON: lambda body: f"eventName={body['eventName']}&orgId={body['orgId']}".encode(),
        Malformation.INVALID_UTF8: lambda body: dumps(body)[:-1] + b',"note":"\xff\xfe"}',
        Malformation.NAN: lambda body: dumps(body)[:-1] + b',"note":NaN}',
        Malformation.BOM: lambda body: b"\xef\xbb\xbf" + dumps(body),
        Malformation.DUPLICATE_KEYS: lambda body: b'{"eventName":"ignored",' + dumps(body)[1:],
        Malformation.HUGE_BODY: lambda body: dumps({**body, "padding": "x" * HUGE_BYTES}),
    }
)

_CHANGES: Mapping[Malformation, Callable[[Json], Json]] = MappingProxyType(
    {
        Malformation.MISSING_EVENT_NAME: lambda body: {key: value for key, value in body.items() if key != "eventName"},
        Malformation.MISSING_CUSTOMER_ID: _without_customer,
        Malformation.DATA_NULL: lambda body: {**body, "data": None},
        Malformation.UNKNOWN_EVENT_NAME: lambda body: {**body, "eventName": "somethingNewHappened"},
        Malformation.WRONG_SECRET: lambda body: body,
        Malformation.ARRAY_BODY: lambda body: [body],
        Malformation.WRONG_CONTENT_TYPE: lambda body: body,
        Malformation.IDS_AS_FLOATS: lambda body: _customer(body, lambda ids: {**ids, "customerId": float(ids["customerId"])}),
        Malformation.IDS_AS_STRINGS: lambda body: _customer(body, lambda ids: {**ids, "customerId": str(ids["customerId"])}),
        Malformation.KEYS_WITH_BLANKS: lambda body: _renamed(body, "apiRequestId", "apiRequestId "),
        Malformation.INSTORE_CASE: lambda body: _customer(body, lambda ids: _renamed(ids, "instore", "Instore")),
        Malformation.UNKNOWN_FIELDS: lambda body: {**body, "newInThisRelease": {"flag": True}},
        Malformation.CREATED_AT_IN_SECONDS: lambda body: {**body, "createdAt": body["createdAt"] // 1000},
    }
)
