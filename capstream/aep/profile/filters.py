"""What callers of the Profile Access API may say about events: `property` filters and continuation tokens. Pure."""

import operator
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence

from capstream.aep.identity_service.extraction import values_at
from capstream.aep.profile.reader import Position
from capstream.kernel.json import Json, JsonError, dumps, loads

MOST_PROPERTIES = 3

_PROPERTY = re.compile(r"\s*([A-Za-z_][\w.]*)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", re.DOTALL)
_COMPARE: Mapping[str, Callable[[Json, Json], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class BadFilter(ValueError):
    """A filter or token that cannot be read; the text says which."""


def properties_filter(texts: Sequence[str]) -> Callable[[dict[str, Json]], bool] | None:
    """Return whether an event satisfies all of `property=<path><op><literal>`; None without any.

    Errors: BadFilter for more than three or one that cannot be read. Source: profile.md 4.
    """
    if len(texts) > MOST_PROPERTIES:
        raise BadFilter(f"at most {MOST_PROPERTIES} property filters are allowed, {len(texts)} were given")
    tests = [_property(text) for text in texts]
    return (lambda entity: all(test(entity) for test in tests)) if tests else None


def position_token(position: Position) -> str:
    """Return the continuation token of a place in a list of events."""
    return urlsafe_b64encode(dumps([position.timestamp_ms, position.event_id])).rstrip(b"=").decode()


def read_position(token: str) -> Position:
    """Return the place a continuation token means. Errors: BadFilter."""
    try:
        timestamp_ms, event_id = loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return Position(int(timestamp_ms), str(event_id))
    except (ValueError, TypeError, JsonError) as error:
        raise BadFilter(f"start: '{token}' is no continuation token of this service") from error


def _property(text: str) -> Callable[[dict[str, Json]], bool]:
    matched = _PROPERTY.fullmatch(text)
    if matched is None:
        raise BadFilter(f"property: '{text}' must be <path><operator><literal> with one of = != < <= > >=")
    path, name, literal = matched.groups()
    compare = _COMPARE[name]
    quoted = len(literal) > 1 and literal[0] == literal[-1] and literal[0] in "\"'"
    wanted = literal[1:-1] if quoted else literal

    def test(entity: dict[str, Json]) -> bool:
        return any(_compared(value, wanted, compare) for value in values_at(entity, path.split(".")))

    return test


def _compared(value: Json, wanted: str, compare: Callable[[Json, Json], bool]) -> bool:
    if isinstance(value, bool):
        return compare(str(value).lower(), wanted.lower())
    if isinstance(value, int | float):
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False
    return compare(value, wanted)
