"""`name.of.member=value` as commands take it: a value is JSON where it reads as JSON, else text."""

from collections.abc import Sequence

import typer

from capstream.kernel.json import Json, JsonError, loads


def assigned(document: Json, assignments: Sequence[str]) -> Json:
    """Return `document` with each assignment made; members on the way are made as needed. Errors: typer.BadParameter."""
    for each in assignments:
        path, mark, text = each.partition("=")
        if not mark or not path:
            raise typer.BadParameter(f"{each!r} is no assignment; write member=value, e.g. limits.records=200")
        *parents, last = path.split(".")
        place = document
        for name in parents:
            if not isinstance(place.get(name), dict):
                place[name] = {}
            place = place[name]
        place[last] = _value(text)
    return document


def _value(text: str) -> Json:
    try:
        return loads(text)
    except JsonError:
        return text
