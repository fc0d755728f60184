"""Reading a record by path. Source: data-prep.md 2.7.

Run-time steps are plain values, so that compiled code can bind them: a name is its `str`, every element is None,
an index is a 1-tuple of position or key.
"""

import re
from collections.abc import Sequence

from capstream.kernel.json import Json
from capstream.lang.nodes import Computed, Index, Name, Star, Step
from capstream.lang.scanner import MAX_LENGTH, split_path

RunStep = str | None | tuple[Json]

_SPECIAL = re.compile(r"([.\\\[\]{}])")
_WRAPPED_STEP = re.compile(r"\$\{((?:[^}\\]|\\.)*)\}", re.DOTALL)


class Missing:
    """The value of a path that does not exist, where that differs from null."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "MISSING"


MISSING = Missing()


class PathError(Exception):
    """The text is no path."""


def parse_path(text: str) -> tuple[Step, ...]:
    """Return the steps of a path outside expressions. Source: data-prep.md 3.1.

    Errors: PathError when the text is empty, too long or has an empty step.
    """
    text = text.strip()
    if not text:
        raise PathError("path is empty")
    if len(text) > MAX_LENGTH:
        raise PathError(f"path is longer than {MAX_LENGTH} characters")
    steps = split_path(_WRAPPED_STEP.sub(_unwrapped, text)) if "${" in text else split_path(text)
    if steps is None:
        raise PathError("path has an empty step or a misplaced index")
    return steps


def _unwrapped(match: re.Match[str]) -> str:
    return match[1]


def run_steps(steps: Sequence[Step]) -> tuple[RunStep, ...]:
    """Return constant steps in their run-time form."""
    return tuple(_run_step(step) for step in steps)


def _run_step(step: Step) -> RunStep:
    match step:
        case Name(text):
            return text
        case Index(value):
            return (value,)
        case Star():
            return None
        case Computed():
            raise PathError("a computed index has no constant form")


def is_plain(steps: Sequence[Step]) -> bool:
    """Say whether the path consists of names only."""
    return all(isinstance(step, Name) for step in steps)


def first_star(steps: Sequence[Step]) -> int | None:
    """Return the position of the leftmost wildcard, or None."""
    return next((at for at, step in enumerate(steps) if isinstance(step, Star)), None)


def flat_key(steps: Sequence[Step]) -> str | None:
    """Return the root key that stands for the whole path when its first step does not exist, or None."""
    if len(steps) < 2 or not is_plain(steps):
        return None
    return ".".join(step.text for step in steps if isinstance(step, Name))


def path_text(steps: Sequence[Step]) -> str:
    """Return the path as text that parses to the same steps."""
    parts: list[str] = []
    for step in steps:
        match step:
            case Name(text):
                parts.append(("." if parts else "") + _SPECIAL.sub(r"\\\1", text))
            case Index(value):
                parts.append(f"[{value}]" if isinstance(value, int) else f'["{value}"]')
            case Star():
                parts.append("[*]")
            case Computed():
                parts.append("[...]")
    return "".join(parts)


def read(value: Json, steps: Sequence[RunStep]) -> Json:
    """Return what `steps` reach from `value`; None when there is nothing. Never fails.

    Shape: a name on an array, or `[*]`, projects: the result is one flat array, element by element, None where missing.
    """
    for at, step in enumerate(steps):
        if value is None:
            return None
        if step.__class__ is str:
            if value.__class__ is dict:
                value = value.get(step)
            elif value.__class__ is list:
                return _project(value, steps[at:])
            else:
                return None
        elif step is None:
            return _project(value if value.__class__ is list else [value], steps[at + 1 :])
        else:
            value = element(value, step[0])
    return value


def _project(values: list[Json], rest: Sequence[RunStep]) -> list[Json]:
    projects = not rest or any(step is None for step in rest)
    result: list[Json] = []
    for value in values:
        if not rest:
            result.append(value)
            continue
        found = read(value, rest)
        # A nested projection flattens; an array that merely is the value of the last name does not.
        if found.__class__ is list and (projects or _walks_array(value, rest)):
            result.extend(found)
        else:
            result.append(found)
    return result


def _walks_array(value: Json, steps: Sequence[RunStep]) -> bool:
    """Say whether reading `steps` (which have no `[*]`) steps by name into an array."""
    for step in steps:
        if step.__class__ is str:
            if value.__class__ is list:
                return True
            value = value.get(step) if value.__class__ is dict else None
        else:
            value = element(value, step[0])  # type: ignore[index]
    return False


def element(value: Json, key: Json) -> Json:
    """Return the array element or map value at `key`; None when out of range or of the wrong type."""
    if value.__class__ is list:
        if key.__class__ is float and key.is_integer():
            key = int(key)
        if key.__class__ is not int or not 0 <= key < len(value):
            return None
        return value[key]
    if value.__class__ is dict:
        if key.__class__ is int:
            key = str(key)
        return value.get(key) if key.__class__ is str else None
    return None


def read_record(record: dict[str, Json], steps: Sequence[RunStep], flat: str | None) -> Json:
    """Return what a path reads from the record; `flat` is the root key to use when the first step does not exist."""
    if flat is not None and steps[0] not in record:
        return record.get(flat)
    return read(record, steps)


def has_path(record: Json, steps: Sequence[RunStep]) -> bool:
    """Say whether the path exists, also with a null value. Source: `contains_key`."""
    value = record
    for at, step in enumerate(steps):
        if step.__class__ is str:
            if value.__class__ is dict:
                if step not in value:
                    return at == 0 and len(steps) > 1 and ".".join(str(one) for one in steps) in record
                value = value[step]
            elif value.__class__ is list:
                return any(has_path(one, steps[at:]) for one in value)
            else:
                return False
        elif step is None:
            values = value if value.__class__ is list else [] if value is None else [value]
            return bool(values) and (at + 1 == len(steps) or any(has_path(one, steps[at + 1 :]) for one in values))
        else:
            key = step[0]
            if value.__class__ is list:
                if key.__class__ is not int or not 0 <= key < len(value):
                    return False
            elif value.__class__ is not dict or str(key) not in value:
                return False
            value = element(value, key)
    return True
