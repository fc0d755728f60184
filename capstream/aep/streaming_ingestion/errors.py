"""What the collection endpoints answer when they refuse. Source: streaming-ingestion.md 4 and 6; ASSUMPTION where marked.

Every error has a body: Adobe's Kafka sink stops with a null-pointer error when one has none.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from capstream.kernel.json import Json, dumps

_INLET = "http://ns.adobe.com/adobecloud/problem/data-collection-service/inlet"
_AUTHORIZATION = "https://ns.adobe.com/adobecloud/problem/data-collection-service-authorization"

HEADER_MANDATORY = "The 'header' field is mandatory. Provide a valid 'header' value and try again."
UNKNOWN_FORMAT = "Message has unknown xdm format"
WRONG_ORG = "Message has an absent or wrong ims org in the header"
INVALID_MESSAGE = "Message is invalid"
INVALID_DATASET = "Message has an invalid dataset id"  # ASSUMPTION
INVALID_FLOW = "Message has an invalid flow id"  # ASSUMPTION
INVALID_OPERATIONS = "Message has invalid operations"  # ASSUMPTION
WRONG_SANDBOX = "Message has a wrong sandbox name in the x-sandbox-name header"  # ASSUMPTION
FLOW_ID_MISSING = "Flow id is missing for the raw inlet"  # ASSUMPTION
MESSAGES_MANDATORY = "The 'messages' field is mandatory. Provide a non-empty 'messages' array and try again."  # ASSUMPTION

TOKEN_EMPTY = "[id] Ims service token is empty"  # noqa: S105 - the documented text of an answer
TOKEN_INVALID = "[id] Ims service token is not valid"  # noqa: S105 - ASSUMPTION, text of an answer

MALFORMED_TITLE = "Invalid XDM Message Format"

_TITLES = {  # all ASSUMPTION but 400 and 401
    400: MALFORMED_TITLE,
    403: "Forbidden",
    404: "Inlet not found",
    405: "Method Not Allowed",
    413: "Payload Too Large",
    415: "Unsupported Media Type",
    429: "Too Many Requests",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class Violation(Protocol):
    """One violation of a schema, as the validator reports it."""

    @property
    def keyword(self) -> str:
        """Return the JSON Schema keyword that failed."""
        ...

    @property
    def message(self) -> str:
        """Return what is wrong, for people."""
        ...

    @property
    def pointer(self) -> str:
        """Return where in the record, as a JSON pointer fragment."""
        ...

    @property
    def schema_location(self) -> str:
        """Return where in the schema, as a JSON pointer fragment."""
        ...

    @property
    def hint(self) -> str:
        """Return how to mend the record, for people."""
        ...


class Refused(Exception):
    """An answer that ends a request: status, body, further headers."""

    def __init__(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = dict(headers or {})


def prefixed(inlet_id: str, org_id: str, text: str) -> str:
    """Return a message with the prefix that names inlet and organisation; two documented texts stand without it."""
    if text in {HEADER_MANDATORY, MESSAGES_MANDATORY, FLOW_ID_MISSING}:
        return text
    return f"inletId: [{inlet_id}] imsOrgId: [{org_id}] {text}"


def refused(status: int, message: str, *, retry_after_s: int = 0, allow: str = "", cause: Json = None) -> Refused:
    """Return the problem answer of a status. `status` in the body is a number everywhere but for 401."""
    report: dict[str, Json] = {"message": message}
    if cause is not None:
        report["cause"] = cause
    body = {"type": _INLET, "status": status, "title": _TITLES.get(status, "Internal Server Error"), "report": report}
    headers = {"Retry-After": str(retry_after_s)} if retry_after_s else {}
    if allow:
        headers["Allow"] = allow
    return Refused(status, dumps(body), headers)


def unauthorized(message: str) -> Refused:
    """Return the 401 answer. Its `status` is a text in the one documented body."""
    body = {"type": _AUTHORIZATION, "status": "401", "title": "Authorization", "report": {"message": message}}
    return Refused(401, dumps(body))


def violations_cause(violations: Sequence[Violation]) -> dict[str, Json]:
    """Return `report.cause` of a failed synchronous validation.

    One violation stands for itself (ASSUMPTION), several share a parent that counts them.
    """
    single = [
        {
            "schemaLocation": each.schema_location,
            "pointerToViolation": each.pointer,
            "causingExceptions": [],
            "keyword": each.keyword,
            "message": each.message,
            **({"hint": each.hint} if each.hint else {}),  # beside Adobe's members
        }
        for each in violations
    ]
    if len(single) <= 1:
        return {"_streamingValidation": single}
    parent = {"schemaLocation": "#", "pointerToViolation": "#", "message": f"{len(single)} schema violations found"}
    return {"_streamingValidation": [parent | {"causingExceptions": single}]}
