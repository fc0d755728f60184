"""Reads the Accept header: it decides which form of a resource is sent. Source: schema-registry.md 2."""

import re
from dataclasses import dataclass

from capstream.aep.schema_registry.errors import ACCEPT_DETAILS, Faults, Refusal

_MEDIA = re.compile(
    r"application/vnd\.adobe\.(?P<notation>xed|xdm)"
    r"(?P<suffixes>(?:-(?:v2|id|link|full|notext|desc|flat|deprecated|deprecatefield))*)\+json"
    r"(?:\s*;\s*version\s*=\s*\"?(?P<version>[\w.]+)\"?)?",
    re.IGNORECASE,
)
_ANYTHING = frozenset({"", "*/*", "application/json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form of a resource."""

    notation: str = "xed"  #: names of fields: xed (compatibility) or xdm (standard)
    options: frozenset[str] = frozenset()  #: id, link, full, notext, desc, flat, v2, ...
    version: str = ""  #: as asked for; empty when not
    media_type: str = "application/vnd.adobe.xed+json"

    def __contains__(self, option: str) -> bool:
        return option in self.options

    @property
    def major(self) -> str:
        """Major version asked for, `1` when none was."""
        return self.version.partition(".")[0] or "1"


def for_list(header: str, *, strict: bool) -> Form:
    """Return the form of a list; a version is ignored unless `strict`. Errors: 1006."""
    form = _read(header)
    if form is None and not strict and header.strip() in _ANYTHING:
        return Form(options=frozenset({"id"}), media_type="application/vnd.adobe.xed-id+json")
    if form is None or (strict and form.version):
        raise _refused(Faults.LIST_ACCEPT)
    return form


def for_lookup(header: str, *, strict: bool) -> Form:
    """Return the form of one resource. Errors: 1007 without a known media type or, when `strict`, without a version."""
    form = _read(header)
    if form is None and not strict and header.strip() in _ANYTHING:
        return Form(version="1", media_type="application/vnd.adobe.xed+json")
    if form is None:
        raise _refused(Faults.LOOKUP_ACCEPT)
    if strict and (not form.version or "id" in form):
        raise _refused(Faults.LOOKUP_ACCEPT)
    if not form.version and "id" not in form:
        raise _refused(Faults.LOOKUP_ACCEPT)
    return form


def for_unversioned(header: str) -> Form:
    """Return the form of something that has no versions (unions, export, sample data): nothing is refused."""
    return _read(header) or Form(version="1")


def for_descriptors(header: str, *, strict: bool) -> Form:
    """Return the form of the descriptor list. Errors: 1008."""
    form = _read(header)
    if form is None and not strict and header.strip() in _ANYTHING:
        return Form(notation="xdm", options=frozenset({"id"}), media_type="application/vnd.adobe.xdm-id+json")
    if form is None or (form.notation == "xed" and (strict or "id" not in form)):
        raise _refused(Faults.DESCRIPTORS_ACCEPT)
    return form


def for_descriptor(header: str, *, strict: bool) -> Form:
    """Return the form of one descriptor; without a header or with plain JSON it is fine. Errors: 1009."""
    form = _read(header)
    if form is None and header.strip() not in _ANYTHING:
        raise _refused(Faults.DESCRIPTOR_ACCEPT)
    if form is not None and form.notation == "xed" and (strict or "id" not in form):
        raise _refused(Faults.DESCRIPTOR_ACCEPT)
    return Form(notation="xdm", media_type="application/vnd.adobe.xdm+json")


def _read(header: str) -> Form | None:
    match = _MEDIA.fullmatch(header.strip())
    if match is None:
        return None
    options = frozenset(option for option in match["suffixes"].lower().split("-") if option)
    return Form(
        notation=match["notation"].lower(),
        options=options,
        version=match["version"] or "",
        media_type=header.strip().partition(";")[0].strip().lower(),
    )


def _refused(fault: Faults) -> Refusal:
    return Refusal(fault, ACCEPT_DETAILS[fault])
