"""Deleting a profile: ordered by the gateway, carried out by the one writer of Profile. Source: profile.md 4 (DELETE).

The order says up to which offset of the inlet log it reaches, so what was accepted before it is deleted even when it was
not processed yet, and what is accepted later makes the profile anew. Readers hide what is ordered but not done.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from capstream.aep.profile.model import COUNTS, EVENTS, FRAGMENTS, PROFILES, StoredEvent, StoredFragment
from capstream.kernel.ids import new_ulid
from capstream.storage.ports import Documents, Reading, Transaction

ORDERS = "profile_deletions"  #: control plane: {order} -> Deletion
DONE = "profile_deletions_done"  #: pipeline: {order} -> empty


class Deletion(msgspec.Struct, frozen=True):
    """An order to delete the fragments and events of some identities."""

    id: str
    sandbox_id: str
    xids: tuple[str, ...]
    inlet_end: int  #: reaches what was accepted up to this offset


_read_fragment = msgspec.msgpack.Decoder(StoredFragment).decode
_read_event = msgspec.msgpack.Decoder(StoredEvent).decode


def order(control: Documents, state: Reading, deletion: Deletion) -> None:
    """Store an order durably, and forget those that are carried out."""
    done = state.get_many(DONE, [key for key, _ in control.scan(ORDERS)])
    with control.transaction() as change:
        change.delete(ORDERS, done)
        change.put(ORDERS, [(deletion.id, msgspec.json.encode(deletion))])


def new_deletion(sandbox_id: str, xids: Sequence[str], *, inlet_end: int, now_ms: int) -> Deletion:
    """Return an order for these identities."""
    return Deletion(new_ulid(now_ms), sandbox_id, tuple(xids), inlet_end)


def pending(control: Reading, state: Reading) -> list[Deletion]:
    """Return the orders that are not carried out yet, oldest first."""
    orders = control.scan(ORDERS)
    done = state.get_many(DONE, [key for key, _ in orders]) if orders else {}
    return [msgspec.json.decode(body, type=Deletion) for key, body in orders if key not in done]


def carry_out(change: Transaction, deletion: Deletion) -> int:
    """Delete the fragments and events of an order's identities and mark it done; return how many went."""
    gone = 0
    for xid in deletion.xids:
        prefix = f"{deletion.sandbox_id}/{xid}/"
        fragments = change.scan(FRAGMENTS, prefix=prefix)
        _uncount(change, deletion.sandbox_id, [_read_fragment(body) for _, body in fragments])
        gone += change.delete(FRAGMENTS, [key for key, _ in fragments])
        gone += change.delete(EVENTS, [key for key, _ in change.scan(EVENTS, prefix=prefix)])
        change.delete(PROFILES, [f"{deletion.sandbox_id}/{xid}"])
    change.put(DONE, [(deletion.id, b"")])
    return gone


class Part(NamedTuple):
    """What a dataset, or one batch of it, brought to Profile."""

    sandbox_id: str
    dataset_id: str
    batch_id: str = ""  #: empty: all batches

    def has_fragment(self, key: str, body: bytes) -> bool:
        """Return whether a fragment came from here."""
        mine = key.rpartition("/")[2] == self.dataset_id
        return mine and self.batch_id in ("", _read_fragment(body).batch_id if self.batch_id else "")

    def has_event(self, key: str, body: bytes) -> bool:
        """Return whether an event came from here."""
        mine = key.split("/", 3)[2] == self.dataset_id
        return mine and self.batch_id in ("", _read_event(body).batch_id if self.batch_id else "")


def remove_part(change: Transaction, part: Part, *, after: tuple[str, str], limit: int) -> tuple[str, str] | None:
    """Delete the fragments and events of a part, looking at up to `limit` of each kind beyond the keys `after`.

    Return the keys to go on from, None when there is nothing left to look at. They are kept by identity, not by dataset, so
    all of the sandbox's are looked through: in pieces, or everything else would wait.
    """
    prefix = f"{part.sandbox_id}/"
    fragments = change.scan(FRAGMENTS, prefix=prefix, after=after[0], limit=limit)
    mine = [(key, body) for key, body in fragments if part.has_fragment(key, body)]
    _uncount(change, part.sandbox_id, [_read_fragment(body) for _, body in mine])
    change.delete(FRAGMENTS, [key for key, _ in mine])
    for xid in {key.split("/")[1] for key, _ in mine}:
        if not change.scan(FRAGMENTS, prefix=f"{prefix}{xid}/", limit=1):
            change.delete(PROFILES, [f"{prefix}{xid}"])
    events = change.scan(EVENTS, prefix=prefix, after=after[1], limit=limit)
    change.delete(EVENTS, [key for key, body in events if part.has_event(key, body)])
    if len(fragments) < limit and len(events) < limit:
        return None
    return fragments[-1][0] if fragments else after[0], events[-1][0] if events else after[1]


def _uncount(change: Transaction, sandbox_id: str, fragments: Sequence[StoredFragment]) -> None:
    steps: dict[str, int] = {}
    for fragment in fragments:
        for key in (f"{sandbox_id}/dataset/{fragment.dataset_id}", f"{sandbox_id}/namespace/{fragment.identities[0].nsid}"):
            steps[key] = steps.get(key, 0) + 1
    held = change.get_many(COUNTS, list(steps))
    change.put(COUNTS, [(key, b"%d" % (int(held.get(key, b"0")) - step)) for key, step in steps.items()])
