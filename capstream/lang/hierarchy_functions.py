"""Object, array, map, logical, aggregation and conversion functions. Source: data-prep.md 5.2."""

import struct
from collections.abc import Callable, Iterator
from datetime import datetime
from time import thread_time

from capstream.kernel.json import Json, JsonError, loads
from capstream.lang.diagnostics import Fail
from capstream.lang.operators import integers
from capstream.lang.paths import PathError, has_path, parse_path, run_steps
from capstream.lang.values import MAX_SIZE, equal, finite, integer, kind, number, numeric, ordered, text, truth

MAX_CALLS = 50_000
"""How often lambdas may be called for one record (ASSUMPTION): bounds nested loops over long arrays."""


MAX_WORK = 250_000
"""How much the calls inside lambdas, and functions that make much of little, may take in and give out for one record, in
elements and in blocks of 8 characters (ASSUMPTION): without it a loop of large results fills the memory."""

MAX_SLOW_S = 0.05
"""How much CPU time regular expressions, dates and user agents inside lambdas may take for one record (ASSUMPTION)."""


class Budget:
    """What one record may still spend."""

    __slots__ = ("left", "slow_s", "work")

    def __init__(self) -> None:
        self.left = MAX_CALLS
        self.work = MAX_WORK
        self.slow_s = MAX_SLOW_S

    def spend(self, count: int) -> None:
        """Take `count` calls. Errors: Fail when none are left."""
        self.left -= count
        if self.left < 0:
            raise Fail(f"More than {MAX_CALLS} lambda calls for one record")

    def charge(self, value: Json) -> Json:
        """Return `value`, its size taken off the work. Errors: Fail when that is used up."""
        self.work -= 1 + _size(value)
        if self.work < 0:
            raise Fail("Too much work for one record: a function or lambda makes too many or too large values")
        return value


def _size(value: Json) -> int:
    if value.__class__ is str:
        return len(value) >> 3
    if value.__class__ is int:
        return int(value).bit_length() >> 8
    return len(value) if value.__class__ in {list, dict} else 0


def charged(budget: Budget, function: Callable[..., Json], *args: Json) -> Json:
    """Return what a function gives; its arguments and its result count as work."""
    for arg in args:
        budget.charge(arg)
    return budget.charge(function(*args))


def charged_slow(budget: Budget, function: Callable[..., Json], *args: Json) -> Json:
    """Return what a slow function gives; its CPU time counts too: no other measure foresees it."""
    start = thread_time()
    result = charged(budget, function, *args)
    budget.slow_s -= thread_time() - start
    if budget.slow_s < 0:
        raise Fail(f"Slow functions in a lambda took longer than {MAX_SLOW_S * 1000:.0f} ms for one record")
    return result


def charged_range(budget: Budget, left: Json, right: Json) -> list[int]:
    """Return `left .. right`; every element counts as work before it is made."""
    low, high = integer(left), integer(right)
    budget.work -= abs(high - low)
    budget.charge(None)
    return integers(low, high)


def charged_padding(budget: Budget, function: Callable[..., Json], *args: Json) -> Json:
    """Return a padded text; its length counts as work before it is made."""
    wanted = args[1] if len(args) > 1 and args[1].__class__ is int else 0
    budget.work -= max(0, wanted) >> 3
    return charged(budget, function, *args)


def _pairs(values: tuple[Json, ...]) -> Iterator[tuple[Json, Json]]:
    if len(values) % 2:
        raise Fail("Keys and values must come in pairs")
    return zip(values[::2], values[1::2], strict=True)


def _room(size: int) -> None:
    """Refuse a result of at least `size` characters of JSON before it is made: many large arguments multiply."""
    if size > MAX_SIZE:
        raise Fail("Result is larger than 1 MiB")


def _key(value: Json) -> str:
    if value is None:
        raise Fail("Key is null")
    return text(value)


def arrays_to_objects(*values: Json) -> list[dict[str, Json]]:
    """Return objects built position by position from arrays; shorter arrays leave their key out."""
    columns = [
        (_key(key), array if array.__class__ is list else [] if array is None else [array]) for key, array in _pairs(values)
    ]
    _room(sum(len(array) * (len(key) + 4) for key, array in columns))
    length = max((len(array) for _, array in columns), default=0)
    return [{key: array[at] for key, array in columns if at < len(array)} for at in range(length)]


def to_object(*values: Json) -> dict[str, Json]:
    """Return an object of pairs; null values are kept."""
    return {_key(key): value for key, value in _pairs(values)}


def str_to_object(value: str, value_delimiter: str | None = None, field_delimiter: str | None = None) -> dict[str, str]:
    """Return an object of the fields of a text, keys and values trimmed."""
    result = {}
    for field in value.split(field_delimiter or ","):
        key, found, rest = field.partition(value_delimiter or ":")
        if found:
            result[key.strip()] = rest.strip()
    return result


def get_values(value: str, key: str, value_delimiter: str | None = None, field_delimiter: str | None = None) -> str | None:
    """Return the value of one key of such a text."""
    return str_to_object(value, value_delimiter, field_delimiter).get(key)


def contains_path(record: dict[str, Json], path: Json) -> bool:
    """Say whether the path, given as text, exists in the record."""
    if path is None:
        return False
    try:
        steps = run_steps(parse_path(text(path)))
    except PathError as error:
        raise Fail(f"{text(path)[:60]} is no path: {error}") from error
    return has_path(record, steps)


def get_keys(value: dict[str, Json]) -> list[str]:
    """Return the keys in document order."""
    return list(value)


def _keys(keys: Json) -> list[str]:
    if keys is None:
        return []
    return [text(key) for key in keys if key is not None] if keys.__class__ is list else [text(keys)]


def map_get_values(value: dict[str, Json], keys: Json) -> dict[str, Json]:
    """Return the entries with those keys, in the order asked."""
    return {key: value[key] for key in _keys(keys) if key in value}


def map_has_keys(value: dict[str, Json] | None, keys: Json) -> bool:
    """Say whether one of the keys exists."""
    return value is not None and any(key in value for key in _keys(keys))


def add_to_map(*maps: dict[str, Json] | None) -> dict[str, Json] | None:
    """Return the union; the first value of a key wins."""
    found = [one for one in maps if one is not None]
    if not found:
        return None
    _room(4 * sum(map(len, found)))
    result: dict[str, Json] = {}
    for one in found:
        if not result.keys() >= one.keys():
            result = {**result, **one, **result}
    return result


def to_map(*values: Json) -> dict[str, Json] | None:
    """Return a map of pairs, of which the first of equal keys wins; a single map passes. Source: data-prep.md 7, D7."""
    if len(values) == 1:
        if values[0] is None or values[0].__class__ is dict:
            return values[0]
        raise Fail("Keys and values must come in pairs")
    result: dict[str, Json] = {}
    for key, value in _pairs(values):
        result.setdefault(_key(key), value)
    return result


def object_to_map(*values: Json) -> dict[str, Json] | None:
    """Return a map of pairs, an object as map, or elements of an array keyed by an attribute."""
    if values[0] is None:
        return None
    if len(values) == 2 and values[0].__class__ is list:
        return array_to_map(values[0], _key(values[1]))
    return to_map(*values)


def array_to_map(array: list[Json], key: str) -> dict[str, Json]:
    """Return the elements keyed by one of their attributes; the first of equal keys wins."""
    result: dict[str, Json] = {}
    for item in array:
        if item.__class__ is dict and item.get(key) is not None:
            result.setdefault(text(item[key]), item)
    return result


def _spread(values: tuple[Json, ...]) -> tuple[Json, ...] | list[Json]:
    return values[0] if len(values) == 1 and values[0].__class__ is list else values


def coalesce(*values: Json) -> Json:
    """Return the first value that is not null."""
    return next((value for value in _spread(values) if value is not None), None)


def first(*values: Json) -> Json:
    """Return the first argument, or the first element of a single array."""
    spread = _spread(values)
    return spread[0] if spread else None


def last(*values: Json) -> Json:
    """Return the last argument, or the last element of a single array."""
    spread = _spread(values)
    return spread[-1] if spread else None


def add_to_array(array: list[Json] | None, *values: Json) -> list[Json]:
    """Return the array with the values appended."""
    _room(2 * sum(len(value) for value in values if value.__class__ is list))
    return [*(array or ()), *values]


def join_arrays(*arrays: list[Json] | None) -> list[Json]:
    """Return the arrays one after the other."""
    _room(2 * sum(len(array) for array in arrays if array is not None))
    return [item for array in arrays if array is not None for item in array]


def to_array(include_nulls: Json, *values: Json) -> list[Json]:
    """Return the values as an array."""
    keep = truth(include_nulls)
    _room(2 * sum(len(value) for value in values if value.__class__ is list))
    return [value for value in values if keep or value is not None]


_SIZED = frozenset({str, list, dict})


def size_of(value: Json) -> int:
    """Return the number of elements, keys or characters; null has none."""
    if value is None:
        return 0
    if value.__class__ in _SIZED:
        return len(value)
    raise Fail(f"{kind(value)} has no size")


def upsert_array(array: Json, _priority: Json = None) -> Json:
    """Return the array as it is: what happens to it is the profile store's matter. Source: data-prep.md 4.6."""
    return array


def filter_array(budget: Budget, array: list[Json], keep: Callable[[Json], Json]) -> list[Json]:
    """Return the elements for which the lambda holds."""
    budget.spend(len(array))
    return [item for item in array if truth(keep(item))]


def transform_array(budget: Budget, array: list[Json], change: Callable[[Json], Json]) -> list[Json]:
    """Return what the lambda makes of each element."""
    budget.spend(len(array))
    return [change(item) for item in array]


def flatten_array(array: list[Json]) -> list[Json]:
    """Return the leaves of nested arrays in order."""
    result: list[Json] = []
    for item in array:
        if item.__class__ is list:
            result.extend(flatten_array(item))
            _room(2 * len(result))
        else:
            result.append(item)
    return result


def decode(key: Json, *rest: Json) -> Json:
    """Return the value of the first key that equals, else the default."""
    default = rest[-1] if len(rest) % 2 else None
    if key is not None:
        for at in range(0, len(rest) - 1, 2):
            if equal(key, rest[at]):
                return rest[at + 1]
    return default


def _extreme(values: tuple[Json, ...], wanted: int) -> Json:
    given = [value for value in _spread(values) if value is not None]
    kinds = set(map(type, given))
    if kinds <= {int, float} or kinds == {str}:
        return max(given, default=None) if wanted > 0 else min(given, default=None)
    best: Json = None
    for value in given:
        if isinstance(value, bool | list | dict):
            raise Fail(f"{kind(value)} has no order")
        if best is None:
            best = value
            continue
        if (value.__class__ is str) != (best.__class__ is str) or isinstance(value, datetime) != isinstance(best, datetime):
            raise Fail(f"Cannot compare {kind(value)} with {kind(best)}")
        if ordered(value, best) == wanted:
            best = value
    return best


def minimum(*values: Json) -> Json:
    """Return the smallest value; nulls are left out."""
    return _extreme(values, -1)


def maximum(*values: Json) -> Json:
    """Return the largest value; nulls are left out."""
    return _extreme(values, 1)


def to_bigint(value: Json) -> int | float:
    """Return the number; a fraction survives, digits do not get lost in an integer."""
    return number(value)


def to_decimal(value: Json) -> float:
    """Return the number as a double."""
    return float(finite(_as_double(number(value))))


def _as_double(value: int | float) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise Fail("Number is too large for a double") from error


def to_float(value: Json) -> float:
    """Return the number rounded to single precision, as the shortest text that reads back to it."""
    try:
        single = struct.pack("<f", _as_double(number(value)))
    except OverflowError as error:
        raise Fail("Number is too large for a float") from error
    rounded: float = struct.unpack("<f", single)[0]
    for digits in range(6, 10):
        shortest = float(f"{rounded:.{digits}g}")
        if struct.pack("<f", shortest) == single:
            return shortest
    return rounded


def to_integer(value: Json) -> int:
    """Return integer text as a number, a number cut toward zero."""
    if value.__class__ is str:
        found = numeric(value)
        if found.__class__ is not int:
            raise Fail(f'"{value[:60]}" is not an integer')
        return integer(found)
    return int(number(value))


def json_to_object(value: Json) -> Json:
    """Return parsed JSON; objects and arrays pass."""
    if value.__class__ is dict or value.__class__ is list:
        return value
    try:
        return loads(text(value))
    except (JsonError, RecursionError) as error:
        raise Fail(f"Not JSON: {error}") from error
