"""Every member below `capillary` is one that the target field groups declare; a mapping drops others without an error.

Source: xdm.md 9.1, 9.2.
"""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Published = Callable[..., dict[str, Any]]
ROOT = Path(__file__).resolve().parents[3]
CONTRACT = Path(os.environ.get("CAPSTREAM_SHARED", ROOT.parent / "shared")) / "contracts" / "xdm.md"
pytestmark = pytest.mark.skipif(not CONTRACT.exists(), reason=f"{CONTRACT} is not there")

_KINDS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "date-time": (str,),
    "number": (int, float),
    "long": (int,),
    "int": (int,),
    "short": (int,),
    "boolean": (bool,),
}


def _declared(heading: str) -> dict[str, tuple[str, int | None]]:
    text = CONTRACT.read_text().partition(f"### {heading}")[2].partition("\n### ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]*) \|", text, re.MULTILINE)
    lengths = {path: re.search(r"maxLength (\d+)", rest) for path, _, rest in rows}
    return {path: (kind.strip(), int(found[1]) if (found := lengths[path]) else None) for path, kind, _ in rows}


def _leaves(node: Any, declared: dict[str, tuple[str, int | None]], path: str = "") -> Iterator[tuple[str, Any]]:
    kind = declared.get(path, ("", None))[0]
    if isinstance(node, dict) and kind != "map of string":
        for name, value in node.items():
            yield from _leaves(value, declared, f"{path}.{name}" if path else name)
    elif isinstance(node, list):
        for item in node:
            yield from _leaves(item, declared, f"{path}[]")
    else:
        yield path, node


def _check(capillary: dict[str, Any], heading: str) -> None:
    declared = _declared(heading)
    assert len(declared) > 20
    for path, value in _leaves(capillary, declared):
        kind, longest = declared.get(path) or declared[path.removesuffix("[]") + "[]"]
        if kind == "map of string":
            assert all(isinstance(item, str) and item for item in value.values()), path
        else:
            kind = kind.removeprefix("array of ")
            assert isinstance(value, _KINDS[kind]), (path, value)
            assert kind == "boolean" or not isinstance(value, bool), (path, value)
            assert longest is None or len(value) <= longest, path


@pytest.mark.parametrize("case", sorted((ROOT / "cases" / "translation").glob("*.json")), ids=lambda path: path.stem)
def test_event_members_are_declared(case: Path) -> None:
    for body in json.loads(case.read_text()).get("transactions", []):
        _check(body["capillary"], "9.1")


def test_profile_members_are_declared(desk: Any, published: Published) -> None:
    for path in sorted(
        (ROOT / "cases" / "capillary-events").glob("*.json"), key=lambda path: json.loads(path.read_text())["createdAt"]
    ):
        desk.take(published(path.stem))
        for _, customer in desk.kept:
            _check(desk.profile(customer)["capillary"], "9.2")
