"""Messages decoded straight into what their mapping set reads. Source: streaming-ingestion.md 3 (forms of messages)."""

from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, final

import msgspec

from capstream.aep.data_prep.compiler import Mapped, TypedProgram
from capstream.aep.streaming_ingestion.messages import Form
from capstream.kernel.json import Json

_MOST_MISSES: Final = 100
"""Records one after another that do not fit: the flow's records have another shape, and trying costs more than it saves."""


_Header: Any = msgspec.defstruct("Header", [("source", Any, None)], gc=False)


@final
class Reader:
    """Maps messages of one form whose records have the usual shape."""

    def __init__(
        self, decode: Callable[[bytes], Json], record_of: Callable[[Json], Json] | None, run: Callable[[Json], Mapped | None]
    ) -> None:
        """`record_of` is None when the message is the record."""
        self.decode = decode
        self.record_of = record_of
        self.run = run
        self.misses = 0

    def mapped(self, message: bytes) -> Mapped | None:
        """Return the mapped record and its transform errors; None when the message must be decoded whole."""
        if self.misses > _MOST_MISSES:
            return None
        try:
            record = self.decode(message)
            found = self.run(record if self.record_of is None else self.record_of(record))
        except Exception:  # noqa: BLE001 - whatever is wrong, decoding the message whole shows it and tells the reason
            found = None
        self.misses = 0 if found is not None else self.misses + 1
        return found


@lru_cache(maxsize=256)
def reader(program: TypedProgram, form: Form) -> Reader:
    """Return what maps messages of a form with a mapping set."""
    record = program.record
    match form:
        case "A":
            body = msgspec.defstruct("Body", [("xdmEntity", record)], gc=False)
            message = msgspec.defstruct("Message", [("body", body), ("header", _Header | None, None)], gc=False)
            return Reader(msgspec.json.Decoder(message).decode, _entity, program.run)
        case "C":
            message = msgspec.defstruct("Message", [("body", record)], gc=False)
            return Reader(msgspec.json.Decoder(message).decode, attrgetter("body"), program.run)
        case _:
            return Reader(msgspec.json.Decoder(record).decode, None, program.run)


def _entity(message: Json) -> Json:
    """Return the record of an XDM envelope. Errors: ValueError when its source has no name."""
    header = message.header
    if header is not None and isinstance(header.source, dict) and not header.source.get("name"):
        raise ValueError("source without a name")
    return message.body.xdmEntity
