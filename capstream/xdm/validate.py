"""Validation of records against an effective schema, as strict as streaming ingestion. Source: xdm.md 11.

Two halves: `fast` accepts nearly every valid record in a few microseconds; only what it does not accept is walked by
`violations`, which knows every rule and words the answer.
"""

from collections.abc import Callable

from capstream.kernel.json import Json
from capstream.xdm.fast import compile_sure
from capstream.xdm.schema import Schema
from capstream.xdm.violations import LIMIT, Violation, violations

Validator = Callable[[Json], list[Violation]]


def compile_validator(schema: Schema) -> Validator:
    """Return a function: record -> its violations, none when it is valid, at most five."""
    root = schema.root
    sure = compile_sure(root)

    def validate(record: Json) -> list[Violation]:
        return [] if sure(record) else violations(root, record)

    return validate


def part_validator(schema: Schema) -> Validator:
    """Return the same for parts of records. Nothing here is quick: `fast` knows whole records only."""
    root = schema.root
    return lambda record: violations(root, record, partial=True)


__all__ = ["LIMIT", "Validator", "Violation", "compile_validator", "part_validator"]
