"""Which process translates whose webhooks, while several do: all of a member's go to the same one, in their order. Pure.

Compiled: every webhook of a backlog passes (docs/adr/0004).
"""

from collections.abc import Sequence
from typing import Final
from zlib import crc32

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.members import resolve
from capstream.capillary.results import States
from capstream.relay.arrival import Arrival
from capstream.relay.members import Key

NOBODYS: Final = -1
"""Of no process in particular: such a webhook names no member, or several, or one in a way that takes a parser to tell."""

_NAME: Final = b'"customerId":'
_LONGEST: Final = 24
_PARTS: Final = 32
_OWN_WORK: Final = 0.25  #: what the courier does beside, as a share of what a translation costs: reading, posting, settling


class Shares:
    """The members, dealt out among the courier (number 0) and some translators (1 and up)."""

    def __init__(self, translators: int) -> None:
        own = max(1, round(_PARTS * (1.0 / translators - _OWN_WORK) / (1.0 + 1.0 / translators))) if translators else _PARTS
        self._owners: Final = [0] * own + [1 + part % max(translators, 1) for part in range(_PARTS - own)]

    def of_customer(self, customer: str) -> int:
        """Return the number of the process that has this member."""
        return self._owners[crc32(customer.encode()) % _PARTS]

    def of_webhook(self, raw: bytes) -> int:
        """Return the number of the process that has the member whom a body seems to name.

        It only looks, and can be wrong where a body is odd: whoever translates it compares with what the event says.
        """
        at = raw.find(_NAME)
        if at < 0:
            return NOBODYS
        customer = _value(raw, at + len(_NAME))
        if not customer:
            return NOBODYS
        owner = self._owners[crc32(customer) % _PARTS]
        at = raw.find(_NAME, at + len(_NAME))
        while at >= 0:
            other = _value(raw, at + len(_NAME))
            if other != customer and (not other or self._owners[crc32(other) % _PARTS] != owner):
                return NOBODYS
            at = raw.find(_NAME, at + len(_NAME))
        return owner


def names_others(
    ready: Sequence[tuple[Arrival, NormalisedEvent, list[Key]]], states: States, shares: Shares, number: int
) -> bool:
    """Return whether events are about a member of another process, or one who was merged into such a member."""
    for _, _, keys in ready:
        for key in keys:
            state = states.get(key)
            if shares.of_customer(key[1]) != number:
                return True
            if state is not None and state.merged_into is not None:
                survivor = resolve(states, key).key
                if shares.of_customer(survivor[1]) != number:
                    return True
    return False


def _value(raw: bytes, start: int) -> bytes:
    """Return the digits of a whole number, or of a text that is one; empty for anything else."""
    stop = start + _LONGEST
    comma, brace = raw.find(b",", start, stop), raw.find(b"}", start, stop)
    end = min(comma, brace) if comma >= 0 and brace >= 0 else max(comma, brace)
    if end < 0:
        return b""
    found = raw[start:end].strip()
    if found[:1] == b'"' and found[-1:] == b'"':
        found = found[1:-1]
    return found if found.isdigit() and found[:1] != b"0" else b""
