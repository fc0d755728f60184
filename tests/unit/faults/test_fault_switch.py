"""The fault switch over HTTP: the platform's own gateway on a real port, a real client, one fault of each kind."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from running import free_port

from capstream import app, config, own_api, platform_side
from capstream.credentials import Credentials
from capstream.faults.layer import with_faults
from capstream.faults.mixed import refused_of
from capstream.faults.model import KINDS, Switch
from capstream.kernel.errors import InputError
from capstream.layout import Layout
from capstream.serving.port import serve

Story = Callable[[httpx.AsyncClient], Awaitable[None]]
FAULTS = "/capstream/faults"
BATCH = "/collection/batch/9d41"


class Edge:
    """An application behind the layer that keeps what reached it and answers as the inlet does."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.tokens_revoked: list[str] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"]
        messages = json.loads(body)["messages"] if body else []
        self.messages += messages
        answer = json.dumps({"inletId": "9d41", "responses": [{"xactionId": f"u-{message}"} for message in messages]}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 207, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


class World:
    def __init__(self) -> None:
        self.edge = Edge()
        self.now_ms = 0
        self.dice = 0.0
        self.switch = Switch(["ims", "streaming_ingestion"], lambda: self.now_ms, lambda: self.dice)

    def run(self, story: Story) -> None:
        layer = with_faults(
            self.edge,
            self.switch,
            lambda _, path: "streaming_ingestion" if path.startswith("/collection") else "",
            self.edge.tokens_revoked.append,
        )
        asyncio.run(served(layer, story))


async def served(application: Any, story: Story) -> None:
    stop, ready, port = asyncio.Event(), asyncio.Event(), free_port()
    options = {"host": "127.0.0.1", "port": port, "body_limit": 1000, "stop": stop, "ready": ready.set}
    serving = asyncio.create_task(serve(application, own_api.no_relay, **options))  # type: ignore[arg-type]
    await ready.wait()
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=0.5) as client:
            await story(client)
    finally:
        stop.set()
        await serving


@pytest.fixture
def world() -> World:
    return World()


async def post(client: httpx.AsyncClient, *messages: int) -> httpx.Response:
    return await client.post(BATCH, json={"messages": list(messages)}, headers={"authorization": "Bearer t-1"})


WHOLE = [
    pytest.param({"kind": "status", "status": 429, "retryAfterS": 7}, 429, [], id="status"),
    pytest.param({"kind": "status", "status": 500, "handled": True}, 500, [1, 2], id="status after the effect"),
    pytest.param({"kind": "delay", "delayS": 0.01}, 207, [1, 2], id="delay"),
    pytest.param({"kind": "delay", "delayS": 600}, httpx.ReadTimeout, [], id="delay beyond the client's patience"),
    pytest.param({"kind": "reset"}, httpx.ReadError, [], id="reset"),
    pytest.param({"kind": "reset", "handled": True}, httpx.ReadError, [1, 2], id="reset after the effect"),
    pytest.param({"kind": "half"}, httpx.RemoteProtocolError, [1, 2], id="half"),
    pytest.param({"kind": "drip", "bytes": 8, "delayS": 0.001}, 207, [1, 2], id="drip"),
    pytest.param({"kind": "drip", "bytes": 8, "delayS": 600}, httpx.ReadTimeout, [1, 2], id="drip that stalls"),
    pytest.param({"kind": "revoke"}, 207, [1, 2], id="revoke"),
]


@pytest.mark.parametrize(("fault", "expected", "effect"), WHOLE)
def test_one_call_meets_the_fault_and_the_next_does_not(world: World, fault: Any, expected: Any, effect: list[int]) -> None:
    world.switch.set([{"route": "inlet", "count": 1, **fault}], replace=False)

    async def story(client: httpx.AsyncClient) -> None:
        if isinstance(expected, int):
            answer = await post(client, 1, 2)
            assert answer.status_code == expected
            assert answer.headers.get("retry-after") == (str(fault["retryAfterS"]) if "retryAfterS" in fault else None)
            assert answer.json()["status"] == expected if expected != 207 else len(answer.json()["responses"]) == 2
        else:
            with pytest.raises(expected):
                await post(client, 1, 2)
        assert world.edge.messages == effect
        assert world.edge.tokens_revoked == (["t-1"] if fault["kind"] == "revoke" else [])
        assert (await post(client, 3)).status_code == 207
        assert not world.switch.all()

    world.run(story)


def test_a_wrong_body_has_the_status_of_the_right_one_and_is_no_json(world: World) -> None:
    world.switch.set([{"route": "inlet", "kind": "wrong_json"}], replace=False)

    async def story(client: httpx.AsyncClient) -> None:
        answer = await post(client, 1)
        assert answer.status_code == 207
        with pytest.raises(ValueError, match="Expecting"):
            answer.json()
        assert world.edge.messages == [1]

    world.run(story)


@pytest.mark.parametrize(("share", "taken"), [(0.5, [1, 3]), (0.25, [1, 2, 3]), (1.0, [])])
def test_a_mixed_answer_tells_the_truth_about_each_message(world: World, share: float, taken: list[int]) -> None:
    world.switch.set([{"route": "inlet", "kind": "mixed_207", "records": share, "status": 429}], replace=False)

    async def story(client: httpx.AsyncClient) -> None:
        elements = (await post(client, 0, 1, 2, 3)).json()["responses"]
        told = [at for at, element in enumerate(elements) if "status" not in element]
        assert told == world.edge.messages == taken
        assert all(element["status"] == element["statusCode"] == 429 for element in elements if "status" in element)
        assert all(element["xactionId"].endswith(f"-{at}") for at, element in enumerate(elements))

    world.run(story)


@pytest.mark.parametrize(("messages", "share", "refused"), [(1, 0.01, 1), (10, 0.3, 3), (7, 1.0, 7), (0, 1.0, 0)])
def test_the_refused_messages_are_as_many_as_asked_for(messages: int, share: float, refused: int) -> None:
    assert len(refused_of(messages, share)) == refused


def test_share_time_and_route_decide(world: World) -> None:
    route = {"kind": "status", "route": "POST /collection/*"}
    world.switch.set([{**route, "share": 0.5, "seconds": 10}], replace=False)
    strike = world.switch.strike
    world.dice = 0.6
    assert strike("POST", "/collection/1", "") is None, "outside the share"
    world.dice = 0.4
    assert strike("GET", "/collection/1", "") is None, "another method"
    assert strike("POST", "/other", "") is None, "another path"
    assert strike("POST", "/collection/1", "") is not None
    world.now_ms = 10_000
    assert strike("POST", "/collection/1", "") is None, "its time is over"
    assert world.switch.is_off()


BAD = [
    ({"kind": "status"}, "route"),
    ({"route": "inlet", "kind": "explode"}, "kind"),
    ({"route": "inlets", "kind": "status"}, "route"),
    ({"route": "FETCH /x", "kind": "status"}, "route"),
    ({"route": "inlet", "kind": "status", "share": 1.5}, "share"),
    ({"route": "inlet", "kind": "status", "status": 199}, "status"),
    ({"route": "inlet", "kind": "status", "status": 204}, "status"),
    ({"route": "inlet", "kind": "mixed_207", "status": 302}, "status"),
    ({"route": "inlet", "kind": "status", "count": 0}, "count"),
    ({"route": "inlet", "kind": "status", "often": 1}, "often"),
    ("inlet", "object"),
]


@pytest.mark.parametrize(("body", "named"), BAD)
def test_a_wrong_fault_is_refused_by_name_and_changes_nothing(world: World, body: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        world.switch.set([{"route": "ims", "kind": "reset"}, body], replace=True)
    assert world.switch.is_off()


def test_the_whole_platform_has_the_switch(tmp_path: Path) -> None:
    settings = config.load({}, data=tmp_path)
    who = app.prepare(settings)
    side = platform_side.build(settings, Layout(settings.data))
    asyncio.run(served(side.gateway(side.mounts), lambda client: _platform_story(client, who)))


async def _platform_story(client: httpx.AsyncClient, who: Credentials) -> None:
    basic = httpx.BasicAuth(who.client_id, who.client_secret)
    form = {"grant_type": "client_credentials", "client_id": who.client_id, "client_secret": who.client_secret}

    async def token() -> httpx.Response:
        return await client.post("/ims/token/v3", data=form | {"scope": who.scopes})

    bearer = {"authorization": f"Bearer {(await token()).json()['access_token']}"}
    assert (await client.get("/capstream/status", headers=bearer)).json()["faults"] == []
    for auth in (None, httpx.BasicAuth(who.client_id, "wrong")):
        assert (await client.put(FAULTS, json={"faults": []}, auth=auth)).status_code == 401
    set_ = await client.put(FAULTS, json={"faults": [{"route": "ims", "kind": "status"}]}, auth=basic)
    assert set_.json()["faults"][0]["kind"] == "status"
    assert (await token()).status_code == 503
    assert (await client.get("/capstream/status", headers=bearer)).json()["faults"][0]["hits"] == 1
    added = await client.post(FAULTS, json={"route": "GET /data/foundation/catalog/*", "kind": "revoke"}, auth=basic)
    assert (added.status_code, (await client.get(FAULTS, auth=basic)).json()["faults"][1]["id"]) == (201, added.json()["id"])
    headers = bearer | {"x-api-key": who.client_id, "x-gw-ims-org-id": who.org_id, "x-sandbox-name": "prod"}
    assert (await client.get("/data/foundation/catalog/dataSets", headers=headers)).status_code == 401
    assert (await client.get("/data/foundation/schemaregistry/stats", headers=headers)).status_code == 401, "revoked for good"
    assert (await client.delete(f"{FAULTS}/{added.json()['id']}", auth=basic)).status_code == 204
    assert (await client.delete(f"{FAULTS}/{added.json()['id']}", auth=basic)).status_code == 404
    for content in (b"{", b"[]", b'{"faults":[{"route":"ims"}]}'):
        refused = await client.put(FAULTS, content=content, auth=basic)
        assert refused.status_code == 400, content
    assert (await client.patch(FAULTS, auth=basic)).status_code == 405
    assert (await client.delete(FAULTS, auth=basic)).status_code == 204
    assert (await token()).status_code == 200


def test_basic_needs_base64(tmp_path: Path) -> None:
    from starlette.requests import Request

    from capstream.faults.api import endpoint

    switch = Switch([], lambda: 0, lambda: 0.0)
    for header in ("Basic ***", "Bearer " + base64.b64encode(b"a:b").decode(), ""):
        scope = {"type": "http", "method": "GET", "path": FAULTS, "headers": [(b"authorization", header.encode())]}
        answer = asyncio.run(endpoint(switch, lambda who, _: who == "a")(Request(scope)))  # type: ignore[arg-type]
        assert answer.status_code == 401


def test_every_kind_is_tried_here() -> None:
    tried = {parameters.values[0]["kind"] for parameters in WHOLE}  # type: ignore[index,call-overload]
    assert tried | {"wrong_json", "mixed_207"} == set(KINDS)
