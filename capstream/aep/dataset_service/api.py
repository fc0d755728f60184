"""Dataset Service API: data usage labels of datasets. Source: dataset-service.yaml, catalog.md 7.

No policy is evaluated when labels change, so 409 (policy conflict) is never answered.
"""

from typing import Protocol

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.dataset_service.model import Labelled, Labels, Payload
from capstream.kernel.clock import rfc3339
from capstream.kernel.ids import new_etag
from capstream.kernel.json import Json


class DatasetDirectory(Protocol):
    """Knows the datasets of a sandbox."""

    def get(self, sandbox_id: str, dataset_id: str) -> dict[str, Json] | None:
        """Return the dataset, or None."""
        ...


def handlers(labels: Labels, datasets: DatasetDirectory) -> dict[str, Handler]:
    """Return the handlers of the Dataset Service API."""
    service = _Service(labels, datasets)
    return {
        "retrieveDatasetLabels": service.get,
        "headDatasetLabels": service.get,
        "addDatasetLabels": service.add,
        "updateDatasetLabels": service.put,
        "deleteDatasetLabels": service.delete,
    }


def refused(call: Call, status: int, word: str, message: str) -> ApiError:
    """Return an error in the shape of the label store; casing and prefix of `path` are literal."""
    body = {
        "timestamp": rfc3339(call.now_ms).replace("Z", "+00:00"),
        "status": word,
        "code": f"PES-{status}",
        "message": message,
        "path": f"/entities/AEP:dataset:{call.params['DATASET_ID']}",
    }
    return ApiError(status, body)


class _Service:
    def __init__(self, labels: Labels, datasets: DatasetDirectory) -> None:
        self._labels = labels
        self._datasets = datasets

    def get(self, call: Call) -> Answer:
        """Return the labels; 404 while there are none."""
        labelled = self._present(call)
        return Answer(body=labelled.payload, headers={"etag": labelled.etag})

    def add(self, call: Call) -> Answer:
        """Store the first labels (deprecated by the service)."""
        self._check_dataset(call)
        if self._labels.get(call.sandbox.id, call.params["DATASET_ID"]):
            raise refused(call, 403, "FORBIDDEN", "Entity exists already: use PUT to change it")
        return self._stored(call, 201)

    def put(self, call: Call) -> Answer:
        """Replace the labels; the first PUT creates them."""
        self._check_dataset(call)
        if self._labels.get(call.sandbox.id, call.params["DATASET_ID"]):
            self._check_version(call)
        return self._stored(call, 200)

    def delete(self, call: Call) -> Answer:
        """Remove the labels."""
        self._present(call)
        self._check_version(call)
        self._labels.remove(call.sandbox.id, call.params["DATASET_ID"])
        return Answer(status=204)

    def _stored(self, call: Call, status: int) -> Answer:
        labelled = Labelled(_payload(call), new_etag(call.now_ms))
        self._labels.put(call.sandbox.id, call.params["DATASET_ID"], labelled)
        return Answer(status=status, body=labelled.payload, headers={"etag": labelled.etag})

    def _present(self, call: Call) -> Labelled:
        labelled = self._labels.get(call.sandbox.id, call.params["DATASET_ID"])
        if labelled is None or self._datasets.get(call.sandbox.id, call.params["DATASET_ID"]) is None:
            raise refused(call, 404, "NOT_FOUND", "GET Entities Not Found")
        return labelled

    def _check_dataset(self, call: Call) -> None:
        if self._datasets.get(call.sandbox.id, call.params["DATASET_ID"]) is None:
            raise refused(call, 404, "NOT_FOUND", f"Dataset {call.params['DATASET_ID']} was not found in this sandbox")

    def _check_version(self, call: Call) -> None:
        wanted = call.headers.get("if-match", "")
        if not wanted:
            raise refused(call, 400, "BAD_REQUEST", "The header If-Match is required: send the etag of the last answer")
        present = self._present(call).etag
        if _bare(wanted) != _bare(present):
            raise refused(call, 412, "PRECONDITION_FAILED", "If-Match is not the current etag: read the labels again")


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/").replace("\\", "").strip('"')


def _payload(call: Call) -> Payload:
    body = call.json()
    if not isinstance(body, dict) or not _are_texts(body.get("labels", [])):
        raise refused(call, 400, "BAD_REQUEST", "The body must be an object with labels, an array of label names")
    optional = body.get("optionalLabels", [])
    if not isinstance(optional, list) or not all(_is_optional(one) for one in optional):
        raise refused(call, 400, "BAD_REQUEST", "optionalLabels must hold objects with option (a schema path) and labels")
    return {"labels": body.get("labels", []), "optionalLabels": optional}


def _are_texts(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_optional(value: Json) -> bool:
    return isinstance(value, dict) and isinstance(value.get("option"), dict) and _are_texts(value.get("labels", []))
