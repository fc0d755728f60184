"""Files of Fernet keys, one a line: the first seals, every one opens. More than one: a change of key that is not finished."""

import os
from pathlib import Path

from cryptography.fernet import Fernet

from capstream.kernel.errors import InputError
from capstream.storage.durable import synced


def read_keys(path: Path) -> tuple[bytes, ...]:
    """Return the keys in `path`; the file is created, readable by its owner alone, when it does not exist.

    Errors: InputError when it holds something else.
    """
    try:
        return _keys(path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, (Fernet.generate_key(),))
    try:
        os.link(draft, path)  # whoever links first wins; two processes may start together
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _keys(path)


def add_key(path: Path) -> tuple[bytes, ...]:
    """Make a new key the first and return all; while a change is not finished its key is kept. Errors: InputError, OSError."""
    keys = read_keys(path)
    if len(keys) == 1:
        keys = (Fernet.generate_key(), *keys)
        _replace(path, keys)
    return keys


def drop_old_keys(path: Path) -> None:
    """Keep the first key alone: nothing is sealed with the others any more. Errors: InputError, OSError."""
    _replace(path, read_keys(path)[:1])


def _keys(path: Path) -> tuple[bytes, ...]:
    found = tuple(path.read_bytes().split())
    try:
        for key in found:
            Fernet(key)
    except ValueError as error:
        raise InputError(str(path), "it holds something that is no key", "restore the key file from its backup") from error
    if not found:
        raise InputError(str(path), "it is empty", "restore the key file from its backup")
    return found


def _replace(path: Path, keys: tuple[bytes, ...]) -> None:
    draft = _draft(path, keys)
    draft.replace(path)
    synced(path.parent)


def _draft(path: Path, keys: tuple[bytes, ...]) -> Path:
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(b"\n".join(keys) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return draft
