"""Tells most keys that are not in an index without asking it. Compiled: the key of every webhook is asked for (docs/adr/0004).

A bit stands for each key that was written since the index was opened. It proves the absence of keys of a time the index had
none of before, which new keys are nearly always of; whoever asks for others has to look into the index.
"""

from collections.abc import Callable
from typing import Final

PREFIX: Final = 4  #: bytes that the keys of one time share
_LEAST: Final = 9  # bytes of a key that has enough of its own to choose a bit by
_BYTES: Final = 1 << 23
_MOST_KEYS: Final = 16_000_000  # a fifth of the bits is set then


class KeyFilter:
    """Every key has to be noted before it is written. `has_time` asks the index whether a key begins with these bytes.

    After `most_keys`, or when `most_times` were met, it begins anew: little is known until the next time begins.
    """

    def __init__(self, has_time: Callable[[bytes], bool], *, most_keys: int = _MOST_KEYS, most_times: int = 4096) -> None:
        self._has_time: Final = has_time
        self._most_keys: Final = most_keys
        self._most_times: Final = most_times
        self._bits = bytearray()  # 8 MB once there is something to note
        self._noted = 0
        self._is_new: dict[bytes, bool] = {}  # the times: whether all their keys were noted
        self._time = b""
        self._is_time_new = False

    def note(self, keys: list[bytes]) -> None:
        """Remember keys that are about to be written."""
        if not self._bits or self._noted > self._most_keys:
            self._begin()
        bits = self._bits
        for key in keys:
            if len(key) >= _LEAST:
                self._look(key)
                place = key[5] | key[6] << 8 | (key[7] & 127) << 16
                bits[place] |= 1 << (key[8] & 7)
        self._noted += len(keys)

    def may_have(self, key: bytes) -> bool:
        """Return False when the index has no such key; True when it may have it."""
        if len(key) < _LEAST or not self._look(key):
            return True
        if not self._bits:
            return False
        place = key[5] | key[6] << 8 | (key[7] & 127) << 16
        bits: int = self._bits[place]
        return bits & 1 << (key[8] & 7) != 0

    def _begin(self) -> None:
        """Begin anew: of the times that have keys by now nothing is known."""
        self._bits = bytearray(_BYTES)
        self._noted = 0
        self._is_new.clear()
        self._time = b""

    def _look(self, key: bytes) -> bool:
        time = key[:PREFIX]
        if time != self._time:
            if len(self._is_new) >= self._most_times:
                self._is_new.clear()
            if time not in self._is_new:
                self._is_new[time] = not self._has_time(time)
            self._time, self._is_time_new = time, self._is_new[time]
        return self._is_time_new
