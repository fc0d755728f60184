"""The refusals of the Catalog API. Source: catalog.md, gateway.md 4."""

from capstream.aep.call import ApiError
from capstream.aep.error_shapes import generic_body


def refused(status: int, detail: str) -> ApiError:
    """Return a Catalog error; `status` is an integer in the body, clients compare it."""
    return ApiError(status, generic_body(status, detail))


def no_dataset(dataset_id: str) -> ApiError:
    """Return the 404 of an unknown dataset."""
    return refused(404, f"Dataset {dataset_id} was not found in this sandbox. List the datasets for their ids.")
