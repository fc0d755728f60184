"""Fixtures of the Schema Registry's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from registry_client import Registry, capillary

from capstream.aep.schema_registry.model import SchemaRegistry
from capstream.kernel.json import Json
from capstream.storage.sqlite import SqliteDocuments


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    documents = SqliteDocuments(tmp_path / "control.db")
    yield Registry(SchemaRegistry(documents, "capstream"))
    documents.close()


@pytest.fixture
def capillary_schemas(registry: Registry) -> Callable[[], tuple[Json, Json]]:
    """Create both Capillary field groups and schemas; return (profile, events)."""

    def create() -> tuple[Json, Json]:
        member = registry.ok("POST", "/tenant/fieldgroups", capillary("capillary-member.json"))
        event = registry.ok("POST", "/tenant/fieldgroups", capillary("capillary-event.json"))
        ids = {"CAPILLARY_MEMBER": member["$id"].rsplit("/", 1)[1], "CAPILLARY_EVENT": event["$id"].rsplit("/", 1)[1]}
        profile = registry.ok("POST", "/tenant/schemas", capillary("capillary-profile-schema.json", **ids))
        events = registry.ok("POST", "/tenant/schemas", capillary("capillary-events-schema.json", **ids))
        return profile, events

    return create
