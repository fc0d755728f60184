"""A fault, and the book of those that are set: which call meets which, until when. Kept in memory: a restart clears it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import msgspec
from msgspec import Meta

from capstream.kernel import log
from capstream.kernel.clock import Clock, rfc3339
from capstream.kernel.errors import InputError
from capstream.kernel.json import Json

KINDS = {
    "status": "answer `status` (503), with `Retry-After` when `retryAfterS` is given, instead of doing what was asked",
    "delay": "wait `delayS` (1), then answer as always",
    "reset": "reset the connection before anything is done; with `handled` after it is done",
    "half": "do what was asked, send half of the answer and close the connection",
    "wrong_json": "do what was asked, and answer its status with a body that is no whole JSON",
    "mixed_207": "of a batch for an inlet take only some messages: a share `records` (0.5) is refused with `status` (503)",
    "drip": "do what was asked, and send the answer in pieces of `bytes` (16), `delayS` (1) apart",
    "revoke": "revoke the token of the call for good before it is looked at",
}
"""What a fault does. With `handled`, `status` and `reset` come after the call had its effect: the answer alone is lost."""

ALIASES = {"inlet": "streaming_ingestion"}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "*"})
_MOST = 100
_REFUSALS = 400
_EMPTY = frozenset({204, 205, 304})  #: answers without a body

Share = Annotated[float, Meta(gt=0, le=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class Fault(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A fault as it is asked for."""

    route: str  #: a service (`inlet`, `ims`, `profile`), or `METHOD /path` with `*` in either
    kind: str  #: one of `KINDS`
    share: Share = 1.0  #: of the calls on the route
    count: Annotated[int, Meta(ge=1)] | None = None  #: of calls, then it is over
    seconds: Seconds | None = None  #: then it is over
    status: Annotated[int, Meta(ge=200, le=599)] = 503
    retry_after_s: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    handled: bool = False
    delay_s: Annotated[float, Meta(gt=0, le=600)] = 1.0
    bytes: Annotated[int, Meta(ge=1)] = 16
    records: Share = 0.5


def fault_of(body: Json, services: Iterable[str]) -> Fault:
    """Return the fault a JSON object describes. Errors: InputError naming the member."""
    try:
        fault = msgspec.convert(body, Fault)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        known = ", ".join(field.encode_name for field in msgspec.structs.fields(Fault))
        raise InputError(place.strip("`.") or "fault", reason, f"members of a fault: {known}") from error
    if fault.status in _EMPTY or (fault.kind == "mixed_207" and fault.status < _REFUSALS):
        raise InputError("status", f"{fault.status} says nothing here", "one that has a body; for mixed_207 at least 400")
    if fault.kind not in KINDS:
        raise InputError("kind", f"{fault.kind!r} is no kind of fault", f"one of {', '.join(KINDS)}")
    names = sorted({*services, *ALIASES})
    if "/" not in fault.route and fault.route not in names:
        raise InputError("route", f"{fault.route!r} is no service", f"`METHOD /path`, or one of {', '.join(names)}")
    if "/" in fault.route and _split(fault.route)[0] not in _METHODS:
        raise InputError("route", f"{fault.route!r} starts with no method", f"one of {', '.join(sorted(_METHODS))}, then a path")
    return fault


def _split(route: str) -> tuple[str, str]:
    method, _, path = route.rpartition(" ")
    return method.strip().upper() or "*", path


@dataclass(slots=True)
class Active:
    """A fault that is set."""

    id: str
    fault: Fault
    since_ms: int
    hits: int = 0

    def is_over(self, now_ms: int) -> bool:
        """Return whether its time or its count is used up."""
        fault = self.fault
        is_late = fault.seconds is not None and now_ms >= self.since_ms + fault.seconds * 1000
        return is_late or (fault.count is not None and self.hits >= fault.count)

    def meets(self, method: str, path: str, service: str) -> bool:
        """Return whether a call is on its route."""
        route = self.fault.route
        if "/" not in route:
            return ALIASES.get(route, route) == service
        wanted, pattern = _split(route)
        return wanted in ("*", method) and fnmatchcase(path, pattern)

    def shown(self) -> dict[str, Json]:
        """Return it as the endpoint shows it."""
        told: dict[str, Json] = msgspec.to_builtins(self.fault)
        return {"id": self.id, "since": rfc3339(self.since_ms), "hits": self.hits} | told


class Switch:
    """The faults that are set. The first one that meets a call acts on it; `dice` gives numbers in [0, 1)."""

    def __init__(self, services: Iterable[str], clock: Clock, dice: Callable[[], float]) -> None:
        self._services = frozenset(services)
        self._clock = clock
        self._dice = dice
        self._active: list[Active] = []
        self._made = 0

    def set(self, bodies: Iterable[Json], *, replace: bool) -> list[Active]:
        """Add faults, or put them in the place of all others; all or none. Errors: InputError."""
        wanted = [fault_of(body, self._services) for body in bodies]
        kept = [] if replace else self.all()
        if len(kept) + len(wanted) > _MOST:
            raise InputError("faults", f"more than {_MOST} faults", "clear some first")
        made = []
        for fault in wanted:
            self._made += 1
            made.append(Active(f"fault-{self._made}", fault, self._clock()))
            log.warning("fault set", action="fault_set", fault=made[-1].id, kind=fault.kind, route=fault.route, share=fault.share)
        self._active = kept + made
        return made

    def clear(self, fault_id: str | None = None) -> bool:
        """Remove one fault, or all; return whether there was one of that id."""
        gone = [each for each in self._active if fault_id in (None, each.id)]
        for each in gone:
            self._end(each, "cleared")
        return fault_id is None or bool(gone)

    def all(self) -> list[Active]:
        """Return the faults that are set and not over."""
        now_ms = self._clock()
        for each in [each for each in self._active if each.is_over(now_ms)]:
            self._end(each, "over")
        return list(self._active)

    def is_off(self) -> bool:
        """Return whether none is set, which costs nothing to ask."""
        return not self._active

    def strike(self, method: str, path: str, service: str) -> Fault | None:
        """Return the fault this call meets, and count it."""
        for each in self.all():
            if each.meets(method, path, service) and self._dice() < each.fault.share:
                each.hits += 1
                log.info("fault strikes", action="fault_strikes", fault=each.id, kind=each.fault.kind, hits=each.hits)
                return each.fault
        return None

    def _end(self, active: Active, how: str) -> None:
        self._active.remove(active)
        log.warning(f"fault {how}", action=f"fault_{how}", fault=active.id, kind=active.fault.kind, hits=active.hits)
