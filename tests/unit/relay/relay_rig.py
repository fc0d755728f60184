"""A relay without HTTP in front: what is received goes straight into the journal."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fake_edge import FakeEdge

from capstream.capillary.member_log import parts_of_names, unseal, unseal_names
from capstream.capillary.records import MemberState
from capstream.capillary.state import load
from capstream.relay import dead_letters
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.dead_letters import Filter
from capstream.relay.journal import Entry, encode
from capstream.relay.ledger import Ledger, log_part_key, name_part_key, read_states
from capstream.relay.sources import Sources
from capstream.relay.status import status_of
from capstream.storage.sqlite import SqliteDocuments, SqliteLog

PROFILE, EVENT = "flow-profile", "flow-event"


class Rig:
    """A journal, a ledger, a source and the far side; couriers come and go."""

    def __init__(self, folder: Path, sources: Sources, clock: Any) -> None:
        self.journal = SqliteLog(folder / "journal.db")
        self.documents = SqliteDocuments(folder / "courier.db", shrinks=True)
        self.sources = sources
        self.clock = clock
        self.edge = FakeEdge()
        self.waits: list[float] = []
        self.on_wait: Callable[[float], None] = lambda _: None

    def receive(self, *bodies: bytes, flags: int = 0, source: str = "nw", headers: bytes = b"") -> None:
        now = self.clock()
        self.journal.append([encode(Entry(source, now, flags, headers, body)) for body in bodies])

    def drain(self, *, checkpoint: Callable[[str], None] = lambda _: None, **settings: Any) -> None:
        """Let a new courier work until nothing is left to do."""

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)
            self.on_wait(seconds)
            self.clock.advance(seconds)
            await asyncio.sleep(0)

        async def main() -> None:
            async with httpx.AsyncClient(transport=httpx.MockTransport(self.edge)) as client:
                world = World(client=client, clock=self.clock, sleep=sleep, jitter=lambda: 0.0, checkpoint=checkpoint)
                courier = Courier(self.journal, self.documents, self.sources, world=world, settings=CourierSettings(**settings))
                await courier.drain()

        asyncio.run(main())

    def work(self, until: Callable[[], bool], *, checkpoint: Callable[[str], None] = lambda _: None, **settings: Any) -> None:
        """Let a new courier run as a process does, and stop it once `until` says so; it is asked at every wait."""

        async def main() -> None:
            stop, turns = asyncio.Event(), 0

            async def sleep(seconds: float) -> None:
                nonlocal turns
                turns += 1
                assert turns < 20_000, "it never came to that"
                self.clock.advance(seconds)
                await asyncio.sleep(0)
                if until():
                    stop.set()

            async with httpx.AsyncClient(transport=httpx.MockTransport(self.edge)) as client:
                world = World(client=client, clock=self.clock, sleep=sleep, jitter=lambda: 0.0, checkpoint=checkpoint)
                settled = CourierSettings(**settings)
                await Courier(self.journal, self.documents, self.sources, world=world, settings=settled).run(stop)

        asyncio.run(main())

    def letters(self) -> list[dead_letters.DeadLetter]:
        return dead_letters.find(self.documents, Filter())

    def status(self) -> Any:
        return status_of(self.documents, self.journal, {})

    def close(self) -> None:
        self.journal.close()
        self.documents.close()


def points(edge: FakeEdge) -> dict[str, Any]:
    """Return the points of each member's newest snapshot."""
    return {profile["capillary"]["customerId"]: profile["loyalty"]["points"] for profile in edge.profiles().values()}


def states(rig: Rig) -> dict[str, tuple[MemberState, int]]:
    """Return each member's state with its whole log, and how many parts of it were apart."""
    ledger, found = Ledger(rig.documents), {}
    for name, body in read_states(rig.documents, after="", limit=1000):
        state = load(body)
        parted = state.sealed + parts_of_names(state)
        log_keys = [log_part_key(name, state.opened + number) for number in range(state.sealed)]
        unseal(state, [ledger.log_parts([key])[key] for key in log_keys])
        name_keys = [name_part_key(name, state.names_opened + number) for number in range(parts_of_names(state))]
        unseal_names(state, [ledger.log_parts([key])[key] for key in name_keys])
        found[name] = (state, parted)
    return found
