"""Structured logs: one JSON object a line, a stable `action`, ids and counts; never payloads, tokens or personal data."""

import logging
import sys
import traceback
from hashlib import sha256
from pathlib import Path

from capstream.kernel.clock import rfc3339
from capstream.kernel.json import dumps

_log = logging.getLogger("capstream")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = getattr(record, "facts", {})
        line: dict[str, object] = {"time": rfc3339(int(record.created * 1000)), "level": record.levelname.lower()}
        line |= {"message": record.getMessage()} | facts
        if record.exc_info:
            line["error"] = _told(record.exc_info[1])
        return dumps(line).decode()


def _told(error: BaseException | None) -> str:
    """Return an error's kinds and places, innermost last. Its text stays out unless it is known to quote no data."""
    parts: list[str] = []
    while error is not None:
        frames = traceback.extract_tb(error.__traceback__)
        places = [f"  {Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames]
        is_loggable = isinstance(error, OSError) or getattr(error, "is_loggable", False)
        parts.append("\n".join([*places, type(error).__name__ + (f": {error}" if is_loggable else "")]))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n".join(reversed(parts))


def formatter() -> logging.Formatter:
    """Return what makes a log line of a record."""
    return _JsonFormatter()


def configure(level: str = "info") -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    _log.setLevel(level.upper())


def info(message: str, *, action: str, **facts: object) -> None:
    """Log a normal step. `action` is stable and greppable; facts are ids, counts and durations."""
    _log.info(message, extra={"facts": {"action": action, **facts}})


def warning(message: str, *, action: str, **facts: object) -> None:
    """Log something a person may have to look at."""
    _log.warning(message, extra={"facts": {"action": action, **facts}})


def error(message: str, *, action: str, exc: BaseException | None = None, **facts: object) -> None:
    """Log a failure that needs a person, with its traceback when `exc` is given."""
    _log.error(message, exc_info=exc, extra={"facts": {"action": action, **facts}})


def pseudonym(salt: str, identifier: str) -> str:
    """Return the salted SHA-256 prefix under which an identifier may appear in a log. Source: capillary.md 7.8."""
    return sha256(f"{salt}:{identifier}".encode()).hexdigest()[:12]
