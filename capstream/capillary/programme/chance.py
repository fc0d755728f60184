"""Chance and ids that are functions of a seed: the same seed gives the same run, byte for byte."""

from hashlib import sha1
from random import Random
from uuid import NAMESPACE_URL, uuid5

Draws = Random
"""Draws in [0, 1) and their kin; always made by `draws`."""


def draws(seed: int, stream: str) -> Draws:
    """Return the draws of one stream of a seed; other streams do not disturb it."""
    return Random(f"{seed}:{stream}")  # noqa: S311 - a simulation must repeat itself; nothing here is a secret


class Ids:
    """Numbers and names of one run, handed out in order."""

    def __init__(self, seed: int) -> None:
        self._namespace = uuid5(NAMESPACE_URL, f"capstream:simulator:{seed}").bytes
        self._sequence = 0
        self._numbers: dict[str, int] = {}

    def event(self) -> tuple[str, str]:
        """Return the next event's id, UUIDv5 of seed and sequence, and ten more characters for its loyalty event id."""
        digest = self._next()
        return _uuid(digest), digest[30:]

    def uuid(self) -> str:
        """Return the next UUIDv5."""
        return _uuid(self._next())

    def hex32(self) -> str:
        """Return 32 hex characters, the id of an API request."""
        return self._next()[:32]

    def short(self) -> str:
        """Return six characters, the id of a redemption."""
        return self._next()[:6].upper()

    def number(self, kind: str, base: int, *, count: int = 1) -> int:
        """Return the next number of that kind, above `base`; `count` of them are taken."""
        number = self._numbers.get(kind, base) + 1
        self._numbers[kind] = number + count - 1
        return number

    def _next(self) -> str:
        self._sequence += 1
        return sha1(self._namespace + b"%d" % self._sequence, usedforsecurity=False).hexdigest()


def _uuid(digest: str) -> str:
    variant = "89ab"[int(digest[16], 16) & 3]
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"
