"""The head of a request that was parsed, by which the next ones of its connection are known without parsing them.

A sender repeats its head byte for byte, but for the digits of Content-Length. A head is remembered only where nothing
else in it could mean something else the next time; whoever sends another one is parsed as ever (docs/adr/0017).
"""

from hmac import compare_digest
from typing import Final

_END: Final = b"\r\n\r\n"
_LENGTH: Final = b"content-length"
_MOST_DIGITS: Final = 9
_UNUSUAL: Final = (b"transfer-encoding", b"expect", b"upgrade", b"content-encoding")


class Head:
    """Finds itself at the start of further requests."""

    def __init__(self, before: bytes, after: bytes) -> None:
        """`before`, `after`: the bytes around the digits of Content-Length."""
        self._text: Final = before + after
        self._before: Final = len(before)
        self._after: Final = len(after)
        self.body_size = 0  #: of the request found last

    def find(self, data: bytes, start: int) -> int:
        """Return where the body starts of the request at `start`, its size in `body_size`; -1 when it has another head.

        A head that is not whole is another one. The comparison takes the same time wherever the first difference is:
        the head holds a secret, and a proxy may send several clients' requests on one connection.
        """
        first = index = start + self._before
        size = 0
        while index < len(data) and index - first < _MOST_DIGITS:
            digit = data[index]
            if digit < 48 or digit > 57:
                break
            size = size * 10 + digit - 48
            index += 1
        body = index + self._after
        if index == first or body > len(data) or not compare_digest(data[start:first] + data[index:body], self._text):
            return -1
        self.body_size = size
        return body


def remembered(packet: bytes, headers: dict[bytes, bytes]) -> Head | None:
    """Return the head of the parsed request that `packet` begins with; None when it is not whole or not a plain one.

    `headers`: what the parser found in it, names in lower case.
    """
    end = packet.find(_END) + len(_END)
    text = packet[:end].lower()
    lines = text.count(b"\r\n")
    if end < len(_END) or text.count(b"\n") != lines or lines != len(headers) + 2 or text.count(_LENGTH) != 1:
        return None  # more headers than names: one was given twice
    if any(name in headers for name in _UNUSUAL):
        return None
    digits = headers.get(_LENGTH, b"")
    first = text.find(digits + b"\r\n", text.find(_LENGTH)) if digits.isdigit() else -1
    if first < 0 or text[:first].rpartition(b"\n")[2].rstrip(b" \t") != _LENGTH + b":":
        return None
    return Head(packet[:first], packet[first + len(digits) : end])
