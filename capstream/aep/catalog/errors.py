"""The refusals of the Catalog API. Source: catalog.md, gateway.md 4."""

from capstream.aep.call import ApiError, Call
from capstream.aep.catalog.rules import bare_etag
from capstream.aep.error_shapes import generic_body


def refused(status: int, detail: str) -> ApiError:
    """Return a Catalog error; `status` is an integer in the body, clients compare it."""
    return ApiError(status, generic_body(status, detail))


def check_version(call: Call, version: str, kind: str) -> None:
    """Refuse a write whose precondition does not hold. Source: gateway.md 7."""
    wanted = call.headers.get("if-match", "")
    if wanted and wanted.strip() != "*" and bare_etag(wanted) != version:
        raise refused(412, f"If-Match {wanted} is not the {kind}'s version {version}: read it again and repeat the change.")
    unwanted = call.headers.get("if-none-match", "")
    if unwanted and (unwanted.strip() == "*" or bare_etag(unwanted) == version):
        raise refused(412, f"If-None-Match {unwanted} is the {kind}'s version {version}.")


def is_stored(call: Call) -> bool:
    """Return whether a write is meant: `Pragma: validate-only` asks for the checks alone."""
    return call.headers.get("pragma", "").strip().lower() != "validate-only"


def no_dataset(dataset_id: str) -> ApiError:
    """Return the 404 of an unknown dataset."""
    return refused(404, f"Dataset {dataset_id} was not found in this sandbox. List the datasets for their ids.")
