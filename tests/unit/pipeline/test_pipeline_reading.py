"""Messages decoded into what their mapping set reads."""

import pytest

from capstream.aep.data_prep.compiler import Program, compile_mapping_set
from capstream.aep.pipeline.reading import reader
from capstream.aep.streaming_ingestion.messages import Form
from capstream.kernel.json import dumps

RECORD = {"a": {"b": "x", "unread": [1]}, "items": [{"n": 1}, {"n": 2}]}
MAPPED = ({"y": "x", "n": [1, 2]}, [])


def _program() -> Program:
    rows = [("a.b", "y"), ("items[0].n", "n[0]"), ("items[1].n", "n[1]")]
    return compile_mapping_set({"mappings": [{"source": source, "destination": to} for source, to in rows]}, None)


@pytest.mark.parametrize(
    ("form", "message", "fits"),
    [
        ("A", {"header": {"source": {"name": "s"}, "flowId": "f"}, "body": {"xdmMeta": {}, "xdmEntity": RECORD}}, True),
        ("A", {"header": {}, "body": {"xdmEntity": RECORD}}, True),
        ("A", {"header": {"source": {"name": ""}}, "body": {"xdmEntity": RECORD}}, False),
        ("A", {"header": "h", "body": {"xdmEntity": RECORD}}, False),
        ("A", {"body": {"xdmEntity": [RECORD]}}, False),
        ("A", {"body": RECORD}, False),
        ("B", RECORD, True),
        ("B", [RECORD], False),
        ("B", RECORD | {"a": "b"}, False),
        ("C", {"header": {}, "body": RECORD}, True),
        ("C", {"header": {}}, False),
    ],
)
def test_records_are_taken_out_of_every_form(form: Form, message: object, fits: bool) -> None:
    typed = _program().typed()
    assert typed is not None
    assert reader(typed, form).mapped(dumps(message)) == (MAPPED if fits else None)


@pytest.mark.parametrize("message", [b"", b"{", b'{"a": {"b": "\xff"}}', b'{"a": ' + b"[" * 100_000, b'{"a": {"b": 1e999}}'])
def test_what_cannot_be_decoded_is_left_to_who_can_tell_why(message: bytes) -> None:
    typed = _program().typed()
    assert typed is not None
    assert reader(typed, "B").mapped(message) is None


def test_records_that_never_fit_are_tried_no_longer() -> None:
    typed = _program().typed()
    assert typed is not None
    read = reader(typed, "B")
    fitting, other = dumps(RECORD), dumps(RECORD | {"a": []})
    for _ in range(100):
        assert read.mapped(other) is None
    assert read.mapped(fitting) == MAPPED
    for _ in range(101):
        assert read.mapped(other) is None
    assert read.mapped(fitting) is None
