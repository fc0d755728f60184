"""XIDs that somebody asked for before they were seen in a record. Source: identity.md 3.4.

Kept in the control plane, because the pipeline alone writes the graph's documents.
"""

import msgspec

from capstream.aep.identity_service.rules import Identity
from capstream.storage.ports import Documents

COLLECTION = "asked_identities"  #: {sandbox}/{xid} -> [nsid, value]


class AskedIdentities:
    """Remembers what an XID stands for, for those that no record has shown yet."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def remember(self, sandbox_id: str, identity: Identity) -> None:
        """Store the identity once."""
        key = f"{sandbox_id}/{identity.xid}"
        if self._documents.get(COLLECTION, key) is None:
            with self._documents.transaction() as change:
                change.put(COLLECTION, [(key, msgspec.json.encode((identity.nsid, identity.value)))])

    def find(self, sandbox_id: str, xid: str) -> tuple[int, str] | None:
        """Return (namespace id, value) of an XID that was asked for, or None."""
        body = self._documents.get(COLLECTION, f"{sandbox_id}/{xid}")
        return None if body is None else msgspec.json.decode(body, type=tuple[int, str])
