"""The two target schemas, composed from the shipped bodies for the tenant `capstream`."""

from functools import cache
from pathlib import Path

from capstream.kernel.json import Json, loads
from capstream.xdm.compose import compose
from capstream.xdm.library import standard_library
from capstream.xdm.schema import Schema

REPOSITORY = Path(__file__).parents[3]
_GROUPS = {"events": ("event", "CAPILLARY_EVENT"), "profile": ("member", "CAPILLARY_MEMBER")}


@cache
def target_schema(name: str) -> Schema:
    group, placeholder = _GROUPS[name]
    uri = f"https://ns.adobe.com/capstream/mixins/{group}"
    documents = {**standard_library(), uri: _body(f"capillary-{group}.json", {})}
    body = _body(f"capillary-{name}-schema.json", {placeholder: group})
    return compose([entry["$ref"] for entry in body["allOf"]], documents.get, schema_id=name, title=body["title"])


def _body(name: str, values: dict[str, str]) -> Json:
    text = (REPOSITORY / "capstream" / "relay" / "schemas" / name).read_text(encoding="utf-8")
    for key, value in {"TENANT_ID": "capstream", **values}.items():
        text = text.replace("{" + key + "}", value)
    return loads(text)
