"""The catalogue of Schema Registry errors. Source: schema-registry.md 11."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from uuid import UUID, uuid5

from capstream.aep.call import ApiError, Call
from capstream.kernel.json import Json

_REQUESTS = UUID("6f1a3f0e-6f0a-5d1c-9a53-0d3f3f1c7a11")
_ACCEPT = "The supplied Accept header is not valid: "


@dataclass(frozen=True, slots=True)
class Fault:
    """One row of the catalogue."""

    code: int
    status: int
    title: str


class Faults(Enum):
    """Every refusal of the service. ASSUMPTION: how 1010-1017 and 1526-1528 are split, and all numbers from 1600 to 1606."""

    LIST_ACCEPT = Fault(1006, 400, "Accept header invalid")
    LOOKUP_ACCEPT = Fault(1007, 400, "Accept header invalid")
    DESCRIPTORS_ACCEPT = Fault(1008, 400, "Accept header invalid")
    DESCRIPTOR_ACCEPT = Fault(1009, 400, "Accept header invalid")
    CLASS_UNKNOWN = Fault(1010, 404, "Resource Not Found")
    GROUP_UNKNOWN = Fault(1011, 404, "Resource Not Found")
    SCHEMA_UNKNOWN = Fault(1012, 404, "Resource Not Found")
    TYPE_UNKNOWN = Fault(1013, 404, "Resource Not Found")
    DESCRIPTOR_UNKNOWN = Fault(1014, 404, "Resource Not Found")
    UNION_UNKNOWN = Fault(1015, 404, "Resource Not Found")
    BEHAVIOUR_UNKNOWN = Fault(1016, 404, "Resource Not Found")
    UNKNOWN = Fault(1017, 404, "Resource Not Found")
    NAMESPACE = Fault(1021, 400, "Namespace validation error")
    CONFLICT = Fault(1413, 400, "Schema merge error")
    TITLE_TAKEN = Fault(1521, 400, "Title must be unique")
    NO_IDENTITY = Fault(1526, 400, "Union validation error")
    TWO_PRIMARIES = Fault(1527, 400, "Union validation error")
    NO_REFERENCE_IDENTITY = Fault(1528, 400, "Union validation error")
    BAD_REQUEST = Fault(1600, 400, "Bad request")
    BAD_REFERENCE = Fault(1601, 400, "Reference not found")
    BREAKING = Fault(1602, 400, "Incompatible schema change")
    IN_USE = Fault(1603, 400, "Resource in use")
    BAD_DESCRIPTOR = Fault(1604, 400, "Invalid descriptor")
    BAD_COMPOSITION = Fault(1605, 400, "Invalid schema composition")
    FORBIDDEN = Fault(1606, 403, "Forbidden")
    IMPORT_FAILED = Fault(3005, 400, "Import Resource Failed")


class Refusal(Exception):
    """A refusal inside the service, still without the facts of the request."""

    def __init__(self, fault: Faults, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


ACCEPT_DETAILS = {
    Faults.LIST_ACCEPT: _ACCEPT + "it should look like application/vnd.adobe.'{xed|xdm'}+json",
    Faults.LOOKUP_ACCEPT: _ACCEPT
    + "it should look like application/vnd.adobe.'{xed|xdm'}+json; version=1 (Version should be specified)",
    Faults.DESCRIPTORS_ACCEPT: _ACCEPT + "it should look like application/vnd.adobe.xdm-id+json",
    Faults.DESCRIPTOR_ACCEPT: _ACCEPT + "it should look like application/vnd.adobe.xdm+json",
}


def api_error(refusal: Refusal, call: Call) -> ApiError:
    """Return the refusal in the service's envelope."""
    fault = refusal.fault.value
    moment = datetime.fromtimestamp(call.now_ms / 1000, UTC)
    body: Json = {
        "type": f"http://ns.adobe.com/aep/errors/XDM-{fault.code}-{fault.status}",
        "title": fault.title,
        "status": fault.status,
        "report": {
            "registryRequestId": str(uuid5(_REQUESTS, call.request_id)),
            "timestamp": f"{moment:%m-%d-%Y %H:%M:%S}",
            "detailed-message": refusal.detail,
            "sub-errors": [],
        },
        "detail": refusal.detail,
    }
    return ApiError(fault.status, body)
