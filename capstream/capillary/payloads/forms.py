"""The forms a member of a payload can have, and records made of rows of them.

A form reads the value as Capillary sent it (never None) in the scope of the event, and returns the JSON to write, or None to
leave the member out; it raises Unfit when the value cannot be read. Free text is cut to its length; an id too long is Unfit.
Forms are small classes: once compiled, a form calls another one directly (docs/adr/0004).
Source: capillary.md 7.7 ("Forms, everywhere"), xdm.md 9 (types and lengths).
"""

from hashlib import sha256
from typing import Final

from capstream.capillary import times, values
from capstream.capillary.payloads.records import Scope
from capstream.capillary.values import Unfit
from capstream.kernel.json import Json

_MAX_COUNT: Final = 2**31 - 1


class Form:
    """How one member is read."""

    def read(self, value: Json, scope: Scope) -> Json:
        """Return the JSON to write, None to leave the member out. Errors: Unfit."""
        raise NotImplementedError


Row = tuple[str, str, Form]
"""Target member, source member, form."""


class _Text(Form):
    def __init__(self, limit: int) -> None:
        self._limit = limit

    def read(self, value: Json, scope: Scope) -> str | None:
        found = values.text(value)
        return found if found is None or len(found) <= self._limit else found[: self._limit]


def text(limit: int) -> Form:
    """Return the form of free text, cut to `limit` characters."""
    return _Text(limit)


class _Identifier(Form):
    def __init__(self, limit: int, *, decimal: bool) -> None:
        self._limit = limit
        self._is_decimal = decimal

    def read(self, value: Json, scope: Scope) -> str | None:
        found = values.decimal_id(value) if self._is_decimal else values.opaque_id(value)
        if found is not None and len(found) > self._limit:
            raise Unfit(f"is longer than {self._limit} characters")
        return found


def identifier(limit: int = 255, *, decimal: bool = False) -> Form:
    """Return the form of an id: trimmed text; -1 and blank are absent. `decimal` reads Capillary's numeric ids."""
    return _Identifier(limit, decimal=decimal)


class _Amount(Form):
    def read(self, value: Json, scope: Scope) -> int | float | None:
        return values.number(value)


class _Points(Form):
    def read(self, value: Json, scope: Scope) -> int | float | None:
        found = values.small_whole(value)
        return values.points(value) if found is None else found


class _Count(Form):
    def read(self, value: Json, scope: Scope) -> int | None:
        found = values.whole(value)
        if found is not None and found > _MAX_COUNT:
            raise Unfit("is too large")
        return None if found is None or found < 0 else found


class _Limit(Form):
    def read(self, value: Json, scope: Scope) -> int | float | None:
        found = values.number(value)
        return None if found == -1 else found


class _Flag(Form):
    def read(self, value: Json, scope: Scope) -> bool | None:
        return values.flag(value)


class _Moment(Form):
    def read(self, value: Json, scope: Scope) -> str | None:
        millis = values.instant(value)
        if millis is None:
            millis = times.iso_instant(value, scope.zone)
        if millis is None:
            if value in (0, -1) or (type(value) is str and not value.strip()):
                return None
            raise Unfit("must be a time in milliseconds")
        return None if times.is_never(written := times.rfc3339(millis)) else written


class _LastDay(Form):
    def read(self, value: Json, scope: Scope) -> str | None:
        return last_day(value, scope.zone)


class _FirstDay(Form):
    def read(self, value: Json, scope: Scope) -> str | None:
        day = times.day_of(value)
        return None if day is None or times.is_never(day) else times.start_of_day(day, scope.zone)


def last_day(value: Json, zone: str) -> str | None:
    """Return the end of a day that ends something; "never" is left out. Errors: Unfit when it is no day."""
    day = times.day_of(value)
    return None if day is None or times.is_never(day) else times.end_of_day(day, zone)


class _Code(Form):
    def read(self, value: Json, scope: Scope) -> str | None:
        found = values.opaque_id(value)
        if found is None:
            return None
        if scope.hashes_codes:
            return sha256(f"{scope.org_id}:{found}".encode()).hexdigest()
        if len(found) > 255:
            raise Unfit("is longer than 255 characters")
        return found


class _NamedValues(Form):
    def read(self, value: Json, scope: Scope) -> dict[str, str] | None:
        return named_texts(value)


def named_texts(value: Json) -> dict[str, str] | None:
    """Return key/value lists and plain maps as one object of texts; blank values are left out, the last of a key wins."""
    read: dict[str, str] = {}
    if type(value) is dict:
        members: dict[str, Json] = value
        for name, stated in members.items():
            _put_text(read, name, stated)
    elif type(value) is list:
        pairs: list[Json] = value
        for item in pairs:
            if type(item) is dict:
                pair: dict[str, Json] = item
                _put_text(read, pair.get("key", pair.get("name")), pair.get("value"))
    else:
        raise Unfit("must be a list of keys and values")
    return read or None


def _put_text(read: dict[str, str], name: Json, value: Json) -> None:
    key = values.text(name)
    if key is not None and type(value) is not dict and type(value) is not list and (found := values.text(value)) is not None:
        read[key.strip()] = found


amount: Final[Form] = _Amount()
"""Money or any other number."""

points: Final[Form] = _Points()
"""Points: at most three decimals."""

count: Final[Form] = _Count()
"""A whole number; a negative one stands for none."""

limit: Final[Form] = _Limit()
"""A number where -1 stands for no limit."""

flag: Final[Form] = _Flag()
"""True or false."""

moment: Final[Form] = _Moment()
"""An instant as UTC text. ISO text is read as well; zero, blank and the years from 2100 on stand for none."""

day_end: Final[Form] = _LastDay()
"""The end of a day that ends something; "never" is left out."""

day_start: Final[Form] = _FirstDay()
"""The start of a day that begins something or on which something happened; "never" is left out."""

code: Final[Form] = _Code()
"""A voucher code as the source allows it to be written: hashed with its organisation, or plain."""

named_values: Final[Form] = _NamedValues()
"""Key/value lists and plain maps as one object of texts."""


class _Member:
    """A row, as the records read it."""

    def __init__(self, row: Row) -> None:
        self.target, self.source, self.form = row


class Record(Form):
    """The form of an object: one row per member; members without a value and empty objects are left out."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self._members = [_Member(row) for row in rows]

    def members(self, source: dict[str, Json], scope: Scope) -> dict[str, Json]:
        """Return the members that the rows make of `source`. Errors: Unfit with the member's name."""
        read: dict[str, Json] = {}
        name = ""
        try:
            for member in self._members:
                name = member.source
                value = source.get(name)
                if value is not None:
                    found = member.form.read(value, scope)
                    if found is not None:
                        read[member.target] = found
        except Unfit as unfit:
            raise unfit.under(name) from None
        return read

    def read(self, value: Json, scope: Scope) -> dict[str, Json] | None:
        """Return the members of an object."""
        if type(value) is not dict:
            raise Unfit("must be an object")
        return self.members(value, scope) or None


def record(*rows: Row) -> Record:
    """Return the form of an object made of rows."""
    return Record(rows)


class _Many(Form):
    def __init__(self, item: Form) -> None:
        self._item = item

    def read(self, value: Json, scope: Scope) -> list[Json] | None:
        if type(value) is not list:
            raise Unfit("must be a list")
        elements: list[Json] = value
        read: list[Json] = []
        index = 0
        try:
            for element in elements:
                found = None if element is None else self._item.read(element, scope)
                if found is not None:
                    read.append(found)
                index += 1
        except Unfit as unfit:
            raise unfit.under(index) from None
        return read or None


def many(item: Form) -> Form:
    """Return the form of a list; elements that give nothing and empty lists are left out."""
    return _Many(item)


class _Total(Form):
    def __init__(self, member: str) -> None:
        self._member = member

    def read(self, value: Json, scope: Scope) -> int | float | None:
        return values.from_milli(sum_of(value, self._member)) if value else None


def total(member: str) -> Form:
    """Return the form that adds up the points of a list's elements."""
    return _Total(member)


def sum_of(value: Json, member: str) -> int:
    """Return the sum of one member over a list of objects. Units: thousandths."""
    if value is None:
        return 0
    if type(value) is not list:
        raise Unfit("must be a list")
    elements: list[Json] = value
    result, index = 0, 0
    try:
        for element in elements:
            if type(element) is dict:
                result += values.milli(element.get(member)) or 0
            index += 1
    except Unfit as unfit:
        raise unfit.under(index, member) from None
    return result
