"""Where a schema comes from: a standard component, a JSON file or a running server."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from capstream.cli.client import PlatformClient
from capstream.cli.options import find
from capstream.cli.registry import Registry
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads
from capstream.xdm.catalogue import standard_id
from capstream.xdm.compose import component_field, compose, document_field
from capstream.xdm.library import standard_library
from capstream.xdm.merge import CompositionError
from capstream.xdm.names import XDM
from capstream.xdm.schema import Field, Schema


@dataclass(frozen=True, slots=True)
class Found:
    """A schema, effective and whole, with the descriptors known of it."""

    title: str
    uri: str
    root: Field
    descriptors: tuple[Json, ...] = ()


def read_schema(name: str, credentials: Path | None) -> Found:
    """Return the schema a name stands for: a `.json` file, a standard component, else a resource of the server.

    Errors: InputError when there is none, CapstreamError when the server does not answer.
    """
    if name.endswith(".json") or Path(name).is_file():
        return _from_file(Path(name))
    uri = standard_id(name)
    if uri is not None:
        library = standard_library()
        return Found(library[uri]["title"], uri, component_field(uri, library.get))
    with PlatformClient(find(credentials)) as client:
        registry = Registry(client)
        document = registry.find(name)
        return _found(document, {}, tuple(registry.descriptors(document["$id"])))


def composed(references: Sequence[str], credentials: Path | None) -> Schema:
    """Return the schema made of components, or the one schema a single id names."""
    library = standard_library()
    if all(reference in library for reference in references):
        return compose(references, library.get, schema_id=references[0])
    unknown = next(reference for reference in references if reference not in library)
    if len(references) > 1 or unknown.startswith(XDM):
        raise InputError(unknown, "it is no standard component", "name one schema of the server instead of its parts")
    found = read_schema(references[0], credentials)
    return Schema(id=found.uri, title=found.title, behaviour="record", class_id="", root=found.root)


def _from_file(path: Path) -> Found:
    """Read a resource in any form the API sends, or an export: a list whose last item is the resource."""
    try:
        document = loads(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(str(path), "no such file") from error
    except JsonError as error:
        raise InputError(str(path), f"not JSON: {error}") from error
    parts = document if isinstance(document, list) else [document]
    if not parts or not all(isinstance(part, dict) for part in parts):
        raise InputError(str(path), "it holds no schema", "save what the Schema Registry answers, or an export of it")
    try:
        return _found(parts[-1], {str(part.get("$id")): part for part in parts})
    except CompositionError as error:
        cure = "save it with Accept application/vnd.adobe.xed-full+json; version=1, or export it"
        raise InputError(str(path), str(error), cure) from error


def _found(document: Json, others: dict[str, Json], descriptors: tuple[Json, ...] = ()) -> Found:
    library = standard_library()
    root = document_field(document, lambda uri: others.get(uri) or library.get(uri))
    return Found(str(document.get("title", "")), str(document.get("$id", "")), root, descriptors)
