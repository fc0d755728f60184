"""New keys for what is sealed at rest: the relay's secrets and those of the control plane.

Each key file gets the new key beside the old one, then everything is sealed again in one transaction, then the old key goes.
Cut off at any moment, every secret still opens, and doing it again finishes it. The server has to be stopped: its processes hold
the keys.
"""

from collections.abc import Iterator
from pathlib import Path

from capstream.aep.flow_service import secrets
from capstream.aep.flow_service.landing_zone import resealed_secrets
from capstream.kernel.json import Json, dumps, loads
from capstream.layout import Layout
from capstream.relay.sources import reseal_sources
from capstream.relay.vault import Vault
from capstream.storage.key_file import add_key, drop_old_keys
from capstream.storage.ports import Item
from capstream.storage.sqlite import SqliteDocuments, compact

_MARK = b'"sealed"'


def change_relay_key(layout: Layout, key_file: Path) -> int:
    """Seal the relay's secrets with a new key; return how many there were. Errors: InputError, OSError, StorageUnavailable."""
    keys = add_key(key_file)
    documents = SqliteDocuments(layout.sources)
    try:
        count = reseal_sources(documents, Vault(*keys))
    finally:
        documents.close()
    compact(layout.sources)  # the old ciphertexts lie in free pages until then
    drop_old_keys(key_file)
    return count


def change_platform_key(layout: Layout) -> int:
    """Seal the secrets of the control plane with a new key; return how many there were. Errors as `change_relay_key`."""
    vault = secrets.Vault(*add_key(layout.platform_key))
    control = SqliteDocuments(layout.control)
    count = 0
    try:
        with control.transaction() as change:
            for collection in control.collections():
                for key, body in _sealed_in(control, collection):
                    fresh, found = secrets.resealed(vault, loads(body))
                    change.put(collection, [(key, dumps(fresh))])
                    count += found
            count += resealed_secrets(change, vault)
    finally:
        control.close()
    compact(layout.control)
    drop_old_keys(layout.platform_key)
    return count


def _sealed_in(control: SqliteDocuments, collection: str) -> Iterator[Item]:
    after = ""
    while page := control.scan(collection, after=after, limit=500):
        after = page[-1][0]
        yield from ((key, body) for key, body in page if _MARK in body and _is_json(body))


def _is_json(body: bytes) -> bool:
    try:
        found: Json = loads(body)
    except ValueError:
        return False
    return isinstance(found, dict | list)
