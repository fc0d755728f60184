"""`capstream coverage`, and the data it rests on."""

import json

from typer.testing import CliRunner

from capstream import coverage
from capstream.aep import operations
from capstream.cli.main import app


def test_what_was_verified_is_an_operation_that_is_known() -> None:
    known = {(each.service, each.id) for each in operations.load()}
    found = coverage.verified()
    assert found.keys() == coverage.CLIENTS.keys()
    for client, seen in found.items():
        assert seen, client
        assert seen <= known, client


def test_coverage_counts_each_service_and_who_verified_it() -> None:
    done = CliRunner().invoke(app, ["coverage", "--json"])
    assert done.exit_code == 0, done.output
    services = {each["service"]: each for each in json.loads(done.output)["services"]}
    flows = services["flow_service"]
    assert "createFlow" in flows["built"]
    assert "createFlow" in set(flows["verified"]["curl"]) & set(flows["verified"]["aepp"]) & set(flows["verified"]["contract"])
    for service in services.values():
        assert all(set(seen) <= set(service["built"]) for seen in service["verified"].values())
    shown = CliRunner().invoke(app, ["coverage"], env={"COLUMNS": "200"})
    assert "Flow Service" in shown.output
