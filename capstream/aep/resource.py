"""The generic resource: JSON documents with an id in one sandbox of one store.

Three parameters are enough for every service that uses it; one that needs more writes its own handlers.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of one kind. Keys are `{sandbox id}/{resource id}`; bodies are JSON objects."""

    documents: Documents
    collection: str

    def get(self, sandbox_id: str, resource_id: str) -> dict[str, Json] | None:
        """Return the resource, or None."""
        body = self.documents.get(self.collection, f"{sandbox_id}/{resource_id}")
        return None if body is None else loads(body)

    def all(self, sandbox_id: str) -> list[dict[str, Json]]:
        """Return every resource of the sandbox in the order of ids."""
        return [loads(body) for _, body in self.documents.scan(self.collection, prefix=f"{sandbox_id}/")]

    def where(self, sandbox_id: str, wanted: Callable[[dict[str, Json]], bool]) -> Iterator[dict[str, Json]]:
        """Yield the resources for which `wanted` holds."""
        return (resource for resource in self.all(sandbox_id) if wanted(resource))

    def save(self, sandbox_id: str, resource_id: str, body: dict[str, Json]) -> None:
        """Store the resource durably."""
        with self.documents.transaction() as change:
            change.put(self.collection, [(f"{sandbox_id}/{resource_id}", dumps(body))])

    def remove(self, sandbox_id: str, resource_id: str) -> bool:
        """Delete the resource durably; False when there was none."""
        with self.documents.transaction() as change:
            return change.delete(self.collection, [f"{sandbox_id}/{resource_id}"]) > 0
