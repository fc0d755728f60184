"""Commands that are imported when they are called: each takes the time to start that it needs itself, not that of all."""

from collections.abc import Iterator, MutableMapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command


class _Commands(MutableMapping[str, Any]):
    """Maps a command's name to its click command, made at the first look."""

    def __init__(self, places: dict[str, str], made: MutableMapping[str, Any]) -> None:
        self._places = places
        self._made = made

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = _load(name, self._places[name])
        return self._made[name]

    def __setitem__(self, name: str, command: Any) -> None:
        self._made[name] = command

    def __delitem__(self, name: str) -> None:
        self._made.pop(name, None)
        del self._places[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**dict.fromkeys(self._places), **dict.fromkeys(self._made)})

    def __len__(self) -> int:
        return len({*self._places, *self._made})


def _load(name: str, place: str) -> Any:
    """Return the click command of `place`: `module:function`, or the group `module:app`."""
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    around = typer.Typer(add_completion=False)
    around.callback()(_nothing)  # makes it a group, so that the command keeps its name
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    group: TyperGroup = get_command(around)  # type: ignore[assignment]
    return group.commands[name]


def _nothing() -> None:
    """Does nothing; the group around one command has no options."""


class LazyGroup(TyperGroup):
    """A group whose commands lie in modules of their own; a subclass names them in `places`."""

    places: ClassVar[dict[str, str]] = {}

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands = _Commands(dict(self.places), self.commands)
