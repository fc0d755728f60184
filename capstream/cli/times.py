"""Times as people give them to commands."""

from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def instant_ms(text: str, now: datetime | None = None) -> int:
    """Return epoch milliseconds of `2024-09-17`, `2024-09-17T15:00:00Z` or `90m` (that long ago; also s, h, d).

    Without an offset a time is UTC. Errors: typer.BadParameter.
    """
    if text[:-1].isdecimal() and text[-1:] in _UNITS:
        at = (now or datetime.now(UTC)) - timedelta(**{_UNITS[text[-1]]: int(text[:-1])})
    else:
        try:
            at = datetime.fromisoformat(text)
        except ValueError as error:
            raise typer.BadParameter(
                f"{text!r} is no time: write 2024-09-17, 2024-09-17T15:00:00Z, or 90m, 6h, 2d ago"
            ) from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


def bounds(since: str, until: str) -> dict[str, int]:
    """Return `sinceMs` and `untilMs` of the options that were given."""
    given = {"sinceMs": since, "untilMs": until}
    return {name: instant_ms(text) for name, text in given.items() if text}
