"""The services that run mapping sets heed their flags, and compile each version once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_world import INLET, MEMBER_FLOW, MEMBERS, PROD, World

from capstream.aep.data_prep.compiler import Program
from capstream.aep.data_prep.model import MappingSets
from capstream.aep.flow_service.model import Flows, Route, State
from capstream.aep.flow_service.processing import Plan, Plans
from capstream.aep.streaming_ingestion.synchronous import SynchronousValidation

SET = "6f2c" * 8
ROWS = [
    {"sourceType": "ATTRIBUTE", "source": "pts", "destination": "loyalty.points"},
    {"sourceType": "ATTRIBUTE", "source": "level", "destination": "loyalty.tier"},
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def save(world: World, version: int, **flags: Any) -> None:
    MappingSets(world.control).save(PROD.id, {"id": SET, "version": version, "mappings": ROWS, **flags})
    world.save_route(MEMBER_FLOW, MEMBERS, mapping_id=SET, mapping_version=version)


def program(plans: Plans) -> Program:
    plan = plans.plan(INLET, MEMBER_FLOW, "")
    assert isinstance(plan, Plan)
    assert plan.program is not None
    return plan.program


def test_the_pipeline_heeds_the_flags_of_a_set(world: World) -> None:
    plans = Plans(world.control, world.registry)
    save(world, 0)
    assert program(plans)({"pts": None}) == ({}, [])
    save(world, 1, allowNullValues=True)
    assert program(plans)({"pts": None})[0] == {"loyalty": {"points": None}}
    save(world, 2, strictMapping=True)
    output, problems = program(plans)({"pts": 1})
    assert output == {"loyalty": {"points": 1}}
    assert [problem.destination for problem in problems] == ["loyalty.tier"]


def test_a_version_is_compiled_once_and_a_new_schema_compiles_it_anew(world: World) -> None:
    plans = Plans(world.control, world.registry)
    save(world, 0)
    first = program(plans)
    save(world, 1, name="changed")
    second = program(plans)
    save(world, 0)
    assert program(plans) is first
    assert second is not first
    world.grow_schema(MEMBERS, "context/profile-personal-details")
    assert program(plans) is not first


def test_synchronous_validation_heeds_them_too(world: World) -> None:
    check = SynchronousValidation(world.registry, MappingSets(world.control))

    def violations(version: int) -> list[str]:
        route = Flows(world.control).route(MEMBER_FLOW)
        assert isinstance(route, Route)
        assert route.mapping_version == version
        return [one.pointer for one in check(route, {"pts": None})]

    save(world, 0)
    plain = violations(0)
    save(world, 1, allowNullValues=True)
    assert set(violations(1)) - set(plain) == {"#/loyalty/points"}


def test_who_uses_a_set(world: World) -> None:
    flows = Flows(world.control)
    assert flows.using(PROD.id, SET) == []
    save(world, 0)
    assert [route.flow_id for route in flows.using(PROD.id, SET)] == [MEMBER_FLOW]
    assert flows.using("another sandbox", SET) == []
    world.save_route(MEMBER_FLOW, MEMBERS, mapping_id=SET, state=State.DISABLED)
    assert [route.state for route in flows.using(PROD.id, SET)] == [State.DISABLED]
