"""Data usage labels of datasets and their fields. Source: catalog.md 7."""

from dataclasses import dataclass

from capstream.aep.resource import Resources
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

Payload = dict[str, Json]
"""`labels` of the whole dataset and `optionalLabels` of its schema's fields."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A dataset's labels and the etag of their last write."""

    payload: Payload
    etag: str


class Labels:
    """The labels of all datasets; a dataset without any has no entry."""

    def __init__(self, documents: Documents) -> None:
        self._stored = Resources(documents, "dataset_labels")

    def get(self, sandbox_id: str, dataset_id: str) -> Labelled | None:
        """Return the labels of a dataset, or None when it has none."""
        body = self._stored.get(sandbox_id, dataset_id)
        return Labelled(body["payload"], body["etag"]) if body else None

    def put(self, sandbox_id: str, dataset_id: str, labelled: Labelled) -> None:
        """Store the labels of a dataset."""
        self._stored.save(sandbox_id, dataset_id, {"payload": labelled.payload, "etag": labelled.etag})

    def remove(self, sandbox_id: str, dataset_id: str) -> bool:
        """Forget the labels of a dataset; False when it had none."""
        return self._stored.remove(sandbox_id, dataset_id)
