"""One webhook body on its way through the translation. Compiled: its members are looked at some twenty times (docs/adr/0004)."""

from typing import Final

from capstream.relay.records import Kind, Record


class Arrival:
    """What came from a source, or comes again: a replay, an event that was held."""

    def __init__(
        self,
        offset: int,
        source_key: str,
        received_ms: int,
        body: bytes,
        *,
        dead_id: str = "",
        attempts: int = 0,
        first_ms: int = 0,
        is_replay: bool = False,
        was_processed: bool = False,
        only: tuple[Kind, Record] | None = None,
    ) -> None:
        self.offset: Final = offset
        self.source_key: Final = source_key
        self.received_ms: Final = received_ms
        self.body: Final = body
        self.dead_id: Final = dead_id  #: the dead letter it is a replay of
        self.attempts: Final = attempts
        self.first_ms: Final = first_ms  #: when it failed first
        self.is_replay: Final = is_replay  #: counted before
        self.was_processed: Final = was_processed  #: as `processed`, which a refusal takes back
        self.only: Final = only  #: of a dead payload: nothing else of this webhook is sent again
