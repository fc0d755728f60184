"""One Capillary webhook as the translation reads it. Compiled: its members are looked at some fifty times (docs/adr/0004).

Source: capillary.md 1.4, 7.2.
"""

from capstream.kernel.json import Json


class NormalisedEvent:  # noqa: PLW1641 - it has no hash: its data can be changed
    """One logical event. Absent ids are None; `data` has canonical member names."""

    def __init__(
        self,
        *,
        org_id: str,
        event_name: str,
        event_id: str,
        event_id_synthetic: bool,
        event_log_id: int | None,
        ref_id: str | None,
        api_request_id: str | None,
        loyalty_event_id: str | None,
        created_at_ms: int,
        received_ms: int,
        envelope: str,
        data: dict[str, Json],
        flags: tuple[str, ...] = (),
        unknown: tuple[str, ...] = (),
    ) -> None:
        self.org_id = org_id
        self.event_name = event_name  #: canonical spelling, or as sent when nobody documented it
        self.event_id = event_id  #: opaque; `syn-` + 32 hex when Capillary sent none
        self.event_id_synthetic = event_id_synthetic
        self.event_log_id = event_log_id
        self.ref_id = ref_id
        self.api_request_id = api_request_id
        self.loyalty_event_id = loyalty_event_id
        self.created_at_ms = created_at_ms
        self.received_ms = received_ms
        self.envelope = envelope  #: A flat, B bus wrapper, C API wrapper, D body wrapper
        self.data = data
        history = data.get("history")
        self.history: dict[str, Json] | None = history if type(history) is dict else None  #: of an imported event alone
        self.flags = flags
        self.unknown = unknown  #: member names nobody documented, of the event and of `data`

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NormalisedEvent) and all(getattr(self, name) == getattr(other, name) for name in _MEMBERS)


_MEMBERS = (
    "org_id",
    "event_name",
    "event_id",
    "event_id_synthetic",
    "event_log_id",
    "ref_id",
    "api_request_id",
    "loyalty_event_id",
    "created_at_ms",
    "received_ms",
    "envelope",
    "data",
    "flags",
    "unknown",
)
