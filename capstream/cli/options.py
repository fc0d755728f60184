"""Options that several commands share, and how a command finds its server."""

from pathlib import Path
from typing import Annotated

import typer

from capstream import config, credentials
from capstream.credentials import Credentials

CredentialsFile = Annotated[
    Path | None, typer.Option("--credentials", help="credentials.json of the server; default: that of the data folder.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def find(file: Path | None) -> Credentials:
    """Return the credentials in `file`, or those of the default data folder."""
    return credentials.read(file or config.load().data / "credentials.json")
