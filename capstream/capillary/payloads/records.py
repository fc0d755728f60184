"""What forms and parts of a payload work on."""

from collections.abc import Mapping

import msgspec

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.programs import Programs
from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.json import Json


class Scope(msgspec.Struct, frozen=True):
    """What forms need to know beyond the value."""

    org_id: str
    zone: str  #: zone of the organisation's days
    hashes_codes: bool


class Draft(msgspec.Struct):
    """One event on its way to a payload."""

    event: NormalisedEvent
    data: dict[str, Json]  #: the event's own members
    config: TranslationConfig
    scope: Scope
    programs: Programs
    trigger_name: str | None
    trigger: dict[str, str]  #: canonical identifier key -> value
    entered_by: Mapping[str, Json]  #: the `enteredBy` that names store and till
    program_id: str | None
    program_name: str | None
    bill: Mapping[str, Json] | None = None  #: body of the transaction call (C7)
    flags: list[str] = []

    def flag(self, name: str) -> None:
        """Add a quality flag once."""
        if name not in self.flags:
            self.flags.append(name)
