"""The events themselves: one for each change that was made, failed or was denied; kept for a year. Source: audit-query.yaml."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from threading import Lock

from capstream.aep.audit_query import acts
from capstream.aep.audit_query.acts import Act
from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.kernel import log
from capstream.kernel.errors import InputError
from capstream.kernel.ids import new_hex32, new_uuid
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.storage.ports import Documents, StorageUnavailable

_EVENTS = "audit_events"  #: {sandbox}/{milliseconds}-{hex} -> the event as it is shown
_NAMES = "audit_names"  #: {sandbox}/{asset type}/{asset id} -> its name, for changes that do not say it
_ORGANISATION = "organisation"
_DAY_MS = 86_400_000
_KEPT_DAYS = 365
_SWEEP_EVERY_MS = 3_600_000
_SLICE = 1000
_REGION = "VA7"

Event = dict[str, Json]


def stamp(at_ms: int) -> str:
    """Return a time as events show it: `2024-07-18T09:12:44.745+0000`."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "+0000")


class Trail:
    """Writes audit events, and reads them newest first. They outlive what they tell of, an emptied or deleted sandbox too."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._writing = Lock()  # some operations run in threads
        self._next_sweep_ms = 0

    def watching(self, handlers: Mapping[str, Mapping[str, Handler]]) -> dict[str, Mapping[str, Handler]]:
        """Return the handlers, by service and operationId, those that change an asset with an event for each call."""
        return {
            service: {
                name: self._watched(act, handler) if (act := acts.act_of(service, name)) else handler
                for name, handler in named.items()
            }
            for service, named in handlers.items()
        }

    def denied(self, call: Call) -> None:
        """Write down that a call lacked the permission for its operation."""
        act = acts.act_of(call.operation.service, call.operation.id)
        if act is not None:
            self._note(act, call, None, "Deny", "403")

    def events(self, sandbox_id: str, *, since_ms: int) -> Iterator[Event]:
        """Yield the events of a sandbox and of the organisation, newest first."""
        return _merged(self._newest_first(sandbox_id, since_ms), self._newest_first(_ORGANISATION, since_ms))

    def _watched(self, act: Act, handler: Handler) -> Handler:
        def handle(call: Call) -> Answer:
            try:
                answer = handler(call)
            except ApiError as refusal:
                self._note(act, call, None, "Failure", acts.failure_code(refusal.answer))
                raise
            except Exception as error:  # the gateway answers 400 for what the caller sent, else 500
                self._note(act, call, None, "Failure", "400" if isinstance(error, (InputError, JsonError)) else "500")
                raise
            if answer.status >= 400:
                self._note(act, call, None, "Failure", acts.failure_code(answer))
            else:
                self._note(act, call, answer, "Success", "")
            return answer

        return handle

    def _note(self, act: Act, call: Call, answer: Answer | None, status: str, code: str) -> None:
        """Write one event. The change is made already: its answer stands, whether the event can be written or not."""
        try:
            with self._writing:
                self._write(act, call, answer, status, code)
        except StorageUnavailable as error:
            facts = {"operation": call.operation.id, "request_id": call.request_id, "status": status}
            log.error("audit event not written", action="audit_event_lost", exc=error, **facts)

    def _write(self, act: Act, call: Call, answer: Answer | None, status: str, code: str) -> None:
        asset_id = acts.asset_id(act, call, answer)
        scope = call.sandbox.id if call.operation.sandboxed else _ORGANISATION
        name, known_as = acts.asset_name(act, call, answer), f"{scope}/{act.asset}/{asset_id}"
        with self._documents.transaction() as change:
            if not name:
                name = (change.get(_NAMES, known_as) or b"").decode()
            elif status == "Success" and asset_id:
                change.put(_NAMES, [(known_as, name.encode())])
            event = _event(act, call, (asset_id, name), status, code)
            change.put(_EVENTS, [(f"{scope}/{call.now_ms:013d}-{new_hex32()}", dumps(event))])
        if call.now_ms >= self._next_sweep_ms:
            self._next_sweep_ms = call.now_ms + _SWEEP_EVERY_MS
            self._forget_old(scope, call.now_ms)

    def _forget_old(self, scope: str, now_ms: int) -> None:
        oldest = f"{scope}/{now_ms - _KEPT_DAYS * _DAY_MS:013d}"
        expired = [key for key, _ in self._documents.scan(_EVENTS, prefix=f"{scope}/", limit=_SLICE) if key < oldest]
        if expired:
            with self._documents.transaction() as change:
                change.delete(_EVENTS, expired)

    def _newest_first(self, scope: str, since_ms: int) -> Iterator[tuple[str, Event]]:
        after, prefix = "", f"{scope}/"
        while found := self._documents.scan(_EVENTS, prefix=prefix, after=after, limit=_SLICE, reverse=True):
            for key, body in found:
                age = key[len(prefix) :]
                if int(age[:13]) < since_ms:
                    return
                yield age, loads(body)
            after = found[-1][0]


def _merged(one: Iterator[tuple[str, Event]], other: Iterator[tuple[str, Event]]) -> Iterator[Event]:
    mine, theirs = next(one, None), next(other, None)
    while mine is not None or theirs is not None:
        if theirs is None or (mine is not None and mine[0] >= theirs[0]):
            assert mine is not None  # noqa: S101 - the loop's condition
            yield mine[1]
            mine = next(one, None)
        else:
            yield theirs[1]
            theirs = next(other, None)


def _event(act: Act, call: Call, asset: tuple[str, str], status: str, code: str) -> Event:
    action = acts.action_of(act, call)
    return {
        "id": new_uuid(),
        "version": "1.0",
        "imsOrgId": call.caller.org_id,
        "userEmail": call.caller.user_id,
        "userIpAddresses": [],
        "enhancedEvents": [],
        "sandboxName": call.sandbox.name,
        "sandboxId": call.sandbox.id,
        "region": _REGION,
        "requestId": call.request_id,
        "authId": call.caller.client_id,
        "permissionResource": act.resource,
        "permissionType": "DELETE" if action == "Delete" else "RESET" if action == "Reset" else "WRITE",
        "assetType": act.asset,
        "assetId": asset[0],
        "assetName": asset[1],
        "action": action,
        "status": status,
        "failureCode": code,
        "timestamp": stamp(call.now_ms),
    }
