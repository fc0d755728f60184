"""Mapping sets and their versions. Source: data-prep.md 1.3, 1.4."""

from enum import StrEnum

from capstream.aep.resource import Resources
from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents


class Usage(StrEnum):
    """Who uses a mapping set."""

    FREE = "free"  #: no dataflow
    USED = "used"  #: dataflows, none of them enabled
    PUBLISHED = "published"  #: an enabled dataflow


_LATEST = "mapping_sets"  #: {sandbox}/{id} -> newest version of the set
_VERSIONS = "mapping_set_versions"  #: {sandbox}/{id}/{version, 6 digits} -> that version; kept for ever: flows pin versions


class MappingSets:
    """The mapping sets of all sandboxes, every version of them."""

    def __init__(self, documents: Documents) -> None:
        self.documents = documents

    def get(self, sandbox_id: str, mapping_id: str, version: int | None = None) -> dict[str, Json] | None:
        """Return a version of a set (None: the newest), or None when there is no such set or version."""
        if version is None:
            body = self.documents.get(_LATEST, f"{sandbox_id}/{mapping_id}")
        else:
            body = self.documents.get(_VERSIONS, f"{sandbox_id}/{mapping_id}/{version:06d}")
        return None if body is None else loads(body)

    def all(self, sandbox_id: str) -> list[dict[str, Json]]:
        """Return the newest version of every set of the sandbox."""
        return [loads(body) for _, body in self.documents.scan(_LATEST, prefix=f"{sandbox_id}/")]

    def save(self, sandbox_id: str, mapping_set: dict[str, Json]) -> None:
        """Store a version of a set as its newest; `id` and `version` are members of it."""
        key, body = f"{sandbox_id}/{mapping_set['id']}", dumps(mapping_set)
        with self.documents.transaction() as change:
            change.put(_LATEST, [(key, body)])
            change.put(_VERSIONS, [(f"{key}/{mapping_set['version']:06d}", body)])

    def remove(self, sandbox_id: str, mapping_id: str) -> bool:
        """Delete a set with all its versions; False when there was none."""
        with self.documents.transaction() as change:
            versions = [key for key, _ in change.scan(_VERSIONS, prefix=f"{sandbox_id}/{mapping_id}/")]
            change.delete(_VERSIONS, versions)
            return change.delete(_LATEST, [f"{sandbox_id}/{mapping_id}"]) > 0


class Sources:
    """Samples and mapper schemas: what is known about sources. Source: data-prep.md 1.8."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def get(self, kind: str, sandbox_id: str, identity: str) -> dict[str, Json] | None:
        """Return a sample (`samples`) or schema (`schemas`), or None."""
        return self._of(kind).get(sandbox_id, identity)

    def all(self, kind: str, sandbox_id: str) -> list[dict[str, Json]]:
        """Return all of a kind."""
        return self._of(kind).all(sandbox_id)

    def save(self, kind: str, sandbox_id: str, body: dict[str, Json]) -> None:
        """Store one."""
        self._of(kind).save(sandbox_id, body["id"], body)

    def _of(self, kind: str) -> Resources:
        return Resources(self._documents, f"mapper_{kind}")
