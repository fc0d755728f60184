"""The refusals of Observability Insights. Source: gateway.md 4.2, monitoring-alerts.md 6.1, 6.2."""

from capstream.aep.call import ApiError, Call

BAD_DATES, BAD_METRIC = "INSGHT-1000-400", "INSGHT-1001-400"


def refused(call: Call, code: str, detail: str) -> ApiError:
    """Return the version 2 error of a code."""
    sandbox = {"sandboxName": call.sandbox.name, "sandboxId": call.sandbox.id, "imsOrgId": call.caller.org_id}
    link = {"serviceId": "INSGHT", "errorCode": code, "invokingServiceId": "INSGHT", "unixTimeStampMs": call.now_ms}
    body = {
        "type": f"http://ns.adobe.com/aep/errors/{code}",
        "title": f"Bad Request - {detail}",
        "status": 400,
        "report": {"tenantInfo": sandbox, "additionalContext": None},
        "error-chain": [link],
    }
    return ApiError(400, body)


def refused_v1(code: str, detail: str) -> ApiError:
    """Return the version 1 error of a code."""
    return ApiError(400, {"errorCode": code, "httpStatus": 400, "title": "Bad Request", "details": detail})
