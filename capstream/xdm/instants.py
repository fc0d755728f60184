"""RFC 3339 text as a number."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(text: str) -> int:
    """Return the microseconds since the epoch of an RFC 3339 date-time; digits beyond microseconds are cut off.

    Errors: ValueError when the text is none.
    """
    whole, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{whole}.{rest[:digits][:6]:0<6}{rest[digits:]}"
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
