"""Finds standard components by what people call them."""

from functools import cache

from capstream.xdm.library import standard_library
from capstream.xdm.names import XDM


def standard_id(name: str) -> str | None:
    """Return the `$id` of a standard component: from its `$id`, `meta:altId`, path after `/xdm/`, last part or title.

    The last part of a path and a title count only where they name one component.
    """
    for candidate in (name, XDM + name):
        if candidate in standard_library():
            return candidate
    return _spellings().get(name.lower())


@cache
def _spellings() -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    exact: dict[str, str | None] = {}
    for uri, document in standard_library().items():
        exact[document["meta:altId"].lower()] = uri
        for name in {uri.rsplit("/", 1)[-1].lower(), document["title"].lower()}:
            found[name] = None if found.get(name, uri) != uri else uri
    # A class is meant when a class and something else share a name: `profile`, `experienceevent`.
    for uri, document in standard_library().items():
        if document["meta:resourceType"] == "classes":
            found[uri.rsplit("/", 1)[-1].lower()] = uri
    return found | exact
