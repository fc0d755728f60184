"""The forms a member of a payload can have, and records made of rows of them.

A form takes the value as Capillary sent it (never None) and the scope of the event, and returns the JSON to write, or None to
leave the member out; it raises Unfit when the value cannot be read. Free text is cut to its length; an id too long is Unfit.
Source: capillary.md 7.7 ("Forms, everywhere"), xdm.md 9 (types and lengths).
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from hashlib import sha256

from capstream.capillary import times, values
from capstream.capillary.payloads.records import Scope
from capstream.capillary.values import Unfit
from capstream.kernel.json import Json

_MAX_COUNT = 2**31 - 1

Form = Callable[[Json, Scope], Json]
Row = tuple[str, str, Form]
"""Target member, source member, form."""


def text(limit: int) -> Form:
    """Return the form of free text, cut to `limit` characters."""

    def form(value: Json, _scope: Scope) -> str | None:
        if type(value) is str and 0 < len(value) <= limit and not value.isspace():
            return value
        found = values.text(value)
        return None if found is None else found[:limit]

    return form


def identifier(limit: int = 255, *, decimal: bool = False) -> Form:
    """Return the form of an id: trimmed text; -1 and blank are absent. `decimal` reads Capillary's numeric ids."""
    read = values.decimal_id if decimal else values.opaque_id

    def form(value: Json, _scope: Scope) -> str | None:
        found = read(value)
        if found is not None and len(found) > limit:
            raise Unfit(f"is longer than {limit} characters")
        return found

    return form


def amount(value: Json, _scope: Scope) -> int | float | None:
    """Return money or any other number."""
    return values.number(value)


def points(value: Json, _scope: Scope) -> int | float | None:
    """Return points: at most three decimals."""
    kind = type(value)
    if (kind is int or (kind is float and value.is_integer())) and -1e12 < value < 1e12:
        return int(value)
    return values.points(value)


def count(value: Json, _scope: Scope) -> int | None:
    """Return a whole number; a negative one stands for none."""
    found = values.whole(value)
    if found is not None and found > _MAX_COUNT:
        raise Unfit("is too large")
    return None if found is None or found < 0 else found


def limit(value: Json, _scope: Scope) -> int | float | None:
    """Return a number where -1 stands for no limit."""
    found = values.number(value)
    return None if found == -1 else found


def flag(value: Json, _scope: Scope) -> bool | None:
    """Return true or false."""
    return values.flag(value)


def moment(value: Json, scope: Scope) -> str | None:
    """Return an instant as UTC text. ISO text is read as well; zero, blank and the years from 2100 on stand for none."""
    millis = values.instant(value)
    if millis is None:
        millis = times.iso_instant(value, scope.zone)
    if millis is None:
        if value in (0, -1) or (type(value) is str and not value.strip()):
            return None
        raise Unfit("must be a time in milliseconds")
    return None if times.is_never(written := times.rfc3339(millis)) else written


def last_day(value: Json, scope: Scope) -> str | None:
    """Return the end of a day that ends something; "never" is left out."""
    return _end(value, scope.zone) if type(value) is str else times.day_of(value)


def first_day(value: Json, scope: Scope) -> str | None:
    """Return the start of a day that begins something or on which something happened."""
    return _start(value, scope.zone) if type(value) is str else times.day_of(value)


@lru_cache(maxsize=4096)  # few days are named, and again and again
def _end(text: str, zone: str) -> str | None:
    day = times.day_of(text)
    return None if day is None or times.is_never(day) else times.end_of_day(day, zone)


@lru_cache(maxsize=4096)
def _start(text: str, zone: str) -> str | None:
    day = times.day_of(text)
    return None if day is None or times.is_never(day) else times.start_of_day(day, zone)


def code(value: Json, scope: Scope) -> str | None:
    """Return a voucher code as the source allows it to be written: hashed with its organisation, or plain."""
    found = values.opaque_id(value)
    if found is None:
        return None
    if scope.hashes_codes:
        return sha256(f"{scope.org_id}:{found}".encode()).hexdigest()
    if len(found) > 255:
        raise Unfit("is longer than 255 characters")
    return found


def named_values(value: Json, _scope: Scope) -> dict[str, str] | None:
    """Return key/value lists and plain maps as one object of texts; blank values are left out, the last of a key wins."""
    if type(value) is dict:
        pairs: Iterable[tuple[Json, Json]] = value.items()
    elif type(value) is list:
        pairs = [(item.get("key", item.get("name")), item.get("value")) for item in value if type(item) is dict]
    else:
        raise Unfit("must be a list of keys and values")
    read: dict[str, str] = {}
    for name, item in pairs:
        key = values.text(name)
        if key is not None and type(item) not in (dict, list) and (found := values.text(item)) is not None:
            read[key.strip()] = found
    return read or None


def record(*rows: Row) -> Form:
    """Return the form of an object: one row per member; members without a value and empty objects are left out."""

    def form(value: Json, scope: Scope) -> dict[str, Json] | None:
        if type(value) is not dict:
            raise Unfit("must be an object")
        return read_rows(rows, value, scope) or None

    return form


def many(item: Form) -> Form:
    """Return the form of a list; elements that give nothing and empty lists are left out."""

    def form(value: Json, scope: Scope) -> list[Json] | None:
        if type(value) is not list:
            raise Unfit("must be a list")
        read: list[Json] = []
        for index, element in enumerate(value):
            if element is None:
                continue
            try:
                found = item(element, scope)
            except Unfit as unfit:
                raise unfit.under(index) from None
            if found is not None:
                read.append(found)
        return read or None

    return form


def total(member: str) -> Form:
    """Return the form that adds up the points of a list's elements."""

    def form(value: Json, _scope: Scope) -> int | float | None:
        return values.from_milli(sum_of(value, member)) if value else None

    return form


def sum_of(value: Json, member: str) -> int:
    """Return the sum of one member over a list of objects. Units: thousandths."""
    if value is None:
        return 0
    if type(value) is not list:
        raise Unfit("must be a list")
    result = 0
    for index, element in enumerate(value):
        if type(element) is dict and (found := element.get(member)) is not None:
            kind = type(found)
            if (kind is int or (kind is float and found.is_integer())) and -1e12 < found < 1e12:
                result += int(found) * 1000
                continue
            try:
                result += values.milli(found) or 0
            except Unfit as unfit:
                raise unfit.under(index, member) from None
    return result


def read_rows(rows: Sequence[Row], source: dict[str, Json], scope: Scope) -> dict[str, Json]:
    """Return the members that `rows` make of `source`."""
    read: dict[str, Json] = {}
    name = ""
    try:
        for target, name, form in rows:
            value = source.get(name)
            if value is not None:
                found = form(value, scope)
                if found is not None:
                    read[target] = found
    except Unfit as unfit:
        raise unfit.under(name) from None
    return read
