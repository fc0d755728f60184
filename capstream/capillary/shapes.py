"""The shapes of webhooks met before: a body of one of them is decoded into its canonical names, and none is looked up.

What stood at each place of the bodies read so far makes a decoder that knows the names there; it leaves out any other. A body
holds nothing else when its text has as many members as the decoder kept. Source: capillary.md 1.4.
"""

import re
import sys
import typing
from collections.abc import Callable
from threading import Lock
from types import GenericAlias
from typing import Any, Final, cast

import msgspec

from capstream.capillary.vocabulary import OPAQUE
from capstream.kernel.json import Json, JsonError

_MOST_LEVELS: Final = 12
_MOST_PLACES: Final = 512
_MOST_DECODERS: Final = 256

_TRUST: Final = 16
_DOUBT: Final = 4  # what a body of another shape costs; without trust none is tried for a while
_PAUSE: Final = 64

_SPACED: Final = re.compile(rb'"[ \t\r\n]+:')

_SCALAR: Final[Any] = str | int | float | bool | None
# Lists in lists, which may lie deep in each other, are read the long way.
_PLAIN: Final[Any] = _SCALAR | list[str | int | float | bool | None]
_typed_dict: Final = cast(Callable[..., Any], typing.TypedDict)  # of names that are learnt, not written down
_union: Final = cast(Any, typing.Union)


class _Place:
    """The members of the objects that stood at one place: each with the place below it, None where no object stood yet."""

    def __init__(self) -> None:
        self.names: dict[str, _Place | None] = {}
        self.opaque: list[str] = []  #: those whose own names are the brand's


class _Plan:
    """Where the objects that one decoder makes can hold others."""

    def __init__(self, opaque: list[str]) -> None:
        self.inner: list[tuple[str, _Plan]] = []
        self.opaque = opaque


class _Known:
    """A decoder, and the plan of what it makes: never one without the other, since several threads may read."""

    def __init__(self, decode: Callable[[bytes], Any], plan: _Plan) -> None:
        self.decode: Final = decode
        self.plan: Final = plan


class Shapes:
    """What was learnt of bodies, and the decoder made of it."""

    def __init__(self) -> None:
        self._root = _Place()
        self._places = 1
        self._decoders = 0
        self._known: _Known | None = None
        self._learning = Lock()
        self._trust = _TRUST
        self._pause = 0

    def read(self, raw: bytes) -> dict[str, Json] | None:
        """Return the body if it is one JSON object, every member of it was met at its place, and none comes twice."""
        known = self._known
        if known is None:
            return None
        if self._pause > 0:
            self._pause -= 1
            return None
        try:
            body: dict[str, Json] = known.decode(raw)
        except (JsonError, UnicodeDecodeError, RecursionError):
            self._miss()
            return None
        if not holds_only(raw, _members(body, known.plan)):
            self._miss()
            return None
        if self._trust < _TRUST:
            self._trust += 1
        return body

    def _miss(self) -> None:
        self._trust -= _DOUBT
        if self._trust < 0:
            self._trust, self._pause = _DOUBT, _PAUSE

    def learn(self, body: dict[str, Json]) -> None:
        """Take up a body in which every name is canonical and none came twice."""
        with self._learning:
            if self._decoders < _MOST_DECODERS and self._meet(self._root, body, 1):
                self._decoders += 1
                made, plan = _made_of(self._root)
                self._known = _Known(msgspec.json.Decoder(made).decode, plan)
                self._trust, self._pause = _TRUST, 0

    def _meet(self, place: _Place, node: dict[str, Json], level: int) -> bool:
        """Take up the members of an object; say whether that taught anything."""
        is_new = False
        for name, value in node.items():
            if name not in place.names:
                place.names[sys.intern(name)] = None  # as the code has it: a member is found without comparing its text
                is_new = True
            if type(value) is dict and name in OPAQUE:
                is_new = _is_added(place.opaque, name) or is_new
            elif type(value) is dict:
                is_new = self._meet_below(place, name, [value], level) or is_new
            elif type(value) is list:
                is_new = self._meet_below(place, name, value, level) or is_new
        return is_new

    def _meet_below(self, place: _Place, name: str, items: list[Json], level: int) -> bool:
        is_new = False
        for item in items:
            if type(item) is dict and level < _MOST_LEVELS:
                below = place.names[name]
                if below is None:
                    if self._places >= _MOST_PLACES:
                        return is_new
                    self._places += 1
                    below = place.names[name] = _Place()
                    is_new = True
                is_new = self._meet(below, item, level + 1) or is_new
        return is_new


def _is_added(names: list[str], name: str) -> bool:
    if name in names:
        return False
    names.append(sys.intern(name))
    return True


def _made_of(place: _Place) -> tuple[Any, _Plan]:
    """Return the type of the objects at a place, for a decoder, and the plan of what it makes."""
    fields: dict[str, Any] = {}
    plan = _Plan(list(place.opaque))
    for name, below in place.names.items():
        if below is None:
            fields[name] = _union[dict[str, Any], _PLAIN] if name in place.opaque else _PLAIN
        else:
            node, inner = _made_of(below)
            plan.inner.append((name, inner))
            items = GenericAlias(list, _union[node, _SCALAR])
            fields[name] = _union[dict[str, Any] if name in place.opaque else node, items, _SCALAR]
    return _typed_dict("Node", fields, total=False), plan


def _members(node: dict[str, Json], plan: _Plan) -> int:
    """Return how many members an object and those below it have."""
    members = len(node)
    for name in plan.opaque:
        members += _brand_members(node.get(name))
    for name, below in plan.inner:
        value = node.get(name)
        if type(value) is list:
            for item in value:
                if type(item) is dict:
                    members += _members(item, below)
        elif type(value) is dict and name not in plan.opaque:
            members += _members(value, below)
    return members


def _brand_members(value: Json) -> int:
    """Return how many members a map of the brand has; none when it is so deep that another has to look at it."""
    if type(value) is not dict:
        return 0
    members, levels, nodes = 0, 0, list[Json]()
    nodes.append(value)
    while nodes and levels < _MOST_LEVELS:
        levels += 1
        inner: list[Json] = []
        for node in nodes:
            if type(node) is dict:
                members += len(node)
            for item in node.values() if type(node) is dict else node:
                if type(item) is dict or type(item) is list:
                    inner.append(item)
        nodes = inner
    return members if not nodes else 0


def holds_only(raw: bytes, members: int) -> bool:
    """Say for certain that a body has no more than `members` members; False where its text does not tell.

    Every member has a colon of its own. Texts may hold further ones: then those after a quote count, if nowhere a blank is
    between the two.
    """
    if raw.count(b":") == members:
        return True
    return raw.count(b'":') == members and _SPACED.search(raw) is None
