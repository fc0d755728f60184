"""What the mapping commands read: files of the user, mapping sets and schemas of a server."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from capstream.aep.data_prep.interchange import Imported, NotImported, read_mappings
from capstream.aep.data_prep.plain_schema import BadSchema, plain_schema
from capstream.aep.data_prep.rows import Row, rows_of
from capstream.aep.data_prep.samples import BadSample, json_records
from capstream.cli.client import PlatformClient, Refused
from capstream.cli.options import find
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json, JsonError, loads
from capstream.xdm.schema import Schema

SETS = "/data/foundation/conversion/mappingSets"
FULL = "application/vnd.adobe.xed-full+json;version=1"
_REGISTRY = "/data/foundation/schemaregistry"
_GLOBAL = "https://ns.adobe.com/xdm/"
_LIST_SCHEMAS = "check the path, or list the schemas: GET /data/foundation/schemaregistry/tenant/schemas"
_SET_ID = re.compile(r"[0-9a-fA-F]{32}")
_SCHEMA_ID = re.compile(r"https?://|_[^/]*$")  # `$id`, or the form with the tenant in front, `meta:altId`


@dataclass(frozen=True, slots=True)
class MappingSet:
    """Rows and what is known about their target."""

    rows: list[Row]
    schema: Schema | None
    allow_null_values: bool = False
    strict: bool = False


def content_of(file: Path, option: str) -> bytes:
    """Return the bytes of a user's file. Errors: InputError."""
    try:
        return file.read_bytes()
    except OSError as error:
        raise InputError(option, f"{file} cannot be read: {error.strerror}", "name an existing file") from error


def records_of(file: Path, option: str) -> list[dict[str, Json]]:
    """Return the records of a JSON or JSON Lines file. Errors: InputError."""
    try:
        return json_records(content_of(file, option).decode("utf-8-sig"))
    except (BadSample, UnicodeDecodeError) as error:
        raise InputError(option, f"{file}: {error}", "write a JSON object, an array of them, or one a line") from error


def mappings_of(file: Path, option: str) -> list[Imported]:
    """Return the mappings of a CSV, JSON or XLSX file. Errors: InputError."""
    try:
        return read_mappings(content_of(file, option), file.name)
    except NotImported as error:
        raise not_imported(file, option, error) from error


def not_imported(file: Path, option: str, error: NotImported) -> InputError:
    """Return the failure of an import with every line that is wrong."""
    lines = "".join(f"\n  {one.place}: {one.reason}" for one in error.misfits)
    return InputError(option, f"{file}: nothing is imported, mend these first:{lines}")


def mapping_set(named: str, schema: str, credentials: Path | None) -> MappingSet:
    """Return the set a user names: a local file, or the id of a set on the server. Errors: InputError, Refused."""
    file = Path(named)
    if not file.is_file() and not _SET_ID.fullmatch(named):
        reason = f"{named} is neither a file here nor the id of a mapping set, which has 32 hexadecimal digits"
        raise InputError("SET", reason, "check the path, or list the sets: GET /mappingSets")
    known = target(schema, credentials) if schema else None
    if not file.is_file():
        return _of_server(named, known, credentials)
    rows = [one.row for one in mappings_of(file, "SET")]
    whole = loads(file.read_bytes()) if file.suffix.lower() == ".json" else None
    stated = whole if isinstance(whole, dict) else {}
    return MappingSet(rows, known, stated.get("allowNullValues") is True, stated.get("strictMapping") is True)


def _of_server(named: str, known: Schema | None, credentials: Path | None) -> MappingSet:
    with PlatformClient(find(credentials)) as client:
        try:
            stored = client.platform("GET", f"{SETS}/{quote(named, safe='')}", query={"expandSchema": "true"})
        except Refused as error:
            if error.status != 404:
                raise
            reason = f"{named} is neither a file here nor a mapping set of the sandbox"
            raise InputError("SET", reason, "check the path, or list the sets: GET /mappingSets") from error
    described = (stored.get("outputSchema") or {}).get("jsonSchema")
    schema = plain_schema(described, schema_id=stored["xdmSchema"]) if known is None and described else known
    return MappingSet(rows_of(stored), schema, stored.get("allowNullValues") is True, stored.get("strictMapping") is True)


def target(named: str, credentials: Path | None) -> Schema:
    """Return the schema a user names: a local JSON Schema (its id is its `$id`, or ""), or the $id of a schema on the server.

    Errors: InputError, Refused.
    """
    file = Path(named)
    if not file.is_file() and not _SCHEMA_ID.match(named):
        reason = f"{named} is neither a file here nor the $id of a schema, which begins with https://"
        raise InputError("--schema", reason, _LIST_SCHEMAS)
    try:
        if file.is_file():
            described = loads(file.read_bytes())
            return plain_schema(described, schema_id=str(described.get("$id", "")) if isinstance(described, dict) else "")
        with PlatformClient(find(credentials)) as client:
            return plain_schema(_registered(client, named), schema_id=named)
    except (BadSchema, JsonError) as error:
        raise InputError("--schema", str(error)) from error


def _registered(client: PlatformClient, named: str) -> Json:
    container = "global" if named.startswith(_GLOBAL) else "tenant"
    try:
        return client.platform("GET", f"{_REGISTRY}/{container}/schemas/{quote(named, safe='')}", accept=FULL)
    except Refused as error:
        if error.status != 404:
            raise
        raise InputError("--schema", f"{named} is neither a file here nor a schema of the sandbox", _LIST_SCHEMAS) from error
