"""The key that seals the relay's secrets: its file, and the vault that opens with it."""

from pathlib import Path

from capstream.config import Settings
from capstream.layout import Layout
from capstream.relay.vault import Vault
from capstream.storage.key_file import read_keys


def key_file(settings: Settings, layout: Layout) -> Path:
    """Return the file of the key that seals the relay's secrets."""
    named = settings.relay.key_file
    return Path(named) if named else layout.relay_key


def vault_of(settings: Settings, layout: Layout) -> Vault:
    """Return the vault of a data folder; it reads the key file again when it meets a secret it cannot open."""
    file = key_file(settings, layout)
    return Vault(*read_keys(file), read_again=lambda: read_keys(file))
