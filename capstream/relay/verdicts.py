"""What an answer of the inlet means: a verdict for each record, or what to do with the whole request. Pure.

Source: streaming-ingestion.md 5, 6, 16.
"""

from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.relay.answers import DELIVERED, Answer, Halve, Judged, Later, Pause, Rejected, TryAgain, Unauthorised, Verdict

_KEPT_BODY = 2000
_FLOW_REFUSALS = ("invalid flow id", "invalid dataset id", "flow id is missing")


def judge(status: int, body: bytes, *, records: int, retry_after_s: float | None = None) -> Answer:
    """Return what the answer to a request with `records` messages means."""
    if 200 <= status < 300:
        return _of_success(body, records)
    reason = f"{status}: {_message(body)}"
    match status:
        case 400 | 422 if is_flow_refusal(_message(body)):
            return Pause(status, reason)
        case 400 | 422:
            return Halve(Rejected(status, _message(body), _kept(body)))
        case 413:
            return Halve(Rejected(status, "the record alone exceeds the size limit of a request", _kept(body)))
        case 401 | 403:
            return Unauthorised(status, reason)
        case 408 | 425 | 429:
            return TryAgain(reason, retry_after_s)
        case _ if status >= 500 and status != 501:
            return TryAgain(reason, retry_after_s)
    return Pause(status, reason, retry_after_s)


def is_flow_refusal(message: str) -> bool:
    """Return whether a record was refused because of its flow or dataset, which is no fault of the record."""
    lowered = message.lower()
    return any(refusal in lowered for refusal in _FLOW_REFUSALS)


def _of_success(body: bytes, records: int) -> Answer:
    try:
        answer = loads(body)
    except JsonError:
        return TryAgain("the answer is not JSON: it does not say what became of the records")
    if not isinstance(answer, dict):
        return TryAgain("the answer is not an object: it does not say what became of the records")
    elements = answer.get("responses")
    if elements is None:
        if _status(answer) is None and ("inletId" in answer or answer.get("status") == "success"):
            return Judged([DELIVERED] * records)  # the form on Capillary's page, and of a single message
        return TryAgain("the answer does not say what became of the records")
    if not isinstance(elements, list) or len(elements) != records:
        return TryAgain("the answer does not hold one element for each record")
    verdicts = [_verdict(element) for element in elements]
    for verdict in verdicts:
        if isinstance(verdict, Pause):
            return verdict
    return Judged([verdict for verdict in verdicts if not isinstance(verdict, Pause)])


def _verdict(element: Json) -> Verdict | Pause:
    if not isinstance(element, dict):
        return Later(0, "the element of the answer is not an object")
    status = _status(element)
    if status is None:
        return DELIVERED
    message = str(element.get("message", "")) or f"the record was answered {status}"
    if status in (401, 403, 404) or is_flow_refusal(message):
        return Pause(status, message)
    if status in (408, 425, 429) or status >= 500:
        return Later(status, message)
    return Rejected(status, message, _kept(dumps(element)))


def _status(answer: dict[str, Json]) -> int | None:
    """Return the failure status of an answer or element; None when it is a success. `status` is a number, text or `success`."""
    for name in ("statusCode", "status"):
        value = answer.get(name)
        if isinstance(value, str) and value.strip().isdigit():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return None if 200 <= value < 300 else value
        if isinstance(value, str) and value.lower() not in ("success", "pass", "ok", ""):
            return 400
    return None


def _message(body: bytes) -> str:
    try:
        answer = loads(body)
    except JsonError:
        return "no JSON body"
    if not isinstance(answer, dict):
        return "no JSON object"
    report = answer.get("report")
    texts = (report.get("message") if isinstance(report, dict) else None, answer.get("message"), answer.get("title"))
    return next((text for text in texts if isinstance(text, str) and text), "no reason given")


def _kept(body: bytes) -> str:
    return body[:_KEPT_BODY].decode(errors="replace")
