"""Whatever a request says, it is answered, and never with 500: good requests with parts exchanged, at random.

The good ones are those of the contract tests, so every operation of the data services is among them.
"""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from test_services_openapi import SERVICES
from whole_platform import Platform, platform

Request = tuple[str, str, dict[str, Any]]

ATOMS = st.sampled_from([None, True, 0, -1, 1.5, 10**20, "", "x", "enabled", "é", "\x00", "a/b", "..", "%", "<<a.id>>", "😀"])
NAMES = st.sampled_from(["id", "name", "op", "path", "value", "type", "params", "tags"])
VALUES = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6)
PARAMETERS = st.sampled_from(
    [
        "limit",
        "start",
        "property",
        "orderby",
        "orderBy",
        "count",
        "continuationToken",
        "tags",
        "status",
        "createdAfter",
        "properties",
        "path",
        "metric",
        "dateRange",
        "op",
        "mode",
    ]
)
TEXTS = st.sampled_from(
    ["", "0", "-1", "x", "a==b", "a>=c", "!", "-name", "a.b[].c==1", "\x00", "٣", "1e5", "9" * 30, "**", "eyJ4Ijoxfq"]
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, list[Request]]]:
    """A platform with something of everything in it, and the requests that made it."""
    with platform(tmp_path_factory.mktemp("platform")) as made:
        plain, requests = made.call, []

        def noting(method: str, path: str, **more: Any) -> Any:
            if method == "DELETE":  # what is there stays, for the others to work on
                return plain("GET", "/data/foundation/catalog/")
            requests.append((method, str(path), more))
            return plain(method, path, **more)

        made.call = noting  # type: ignore[method-assign]
        for _, script in SERVICES:
            script(made)
        made.call = plain  # type: ignore[method-assign]
        yield made, requests


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from places(member, (*place, key))


def exchanged(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    result = copy.deepcopy(value)
    holder = result
    for step in place[:-1]:
        holder = holder[step]
    holder[place[-1]] = other
    return result


@given(data=st.data())
@settings(max_examples=400)
def test_no_request_is_answered_with_a_failure(whole: tuple[Platform, list[Request]], data: st.DataObject) -> None:
    it, requests = whole
    method, path, more = data.draw(st.sampled_from(requests))
    more = dict(more)
    if "json" in more and data.draw(st.booleans()):
        place = data.draw(st.sampled_from(list(places(more["json"]))))
        more["json"] = exchanged(more["json"], place, data.draw(VALUES))
    else:
        joint = "&" if "?" in path else "?"
        path = f"{path}{joint}{data.draw(PARAMETERS)}={quote(data.draw(TEXTS))}"
    answer = it.call(method, path, **more)
    assert answer.status_code < 500 or answer.status_code == 501, (method, path, more, answer.text)
