"""The Schema Registry's public API as the commands use it; the same calls work here and at Adobe."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from capstream.cli.client import PlatformClient, Refused
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

_BASE = "/data/foundation/schemaregistry"
_NAMESPACES = "/data/core/idnamespace/identities"
_VND = "application/vnd.adobe."
STORED = f"{_VND}xed+json; version=1"
FULL = f"{_VND}xed-full+json; version=1"
_SUMMARY = f"{_VND}xed-id+json"
_PAGE = 300
KINDS = ("schemas", "fieldgroups", "classes", "datatypes", "unions")


@dataclass(frozen=True, slots=True)
class Registry:
    """Reads and writes of one sandbox."""

    client: PlatformClient

    def tenant(self) -> str:
        """Return the organisation's tenant id, without the underscore."""
        return str(self._call("GET", "/stats")["tenantId"])

    def by_title(self, kind: str, title: str) -> str | None:
        """Return the `$id` of the tenant's resource with that title, or None."""
        start: str | None = None
        while True:
            query: dict[str, Any] = {"orderby": "title", "limit": _PAGE, "property": f"title=={title}"}
            page = self._call("GET", f"/tenant/{kind}", query=query | ({"start": start} if start else {}), accept=_SUMMARY)
            for each in page["results"]:
                if each["title"] == title:
                    return str(each["$id"])
            start = (page.get("_page") or {}).get("next")
            if not start:
                return None

    def get(self, kind: str, uri: str, accept: str = STORED) -> Json:
        """Return one resource in the form asked for."""
        return self._call("GET", f"/tenant/{kind}/{quote(uri, safe='')}", accept=accept)

    def find(self, name: str, accept: str = FULL) -> Json:
        """Return the resource an id of any kind or the title of a schema names. Errors: InputError when there is none."""
        wanted = [kind for kind in KINDS if f"/{_part(kind)}/" in name or f".{_part(kind)}." in name] or list(KINDS)
        for kind in wanted:
            try:
                return self.get(kind, name, accept)
            except Refused as error:
                if error.status not in {400, 404}:
                    raise
        uri = self.by_title("schemas", name)
        if uri is None:
            raise InputError(name, "no schema, field group, class or data type has this id or title", "see GET /tenant/schemas")
        return self.get("schemas", uri, accept)

    def create(self, kind: str, body: Json) -> Json:
        """Store a new resource and return it."""
        return self._call("POST", f"/tenant/{kind}", body=body, accept=STORED)

    def replace(self, kind: str, uri: str, body: Json) -> Json:
        """Store the new content of a resource and return it."""
        return self._call("PUT", f"/tenant/{kind}/{quote(uri, safe='')}", body=body, accept=STORED)

    def enable_for_profile(self, uri: str) -> None:
        """Put the tag `union` on a schema. It can never be taken off again."""
        step = {"op": "add", "path": "/meta:immutableTags", "value": ["union"]}
        self._call("PATCH", f"/tenant/schemas/{quote(uri, safe='')}", body=[step], accept=STORED)

    def descriptors(self, uri: str) -> list[dict[str, Json]]:
        """Return the descriptors of a schema."""
        grouped = self._call("GET", "/tenant/descriptors", accept=f"{_VND}xdm+json")
        every = [one for group in grouped.values() if isinstance(group, list) for one in group]
        return [one for one in every if isinstance(one, dict) and one.get("xdm:sourceSchema") == uri]

    def save_descriptor(self, body: dict[str, Json], descriptor_id: str = "") -> None:
        """Store a descriptor: a new one, or the new content of one."""
        path = f"/tenant/descriptors/{descriptor_id}" if descriptor_id else "/tenant/descriptors"
        self._call("PUT" if descriptor_id else "POST", path, body=body, accept="application/json")

    def namespaces(self) -> set[str]:
        """Return the codes of all identity namespaces, in lower case."""
        found = self.client.platform("GET", _NAMESPACES, accept="application/json")
        return {str(each["code"]).lower() for each in found}

    def create_namespace(self, body: dict[str, Json]) -> None:
        """Store a new identity namespace."""
        self.client.platform("POST", _NAMESPACES, body=body, accept="application/json")

    def _call(self, method: str, path: str, **options: Any) -> Json:
        return self.client.platform(method, _BASE + path, **options)


def _part(kind: str) -> str:
    return "mixins" if kind == "fieldgroups" else kind
