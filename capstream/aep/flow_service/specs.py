"""Connection and flow specifications: JSON files shipped with the product, overridden by what callers store."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from capstream.kernel.json import Json, dumps, loads
from capstream.storage.ports import Documents

Spec = dict[str, Json]

DATA_LAKE = "c604ff05-7f1a-43c0-8e18-33bf874cb11c"
PROFILE_SERVICE = "8a9c3494-9708-43d7-ae3f-cda01e5030e1"
CAPILLARY = "6360f136-5980-4111-8bdf-15d29eab3b5a"
HTTP_API = "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb"
LANDING_ZONE = "26f526f2-58f4-4712-961d-e41bf1ccc0e8"
PASS_THROUGH = "d8a6f005-7eaf-4153-983e-e8574508b877"  # noqa: S105 - the id of a flow spec
LAKE_TO_PROFILE = "5c2f6a0e-3b57-4d0c-9d8e-2f8b0f7f6a31"  # ASSUMPTION: not documented
WITH_MAPPING = "c1a19761-d2c7-4702-b9fa-fe91f0613e81"

SFTP_TYPE = "SFTP"
ZONE_TYPE = "LandingZone"

_STREAMING = "streaming"


@cache
def _shipped(folder: str) -> Mapping[str, bytes]:
    """Return the shipped documents of one kind by id, ordered by name."""
    found = files("capstream.aep.flow_service").joinpath("specs", folder)
    specs = [loads(file.read_bytes()) for file in found.iterdir() if file.name.endswith(".json")]
    return {spec["id"]: dumps(spec) for spec in sorted(specs, key=lambda spec: spec["name"].lower())}


@dataclass(frozen=True, slots=True)
class Specs:
    """The specs of one kind. They belong to no organisation and no sandbox."""

    documents: Documents
    kind: str  #: `connectionSpecs` or `flowSpecs`, as in paths and error reports
    collection: str
    folder: str

    def get(self, spec_id: str) -> Spec | None:
        """Return a spec, or None."""
        body = self.documents.get(self.collection, spec_id) or _shipped(self.folder).get(spec_id)
        return None if body is None else loads(body)

    def all(self) -> list[Spec]:
        """Return every spec: the shipped ones by name, then the others by id."""
        stored = dict(self.documents.scan(self.collection))
        return [loads(body) for body in (dict(_shipped(self.folder)) | stored).values()]

    def save(self, spec: Spec) -> None:
        """Store a spec, over a shipped one of the same id if there is one."""
        with self.documents.transaction() as change:
            change.put(self.collection, [(spec["id"], dumps(spec))])


def connection_specs(documents: Documents) -> Specs:
    """Return the connection specs."""
    return Specs(documents, "connectionSpecs", "connection_specs", "connection")


def flow_specs(documents: Documents) -> Specs:
    """Return the flow specs."""
    return Specs(documents, "flowSpecs", "flow_specs", "flow")


def is_streaming_source(spec: Spec) -> bool:
    """Return whether connections of this connection spec get an inlet."""
    attributes = (spec.get("sourceSpec") or {}).get("attributes") or {}
    frequency = (attributes.get("uiAttributes") or {}).get("frequency") or {}
    named = frequency.values() if isinstance(frequency, dict) else [frequency]
    return spec.get("type") == "generic-streaming" or _STREAMING in named


def is_streaming_flow(flow_spec: Spec) -> bool:
    """Return whether flows of this flow spec stream; a spec with a schedule does not."""
    return not flow_spec.get("scheduleSpec")


def auth_spec(spec: Spec, name: str) -> dict[str, Json] | None:
    """Return the authentication spec called `name`, or None."""
    found = (each for each in spec.get("authSpec") or [] if each.get("name") == name)
    return next(found, None)


def is_account_based(spec: Spec) -> bool:
    """Return whether source connections of this spec may name a base connection."""
    return bool(spec.get("authSpec")) or is_streaming_source(spec) or spec.get("type") == ZONE_TYPE
