"""Tokens: expiry by claims or unit, one request in flight, refresh in time, one repetition after a refusal."""

import asyncio
import base64
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from capstream.kernel.errors import Permanent, Transient
from capstream.relay.answers import Judged, Pause, TryAgain, Unauthorised
from capstream.relay.ims import Credentials, Tokens, token_of
from capstream.relay.inlet import FlowAddress, Inlet

NOW = 1_732_000_000_000
CREDENTIALS = Credentials(
    token_url="https://ims.test/ims/token/v3", client_id="c", client_secret="s+&%=", scopes=("openid", "AdobeID")
)


def jwt(**claims: Any) -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "RS256"}, claims)]
    return ".".join([*parts, "signature"])


@pytest.mark.parametrize(
    ("answer", "lifetime_s"),
    [
        ({"access_token": jwt(created_at=str(NOW - 5000), expires_in="86400000"), "expires_in": 1}, 86_395),
        ({"access_token": jwt(created_at=NOW, expires_in=60_000), "expires_in": 86_399_994}, 60),
        ({"access_token": "opaque", "expires_in": 86_399}, 86_399),
        ({"access_token": "opaque", "expires_in": 86_399_994}, 86_399.994),
        ({"access_token": "opaque", "expires_in": "604800"}, 604_800),
        ({"access_token": "opaque", "expires_in": 604_801}, 604.801),
        ({"access_token": "a.b.c", "expires_in": 10}, 10),
        ({"access_token": jwt(sub="x"), "expires_in": 10}, 10),
        ({"access_token": "opaque"}, 0),
    ],
)
def test_expiry_comes_from_the_claims_else_from_the_number(answer: dict[str, Any], lifetime_s: float) -> None:
    assert token_of(answer, NOW).expires_ms == NOW + int(lifetime_s * 1000)


@pytest.mark.parametrize("answer", [{}, [], None, {"access_token": ""}, {"access_token": 5}, {"error": "invalid_client"}])
def test_answer_without_a_token_is_a_permanent_failure(answer: Any) -> None:
    with pytest.raises(Permanent):
        token_of(answer, NOW)


@pytest.mark.parametrize(("lifetime_s", "rest_s"), [(86_400, 4_320), (600, 60), (1200, 60), (3000, 150)])
def test_token_is_stale_a_minute_or_a_twentieth_before_its_end(lifetime_s: int, rest_s: int) -> None:
    token = token_of({"access_token": "opaque", "expires_in": lifetime_s}, NOW)
    assert not token.is_stale(NOW + (lifetime_s - rest_s) * 1000 - 1)
    assert token.is_stale(NOW + (lifetime_s - rest_s) * 1000)


class FakeIms:
    """Answers token requests with the next of `answers`; the last one is repeated."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers) or [httpx.Response(200, json={"access_token": "token-1", "expires_in": 3600})]
        self.forms: list[dict[str, list[str]]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        self.forms.append(parse_qs(request.content.decode()))
        await asyncio.sleep(0)
        answer = self.answers[min(len(self.forms), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def token(number: int, expires_in: int = 3600) -> httpx.Response:
    return httpx.Response(200, json={"access_token": f"token-{number}", "token_type": "bearer", "expires_in": expires_in})


def with_tokens(handler: Callable[..., Any], clock: Any, use: Callable[[Tokens, httpx.AsyncClient], Any]) -> Any:
    async def main() -> Any:
        async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
            return await use(Tokens(client, CREDENTIALS, clock), client)

    return asyncio.run(main())


def test_request_is_a_form_with_encoded_secret(clock: Any) -> None:
    ims = FakeIms()
    with_tokens(ims, clock, lambda tokens, _: tokens.get())
    assert ims.forms == [
        {"grant_type": ["client_credentials"], "client_id": ["c"], "client_secret": ["s+&%="], "scope": ["openid,AdobeID"]}
    ]


def test_many_who_ask_share_one_request(clock: Any) -> None:
    ims = FakeIms()

    async def use(tokens: Tokens, _: httpx.AsyncClient) -> list[str]:
        return list(await asyncio.gather(*(tokens.get() for _ in range(10))))

    assert with_tokens(ims, clock, use) == ["token-1"] * 10
    assert len(ims.forms) == 1


def test_stale_token_is_replaced_and_survives_a_failing_endpoint(clock: Any) -> None:
    ims = FakeIms(token(1), httpx.Response(503), token(2))

    async def use(tokens: Tokens, _: httpx.AsyncClient) -> list[str]:
        found = [await tokens.get()]
        clock.advance(3600 - 180)
        found.append(await tokens.get())  # stale, the endpoint is down: still good
        found.append(await tokens.get())
        return found

    assert with_tokens(ims, clock, use) == ["token-1", "token-1", "token-2"]


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(503),
        httpx.Response(429, headers={"retry-after": "9"}),
        httpx.ConnectError("x"),
        httpx.Response(200, text="<html>"),
    ],
)
def test_no_token_at_all_is_transient(clock: Any, failure: Any) -> None:
    with pytest.raises(Transient):
        with_tokens(FakeIms(failure), clock, lambda tokens, _: tokens.get())


def test_refused_client_is_permanent_and_names_the_code_only(clock: Any) -> None:
    answer = httpx.Response(
        400, json={"error": "invalid_client", "error_description": "invalid client_secret parameter", "x": "y"}
    )
    with pytest.raises(Permanent, match=r"invalid_client: invalid client_secret parameter$"):
        with_tokens(FakeIms(answer), clock, lambda tokens, _: tokens.get())


ADDRESS = FlowAddress(inlet_url="https://p.test/collection/9d41", flow_id="flow-1", org_id="org")
RECEIVED = {"inletId": "9d41", "receivedTimeMs": 1, "responses": [{"xactionId": "u-0"}]}


class FakeEdge:
    """IMS and inlet in one; the inlet gives the next of `answers`."""

    def __init__(self, *answers: httpx.Response | Exception, ims: FakeIms | None = None) -> None:
        self.ims = ims or FakeIms(token(1), token(2), token(3))
        self.answers = list(answers)
        self.posts: list[httpx.Request] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "ims.test":
            return await self.ims(request)
        self.posts.append(request)
        answer = self.answers[min(len(self.posts), len(self.answers)) - 1]
        if isinstance(answer, Exception):
            raise answer
        return answer


def post(edge: FakeEdge, clock: Any) -> Any:
    return with_tokens(edge, clock, lambda tokens, client: Inlet(client, tokens, ADDRESS, clock).post([b'{"a":1}']))


def test_post_carries_token_flow_and_org(clock: Any) -> None:
    edge = FakeEdge(httpx.Response(207, json=RECEIVED))
    assert isinstance(post(edge, clock), Judged)
    (request,) = edge.posts
    assert str(request.url) == "https://p.test/collection/batch/9d41"
    assert json.loads(request.content) == {"messages": [{"a": 1}]}
    assert request.headers["authorization"] == "Bearer token-1"
    assert request.headers["x-adobe-flow-id"] == "flow-1"
    assert request.headers["x-gw-ims-org-id"] == "org"


def test_body_is_packed_when_the_source_wants_it(clock: Any) -> None:
    edge = FakeEdge(httpx.Response(207, json=RECEIVED))
    address = replace(ADDRESS, gzip=True)
    with_tokens(edge, clock, lambda tokens, client: Inlet(client, tokens, address, clock).post([b'{"a":1}']))
    (request,) = edge.posts
    assert request.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(request.content)) == {"messages": [{"a": 1}]}


@pytest.mark.parametrize("status", [401, 403])
def test_refused_token_is_replaced_once(clock: Any, status: int) -> None:
    edge = FakeEdge(httpx.Response(status, json={}), httpx.Response(207, json=RECEIVED))
    assert isinstance(post(edge, clock), Judged)
    assert [request.headers["authorization"] for request in edge.posts] == ["Bearer token-1", "Bearer token-2"]


@pytest.mark.parametrize("status", [401, 403])
def test_second_refusal_in_a_row_is_reported(clock: Any, status: int) -> None:
    edge = FakeEdge(httpx.Response(status, json={"title": "Authorization"}))
    assert isinstance(post(edge, clock), Unauthorised)
    assert len(edge.posts) == 2
    assert len(edge.ims.forms) == 2


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("reset"), httpx.ReadError("reset")]
)
def test_network_failures_are_repeated(clock: Any, error: Exception) -> None:
    assert isinstance(post(FakeEdge(error), clock), TryAgain)


def test_without_a_token_nothing_is_sent(clock: Any) -> None:
    refused = FakeEdge(httpx.Response(207), ims=FakeIms(httpx.Response(400, json={"error": "invalid_client"})))
    assert isinstance(post(refused, clock), Pause)
    down = FakeEdge(httpx.Response(207), ims=FakeIms(httpx.Response(503, headers={"retry-after": "4"})))
    assert post(down, clock) == TryAgain("the token endpoint answered 503", 4.0)
    assert not refused.posts
    assert not down.posts
