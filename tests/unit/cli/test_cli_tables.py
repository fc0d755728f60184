"""What commands print can be copied, and says why files are left alone."""

import io
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from capstream.cli import backfill
from capstream.cli.backfill import Report
from capstream.cli.printing import folded, table


def test_a_long_cell_is_broken_and_not_cut_off() -> None:
    made, out = folded("what", "value"), io.StringIO()
    made.add_row("inlet_url", Text("x" * 300))
    Console(file=out, width=80).print(made)
    assert out.getvalue().count("x") == 300


def test_a_pipe_gets_wide_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table([{"id": "x" * 100, "reason": "y" * 100}], (("id", "id"), ("reason", "reason")), json=False)
    assert f"{'x' * 100} │ {'y' * 100}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("report", "told"),
    [
        ({"others": ["Members_2.csv"]}, "its name states no template that is imported (…"),
        ({"others": ["Points.csv"]}, "--cutover"),
        ({}, "there is no export"),
        ({"files": [{"name": "Members.csv"}]}, ""),
    ],
)
def test_files_that_are_left_alone_are_told_with_the_reason(
    report: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    made = Report(**{"counts": {}, "files": [], "rejects": [], "others": [], "failures": {}, **report})
    backfill._report(made, json=False)
    err = capsys.readouterr().err
    assert told in err
    assert bool(told) == bool(err)
