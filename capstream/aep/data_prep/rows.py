"""Mapping rows: what a mapping set says, in the one form the compiler reads. Source: data-prep.md 1.3, 3."""

from dataclasses import dataclass
from enum import StrEnum

from capstream.kernel.json import Json


class SourceType(StrEnum):
    """What the source text of a row is."""

    ATTRIBUTE = "ATTRIBUTE"  #: a path into the record
    STATIC = "STATIC"  #: a constant text
    EXPRESSION = "EXPRESSION"  #: a calculated field


STORED_FORM = {
    SourceType.ATTRIBUTE: "text/x.schema-path",
    SourceType.STATIC: "text/plain",
    SourceType.EXPRESSION: "text/x.aep-xl",
}
"""How the API returns a source type; `text/plain` for STATIC is an ASSUMPTION."""

_READ_FORM = {form: source_type for source_type, form in STORED_FORM.items()} | {str(kind): kind for kind in SourceType}


@dataclass(frozen=True, slots=True)
class Row:
    """One mapping: where a value comes from and where it goes."""

    source_type: SourceType
    source: str
    destination: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One transform error: a field that has no value although it was mapped. Source: TransformErrorInfo."""

    destination: str
    exception: str
    source: str
    column_name: str | None
    source_type: str

    def to_json(self) -> dict[str, Json]:
        """Return the TransformErrorInfo object."""
        return {
            "destination": self.destination,
            "exception": self.exception,
            "source": self.source,
            "columnName": self.column_name,
            "sourceType": self.source_type,
        }


def source_type_of(text: Json) -> SourceType | None:
    """Return the source type of any accepted spelling; ATTRIBUTE when absent; None when unknown."""
    if text is None or text == "":
        return SourceType.ATTRIBUTE
    return _READ_FORM.get(text) or _READ_FORM.get(text.upper()) if isinstance(text, str) else None


def rows_of(mapping_set: dict[str, Json]) -> list[Row]:
    """Return the rows of a mapping set, stored or as posted, in either of its two forms.

    Errors: ValueError for a mapping without source or destination, or of an unknown source type.
    """
    return [row_of(mapping) for mapping in mapping_set.get("mappings") or ()]


def row_of(mapping: dict[str, Json]) -> Row:
    """Return the row of one mapping object. Errors: as `rows_of`."""
    source = mapping.get("source", mapping.get("sourceAttribute"))
    destination = mapping.get("destination") or mapping.get("destinationXdmPath")
    source_type = source_type_of(mapping.get("sourceType"))
    if not isinstance(destination, str) or not isinstance(source, str):
        raise ValueError("a mapping needs source and destination, both text")
    if source_type is None:
        raise ValueError(f"unknown sourceType {mapping.get('sourceType')!r}; known are ATTRIBUTE, STATIC, EXPRESSION")
    if source == "" and source_type is not SourceType.STATIC:
        raise ValueError("a mapping needs a source")
    return Row(source_type, source, destination)
