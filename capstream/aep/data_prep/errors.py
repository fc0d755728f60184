"""The refusals of the Data Prep API. Source: data-prep.md 1.1; only MAPPER-3700 is documented, the others are ASSUMPTIONs."""

from collections.abc import Sequence
from typing import NamedTuple

from capstream.aep.call import ApiError
from capstream.kernel.json import Json


class Fault(NamedTuple):
    """One row of the catalogue."""

    code: str
    status: int
    title: str


BAD_BODY = Fault("3000", 400, "Invalid request body")
BAD_QUERY = Fault("3001", 400, "Invalid query parameter")
INVALID_SET = Fault("3002", 400, "Invalid mapping set")
UNKNOWN_SCHEMA = Fault("3003", 400, "Unknown output schema")
NO_MAPPINGS = Fault("3004", 400, "Mappings are missing or incomplete")
TOO_LONG = Fault("3005", 400, "Calculated field is too long")
FORBIDDEN = Fault("3030", 403, "Permission is missing")
NOT_FOUND = Fault("3040", 404, "Not found")
IN_USE = Fault("3041", 409, "Mapping set is in use")


def refusal(fault: Fault, detail: str, *, errors: Sequence[dict[str, Json]] = ()) -> ApiError:
    """Return the error to raise."""
    body = {
        "type": f"http://ns.adobe.com/aep/errors/MAPPER-{fault.code}-{fault.status}",
        "title": fault.title,
        "status": fault.status,
        "detail": detail,
        "report": {"errors": list(errors)},
    }
    return ApiError(fault.status, body)
