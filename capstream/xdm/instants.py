"""RFC 3339 text as a number."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(text: str) -> int:
    """Return the microseconds since the epoch of an RFC 3339 date-time; digits beyond microseconds are cut off.

    Errors: ValueError when the text is none.
    """
    return (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND


def millis(text: str) -> int:
    """Return the milliseconds since the epoch of an RFC 3339 date-time; what is finer is cut off. Errors: as `micros`."""
    since = datetime.fromisoformat(text) - _EPOCH
    return since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000  # the division costs as much as all this
