"""Where everything lies in a data folder, and who writes it. One process writes a store; any may read it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """The files of a data folder."""

    data: Path

    @property
    def credentials(self) -> Path:
        """Written at first start; 0600."""
        return self.data / "credentials.json"

    @property
    def translators(self) -> Path:
        """Local socket of the courier, to which translators come; 0600."""
        return self.data / "run" / "translators.sock"

    @property
    def control(self) -> Path:
        """Documents of the control plane. Writer: gateway."""
        return self.data / "platform" / "control.db"

    @property
    def inlet(self) -> Path:
        """Log of accepted messages. Writer: gateway."""
        return self.data / "platform" / "inlet.db"

    @property
    def state(self) -> Path:
        """Profiles, identities, runs, batches, the pipeline's cursor. Writer: worker."""
        return self.data / "platform" / "state.db"

    @property
    def metrics(self) -> Path:
        """What the inlets counted, by the minute. Writer: gateway."""
        return self.data / "platform" / "metrics.db"

    @property
    def alerts(self) -> Path:
        """Alerts, notifications, events to deliver. Writer: worker."""
        return self.data / "platform" / "alerts.db"

    @property
    def audit_trail(self) -> Path:
        """Who changed what on the platform. Writer: gateway."""
        return self.data / "platform" / "audit.db"

    @property
    def event_keys(self) -> Path:
        """Folder of the keys that sign events; 0600."""
        return self.data / "platform" / "keys"

    @property
    def lake(self) -> Path:
        """Delta tables. Writer: worker."""
        return self.data / "platform" / "lake"

    @property
    def spool(self) -> Path:
        """Files of file flows until their rows are in the inlet log. Writer: gateway."""
        return self.data / "platform" / "spool"

    @property
    def landing_zones(self) -> Path:
        """The Data Landing Zone of each sandbox. Writer: gateway."""
        return self.data / "platform" / "dlz"

    @property
    def signing_key(self) -> Path:
        """The key that signs access tokens; 0600."""
        return self.data / "platform" / "keys" / "ims.pem"

    @property
    def platform_key(self) -> Path:
        """The key that seals secrets in the control plane; 0600."""
        return self.data / "platform" / "keys" / "vault.key"

    @property
    def journal(self) -> Path:
        """Log of webhooks as they came. Writer: gateway."""
        return self.data / "relay" / "journal.db"

    @property
    def sources(self) -> Path:
        """The relay's sources. Writer: gateway."""
        return self.data / "relay" / "sources.db"

    @property
    def courier(self) -> Path:
        """Cursor, member states, parked, held, dead letters, counters. Writer: courier."""
        return self.data / "relay" / "courier.db"

    @property
    def relay_key(self) -> Path:
        """The key that seals the relay's secrets; 0600."""
        return self.data / "relay" / "vault.key"

    @property
    def relay_admin(self) -> Path:
        """Who administered what, and how far the journal was when. Writer: gateway."""
        return self.data / "relay" / "admin.db"

    @property
    def event_index(self) -> Path:
        """Webhooks by id, kind and member; it can be removed while the server is stopped, and is made again. Writer: clerk."""
        return self.data / "relay" / "events.db"

    @property
    def drift(self) -> Path:
        """What changed in the form of webhooks. Writer: clerk."""
        return self.data / "relay" / "drift.db"

    @property
    def erasing(self) -> Path:
        """Where the journal has data of members that are being taken out. Writer: clerk."""
        return self.data / "relay" / "erasing.db"

    @property
    def format(self) -> Path:
        """Which form the stores have."""
        return self.data / "format.json"
