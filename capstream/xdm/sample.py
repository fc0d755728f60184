"""One valid record that fills every field of a schema. Source: schema-registry.md 9 (sample data)."""

from dataclasses import dataclass

from capstream.kernel.json import Json
from capstream.xdm.schema import INTEGER_RANGES, Field
from capstream.xdm.violations import bounds, matches

_FORMATS = {
    "uri": "https://ns.adobe.com/xdm/common/uri",
    "uri-reference": "/uri-reference",
    "email": "member-0001@example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "hostname": "www.example.com",
    "uuid": "00000000-0000-4000-8000-000000000001",
    "json-pointer": "/sample",
    "time": "12:00:00Z",
    "regex": "^sample$",
}
_CANDIDATES = ("Sample value", "AA", "AAA", "1", "12", "01-15", "en-GB", "US-CA", "text/plain", "A1", "a", "sample", "000000")
_TEXT = "Sample value"


@dataclass(frozen=True, slots=True)
class Sampler:
    """Makes sample records. `now` is an RFC 3339 date-time, the value of every date-time field."""

    now: str
    standard_names: bool = False

    def record(self, root: Field) -> dict[str, Json]:
        """Return one record with every field that has a value fitting its rules."""
        value: dict[str, Json] = self._object(root)
        return value

    def _value(self, field: Field) -> Json:
        if field.enum is not None:
            return field.default if field.default in field.enum else field.enum[0]
        if field.kind == "object":
            return self._object(field)
        if field.kind == "array":
            return [] if field.items is None else [self._value(field.items)] * max(1, field.min_items or 1)
        if field.kind == "map":
            return {} if field.values is None else {"key": self._value(field.values)}
        if field.default is not None:
            return field.default
        if field.kind == "boolean":
            return True
        if field.kind in {"date", "date-time"}:
            return self.now[:10] if field.kind == "date" else self.now
        return _text(field) if field.kind == "string" else _number(field)

    def _object(self, field: Field) -> dict[str, Json]:
        found: dict[str, Json] = {}
        for name, child in field.children.items():
            if self.standard_names and child.converted:
                found.update(self._object(child))
            else:
                found[(child.xdm_field or name) if self.standard_names else name] = self._value(child)
        return found


def _number(field: Field) -> float | int:
    low, high = bounds(field)
    if field.exclusive_minimum is not None:
        low = field.exclusive_minimum + 1 if low is None else max(low, field.exclusive_minimum + 1)
    value = 1 if (low is None or low <= 1) and (high is None or high >= 1) else (low if low is not None else high)
    return int(value or 0) if field.kind in INTEGER_RANGES else (value or 0)


def _text(field: Field) -> str:
    if field.format in _FORMATS:
        return _FORMATS[field.format]
    first = [next(iter(field.suggested))] if field.suggested else []
    for text in (*first, *_CANDIDATES):
        if _fits(field, text):
            return text
    least = max(1, field.min_length or 1)
    return (_TEXT * least)[: max(least, min(len(_TEXT), field.max_length or len(_TEXT)))]


def _fits(field: Field, text: str) -> bool:
    if len(text) < (field.min_length or 1) or (field.max_length is not None and len(text) > field.max_length):
        return False
    if field.pattern is None:
        return True
    return matches(field.pattern, text)
