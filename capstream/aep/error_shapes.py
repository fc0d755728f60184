"""The body each service wraps a refusal in, for refusals the gateway makes in the service's name. Source: gateway.md 4.

Pure: a Fault in, an Answer out. Numbers that no document gives are marked ASSUMPTION; a client reads the HTTP status.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from capstream.aep.call import Answer
from capstream.kernel.json import Json


class Reason(StrEnum):
    """Why the gateway refuses in a service's name."""

    BAD_BODY = "bad_body"  #: the body is not JSON, or cannot be decoded
    BAD_INPUT = "bad_input"  #: a value is wrong
    NO_SANDBOX_HEADER = "no_sandbox_header"  #: strict mode only
    NO_SANDBOX = "no_sandbox"  #: the named sandbox does not exist or is not active
    NO_PERMISSION = "no_permission"
    NO_PATH = "no_path"
    NO_METHOD = "no_method"
    TOO_LARGE = "too_large"
    BAD_MEDIA = "bad_media"
    NOT_BUILT = "not_built"  #: the operation exists, its handler does not
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One refusal, before a service's shape is put around it."""

    reason: Reason
    detail: str
    path: str
    request_id: str
    now_ms: int
    org_id: str = ""
    method: str = ""
    status: int = 0  #: replaces the status `reason` stands for, when not 0


Shape = Callable[[Fault], Answer]

_STATUS: Mapping[Reason, int] = {
    Reason.BAD_BODY: 400,
    Reason.BAD_INPUT: 400,
    Reason.NO_SANDBOX_HEADER: 400,
    Reason.NO_SANDBOX: 404,
    Reason.NO_PERMISSION: 403,
    Reason.NO_PATH: 404,
    Reason.NO_METHOD: 405,
    Reason.TOO_LARGE: 413,
    Reason.BAD_MEDIA: 415,
    Reason.NOT_BUILT: 501,
    Reason.INTERNAL: 500,
    Reason.UNAVAILABLE: 503,
}
_TITLES: Mapping[int, str] = {
    400: "BadRequestError",
    403: "ForbiddenError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    409: "ConflictError",
    412: "PreconditionFailedError",
    413: "PayloadTooLargeError",
    415: "UnsupportedMediaTypeError",
    500: "InternalServerError",
    501: "NotImplementedError",
    503: "ServiceUnavailableError",
}
_PROBLEM = "application/problem+json"


def status_of(fault: Fault) -> int:
    """Return the HTTP status of a refusal."""
    return fault.status or _STATUS[fault.reason]


def _title(status: int) -> str:
    return _TITLES.get(status, "InternalServerError" if status >= 500 else "BadRequestError")


def refuse(service: str, fault: Fault) -> Answer:
    """Return the refusal in the body of `service`; in the gateway's own body when no service is known."""
    return SHAPES.get(service, gateway)(fault)


def gateway(fault: Fault) -> Answer:
    """Return a gateway error: its first three digits are the HTTP status. Source: gateway.md 3; 404000 ASSUMPTION."""
    status = status_of(fault)
    return Answer(status=status, body={"error_code": f"{status}000", "message": fault.detail})


def generic(fault: Fault) -> Answer:
    """Return the body of Catalog and its neighbours."""
    return Answer(status=status_of(fault), body=generic_body(status_of(fault), fault.detail))


def generic_body(status: int, detail: str) -> dict[str, Json]:
    """Return the generic error body for a status."""
    return {
        "type": "/placeholder/type/uri",
        "status": status,
        "title": _title(status),
        "detail": detail,
    }


def _ns(code: str, status: int, scheme: str = "http") -> str:
    return f"{scheme}://ns.adobe.com/aep/errors/{code}-{status}"


_FLOW: Mapping[Reason, tuple[str, str]] = {
    Reason.BAD_BODY: ("1405", "Invalid request"),
    Reason.BAD_INPUT: ("1454", "Invalid request"),
    Reason.NO_SANDBOX_HEADER: ("2105", "Header is missing"),
    Reason.NO_SANDBOX: ("2100", "Sandbox not found"),
    Reason.NO_PERMISSION: ("2118", "Missing permission"),
    Reason.NO_PATH: ("1439", "Resource not found"),
    Reason.UNAVAILABLE: ("1103", "Service Unavailable"),
}


def _flow(fault: Fault) -> Answer:
    status = status_of(fault)
    code, title = _FLOW.get(fault.reason, ("1102", "Internal Error" if status >= 500 else "Invalid request"))
    body = {
        "type": _ns(f"FLOW-{code}", status, "https"),
        "title": title,
        "status": status,
        "report": {"detailed-message": fault.detail, "request-id": fault.request_id},
        "errorMessage": fault.detail,
        "errorDetails": fault.detail,
    }
    return Answer(status=status, body=body)


_XDM: Mapping[Reason, tuple[str, str]] = {
    Reason.NO_PATH: ("1010", "Resource not found"),
    Reason.NO_SANDBOX: ("1010", "Resource not found"),
}


def _schema_registry(fault: Fault) -> Answer:
    status = status_of(fault)
    code, title = _XDM.get(fault.reason, ("1000", _title(status)))
    moment = datetime.fromtimestamp(fault.now_ms / 1000, UTC)
    report = {
        "registryRequestId": fault.request_id,
        "timestamp": f"{moment:%m-%d-%Y %H:%M:%S}",
        "detailed-message": fault.detail,
        "sub-errors": [],
    }
    body = {"type": _ns(f"XDM-{code}", status), "title": title, "status": status, "report": report, "detail": fault.detail}
    return Answer(status=status, body=body, media_type=_PROBLEM)


_SANDBOX_CODES: Mapping[int, str] = {400: "1000", 404: "1001", 409: "1002", 403: "1004"}


def _sandbox(fault: Fault) -> Answer:
    status = status_of(fault)
    code = _SANDBOX_CODES.get(status, "1009")
    return Answer(status=status, body={"status": status, "title": fault.detail, "type": _ns(f"SMS-{code}", status)})


def _access_control(fault: Fault) -> Answer:
    status = status_of(fault)
    return Answer(status=status, body={"status": status, "title": fault.detail, "type": _ns("ACS-1000", status)})


def _labels(fault: Fault) -> Answer:
    status = status_of(fault)
    seconds, millis = divmod(fault.now_ms, 1000)
    stamp = f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{millis:03d}+00:00"
    name = _title(status).removesuffix("Error")
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in name).strip("_").upper()
    body = {"timestamp": stamp, "status": words, "code": f"PES-{status}", "message": fault.detail, "path": fault.path}
    return Answer(status=status, body=body)


def _observability(fault: Fault) -> Answer:
    status = status_of(fault)
    if fault.method == "GET":  # version 1
        body = {"errorCode": "INSGHT-1000", "httpStatus": status, "title": _title(status), "details": fault.detail}
        return Answer(status=status, body=body)
    code = f"INSGHT-1000-{status}"
    link = {"serviceId": "INSGHT", "errorCode": code, "invokingServiceId": "INSGHT", "unixTimeStampMs": fault.now_ms}
    body = {
        "type": f"http://ns.adobe.com/aep/errors/{code}",
        "title": fault.detail,
        "status": status,
        "report": {"tenantInfo": {"imsOrgId": fault.org_id}, "additionalContext": None},
        "error-chain": [link],
    }
    return Answer(status=status, body=body)


_MAPPER: Mapping[Reason, str] = {Reason.BAD_BODY: "3000", Reason.BAD_INPUT: "3001", Reason.NO_PATH: "3040"}


def _data_prep(fault: Fault) -> Answer:
    status = status_of(fault)
    code = _MAPPER.get(fault.reason, "3000")
    body = {
        "type": _ns(f"MAPPER-{code}", status),
        "title": _title(status),
        "status": status,
        "detail": fault.detail,
        "report": {"errors": []},
    }
    return Answer(status=status, body=body)


def _problem(code: str, scheme: str = "http", media_type: str = _PROBLEM) -> Shape:
    def shape(fault: Fault) -> Answer:
        status = status_of(fault)
        title = _title(status).removesuffix("Error")
        body = {"type": _ns(code, status, scheme), "title": title, "status": status, "detail": fault.detail}
        return Answer(status=status, body=body, media_type=media_type)

    return shape


def _segmentation(fault: Fault) -> Answer:
    status = status_of(fault)
    code = f"UPAPI-113000-{status}"
    body = {
        "requestId": fault.request_id,
        "errors": {str(status): [{"code": code, "message": fault.detail}]},
        "type": f"https://ns.adobe.com/aep/errors/{code}",
        "title": fault.detail,
        "status": status,
    }
    return Answer(status=status, body=body)


def _query(fault: Fault) -> Answer:
    status = status_of(fault)
    return Answer(status=status, body={"message": fault.detail, "statusCode": status})


def ims(fault: Fault) -> Answer:
    """Return the body of the token service. Source: ims.md 6."""
    status = status_of(fault)
    error = "server_error" if status >= 500 else "invalid_request"
    return Answer(status=status, body={"error": error, "error_description": fault.detail})


_JSON = "application/json"
SHAPES: Mapping[str, Shape] = {
    "flow_service": _flow,
    "schema_registry": _schema_registry,
    "sandbox": _sandbox,
    "access_control": _access_control,
    "dataset_service": _labels,
    "observability_insights": _observability,
    "data_prep": _data_prep,
    "segmentation": _segmentation,
    "query_service": _query,
    "profile": _problem("UPACC-100000"),
    "identity_service": _problem("UIS-4000", "https", _JSON),
    "policy_service": _problem("PLCY-1000", media_type=_JSON),
    "privacy_service": _problem("PRVCY-1000", media_type=_JSON),
    "data_hygiene": gateway,
    "ims": ims,
    "catalog": generic,
    "batch_ingestion": generic,
    "data_access": generic,
    "audit_query": generic,
    "streaming_ingestion": generic,
    "alerts": generic,
    "accounts": generic,
    "io_events": generic,
    "monitoring": generic,
}
