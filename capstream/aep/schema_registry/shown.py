"""Keeps resolved resources as they were sent, so that a large schema is composed and written once."""

from capstream.aep.schema_registry.accept import Form
from capstream.aep.schema_registry.forms import shown
from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.kernel.json import Json, dumps

_MOST = 64
_RESOLVED = frozenset({"full", "flat"})


class ShownCache:
    """Answers of lookups, good until anything in the store changes."""

    def __init__(self, registry: SchemaRegistry) -> None:
        self._registry = registry
        self._version: object = None
        self._known: dict[tuple[str, str, str, frozenset[str]], bytes] = {}

    def body(self, sandbox_id: str, document: dict[str, Json], form: Form) -> Json:
        """Return the resource in the form asked for; resolved forms as bytes. Errors: CompositionError."""
        if not form.options & _RESOLVED:
            return shown(self._registry, sandbox_id, document, form)
        version = self._registry.documents.version()
        if version != self._version or len(self._known) >= _MOST:
            self._known.clear()
            self._version = version
        key = (sandbox_id, document["$id"], form.notation, form.options)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = dumps(shown(self._registry, sandbox_id, document, form))
        return found
