"""Decisions of the Flow Service on values alone: forms, defaults, versions, states. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capstream.aep.flow_service.model import State
from capstream.kernel.json import Json

STREAMING_FORMATS = frozenset({"json", "delimited", "parquet", "tabular", "parquet_xdm"})

READ_ONLY = frozenset(
    {"id", "createdAt", "updatedAt", "createdBy", "updatedBy", "createdClient", "updatedClient", "state", "version", "etag"}
    | {"sandboxId", "sandboxName", "imsOrgId", "inheritedAttributes", "providerRefId", "runs", "lastOperation", "lastRunDetails"}
)

_MAJOR = re.compile(r"version\s*=\s*(\d+)|;\s*(\d+)(?:\.\d+)?\s*$|^\s*(\d+)(?:\.\d+)?\s*$")


def major_version(content_type: str) -> int:
    """Return the major version of a schema media type in any of its documented spellings; 1 when it names none."""
    match = _MAJOR.search(content_type)
    return 1 if match is None else int(next(part for part in match.groups() if part is not None))


def same_schema(left: tuple[str, str], right: tuple[str, str]) -> bool:
    """Return whether two (schema id, media type) pairs mean the same schema: equal id, equal major version."""
    return left[0] == right[0] and major_version(left[1]) == major_version(right[1])


def schema_of_mapping_set(mapping_set: Mapping[str, Json]) -> tuple[str, str]:
    """Return (schema id, media type) of a mapping set's output."""
    reference = (mapping_set.get("outputSchema") or {}).get("schemaRef") or mapping_set.get("schemaRef") or {}
    schema_id = reference.get("id") or mapping_set.get("xdmSchema") or ""
    return str(schema_id), str(reference.get("contentType") or mapping_set.get("xdmVersion") or "")


def schema_of_dataset(dataset: Mapping[str, Json]) -> tuple[str, str]:
    """Return (schema id, media type) of a dataset."""
    reference = dataset.get("schemaRef") or {}
    return str(reference.get("id") or ""), str(reference.get("contentType") or "")


def etags_match(sent: str, stored: str) -> bool:
    """Return whether two etags are the same but for `W/`, one level of backslash escapes and quotes. Source: gateway.md 7."""
    return _bare(sent) == _bare(stored)


def _bare(etag: str) -> str:
    return etag.strip().removeprefix("W/").replace("\\", "").strip('"')


def one_id(value: Json) -> str:
    """Return the id of a list of exactly one, or of a single string (the Capillary tutorial); empty otherwise."""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str):
        return value[0]
    return ""


@dataclass(frozen=True, slots=True)
class MappingRef:
    """The mapping set a flow applies."""

    id: str
    version: int


class BadTransformation(Exception):
    """`transformations` is not what the service knows. `code` is the number of the error catalogue."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def mapping_ref(transformations: Json) -> MappingRef | None:
    """Return the mapping set that `transformations` name, or None when there is none.

    Errors: BadTransformation 1100 (form, foreign name), 1412 (version), 1419 (id missing).
    """
    if transformations in (None, []):
        return None
    if not isinstance(transformations, list) or not all(isinstance(each, dict) for each in transformations):
        raise BadTransformation(1100, "transformations must be an array of {name, params}")
    if len(transformations) > 1:
        raise BadTransformation(1100, f"transformations must hold one Mapping, not {len(transformations)} elements")
    name, params = transformations[0].get("name"), transformations[0].get("params") or {}
    if name not in (None, "Mapping"):
        raise BadTransformation(1100, f"transformation {name!r} is not supported; the only name is Mapping")
    mapping_id = params.get("mappingId")
    if not isinstance(mapping_id, str) or not mapping_id:
        raise BadTransformation(1419, "transformations[0].params.mappingId is missing; name the mapping set to apply")
    return MappingRef(mapping_id, _mapping_version(params.get("mappingVersion", 0)))


def _mapping_version(value: Json) -> int:
    text = str(value).strip()
    if isinstance(value, bool) or not text.isdecimal():
        raise BadTransformation(1412, f"mappingVersion {value!r} is not a version number; send 0 or a higher whole number")
    return int(text)


def returned_transformations(mapping: MappingRef | None) -> list[Json]:
    """Return `transformations` as the service shows them: the version is a text. Source: flow-service.md 10 (2)."""
    if mapping is None:
        return []
    return [{"name": "Mapping", "params": {"mappingId": mapping.id, "mappingVersion": str(mapping.version)}}]


def returned_schedule(schedule: Mapping[str, Json]) -> dict[str, Json]:
    """Return `scheduleParams` in the OpenAPI types: `startTime` integer, `interval` text, others as they are."""
    result = dict(schedule)
    for name in ("startTime", "endTime"):
        value = result.get(name)
        if (isinstance(value, str) and value.strip().isdecimal()) or (isinstance(value, float) and value.is_integer()):
            result[name] = int(value)
    if result.get("interval") is not None:
        result["interval"] = str(result["interval"])
    return result


def option_problem(options: Mapping[str, Json]) -> str:
    """Return what is wrong with flow `options`, empty when nothing is."""
    diagnostics = options.get("errorDiagnosticsEnabled", False)
    if not isinstance(diagnostics, bool):
        return f"options.errorDiagnosticsEnabled must be true or false, not {diagnostics!r}"
    percent = options.get("partialIngestionPercent")
    if percent is not None and (isinstance(percent, bool) or not isinstance(percent, int | float) or percent <= 0):
        return f"options.partialIngestionPercent must be a number above 0, not {percent!r}"
    return ""


_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "object": (dict,),
    "array": (list,),
}


def param_problems(schema: Mapping[str, Json], params: Mapping[str, Json], *, given: frozenset[str]) -> list[str]:
    """Return what is wrong with `auth.params`: required members missing, wrong types, values outside an enum.

    `given` are members that count as present although `params` does not show their value (kept secrets).
    """
    missing = [name for name in schema.get("required") or [] if params.get(name) in (None, "") and name not in given]
    problems = [f"auth.params.{name} is missing" for name in missing]
    for name, rule in (schema.get("properties") or {}).items():
        value = params.get(name)
        if value is None or name in given or not isinstance(rule, dict):
            continue
        wanted = _TYPES.get(str(rule.get("type")))
        if wanted and (not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted)):
            problems.append(f"auth.params.{name} must be of type {rule['type']}")
        elif isinstance(rule.get("enum"), list) and value not in rule["enum"]:
            problems.append(f"auth.params.{name} must be one of {', '.join(map(str, rule['enum']))}")
    return problems


def schedule_problem(schedule: Mapping[str, Json]) -> tuple[int, str] | None:
    """Return (provider code, text) of what is wrong with the schedule of a batch flow, None when nothing is."""
    shown = returned_schedule(schedule)
    frequency, start, interval = shown.get("frequency"), shown.get("startTime"), shown.get("interval")
    if not isinstance(start, int) or isinstance(start, bool):
        return 1318, "scheduleParams.startTime must be a time in epoch seconds"
    if frequency not in {"once", "minute", "hour", "day", "week"}:
        return 1397, f"scheduleParams.frequency {frequency!r} is not one of once, minute, hour, day, week"
    if frequency == "once":
        extra = [name for name in ("interval", "backfill") if name in shown]
        return (1364, f"scheduleParams.{extra[0]} is not allowed with frequency once") if extra else None
    least = 15 if frequency == "minute" else 1
    if not isinstance(interval, str) or not interval.isdecimal() or int(interval) < least:
        return 1361, f"scheduleParams.interval must be a whole number of at least {least} for frequency {frequency}"
    return None


FLOW_TRANSITIONS: Mapping[tuple[State, str], State] = {
    (State.ENABLED, "DISABLE"): State.DISABLED,
    (State.DISABLED, "ENABLE"): State.ENABLED,
    (State.DRAFT, "PUBLISH"): State.ENABLED,
}
"""What an action makes of a flow; every other pair is refused with 1422. Source: flow-service.md 4."""

_PROVIDER_ACTIONS = frozenset({"FINALIZE", "FINALIZE_UPDATE"})
_ACTIONS = frozenset({"ENABLE", "DISABLE", "PUBLISH"}) | _PROVIDER_ACTIONS
_SUB_OPERATIONS = frozenset({"APPLY", "ROLLBACK", "PROGRESS"})


def action_problem(operation: str, sub_operations: Sequence[str], body: Json) -> tuple[int, str] | None:
    """Return (code, text) of what is wrong with a state action in itself, None when nothing is."""
    if operation not in _ACTIONS:
        return 1422, f"op {operation!r} is not an action; use ENABLE, DISABLE or PUBLISH"
    if operation in _PROVIDER_ACTIONS:
        return 1402, f"op {operation} is reserved for the provider of the connector"
    unknown = [each for each in sub_operations if each.upper() not in _SUB_OPERATIONS]
    if unknown:
        return 1406, f"subOp {unknown[0]!r} is not one of APPLY, ROLLBACK, PROGRESS"
    percent = body.get("percentCompleted") if isinstance(body, dict) else None
    is_number = isinstance(percent, int | float) and not isinstance(percent, bool)
    if percent is not None and not (is_number and 0 <= percent <= 100):
        return 1408, f"percentCompleted must be a number from 0 to 100, not {percent!r}"
    return None


def next_state(state: State, operation: str) -> State | None:
    """Return the state a flow has after an action, or None when the action is not possible now."""
    return FLOW_TRANSITIONS.get((state, operation))
