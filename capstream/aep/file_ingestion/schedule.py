"""When a file flow is due, and which files a run takes. Pure. Source: batch-ingestion.md B4, B5."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

from capstream.aep.flow_service.file_runs import File, FileRun
from capstream.aep.flow_service.file_store import Entry, FileStore
from capstream.aep.flow_service.preview import COMPRESSIONS, BadFile, Properties
from capstream.aep.flow_service.rules import returned_schedule
from capstream.kernel.json import Json

_SECONDS: Mapping[str, int] = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_GLOB = frozenset("*?[")
_MOST_FOLDERS = 10_000


def due_slot(schedule: Mapping[str, Json], last_slot_s: int, now_s: int) -> int:
    """Return the instant of the schedule that is due, 0 when none is. What was missed meanwhile is one run, not many."""
    shown = returned_schedule(schedule)
    start = int(shown["startTime"])
    if now_s < start:
        return 0
    if shown["frequency"] == "once":
        return 0 if last_slot_s else max(start, 1)
    step = _SECONDS[str(shown["frequency"])] * int(shown["interval"])
    slot = start + (now_s - start) // step * step
    ended = shown.get("endTime")
    if isinstance(ended, int) and slot > ended:
        return 0
    return slot if slot > last_slot_s else 0


def window_start(schedule: Mapping[str, Json], earlier: Sequence[FileRun]) -> int:
    """Return the second from which on files count: all of them, or without backfill those that came after the start."""
    shown = returned_schedule(schedule)
    backfill = str(shown.get("backfill", True)).lower() != "false"
    return 0 if backfill or earlier else int(shown["startTime"])


def properties_of(source: Mapping[str, Json]) -> Properties:
    """Return how the files of a source connection are to be read. Errors: BadFile for what is no property."""
    data: Mapping[str, Json] = source.get("data") or {}
    said: Mapping[str, Json] = data.get("properties") or {}
    delimiter = str(said.get("columnDelimiter") or data.get("columnDelimiter") or ",").replace("\\t", "\t")
    if len(delimiter) != 1:
        raise BadFile(f"data.properties.columnDelimiter {delimiter!r} is not a single character")
    wanted = str(said.get("compressionType") or "").lower()
    compression = next((each for each in COMPRESSIONS if each.lower() == wanted), "")
    if wanted and not compression:
        raise BadFile(f"data.properties.compressionType {wanted!r} is not one of {', '.join(COMPRESSIONS)}")
    return Properties(
        file_type=str(data.get("format") or "delimited"),
        delimiter=delimiter,
        encoding=str(said.get("encoding") or "UTF-8"),
        compression=compression,
    )


def listed(store: FileStore, params: Mapping[str, Json]) -> list[Entry]:
    """Return the files a source connection names: one, those of a pattern, or those of a folder. Errors: OSError."""
    path = str(params.get("path") or "/")
    folder, _, last = path.rpartition("/")
    if _GLOB & set(last):
        found = store.list(folder or "/")
        return [each for each in found if not each.is_folder and fnmatchcase(each.name, last)]
    about = store.about(path)
    if not about.is_folder:
        return [about]
    return list(_within(store, path, recursive=str(params.get("recursive", False)).lower() == "true"))


def _within(store: FileStore, path: str, *, recursive: bool) -> Iterable[Entry]:
    folders = [path]
    for _ in range(_MOST_FOLDERS):
        if not folders:
            return
        for each in store.list(folders.pop(0)):
            if not each.is_folder:
                yield each
            elif recursive:
                folders.append(each.path)


def taken(found: Sequence[Entry], run: FileRun, earlier: Sequence[FileRun]) -> tuple[list[File], int]:
    """Return the files a run takes, oldest first, and how many it leaves out because they are empty.

    A file counts as the same while its path, time and size are: what an earlier run took is not taken again.
    """
    files = [File(each.path, each.size, each.modified_ms) for each in found]
    if run.only:
        paths = {file.path for file in run.only}
        wanted = [file for file in files if file.path in paths]
    else:
        before = {file for other in earlier if other.started_ms != run.started_ms for file in other.files}
        wanted = [file for file in files if file not in before and file.modified_ms >= run.window_start_s * 1000]
    filled = [file for file in wanted if file.size]
    return sorted(filled, key=lambda file: (file.modified_ms, file.path)), len(wanted) - len(filled)
