"""When something is on disk: for files that are written beside the databases."""

import os
from pathlib import Path


def synced(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on disk. Errors: OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
