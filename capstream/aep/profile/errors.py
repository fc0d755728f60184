"""The refusals of the Profile API. Texts are ASSUMPTION. Source: profile.md 4 (errors)."""

from capstream.aep.call import ApiError
from capstream.kernel.json import Json

_MEDIA_TYPE = "application/problem+json"


def problem(status: int, code: str, title: str, detail: str) -> ApiError:
    """Return a refusal in the Profile API's body."""
    return ApiError(status, problem_body(status, code, title, detail), media_type=_MEDIA_TYPE)


def problem_body(status: int, code: str, title: str, detail: str) -> dict[str, Json]:
    """Return the Profile API's error body."""
    return {"type": f"http://ns.adobe.com/aep/errors/{code}-{status}", "title": title, "status": status, "detail": detail}


def bad_request(detail: str) -> ApiError:
    """Return the refusal of a wrong parameter or body."""
    return problem(400, "UPACC-100011", "Bad Request", detail)


def not_found(detail: str) -> ApiError:
    """Return the answer when nothing is stored under an identity."""
    return problem(404, "UPACC-100012", "XDM objects not found", detail)


def unusable_identity(detail: str) -> ApiError:
    """Return the refusal of an identity value that cannot exist."""
    return problem(422, "UPACC-100013", "Invalid identity", detail)
