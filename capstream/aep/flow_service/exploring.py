"""Looking into what a connection reaches: folders, files, first rows. Source: flow-service.md 7, batch-ingestion.md B3."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from capstream.aep.call import Answer, ApiError, Call
from capstream.aep.flow_service.entities import FlowService
from capstream.aep.flow_service.errors import invalid, not_built, provider_refusal
from capstream.aep.flow_service.file_store import Entry, FileStore, Unreachable
from capstream.aep.flow_service.listing import Document
from capstream.aep.flow_service.preview import COMPRESSIONS, FILE_TYPES, BadFile, Preview, Properties, determined, preview
from capstream.aep.flow_service.secrets import is_sealed, sealed_text
from capstream.aep.flow_service.specs import SFTP_TYPE, ZONE_TYPE, Spec
from capstream.kernel.json import Json

_OBJECT_TYPES = frozenset({"root", "folder", "file", "table", "rest"})
_HEAD_BYTES = 64 * 1024


def holds_files(spec: Spec) -> bool:
    """Return whether the files that connections of this spec reach can be looked at."""
    return spec.get("type") in (SFTP_TYPE, ZONE_TYPE)


def opened(service: FlowService, call: Call, connection: Document, spec: Spec) -> AbstractContextManager[FileStore]:
    """Open what a connection reaches: an SFTP server, or the landing zone of the sandbox. Errors: Unreachable."""
    if spec.get("type") == ZONE_TYPE:
        return service.zones.opened(call.sandbox.id)
    return service.open_files(in_clear(service, connection))


def in_clear(service: FlowService, connection: Document) -> dict[str, Json]:
    """Return the parameters of a connection with its secrets opened: for sessions only, never for an answer or a log."""
    params: Mapping[str, Json] = (connection.get("auth") or {}).get("params") or {}
    return {name: service.vault.unseal(sealed_text(value)) if is_sealed(value) else value for name, value in params.items()}


def proven(service: FlowService, call: Call, connection: Document) -> str:
    """Open a session with a new or changed connection and return the server's host key.

    Errors: 1100 with the reason when no session can be opened. Source: batch-ingestion.md B2 (the status is an ASSUMPTION).
    """
    try:
        with service.open_files(in_clear(service, connection), learns=True) as files:
            files.list("/")
            return files.host_key
    except (Unreachable, OSError) as error:
        raise invalid(call, f"no session could be opened with the connection: {error}") from error


def problem_of(service: FlowService, call: Call, connection: Document, spec: Spec) -> str:
    """Return why no session can be opened with a connection, empty when one can."""
    try:
        with opened(service, call, connection, spec) as files:
            files.list("/")
    except Unreachable as error:
        return str(error)
    return ""


def explore(service: FlowService, call: Call, connection: Document, spec: Spec) -> Answer:
    """Return what lies at a place. Errors: 1336, 1358, 1337, and 1100 with the reason when it cannot be looked at."""
    if (spec.get("exploreSpec") or {}).get("type") != "FileSystem":
        message = f"Explore connection is not supported for connection spec ID: {spec['id']}."
        raise provider_refusal(call, 1336, message, id=connection["id"], type="connections")
    if not holds_files(spec):
        raise not_built(call, f"Exploring {spec['name']} connections")
    return explored(call, lambda: opened(service, call, connection, spec), connection, spec)


def explored(call: Call, session: Callable[[], AbstractContextManager[FileStore]], thing: Document, spec: Spec) -> Answer:
    """Return what lies at a place of an open session. `thing` is the connection, or the spec of one that needs none."""
    object_type, path = call.arg("objectType").lower(), call.arg("object")
    if object_type not in _OBJECT_TYPES:
        named = ", ".join(sorted(_OBJECT_TYPES))
        raise provider_refusal(call, 1358, f"objectType {call.arg('objectType')!r} is not one of {named}.")
    if object_type in ("table", "rest"):
        raise provider_refusal(call, 1358, f"objectType {object_type} does not exist in connections of spec {spec['name']}.")
    if object_type != "root" and not path:
        raise provider_refusal(call, 1337, f"object is missing; name the path for objectType {object_type}.")
    try:
        with session() as files:
            return Answer(body=_found(call, files, "/" if object_type == "root" else path, is_file=object_type == "file"))
    except Unreachable as error:
        raise _failed(call, thing, f"the server cannot be reached: {error}") from error
    except BadFile as error:
        raise _failed(call, thing, f"{path} cannot be read: {error}") from error


def _failed(call: Call, connection: Document, why: str) -> ApiError:
    return invalid(call, why, id=connection["id"], type="connections")


def _found(call: Call, files: FileStore, path: str, *, is_file: bool) -> Json:
    try:
        if is_file:
            return _file(call, files, path)
        return [_entry(each) for each in files.list(path)]
    except OSError as error:
        raise BadFile(error.strerror or str(error) or type(error).__name__) from error


def _entry(each: Entry) -> Json:
    readable = not each.is_folder
    kind = "folder" if each.is_folder else "file"
    return {"type": kind, "name": each.name, "path": each.path, "canPreview": readable, "canFetchSchema": readable}


def _file(call: Call, files: FileStore, path: str) -> Json:
    determines = call.flag("determineProperties")
    properties = determined(path, files.read(path, _HEAD_BYTES)) if determines else _asked(call)
    if determines and _file_type(call):
        raise provider_refusal(call, 1376, "Name fileType, or let determineProperties find it: not both.")
    shown = preview(files.read(path, properties.bytes_needed), properties)
    if not call.flag("preview"):
        return [{"name": name, "type": kind.capitalize()} for name, kind in shown.columns]
    return _previewed(shown) | ({"properties": properties.shown()} if determines else {})


def _file_type(call: Call) -> str:
    return (call.arg("fileType") or call.arg("FILE_TYPE")).lower()  # aepp spells it in capitals


def _asked(call: Call) -> Properties:
    file_type = _file_type(call)
    if file_type not in FILE_TYPES:
        said = f"fileType {file_type!r} is not one of" if file_type else "fileType is missing; name one of"
        raise provider_refusal(call, 1376, f"{said} {', '.join(FILE_TYPES)}, or send determineProperties=true.")
    wanted = call.arg("compressionType").lower()
    compression = next((each for each in COMPRESSIONS if each.lower() == wanted), "")
    if wanted and not compression:
        raise provider_refusal(call, 1376, f"compressionType {wanted!r} is not one of {', '.join(COMPRESSIONS)}.")
    delimiter = call.arg("columnDelimiter").replace("\\t", "\t") or ","
    return Properties(file_type=file_type, delimiter=delimiter, encoding=call.arg("encoding") or "UTF-8", compression=compression)


def _previewed(shown: Preview) -> dict[str, Json]:
    columns = [{"name": name, "type": kind, "xdm": {"type": kind}} for name, kind in shown.columns]
    return {"format": "flat", "schema": {"columns": columns}, "data": shown.rows, "type": "file"}
