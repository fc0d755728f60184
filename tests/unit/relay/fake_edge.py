"""The network's far side for the relay's tests: IMS, an inlet that keeps what it accepted, a Capillary API."""

import json
from collections.abc import Callable
from typing import Any

import httpx

Script = Callable[[str, list[dict[str, Any]]], httpx.Response | Exception | None]
"""(flow id, messages) -> an answer in place of the usual one, or None for the usual one."""


class FakeEdge:
    """Accepts everything unless a script says otherwise."""

    def __init__(self, *, api: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        self.accepted: dict[str, list[dict[str, Any]]] = {}
        self.requests: list[tuple[str, list[dict[str, Any]]]] = []
        self.scripts: list[Script] = []
        self.down: dict[str, httpx.Response | Exception] = {}  #: flow id -> how every request is answered
        self.tokens = 0
        self.refuse_tokens: httpx.Response | None = None
        self.api = api

    def script(self, *scripts: Script) -> None:
        """Let the coming requests be answered by `scripts`, one each, until one answers."""
        self.scripts += scripts

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == "ims.test":
            if self.refuse_tokens is not None:
                return self.refuse_tokens
            self.tokens += 1
            return httpx.Response(200, json={"access_token": f"token-{self.tokens}", "expires_in": 86_399})
        if request.url.host == "capillary.test":
            assert self.api
            return self.api(request)
        flow_id = request.headers["x-adobe-flow-id"]
        messages = json.loads(request.content)["messages"]
        self.requests.append((flow_id, messages))
        if flow_id in self.down:
            self.script(failing(flow_id, self.down[flow_id]))
        for index, script in enumerate(self.scripts):
            answer = script(flow_id, messages)
            if answer is not None:
                del self.scripts[index]
                if isinstance(answer, Exception):
                    raise answer
                self._keep_accepted(flow_id, messages, answer)
                return answer
        self.accepted.setdefault(flow_id, []).extend(messages)
        return received([{}] * len(messages))

    def _keep_accepted(self, flow_id: str, messages: list[dict[str, Any]], answer: httpx.Response) -> None:
        if answer.status_code != 207:
            return
        try:
            elements = answer.json()["responses"]
        except (ValueError, KeyError):
            return
        taken = [message for message, element in zip(messages, elements, strict=False) if "status" not in element]
        self.accepted.setdefault(flow_id, []).extend(taken)

    def events(self) -> dict[str, dict[str, Any]]:
        """Return the experience events by `_id`; the first wins, as in Profile."""
        found: dict[str, dict[str, Any]] = {}
        for message in self.accepted.get("flow-event", []):
            found.setdefault(message["_id"], message)
        return found

    def profiles(self) -> dict[str, dict[str, Any]]:
        """Return the newest snapshot of each member, as Profile keeps it."""
        found: dict[str, dict[str, Any]] = {}
        for message in self.accepted.get("flow-profile", []):
            held = found.get(message["_id"])
            if held is None or message["capillary"]["asOf"] >= held["capillary"]["asOf"]:
                found[message["_id"]] = message
        return found


def received(elements: list[dict[str, Any]]) -> httpx.Response:
    """Return a 207 with these elements."""
    listed = [{"xactionId": f"u-{index}", **element} for index, element in enumerate(elements)]
    return httpx.Response(207, json={"inletId": "9d41", "batchId": "b", "receivedTimeMs": 1, "responses": listed})


def failing(flow_id: str, answer: httpx.Response | Exception) -> Script:
    """Return a script that answers one request of a flow with `answer`."""
    return lambda flow, _messages: answer if flow == flow_id else None


def refusing(is_bad: Callable[[dict[str, Any]], bool], status: int = 400, message: str = "Message is invalid") -> Script:
    """Return a script that refuses the elements of one request that are bad, when there are any."""

    def script(_flow: str, messages: list[dict[str, Any]]) -> httpx.Response | None:
        if not any(map(is_bad, messages)):
            return None
        refusal = {"status": status, "statusCode": status, "message": message}
        return received([refusal if is_bad(message) else {} for message in messages])

    return script
