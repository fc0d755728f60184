"""Lists of the Flow Service: property filters, order, continuation tokens. Pure. Source: gateway.md 5 and 6."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, TypeVar
from urllib.parse import parse_qsl

from capstream.kernel.json import Json, JsonError, dumps, loads

Document = dict[str, Json]
SortKey = tuple[int, Json, str]
"""Rank of the value's type, value, id: comparable whatever the values are."""
Keyed = tuple[SortKey, Document]

T = TypeVar("T")

DEFAULT_LIMIT = 20  # ASSUMPTION: not documented
MAX_LIMIT = 1000

_CONDITION = re.compile(r"\s*([^=!<>~\s]+)\s*(==|!=|>=|<=|=|>|<|~)(.*)", re.DOTALL)
_VALUE = re.compile(r'\s*"([^"]*)"\s*(?:,|$)|([^,]*)(?:,|$)')
_ORDER = re.compile(r"([+\- ]?)([A-Za-z_][\w.\[\]]*)")
_UNSET_VARIABLE = re.compile(r"\{\{.*\}\}")
_CASELESS = frozenset({"state", "metrics.statusSummary.status", "lastRunDetails.state"})
_TRUE = frozenset({"true", "1"})


class BadQuery(Exception):
    """A list request that cannot be answered. `code` is the number of the error catalogue."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """`path OP value[,value...]`; several values mean any of them."""

    path: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a caller wants to see of a collection."""

    properties: tuple[str, ...] = ()  #: as sent, remembered in tokens
    conditions: tuple[Condition, ...] = ()
    members: tuple[str, ...] = ()  #: projection; empty for whole documents
    orderby: str = ""
    limit: int = DEFAULT_LIMIT
    count_only: bool = False
    after: SortKey | None = None  #: sort key of the last document of the page before

    def value_of(self, path: str) -> str:
        """Return the single value that `path` must equal, empty when the request does not say so."""
        found = (c.values[0] for c in self.conditions if c.path == path and c.operator == "==" and len(c.values) == 1)
        return next(found, "")


def listing_of(query: Sequence[tuple[str, str]]) -> Listing:
    """Return the listing that query parameters describe.

    Errors: BadQuery 1401 (limit with count), 1432 (orderby), 1440, 1443, 1449, 1450 (filters), 1451 (limit, token).
    """
    given = [(name.lower(), value) for name, value in query if not _UNSET_VARIABLE.fullmatch(value)]
    single = dict(reversed(given))  # the first of several wins
    count_only = single.get("count", "").lower() in _TRUE
    if count_only and "limit" in single:
        raise BadQuery(1401, "limit cannot be used together with count=true; leave one of them out")
    after, properties, orderby = _remembered(single.get("continuationtoken", ""))
    properties = tuple(value for name, value in given if name == "property") or properties
    orderby = single.get("orderby", orderby)
    if orderby and not _ORDER.fullmatch(orderby):
        raise BadQuery(1432, f"orderby {orderby!r} is not a property name with an optional + or - before it")
    conditions, members = _split(properties)
    return Listing(
        properties=properties,
        conditions=conditions,
        members=members,
        orderby=orderby,
        limit=_limit(single.get("limit", "")),
        count_only=count_only,
        after=after,
    )


def search_of(body: Json, token: str) -> Listing:
    """Return the listing that a `/search` body describes: the query string of the GET plus members of its own.

    Errors: as listing_of; BadQuery 1451 for a body or member of the wrong type.
    """
    if not isinstance(body, dict):
        raise BadQuery(1451, "the body must be an object with queryString, limit, orderby, count")
    pairs = parse_qsl(str(body.get("queryString") or "").lstrip("?"), keep_blank_values=True)
    if body.get("groupByProperty"):
        raise BadQuery(1451, "groupByProperty is not supported; leave it out and group the answer")
    for name in ("limit", "orderby", "count"):
        if body.get(name) not in (None, ""):
            pairs = [(key, value) for key, value in pairs if key.lower() != name]
            pairs.append((name, str(body[name])))
    fields = body.get("projectionFields")
    if fields:
        pairs.append(("property", fields if isinstance(fields, str) else ",".join(map(str, fields))))
    if token:
        pairs.append(("continuationToken", token))
    return listing_of(pairs)


def _limit(text: str) -> int:
    if text == "":
        return DEFAULT_LIMIT
    if not text.lstrip("+").isdecimal() or int(text) < 1:
        raise BadQuery(1451, f"limit {text!r} is not a whole number of at least 1")
    return min(int(text), MAX_LIMIT)


def _split(properties: Sequence[str]) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    conditions: list[Condition] = []
    members: list[str] = []
    for text in properties:
        if any(mark in text for mark in "=<>~!"):
            conditions.append(_condition(text))
        else:
            members += [name.strip() for name in text.split(",") if name.strip()]
    return tuple(conditions), tuple(members)


def _condition(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise BadQuery(1449, f"property {text!r} is not of the form name==value")
    path, operator, rest = match.groups()
    if rest[:1] in {"=", "<", ">", "~", "!"}:
        raise BadQuery(1450, f"operator {operator + rest[0]!r} in {text!r} is unknown; use == != > < >= <=")
    if operator == "~":
        raise BadQuery(1440, f"operator ~ in {text!r} is not implemented; use == with the whole value")
    operator = "==" if operator == "=" else operator
    values = tuple(_values(rest))
    if len(values) > 1 and operator not in {"==", "!="}:
        raise BadQuery(1443, f"operator {operator} in {text!r} takes one value, not {len(values)}")
    if operator not in {"==", "!="} and _number(values[0]) is None:
        raise BadQuery(1453, f"operator {operator} in {text!r} compares numbers; {values[0]!r} is none")
    return Condition(path=path, operator=operator, values=values)


def _values(text: str) -> Iterator[str]:
    end = 0
    while True:
        match = _VALUE.match(text, end)
        if match is None:
            return
        yield (match.group(1) if match.group(1) is not None else match.group(2)).strip()
        if match.end() >= len(text) and not match.group().endswith(","):
            return
        end = match.end()


def matches(document: Document, conditions: Sequence[Condition]) -> bool:
    """Return whether `document` meets every condition; a path it does not have meets none (ASSUMPTION)."""
    return all(any(_holds(condition, value) for value in _found(document, condition.path)) for condition in conditions)


@lru_cache(maxsize=256)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.replace("[]", "").split("."))


def _found(document: Json, path: str) -> list[Json]:
    """Return every value the path leads to; arrays are looked through."""
    value = document
    for place, step in enumerate(_steps(path)):
        if not isinstance(value, dict) or step not in value:
            return []
        value = value[step]
        if isinstance(value, list):
            return _within(value, _steps(path)[place + 1 :])
    return [value]


def _within(values: list[Json], steps: tuple[str, ...]) -> list[Json]:
    for step in steps:
        values = [each[step] for each in values if isinstance(each, dict) and step in each]
        values = [inner for each in values for inner in (each if isinstance(each, list) else [each])]
    return values


def _holds(condition: Condition, actual: Json) -> bool:
    if condition.operator == "==":
        return any(_equal(condition.path, actual, wanted) for wanted in condition.values)
    if condition.operator == "!=":
        return not any(_equal(condition.path, actual, wanted) for wanted in condition.values)
    left, right = _number(actual), _number(condition.values[0])
    if left is None or right is None:
        return False
    compared = {">": left > right, "<": left < right, ">=": left >= right, "<=": left <= right}
    return compared[condition.operator]


def _equal(path: str, actual: Json, wanted: str) -> bool:
    if actual is None:
        return wanted.lower() == "null"
    if isinstance(actual, bool):
        return wanted.lower() == str(actual).lower()
    if isinstance(actual, int | float):
        return wanted == str(actual) or _number(wanted) == actual
    text = str(actual)
    return text.lower() == wanted.lower() if path in _CASELESS else text == wanted or text.strip('"') == wanted


def _number(value: Json) -> float | None:
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def sort_key(document: Document, path: str) -> SortKey:
    """Return a key that orders documents by the value at `path` (absent, booleans, numbers, texts), then by id."""
    return value_key(next(iter(_found(document, path)), None), str(document.get("id", "")))


def value_key(value: Json, identity: str) -> SortKey:
    """Return the key of a document with a value and an id."""
    if value is None:
        return 0, 0, identity
    if isinstance(value, bool):
        return 1, int(value), identity
    if isinstance(value, int | float):
        return 2, value, identity
    return 3, value if isinstance(value, str) else str(value), identity


def order_path(listing: Listing) -> str:
    """Return the path by whose values a list is ordered. Default: newest first (ASSUMPTION)."""
    match = _ORDER.fullmatch(listing.orderby)
    return "createdAt" if match is None else match.group(2)


def _is_descending(listing: Listing) -> bool:
    match = _ORDER.fullmatch(listing.orderby)
    return match is None or match.group(1) == "-"


class Ordered(Protocol):
    """Documents that can be gone through in the order of a member's values."""

    def __iter__(self) -> Iterator[Document]:
        """Yield the documents in any order."""
        ...

    def ordered(self, path: str, *, descending: bool, after: SortKey | None) -> Iterator[Keyed]:
        """Yield the documents by the value at `path`, those beyond the position `after`."""
        ...


class Sorted:
    """Documents that are put in order when they are asked for."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self._documents = list(documents)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._documents)

    def ordered(self, path: str, *, descending: bool, after: SortKey | None) -> Iterator[Keyed]:
        """Yield the documents by the value at `path`, those beyond the position `after`."""
        return beyond(in_order(self._documents, path), descending=descending, after=after)


def in_order(documents: Iterable[Document], path: str) -> list[Keyed]:
    """Return the documents with their sort keys, ascending."""
    keyed = [(sort_key(document, path), document) for document in documents]
    keyed.sort(key=lambda pair: pair[0])
    return keyed


def beyond(keyed: Sequence[tuple[SortKey, T]], *, descending: bool, after: SortKey | None) -> Iterator[tuple[SortKey, T]]:
    """Yield ordered documents in either direction, those beyond a position."""
    if descending:
        end = len(keyed) if after is None else bisect_left(keyed, after, key=lambda pair: pair[0])
        yield from (keyed[index] for index in range(end - 1, -1, -1))
    else:
        start = 0 if after is None else bisect_right(keyed, after, key=lambda pair: pair[0])
        yield from (keyed[index] for index in range(start, len(keyed)))


def page(source: Ordered, listing: Listing, wanted: Callable[[Document], bool]) -> tuple[list[Document], str]:
    """Return the documents of one page, in order, and the token of the next page (empty on the last).

    Looks at no more documents than it takes to fill the page and to know whether there is another.
    """
    shown: list[Document] = []
    last: SortKey = (0, 0, "")
    for key, document in source.ordered(order_path(listing), descending=_is_descending(listing), after=listing.after):
        if not wanted(document):
            continue
        if len(shown) == listing.limit:
            return shown, _token(last, listing)
        shown.append(document)
        last = key
    return shown, ""


def projected(document: Document, members: Sequence[str]) -> Document:
    """Return `id` and the wanted top-level members, or the whole document when none are named."""
    if not members:
        return document
    return {name: value for name, value in document.items() if name in members or name == "id"}


def _token(position: SortKey, listing: Listing) -> str:
    content = dumps([position, listing.properties, listing.orderby])
    return urlsafe_b64encode(content).rstrip(b"=").decode()


def _remembered(token: str) -> tuple[SortKey | None, tuple[str, ...], str]:
    if not token:
        return None, (), ""
    try:
        (rank, value, identity), properties, orderby = loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except (JsonError, Base64Error, TypeError, ValueError) as error:
        raise BadQuery(1451, "continuationToken is not one this service issued; start again without it") from error
    expected: tuple[type, ...] = (str,) if rank == 3 else (int, float)
    if rank not in (0, 1, 2, 3) or not isinstance(value, expected) or not isinstance(orderby, str):
        raise BadQuery(1451, "continuationToken is not one this service issued; start again without it")
    return (rank, value, str(identity)), tuple(str(each) for each in properties), orderby
