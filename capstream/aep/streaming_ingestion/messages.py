"""The record of one accepted message in the inlet log: what the collection endpoints append and the pipeline reads."""

from typing import Literal

import msgspec

Form = Literal["A", "B", "C"]
"""A: XDM envelope, B: raw record, C: enveloped raw record. Source: streaming-ingestion.md 3."""


class Accepted(msgspec.Struct, array_like=True, frozen=True):
    """One message as it was received, with what the endpoint resolved about it. Stored as MessagePack."""

    xaction_id: str  #: trace id given to the sender; becomes `_acp_system_metadata.trackingId`
    inlet_id: str  #: of a file run's rows the mark of the run: they came through no inlet
    flow_id: str  #: empty when the message was routed by its dataset alone
    dataset_id: str  #: target dataset; empty when none could be resolved
    received_ms: int
    form: Form
    authenticated: bool
    refusal: str  #: empty when accepted; else the per-message 400 text: counted and kept, never mapped
    data_operation: str  #: `header.operations.data`: empty, `create`, `merge` or `delete`
    identity_operation: str  #: `header.operations.identity`: empty or `create`
    identity_dataset_id: str
    message: bytes  #: the JSON text of the message, envelope included


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Accepted)

encode = _encoder.encode
"""Return the bytes of an Accepted for the log."""

decode = _decoder.decode
"""Return the Accepted of log bytes."""
