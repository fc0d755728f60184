"""Structured logs: one JSON object a line, a stable `action`, ids and counts; never payloads, tokens or personal data."""

import logging
import sys
from hashlib import sha256

from capstream.kernel.clock import rfc3339
from capstream.kernel.json import dumps

_log = logging.getLogger("capstream")


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        facts: dict[str, object] = getattr(record, "facts", {})
        line: dict[str, object] = {"time": rfc3339(int(record.created * 1000)), "level": record.levelname.lower()}
        line |= {"message": record.getMessage()} | facts
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return dumps(line).decode()


def configure(level: str = "info") -> None:
    """Send every log line of this process to standard error as JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter())
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
