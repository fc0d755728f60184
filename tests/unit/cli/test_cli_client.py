"""The commands' client gets a new token when the one it has is good no longer, and no more than one."""

from collections.abc import Callable

import httpx
import pytest

from capstream.cli.client import PlatformClient, Refused
from capstream.credentials import Credentials

CREDENTIALS = Credentials(
    org_id="o", client_id="c", client_secret="s", scopes="x", sandbox="prod", ims_url="https://ims.test",
    platform_url="https://platform.test", inlet_url="", relay_url="", webhook_secret="",
)  # fmt: skip


def client_of(is_good: Callable[[str], bool]) -> tuple[PlatformClient, list[str]]:
    """A client whose tokens are numbered; `is_good` says which the platform takes."""
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.host == "ims.test":
            return httpx.Response(200, json={"access_token": f"token-{1 + len(set(seen))}"})
        seen.append(request.headers["authorization"].removeprefix("Bearer "))
        return httpx.Response(200 if is_good(seen[-1]) else 401, json={"title": "no"})

    client = PlatformClient(CREDENTIALS)
    client._http = httpx.Client(transport=httpx.MockTransport(answer))
    return client, seen


def test_a_token_that_was_voided_is_replaced_once() -> None:
    good = {"token-1"}
    client, seen = client_of(good.__contains__)
    with client:
        client.platform("GET", "/x")
        good.clear()
        good.add("token-2")
        assert client.platform("GET", "/x") == {"title": "no"}
        assert seen == ["token-1", "token-1", "token-2"]
        good.clear()
        with pytest.raises(Refused):
            client.platform("GET", "/x")
        assert len(seen) == 5


def test_a_fresh_token_that_is_refused_is_not_asked_for_again() -> None:
    client, seen = client_of(lambda _: False)
    with client, pytest.raises(Refused):
        client.platform("GET", "/x")
    assert seen == ["token-1"]
