"""What can be wrong with an expression: found while compiling (Diagnostic) or while running (Fail)."""

from dataclasses import dataclass
from enum import StrEnum

from capstream.lang.nodes import Span


class Code(StrEnum):
    """Kinds of compile errors."""

    TOO_LONG = "too-long"  #: over the length limit
    TOO_DEEP = "too-deep"  #: nested beyond the limit
    SYNTAX = "syntax"  #: does not follow the grammar
    RESERVED = "reserved-word"  #: a reserved word used as a bare name
    UNKNOWN_FUNCTION = "unknown-function"  #: no such function
    UNKNOWN_METHOD = "unknown-method"  #: no such method
    ARGUMENTS = "arguments"  #: wrong number or kind of arguments


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One compile error with its place and, where one is known, its cure."""

    code: Code
    message: str
    span: Span
    hint: str = ""

    def describe(self, source: str) -> str:
        """Return `<message> at <line>:<column>`. Source: data-prep.md 1.5."""
        start = min(self.span.start, len(source))
        line = source.count("\n", 0, start) + 1
        column = start - (source.rfind("\n", 0, start) + 1) + 1
        cure = f"; {self.hint}" if self.hint else ""
        return f"{self.message}{cure} at {line}:{column}"


class ParseError(Exception):
    """The text is no expression. Carries the Diagnostic."""

    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


class Fail(Exception):
    """An expression or conversion has no result for this record (a transform error). The text is for people."""
