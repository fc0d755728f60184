"""What is read of one Capillary webhook body before it is an event, or why it is none. Source: capillary.md 1.4, 7.2."""

import msgspec


class Unreadable(msgspec.Struct, frozen=True):
    """A body that is no event: `code` is its dead-letter class, `pointer` the place in the body when one is known."""

    code: str
    reason: str
    pointer: str = ""


class Flat(msgspec.Struct):
    """Envelope A as far as `peek` needs it; everything else is skipped without being built."""

    eventName: str | None = None  # noqa: N815 - Capillary's spelling
    eventId: str | int | float | None = None  # noqa: N815
    orgId: str | int | float | None = None  # noqa: N815
    createdAt: str | int | float | None = None  # noqa: N815
    attributes: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
