"""Names in the two notations, and dotted ids. Source: xdm.md 2 and 4."""

import re

XDM = "https://ns.adobe.com/xdm/"
_ADOBE = "https://ns.adobe.com/"
_HYPHEN = re.compile(r"-+([A-Za-z0-9])")


def compatible(name: str) -> tuple[str, ...]:
    """Return the path a standard name takes in compatibility notation; names that are no standard names stay."""
    if name.startswith("xdm:"):
        return (_camel(name[4:]),)
    if name.startswith("@"):
        return ("_" + name[1:],)
    if name.startswith(XDM):
        return _namespaced(name[len(XDM) :])
    if name.startswith(_ADOBE):
        return _namespaced(name[len(_ADOBE) :])
    prefix, colon, rest = name.partition(":")
    if colon and prefix and rest and not rest.startswith("//"):
        return ("_" + prefix, rest)
    return (name,)


def alt_id(uri: str) -> str:
    """Return the `meta:altId` of an `$id`: `_xdm.context.profile`, `_schema.org.GeoShape`."""
    if uri.startswith(_ADOBE):
        return "_" + uri[len(_ADOBE) :].replace("/", ".")
    return "_" + uri.partition("://")[2].replace("/", ".")


def _namespaced(path: str) -> tuple[str, ...]:
    first, *others = path.split("/")
    return ("_" + first, *(_camel(part) for part in others))


def _camel(name: str) -> str:
    """ASSUMPTION: `direct-mail` is `directMail`; the sources show no hyphenated name in compatibility notation."""
    return _HYPHEN.sub(lambda match: match.group(1).upper(), name)
