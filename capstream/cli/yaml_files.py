"""YAML files of the commands, read and written without surprises: plain types only."""

from pathlib import Path

from capstream.kernel.errors import InputError
from capstream.kernel.json import Json


def load_yaml(path: Path) -> Json:
    """Return the content of a YAML (or JSON) file. Errors: InputError names file and line."""
    import yaml  # noqa: PLC0415 - only these commands need it

    try:
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise InputError(str(path), "it cannot be read", error.strerror or "") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(str(path), f"no YAML: {' '.join(str(error).split())}") from error


def yaml_text(document: Json) -> str:
    """Return a document as YAML, its members in their order."""
    import yaml  # noqa: PLC0415 - only these commands need it

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)
    return text.rstrip("\n")
