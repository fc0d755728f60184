"""What a specification document must look like so that the service can work with it. Pure. Source: flow-service.md 5.2, 5.3."""

from collections.abc import Iterator, Mapping

from capstream.kernel.json import Json

_OBJECTS = ("attributes", "sourceSpec", "targetSpec", "exploreSpec", "optionSpec", "scheduleSpec", "settings", "policy")
_ID_LISTS = ("sourceConnectionSpecIds", "targetConnectionSpecIds")


def spec_problem(spec: Mapping[str, Json]) -> str:
    """Return what is wrong with a connection or flow specification, empty when nothing is."""
    return next(_problems(spec), "")


def _problems(spec: Mapping[str, Json]) -> Iterator[str]:
    for name in _OBJECTS:
        if not _is(spec.get(name), dict):
            yield f"{name} must be an object"
    for name in _ID_LISTS:
        if not _are(spec.get(name), str):
            yield f"{name} must be an array of ids"
    if not isinstance(spec.get("type", ""), str):
        yield "type must be a string"
    yield from _in_auth(spec.get("authSpec"))
    yield from _in_source(spec.get("sourceSpec"))
    attributes = spec.get("attributes")
    if isinstance(attributes, dict) and not _is(attributes.get("uiAttributes"), dict):
        yield "attributes.uiAttributes must be an object"
    explore = spec.get("exploreSpec")
    if isinstance(explore, dict) and not _are(explore.get("columns"), dict):
        yield "exploreSpec.columns must be an array of objects"


def _in_auth(auth: Json) -> Iterator[str]:
    if not _are(auth, dict):
        yield "authSpec must be an array of objects with name and spec"
        return
    for each in auth or []:
        schema = each.get("spec")
        if not isinstance(each.get("name"), str) or not _is(schema, dict):
            yield "authSpec must be an array of objects with name and spec"
        elif schema and not (_is(schema.get("properties"), dict) and _are(schema.get("required"), str)):
            yield f"authSpec {each['name']}: spec must be a JSON schema with properties and required"
        elif schema and not all(isinstance(rule, dict) for rule in (schema.get("properties") or {}).values()):
            yield f"authSpec {each['name']}: every property of its spec must be an object"


def _in_source(source: Json) -> Iterator[str]:
    attributes = source.get("attributes") if isinstance(source, dict) else None
    if not _is(attributes, dict):
        yield "sourceSpec.attributes must be an object"
    shown = attributes.get("uiAttributes") if isinstance(attributes, dict) else None
    if not _is(shown, dict):
        yield "sourceSpec.attributes.uiAttributes must be an object"
    frequency = shown.get("frequency") if isinstance(shown, dict) else None
    texts = list(frequency.values()) if isinstance(frequency, dict) else [frequency]
    if not all(each is None or isinstance(each, str) for each in texts):
        yield "sourceSpec.attributes.uiAttributes.frequency must be an object of texts, or a text"


def _is(value: Json, kind: type) -> bool:
    return value is None or isinstance(value, kind)


def _are(value: Json, kind: type) -> bool:
    return value is None or (isinstance(value, list) and all(isinstance(each, kind) for each in value))
