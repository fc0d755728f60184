"""A run as it is stored. `run_form` gives it Flow Service's form."""

import msgspec

HOUR_MS = 3_600_000


class FileFacts(msgspec.Struct, array_like=True):
    """What a file run has besides."""

    taken: int = 0  #: files
    skipped: int = 0
    size: int = 0  #: bytes of the files
    fetched_ms: int = 0
    window_start_s: int = 0
    problems: list[tuple[str, str]] = []  #: (code, message): each of them fails the run


class RunRecord(msgspec.Struct, array_like=True):
    """A run as it is stored."""

    id: str
    org_id: str
    sandbox_id: str
    sandbox_name: str
    flow_id: str
    flow_spec_id: str
    source_connection_id: str
    target_connection_id: str
    inlet_id: str
    hour: int  #: hours since 1970; of a file run its beginning in epoch milliseconds
    created_ms: int
    updated_ms: int
    etag: str
    status: str = "inProgress"
    completed_ms: int = 0
    received: int = 0
    written: int = 0
    created: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    failed: int = 0
    warnings: int = 0
    input_bytes: int = 0
    output_bytes: int = 0
    output_files: int = 0
    min_ms: int = -1
    max_ms: int = 0
    total_ms: int = 0
    batch_ids: list[str] = []  #: success batches, newest last
    failed_batch_id: str = ""
    errors: dict[str, tuple[str, int]] = {}  #: code -> (message, records)
    partial_percent: float | None = None
    diagnostics: bool = False
    files: FileFacts | None = None  #: None for runs of streaming flows

    @property
    def started_ms(self) -> int:
        return self.hour if self.files is not None else self.hour * HOUR_MS
