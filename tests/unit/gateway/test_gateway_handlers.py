"""What the gateway does with what handlers give, and with applications mounted beside them."""

import logging
from pathlib import Path
from typing import Any

import pytest
from control_plane import ORG, START_MS, ControlPlane

from capstream.aep.asgi import Receive, Scope, Send
from capstream.aep.call import Answer, Call
from capstream.aep.gateway import Gateway
from capstream.kernel.errors import InputError
from capstream.storage.ports import StorageUnavailable

SANDBOXES = "/data/foundation/sandbox-management/sandboxes"
DATASETS = "/data/foundation/catalog/dataSets"


class TestHandlers:
    """What the gateway does with what handlers give, whatever service they belong to."""

    @staticmethod
    def planes(tmp_path: Path, handler: Any, service: str = "flow_service", name: str = "listFlows") -> ControlPlane:
        return ControlPlane(tmp_path, handlers={service: {name: handler}})

    def test_the_call_has_everything(self, tmp_path: Path) -> None:
        calls: list[Call] = []

        def handler(call: Call) -> Answer:
            calls.append(call)
            return Answer(body={})

        plane = self.planes(tmp_path, handler, name="retrieveFlow")
        path = "/data/foundation/flowservice/flows/a%2Fb/?count=False&property=a%3D%3Db&property=c&unset={{var}}&order=+name"
        plane.call("GET", path)
        (call,) = calls
        assert list(call.params.values()) == ["a/b"]
        assert call.query == [("count", "False"), ("property", "a==b"), ("property", "c"), ("order", " name")]
        assert (call.caller.org_id, call.caller.user_id) == (ORG, plane.client.user_id)
        assert (call.sandbox.name, call.now_ms, call.base_url) == ("prod", START_MS, "http://platform.test")
        plane.close()

    def test_a_bug_is_a_500_in_the_services_shape_and_a_log_line(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        def handler(call: Call) -> Answer:
            raise KeyError("member-0001@example.com")

        plane = self.planes(tmp_path, handler)
        with caplog.at_level(logging.ERROR, logger="capstream"):
            answer = plane.call("GET", "/data/foundation/flowservice/flows", headers=plane.headers(x_request_id="r-1"))
        assert answer.status_code == 500
        assert answer.json()["report"]["request-id"] == "r-1"
        assert "member-0001" not in answer.text
        facts = caplog.records[0].facts  # type: ignore[attr-defined]
        assert facts.items() >= {"action": "request_failed", "error": "KeyError", "request_id": "r-1"}.items()
        assert facts["trace"][-1].endswith(" handler")
        assert "member-0001" not in str(facts)
        plane.close()

    def test_a_body_that_is_no_json_is_a_500_too(self, tmp_path: Path) -> None:
        plane = self.planes(tmp_path, lambda _: Answer(body={"when": object()}))
        answer = plane.call("GET", "/data/foundation/flowservice/flows")
        assert (answer.status_code, answer.json()["status"]) == (500, 500)
        plane.close()

    def test_a_full_disk_is_a_503_with_a_time_to_wait(self, tmp_path: Path) -> None:
        def handler(call: Call) -> Answer:
            raise StorageUnavailable("disk full")

        plane = self.planes(tmp_path, handler)
        answer = plane.call("GET", "/data/foundation/flowservice/flows")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert answer.json()["type"].endswith("FLOW-1103-503")
        plane.close()

    def test_an_input_error_is_a_400_that_names_the_place(self, tmp_path: Path) -> None:
        def handler(call: Call) -> Answer:
            raise InputError("auth.specName", "is not in the spec", "use one of authSpec")

        plane = self.planes(tmp_path, handler)
        answer = plane.call("GET", "/data/foundation/flowservice/flows")
        assert answer.status_code == 400
        assert "auth.specName" in answer.json()["errorMessage"]
        plane.close()

    def test_an_error_is_never_empty(self, tmp_path: Path) -> None:
        plane = self.planes(tmp_path, lambda _: Answer(status=422, headers={"X-Why": "because"}))
        answer = plane.call("GET", "/data/foundation/flowservice/flows")
        assert (answer.status_code, answer.json()["status"]) == (422, 422)
        assert answer.headers["x-why"] == "because"
        plane.close()

    def test_a_204_has_no_body_and_no_type(self, tmp_path: Path) -> None:
        plane = self.planes(tmp_path, lambda _: Answer(status=204))
        answer = plane.call("GET", "/data/foundation/flowservice/flows")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        plane.close()

    def test_a_handler_no_table_lists_is_refused_at_the_start(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="inventedOperation"):
            self.planes(tmp_path, lambda _: Answer(), name="inventedOperation")


class TestMounts:
    @staticmethod
    def gateway(plane: ControlPlane, *prefixes: str) -> Gateway:
        def app(name: str) -> Any:
            async def answer(scope: Scope, receive: Receive, send: Send) -> None:
                await send({"type": "http.response.start", "status": 200, "headers": []})
                await send({"type": "http.response.body", "body": name.encode()})

            return answer

        mounts = [(prefix, app(prefix)) for prefix in prefixes]
        return Gateway({}, plane.tokens, plane.clients, plane.sandboxes, plane.clock, mounts)

    @pytest.mark.parametrize(
        ("path", "wanted"),
        [
            ("/collection/abc", "/collection"),
            ("/collection", "/collection"),
            ("/collection/batch/abc", "/collection/batch"),
            ("/data/foundation/import/collection/abc", "/data/foundation/import/collection"),
            ("/data//foundation/import//collection/abc", "/data/foundation/import/collection"),
            ("/console/index.html", "/"),
            ("/collections", "/"),
        ],
    )
    def test_a_prefix_needs_no_headers_and_the_longest_wins(self, plane: ControlPlane, path: str, wanted: str) -> None:
        plane.gateway = self.gateway(plane, "/", "/collection", "/collection/batch", "/data/foundation/import/collection")
        assert plane.call("GET", path, headers={}).text == wanted

    def test_the_root_does_not_take_what_services_own(self, plane: ControlPlane) -> None:
        plane.gateway = self.gateway(plane, "/")
        assert plane.call("GET", "/data/foundation/anything", headers={}).json()["error_code"] == "403000"
