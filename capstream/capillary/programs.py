"""What is known about an organisation's programmes: name, default, ratio, tiers. Learnt from every event; the newest wins.

Source: capillary.md 2.4.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from capstream.capillary.records import Program
from capstream.capillary.values import Unfit, decimal_id, number, text, whole
from capstream.kernel.json import Json

_FIELDS: Final[tuple[str, ...]] = ("name", "is_default", "ratio", "tiers")


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(list[tuple[str, Program]])


class Programs:
    """The cache (org, programme id) -> Program. `revision` grows when something became different."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Program]] = {}
        self._last_seen: dict[tuple[str, str], dict[str, Json]] = {}
        self.revision = 0

    def get(self, org_id: str, program_id: str) -> Program | None:
        """Return what is known about a programme."""
        programs = self._known.get(org_id)
        return None if programs is None else programs.get(program_id)

    def of_org(self, org_id: str) -> Iterator[Program]:
        """Yield the programmes of an organisation."""
        yield from self._known.get(org_id, {}).values()

    def default(self, org_id: str) -> str | None:
        """Return the id of the organisation's default programme, else its smallest id, else None."""
        programs = self._known.get(org_id)
        if not programs:
            return None
        flagged = [program.id for program in programs.values() if program.is_default]
        return smallest(flagged or list(programs))

    def learn(self, org_id: str, details: Json, at: int) -> str | None:
        """Take over `loyaltyProgramDetails` of an event of time `at`.

        Shape: the programme's id when its tier list became known or different by this, else None.
        """
        if type(details) is not dict or (program_id := _id(details.get("id"))) is None:
            return None
        program = self._program(org_id, program_id)
        if self._last_seen.get((org_id, program_id)) == details:
            stamps = program.stamps
            for name, stamp in stamps.items():
                if at > stamp:
                    stamps[name] = at  # an existing key: the dict keeps its shape
            return None
        tiers_before = program.tiers
        facts = (_text(details.get("name")), _bool(details.get("isDefault")), _number(details.get("pointsToCurrencyRatio")))
        newest = True
        for name, value in zip(_FIELDS, (*facts, _tiers(details.get("tiers"))), strict=True):
            newest = self._put(program, name, value, at) and newest
        if newest:
            self._last_seen[(org_id, program_id)] = details
        return program_id if program.tiers != tiers_before else None

    def learn_tier(self, org_id: str, program_id: str, tier: int, name: Json, at: int) -> None:
        """Take over one tier's name from an API answer."""
        found = _text(name)
        program = self._program(org_id, program_id)
        held = program.single_names.get(tier)
        if found is not None and (held is None or (at, found) > held):
            program.single_names[tier] = (at, found)
            self.revision += held is None or held[1] != found

    def dump(self) -> bytes:
        """Return the bytes of the cache."""
        return _encoder.encode([(org, program) for org, programs in self._known.items() for program in programs.values()])

    @classmethod
    def load(cls, raw: bytes) -> "Programs":
        """Return the cache of its bytes."""
        programs = cls()
        for org, program in _decoder.decode(raw):
            programs._known.setdefault(org, {})[program.id] = program
        return programs

    def _program(self, org_id: str, program_id: str) -> Program:
        programs = self._known.setdefault(org_id, {})
        found = programs.get(program_id)
        if found is None:
            found = programs[program_id] = Program(program_id)
            self.revision += 1
        return found

    def _put(self, program: Program, name: str, value: Json, at: int) -> bool:
        """Set one member if the statement is the newest; False when something newer is known or nothing is stated."""
        if value is None:
            return False
        stamp, held = program.stamps.get(name), getattr(program, name)
        if stamp is not None and (at < stamp or (at == stamp and repr(value) < repr(held))):
            return False
        program.stamps[name] = at
        if held != value:
            setattr(program, name, value)
            self.revision += 1
        return True


def smallest(ids: list[str]) -> str | None:
    """Return the smallest programme id: by number where ids are numbers."""
    return min(ids, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name), default=None)


def _id(value: Json) -> str | None:
    try:
        return decimal_id(value)
    except Unfit:
        return None


def _text(value: Json) -> str | None:
    try:
        found = text(value)
    except Unfit:
        return None
    return None if found is None else found.strip()


def _bool(value: Json) -> bool | None:
    return value if type(value) is bool else None


def _number(value: Json) -> int | float | None:
    try:
        return number(value)
    except Unfit:
        return None


def _tiers(value: Json) -> dict[int, str] | None:
    if type(value) is not list:
        return None
    tiers: dict[int, str] = {}
    for item in value:
        if type(item) is dict and (name := _text(item.get("tierName"))) is not None:
            try:
                tier = whole(item.get("tierNumber"))
            except Unfit:
                continue
            if tier is not None:
                tiers[tier] = name
    return tiers or None
