"""The refusals of the alerts and events APIs, in the generic body."""

from capstream.aep.call import ApiError, Call
from capstream.aep.error_shapes import generic_body
from capstream.kernel.json import Json


def refused(status: int, detail: str) -> ApiError:
    """Return an error with a reason in words."""
    return ApiError(status, generic_body(status, detail))


def object_of(call: Call) -> dict[str, Json]:
    """Return the body as an object. Errors: 400."""
    body = call.json()
    if not isinstance(body, dict):
        raise refused(400, "The body must be a JSON object.")
    return body


def texts_of(body: dict[str, Json], member: str, *, needed: bool = False) -> list[str]:
    """Return a member that is an array of texts, without repetitions. Errors: 400."""
    value = body.get(member)
    if value is None and not needed:
        return []
    if not isinstance(value, list) or not all(isinstance(each, str) and each for each in value):
        raise refused(400, f"{member} must be an array of strings.")
    return list(dict.fromkeys(value))


def text_of(body: dict[str, Json], member: str) -> str:
    """Return a member that is a text, empty when it is missing. Errors: 400."""
    value = body.get(member)
    if value is not None and not isinstance(value, str):
        raise refused(400, f"{member} must be a string.")
    return value or ""


def limit_of(call: Call, default: int, most: int) -> int:
    """Return the page size asked for. Errors: 400."""
    text = call.arg("limit") or str(default)
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text) <= most:
        raise refused(400, f"limit {text} is not a number from 1 to {most}.")
    return int(text)
