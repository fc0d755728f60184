"""A platform with its alerts: pipeline, engine and courier on real stores; receivers are the only thing that is made up."""

from collections.abc import Callable
from typing import Any

import httpx
from pipeline_world import PROD, World, ask, body_of

from capstream.aep.alerts import api, model, registrations
from capstream.aep.alerts.catalogue import IDENTITY_RUNS, PROFILE_RUNS
from capstream.aep.alerts.courier import Courier
from capstream.aep.alerts.engine import Engine, Pending, Stores
from capstream.aep.alerts.mail import MailServer
from capstream.aep.alerts.model import Registration
from capstream.aep.alerts.signing import Signer
from capstream.aep.call import Answer
from capstream.aep.pipeline.loop import waiting_since
from capstream.kernel.json import Json
from capstream.storage.sqlite import SqliteDocuments

PLACE = {"consumerId": "org", "projectId": "capstream", "workspaceId": "default"}
INTAKE_RULES = {rule.id for rule in (*IDENTITY_RUNS, *PROFILE_RUNS)}
URL = "https://hooks.example.com/aep"


class Receiver:
    """Somebody's webhook: answers its challenge, then with what `script` says, one status after the other, 200 at the end."""

    def __init__(self) -> None:
        self.script: list[int | Exception] = []
        self.answers_challenge = True
        self.received: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, text=request.url.params["challenge"] if self.answers_challenge else "hello")
        self.received.append(request)
        outcome = self.script.pop(0) if self.script else 200
        if isinstance(outcome, Exception):
            raise outcome
        return httpx.Response(outcome)


class AlertWorld(World):
    """Adds what evaluates and delivers alerts, and the APIs over it."""

    mail: MailServer | None = None

    def use_mail(self, server: MailServer | None) -> None:
        """Let alerts leave by e-mail."""
        self.courier.close()
        self.mail = server
        self._wire()

    def _open(self) -> None:
        super()._open()
        self.receiver = getattr(self, "receiver", None) or Receiver()
        self.findings = SqliteDocuments(self.folder / "alerts.db")
        self.http = httpx.Client(transport=httpx.MockTransport(self.receiver))
        self.signer = Signer(self.folder / "keys")
        self._wire()

    def _wire(self) -> None:
        self.engine = Engine(
            Stores(self.control, self.state, self.findings),
            clock=lambda: self.now_ms,
            base_url="http://localhost",
            pending=self._pending,
            mail=self.mail,
        )
        self.courier = Courier(
            self.control, self.findings, self.signer, clock=lambda: self.now_ms, http=self.http, mail=self.mail
        )
        self.handlers = {
            **api.handlers(self.control, self.findings, flow_exists=self._flow_exists, sends_mail=self.mail is not None),
            **registrations.handlers(self.control, self.findings, self.signer, self.http),
        }

    def _pending(self) -> Pending | None:
        found = waiting_since(self.inlet, self.state)
        return Pending(*found) if found else None

    def _flow_exists(self, sandbox_id: str, flow_id: str) -> bool:
        return any(route.flow_id == flow_id for route in self._flows().all())

    def _flows(self) -> Any:
        from capstream.aep.flow_service.model import Flows

        return Flows(self.control)

    def close(self) -> None:
        self.courier.close()
        self.http.close()
        self.findings.close()
        super().close()

    def settle(self, **settings: Any) -> None:
        """Process, evaluate, deliver: until nothing is left to do now."""
        self.drain(**settings)
        while self.engine.evaluate():
            pass
        self.deliver()

    def deliver(self) -> None:
        while self.courier.tick():
            for call in list(self.courier._calls.values()):
                call.result.result()

    def ask(self, operation: str, body: Json = None, **params: str) -> Answer:
        """Return an answer; parameters in lower case with an underscore at the end are those of the query."""
        query = [(name.rstrip("_"), value) for name, value in params.items() if name.endswith("_")]
        path = {name: value for name, value in params.items() if not name.endswith("_")}
        return ask(self.handlers, operation, params=PLACE | path, query=query, body=body, now_ms=self.now_ms)

    def history(self, **query: str) -> list[Json]:
        """Return alerts, newest first; those of runs of Identity and Profile, which go beside, only when asked for by name."""
        items = body_of(self.ask("listAlerts", **{f"{name}_": value for name, value in query.items()}))["items"]
        beside = () if "ruleId" in query else INTAKE_RULES
        return [each for each in items if each["ruleId"] not in beside]

    def rules_told(self) -> list[str]:
        """Return the rules of the alerts there are, oldest first."""
        return [each["ruleId"] for each in reversed(self.history())]

    def register(self, *codes: str, **more: Json) -> Json:
        body = {
            "name": "run events",
            "webhook_url": URL,
            "delivery_type": "webhook",
            "events_of_interest": [{"event_code": code} for code in codes],
        }
        answer = self.ask("createRegistration", body | more)
        assert answer.status == 201, answer.content()
        return body_of(answer)

    def registered(self, registration_id: str) -> Registration:
        found = model.registration(self.control, registration_id)
        assert found is not None
        return found

    def deliveries(self, registration_id: str) -> list[Json]:
        return list(body_of(self.ask("listDeliveries", registrationId=registration_id))["items"])


Answers = Callable[..., Answer]

__all__ = ["PLACE", "PROD", "URL", "AlertWorld", "Receiver"]
