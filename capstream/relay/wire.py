"""What courier and translators say to each other on a local socket: a length, an order, its content in MessagePack."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from enum import IntEnum

import msgspec

_HEAD = struct.Struct("<IB")


class Order(IntEnum):
    """What the courier wants. TAKE, CLOSE and MORE are answered, under the same name."""

    OPEN = 1  #: forget everything, and begin to translate the members of a share
    TAKE = 2  #: translate journal entries into the batch
    CLOSE = 3  #: end the batch
    SETTLED = 4  #: the oldest batch that was ended is settled
    REST = 5  #: forget everything: who was taken out of the books must not stay in memory
    MORE = 6  #: say the next piece of what the end of the batch has


class Opening(msgspec.Struct, array_like=True, frozen=True):
    """What a translator needs to begin."""

    translators: int  #: how many there are
    number: int  #: which of them this one is, from 1 on
    member_bytes: int
    log_bytes: int
    programs: bytes  #: what the courier knows about programmes


Entries = Sequence[tuple[int, bytes]]
"""(offset, record) of the journal."""

encode: Callable[[object], bytes] = msgspec.msgpack.Encoder().encode
"""Return the content of an order."""

opening: Callable[[bytes], Opening] = msgspec.msgpack.Decoder(Opening).decode
entries: Callable[[bytes], list[tuple[int, bytes]]] = msgspec.msgpack.Decoder(list[tuple[int, bytes]]).decode


async def send(writer: asyncio.StreamWriter, order: Order, content: bytes = b"") -> None:
    """Send an order, or the answer to one; wait until it is on its way. Errors: OSError."""
    put(writer, order, content)
    await writer.drain()


def put(writer: asyncio.StreamWriter, order: Order, content: bytes = b"") -> None:
    """Send something small without waiting."""
    writer.writelines((_HEAD.pack(len(content), order), content))


async def read(reader: asyncio.StreamReader) -> tuple[Order, bytes] | None:
    """Return the next order and its content, None when the other side has hung up."""
    try:
        size, order = _HEAD.unpack(await reader.readexactly(_HEAD.size))
        return Order(order), await reader.readexactly(size)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
