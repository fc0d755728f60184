"""What forms and parts of a payload work on."""

from capstream.capillary.events import NormalisedEvent
from capstream.capillary.programs import Programs
from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.json import Json


class Scope:
    """What forms need to know beyond the value."""

    def __init__(self, org_id: str, zone: str, hashes_codes: bool) -> None:
        self.org_id = org_id
        self.zone = zone  #: of the organisation's days
        self.hashes_codes = hashes_codes


class Draft:
    """One event on its way to a payload. `program` is the id and name of the event's programme."""

    def __init__(
        self,
        event: NormalisedEvent,
        known: tuple[Programs, TranslationConfig],
        *,
        trigger: tuple[str | None, dict[str, str]],
        entered_by: dict[str, Json],
        program: tuple[str | None, str | None],
        bill: dict[str, Json] | None,
    ) -> None:
        self.event = event
        self.data = event.data  #: the event's own members
        self.programs, self.config = known
        self.scope = Scope(event.org_id, self.config.org_zone, self.config.voucher_codes == "hash")
        self.trigger_name, self.trigger = trigger  #: canonical identifier key -> value
        self.entered_by = entered_by  #: the `enteredBy` that names store and till
        self.program_id, self.program_name = program
        self.bill = bill  #: body of the transaction call (C7)
        self.flags = list(event.flags)

    def flag(self, name: str) -> None:
        """Add a quality flag once."""
        if name not in self.flags:
            self.flags.append(name)
