"""The error tree, drawn by who must act.

CapstreamError
├── InputError     the caller must mend the input; names the place, the reason and the cure
├── Transient      nobody needs to act: wait, then try again; may carry `retry_after_s`
└── Permanent      trying again cannot help: keep it as a dead letter
Everything else that is raised is a bug.
"""


class CapstreamError(Exception):
    """Any failure capstream foresees."""


class InputError(CapstreamError):
    """The caller's input is wrong. `path` says where, `reason` what, `cure` how to mend it."""

    def __init__(self, path: str, reason: str, cure: str = "") -> None:
        super().__init__(f"{path}: {reason}" + (f" ({cure})" if cure else ""))
        self.path = path
        self.reason = reason
        self.cure = cure


class Transient(CapstreamError):
    """It failed now and may work later. `retry_after_s` is the other side's wish, in seconds."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after_s = retry_after_s


class Permanent(CapstreamError):
    """It will never work as it is. `code` is the stable class of the failure."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
