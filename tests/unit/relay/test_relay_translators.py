"""Batches that are shared with translators have the effect of those the courier does alone, whatever comes and whoever fails."""

import asyncio
import contextlib
import json
import tempfile
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvloop
from conftest import event_body
from fake_edge import FakeEdge
from hypothesis import given
from hypothesis import strategies as st
from relay_rig import PROFILE, Rig, states

from capstream.relay import part, wire
from capstream.relay import translators as translators_module
from capstream.relay.courier import Courier, CourierSettings, World
from capstream.relay.journal import command, tally
from capstream.relay.ledger import read_counters
from capstream.relay.part import Part
from capstream.relay.records import Record
from capstream.relay.shares import NOBODYS, Shares
from capstream.relay.sources import Sources
from capstream.relay.translator import Translator, serve_courier
from capstream.relay.translators import Translators, Unshareable
from capstream.storage.sqlite import SqliteDocuments

MEMBERS, ROUNDS, PORTION = 24, 30, 20
Crash = Callable[[str], None]


class Shared(Rig):
    """The rig with translators in the same process, on a local socket as theirs."""

    begun = 0

    def drain_shared(
        self, translators: int, *, crash: Crash = lambda _name: None, wait_for: bool = True, **settings: Any
    ) -> None:
        async def sleep(seconds: float) -> None:
            self.clock.advance(seconds)
            await asyncio.sleep(0)

        async def come(socket: Path) -> None:
            documents = SqliteDocuments(Path(self.folder, "courier.db"), readonly=True)
            while True:
                with contextlib.suppress(RuntimeError):  # what a crash is here
                    await serve_courier(Translator(documents, self.sources, self.clock, checkpoint=crash), socket)
                await asyncio.sleep(0.001)

        async def main() -> None:
            there, stop = Translators(), asyncio.Event()
            with tempfile.TemporaryDirectory(prefix="cap-") as folder:
                socket = Path(folder, "s")
                tasks = [asyncio.create_task(there.listen(socket, stop))]
                await asyncio.sleep(0.01)
                tasks += [asyncio.create_task(come(socket)) for _ in range(translators)]
                while wait_for and len(there._waiting) < translators:
                    await asyncio.sleep(0.001)
                async with httpx.AsyncClient(transport=httpx.MockTransport(self.edge)) as client:
                    world = World(client=client, clock=self.clock, sleep=sleep, jitter=lambda: 0.0)
                    made = CourierSettings(**{"portion": PORTION, "portions": 8, "batch_ms": 10**9} | settings)
                    courier = Courier(self.journal, self.documents, self.sources, world=world, settings=made, translators=there)
                    await courier.drain()
                stop.set()
                for task in tasks[1:]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run(main())


@pytest.fixture
def both(tmp_path: Path, sources: Sources, clock: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Rig, Shared]]:
    """Two rigs that receive the same; the second counts how often sharing began."""
    (tmp_path / "alone").mkdir()
    (tmp_path / "shared").mkdir()
    alone, shared = Rig(tmp_path / "alone", sources, clock), Shared(tmp_path / "shared", sources, clock)
    shared.folder = tmp_path / "shared"
    begin = Translators.begin

    async def counted(self: Translators, programs: bytes, **options: int) -> int:
        shared.begun += 1
        return await begin(self, programs, **options)

    monkeypatch.setattr(Translators, "begin", counted)
    yield alone, shared
    alone.close()
    shared.close()


def webhook(number: int, customer: int, name: str = "pointsIssued", **data: Any) -> bytes:
    return json.dumps(event_body(number, customer=customer, name=name, **data), separators=(",", ":")).encode()


def stream(*, rounds: int = ROUNDS) -> list[bytes]:
    """Points of all members in turn, every fifth event a bill, which shows with the next points: those of the last round."""
    found, last = [], MEMBERS * (rounds - 1)
    for number in range(1, MEMBERS * rounds + 1):
        customer = 900_000_001 + number % MEMBERS
        bill = {"transactionId": number, "billNumber": f"B-{number}", "amount": 10.5, "billDate": 1_731_000_000_000}
        found.append(
            webhook(number, customer, "transactionAdded", **bill)
            if number % 5 == 0 and number <= last
            else webhook(number, customer)
        )
    return found


def order(edge: FakeEdge) -> dict[str, list[str]]:
    """Return the ids of each member's events as they arrived, each once."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for message in edge.accepted.get("flow-event", []):
        found[message["capillary"]["customerId"]][message["_id"]] = None
    return {member: list(ids) for member, ids in found.items()}


def compare(alone: Rig, shared: Rig) -> None:
    assert shared.edge.events() == alone.edge.events()
    assert order(shared.edge) == order(alone.edge)
    newest, wanted = shared.edge.profiles(), alone.edge.profiles()
    assert newest == wanted
    assert {name: state for name, (state, _) in states(shared).items()} == {
        name: state for name, (state, _) in states(alone).items()
    }
    ours, theirs = (read_counters(rig.documents)["nw"] for rig in (shared, alone))
    ignored = {"delivered.profile", "payloads.profile", "delivered.event"}  # batches end elsewhere; what is repeated counts again
    for day, counts in theirs.items():
        named = {name for name in counts if name not in ignored and not name.startswith("lag")}
        assert {name: ours[day][name] for name in named} == {name: counts[name] for name in named}
    assert [letter.class_ for letter in shared.letters()] == [letter.class_ for letter in alone.letters()]
    assert shared.status()["journal"]["pending"] == 0


def run_both(both: tuple[Rig, Shared], bodies: Sequence[bytes], translators: int = 1, **options: Any) -> None:
    alone, shared = both
    for rig in both:
        rig.receive(*bodies)
    alone.drain(**{name: value for name, value in options.items() if name.endswith("_bytes")})
    shared.drain_shared(translators, **options)
    compare(alone, shared)


@pytest.mark.parametrize("translators", [1, 2, 3])
def test_translators_make_what_the_courier_makes_alone(both: tuple[Rig, Shared], translators: int) -> None:
    run_both(both, stream(), translators)
    assert both[1].begun == 1


@pytest.mark.parametrize("memory", [{"member_bytes": 0}, {"log_bytes": 1}, {"member_bytes": 30_000, "log_bytes": 200}])
def test_with_little_memory_states_and_logs_come_and_go_as_well(both: tuple[Rig, Shared], memory: dict[str, int]) -> None:
    run_both(both, stream(), **memory)
    assert both[1].begun


@pytest.mark.parametrize("translators", [1, 2])
def test_the_end_of_a_batch_comes_in_pieces(both: tuple[Rig, Shared], translators: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part, "_PIECE", 2)
    run_both(both, stream(), translators, log_bytes=1)
    assert both[1].begun == 1


def test_what_is_nobodys_ends_the_sharing_for_a_while(both: tuple[Rig, Shared]) -> None:
    """A merge of two members, a replay of everything, a body that is no webhook, counted repeats."""
    bodies = stream()
    merge = {
        "survivorCustomerIdentifiers": {"customerId": 900_000_001},
        "victimCustomerIdentifiers": {"customerId": 900_000_002},
    }
    bodies[200] = webhook(9001, 0, "loyaltyCustomerMerge", customerIdentifiers={}, **merge)
    bodies[300] = b"{no webhook"
    bodies[301] = webhook(9002, 900_000_003, customerIdentifiers={"customerId": 900_000_003.0})
    run_both(both, bodies)
    assert both[1].begun > 1
    for rig in both:
        rig.journal.append([command("replay_range", rig.clock(), range={}), tally({"nw": 3}, rig.clock())])
        rig.receive(*stream(rounds=40)[MEMBERS * ROUNDS :])
    both[0].drain()
    both[1].drain_shared(1)
    compare(*both)


def test_events_of_a_merged_member_go_to_who_has_the_survivor(both: tuple[Rig, Shared]) -> None:
    """They name a member of one process and change the state of another's: such a batch is done alone."""
    merges = [
        webhook(
            9000 + victim,
            0,
            "loyaltyCustomerMerge",
            customerIdentifiers={},
            survivorCustomerIdentifiers={"customerId": 900_000_001},
            victimCustomerIdentifiers={"customerId": 900_000_000 + victim},
        )
        for victim in range(2, 8)
    ]
    run_both(both, [*stream(rounds=1), *merges, *stream()[MEMBERS:]])
    assert both[1].begun


@pytest.mark.parametrize("at", [0, 333, 700])
def test_news_of_a_programme_are_learnt_in_order(both: tuple[Rig, Shared], at: int) -> None:
    bodies = stream()
    details = {"id": 4101, "name": "Circle", "isDefault": True, "tiers": [{"tierNumber": 1, "tierName": "Copper"}]}
    for number in range(at, len(bodies)):
        body = json.loads(bodies[number])
        if "loyaltyProgramDetails" in body["data"]:
            body["data"]["loyaltyProgramDetails"] = details
        bodies[number] = json.dumps(body, separators=(",", ":")).encode()
    run_both(both, bodies)
    assert both[1].begun


def test_a_webhook_that_only_seems_to_be_about_a_member_is_translated_alone(both: tuple[Rig, Shared]) -> None:
    """The name of the member is spelt oddly; what looks like it stands elsewhere."""
    bodies = stream()
    for number in (250, 251, 252, 253):
        body = json.loads(bodies[number])
        identifiers = body["data"]["customerIdentifiers"]
        identifiers[" CustomerID "] = identifiers.pop("customerId")
        body["data"]["enteredBy"] = {"customerId": 900_000_000 + number}
        bodies[number] = json.dumps(body, separators=(",", ":")).encode()
    run_both(both, bodies)
    assert both[1].begun


@pytest.mark.parametrize("step", range(1, 40, 3))
def test_a_translator_that_dies_takes_nothing_with_it(
    both: tuple[Rig, Shared], step: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a portion or between two pieces of the end of a batch."""
    monkeypatch.setattr(part, "_PIECE", 2)
    left = [step]

    def crash(_: str) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise RuntimeError

    run_both(both, stream(), 2, crash=crash)
    assert left[0] <= 0


def test_a_dataflow_that_is_down_ends_the_sharing_and_is_caught_up(both: tuple[Rig, Shared]) -> None:
    alone, shared = both
    for rig in both:
        rig.receive(*stream())
        rig.edge.script(*[_once_down()] * 3)
    alone.drain()
    shared.drain_shared(1)
    compare(alone, shared)


def _once_down() -> Callable[[str, list[dict[str, Any]]], httpx.Response | None]:
    seen = [12]

    def answer(flow_id: str, _: list[dict[str, Any]]) -> httpx.Response | None:
        seen[0] -= flow_id == PROFILE
        return httpx.Response(503, json={}) if flow_id == PROFILE and seen[0] < 0 else None

    return answer


def test_without_translators_the_courier_goes_on_alone(both: tuple[Rig, Shared]) -> None:
    run_both(both, stream(), 0)
    assert not both[1].begun


def test_courier_and_translator_never_wait_for_each_other() -> None:
    """Both have more to say than any buffer holds, and neither has heard the other yet."""
    much = [(number, bytes(1_000_000)) for number in range(24)]

    async def translator(socket: Path) -> None:
        reader, writer = await asyncio.open_unix_connection(socket)
        writer.transport.set_write_buffer_limits(0)
        while (frame := await wire.read(reader)) is not None:
            if frame[0] is wire.Order.TAKE:
                payloads = [Record("id", "member", record, offset) for offset, record in wire.entries(frame[1])]
                await wire.send(writer, wire.Order.TAKE, part.encode(Part(payloads={"nw": (payloads, [])})))
        writer.close()
        await writer.wait_closed()

    async def main(socket: Path) -> list[int]:
        there, stop = Translators(), asyncio.Event()
        tasks = [asyncio.create_task(there.listen(socket, stop))]
        await asyncio.sleep(0.01)
        tasks.append(asyncio.create_task(translator(socket)))
        while not there.are_there():
            await asyncio.sleep(0.001)
        async with asyncio.timeout(30):
            await there.begin(b"", member_bytes=0, log_bytes=0)
            await there.take([much])
            await asyncio.sleep(0.2)
            await there.take([much])
            found = [len((await there.parts())[0].payloads["nw"][0]) for _ in range(2)]
        stop.set()
        await asyncio.gather(*tasks)
        return found

    with tempfile.TemporaryDirectory(prefix="cap-") as folder:
        assert asyncio.run(main(Path(folder, "s"))) == [24, 24]


async def _with_one(translators: Translators, socket: Path, talk: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    """Let somebody come who reads nothing, and talk to the translators meanwhile."""
    stop = asyncio.Event()
    listening = asyncio.create_task(translators.listen(socket, stop))
    await asyncio.sleep(0.01)
    _, writer = await asyncio.open_unix_connection(socket)
    while not translators.are_there():
        await asyncio.sleep(0.001)
    await talk(writer)
    translators.send_away()
    stop.set()
    await listening
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@pytest.mark.parametrize("runner", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_a_translator_that_takes_nothing_or_is_gone_holds_nobody_up(runner: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translators_module, "_PATIENCE_S", 0.2)
    much = [(1, bytes(8_000_000))]
    there = Translators()

    async def talk(writer: asyncio.StreamWriter) -> None:
        await there.begin(b"", member_bytes=0, log_bytes=0)
        with pytest.raises(Unshareable, match="takes nothing"):
            await there.take([much])
        writer.transport.abort()
        await asyncio.sleep(0.05)
        there.settled()
        with pytest.raises(Unshareable, match="gone"):
            await there.take([much])

    with tempfile.TemporaryDirectory(prefix="cap-") as folder:
        socket = Path(folder, "s")
        runner(_with_one(there, socket, talk))
        assert socket.stat().st_mode & 0o777 == 0o600


def test_where_there_can_be_no_socket_the_courier_does_without(tmp_path: Path) -> None:
    async def main(path: Path) -> bool:
        there, stop = Translators(), asyncio.Event()
        listening = asyncio.create_task(there.listen(path, stop))
        await asyncio.sleep(0.05)
        stop.set()
        await listening
        return there.are_there()

    assert not asyncio.run(main(tmp_path / "missing" / "s"))
    assert not asyncio.run(main(tmp_path / ("long" * 40)))


CUSTOMERS = st.integers(1, 10**15).map(str)
BLANKS = st.sampled_from(["", " ", "\n  "])


@given(
    customer=CUSTOMERS, translators=st.integers(1, 8), quoted=st.booleans(), blank=BLANKS, end=st.sampled_from([",", "}", " }"])
)
def test_a_body_goes_to_who_has_the_member_it_names(customer: str, translators: int, quoted: bool, blank: str, end: str) -> None:
    shares = Shares(translators)
    value = f'"{customer}"' if quoted else customer
    body = f'{{"data":{{"customerIdentifiers":{{"customerId":{blank}{value}{end}'.encode()
    assert shares.of_webhook(body) == shares.of_customer(customer)
    assert 0 <= shares.of_customer(customer) <= translators


@given(first=CUSTOMERS, second=CUSTOMERS, translators=st.integers(1, 8))
def test_a_body_that_names_members_of_several_is_nobodys(first: str, second: str, translators: int) -> None:
    shares = Shares(translators)
    body = f'{{"customerId":{first},"x":{{"customerId":"{second}"}}}}'.encode()
    owners = {shares.of_customer(first), shares.of_customer(second)}
    assert shares.of_webhook(body) == (owners.pop() if len(owners) == 1 else NOBODYS)


ODD = ["900000101.0", "9e8", "null", '"A-1"', "-1", "007", '" 7"', "true", "{}", '"7', "12345678901234567890123456"]


@pytest.mark.parametrize("value", ODD)
def test_what_takes_a_parser_to_tell_is_nobodys(value: str) -> None:
    assert Shares(1).of_webhook(f'{{"customerId":{value}}}'.encode()) == NOBODYS


def test_each_process_has_about_the_members_it_can_do() -> None:
    for translators, own in ((1, 0.35), (2, 0.13), (3, 0.03)):
        shares = Shares(translators)
        owners = [shares.of_customer(str(900_000_000 + number)) for number in range(20_000)]
        assert abs(owners.count(0) / len(owners) - own) < 0.04
        assert set(owners) == set(range(translators + 1))
