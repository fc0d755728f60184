"""The error catalogue of the Flow Service. Source: gateway.md 4.1; codes and titles help/sources/errors."""

from capstream.aep.call import ApiError, Call
from capstream.kernel.json import Json

_TITLES = {
    1101: "Resource not found",
    1102: "Internal Error",
    1103: "Service Unavailable",
    1104: "Gateway Timeout",
    1403: "Header is missing",
    1404: "Version not matching",
    1439: "Resource not found",
    2105: "Header is missing",
    2118: "Missing permission",
    2120: "Forbidden",
    2121: "Forbidden",
    2200: "External service request error",
    2250: "External service request error",
}
_STATUSES = {1101: 404, 1102: 500, 1103: 503, 1104: 504, 1404: 412, 1439: 404, 2118: 403, 2120: 403, 2121: 403}
_STATUSES |= {2200: 500, 2250: 500}

_PREFIX = "https://ns.adobe.com/aep/errors/FLOW"


def refusal(call: Call, code: int, detail: str, **report: Json) -> ApiError:
    """Return the error of catalogue number `code`; `report` echoes the resource (`id`, `type`) or offending values."""
    status = _STATUSES.get(code, 400)
    return _error(call, f"{code}-{status}", status, _TITLES.get(code, "Invalid request"), detail, report)


def provider_refusal(call: Call, code: int, message: str, **report: Json) -> ApiError:
    """Return FLOW-1100-400 around the message of the connector. The `CONNECTOR-` prefix is an ASSUMPTION."""
    detail = f"The request could not be processed. Error from flow provider: CONNECTOR-{code}-400 {message}"
    return _error(call, "1100-400", 400, "Invalid request", detail, report)


def invalid(call: Call, message: str, **report: Json) -> ApiError:
    """Return FLOW-1100-400 for a body the provider does not accept and has no number for."""
    detail = f"The request could not be processed. Error from flow provider: {message}"
    return _error(call, "1100-400", 400, "Invalid request", detail, report)


def not_found(call: Call, kind: str, resource_id: str) -> ApiError:
    """Return FLOW-1439-404 for a resource of collection `kind`. Source: the access-label page prints this body."""
    detail = f"The requested {kind} resource {resource_id} is not found. Verify the resource ID before trying again."
    return refusal(call, 1439, detail, id=resource_id, type=kind)


def not_built(call: Call, what: str) -> ApiError:
    """Return 501 for a documented ability the embedded service does not have; `what` names it."""
    return _error(call, "501-501", 501, "Not Implemented", f"{what} is not built in the embedded platform.", {})


def _error(call: Call, code: str, status: int, title: str, detail: str, report: dict[str, Json]) -> ApiError:
    body = {
        "type": f"{_PREFIX}-{code}",
        "title": title,
        "status": status,
        "report": {"detailed-message": detail, "request-id": call.request_id} | report,
        "errorMessage": detail,
        "errorDetails": detail,
    }
    return ApiError(status, body)
