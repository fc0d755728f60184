"""Batched requests: several writes in one call, all of them or none. Source: catalog.md 1 (`POST /`)."""

import re
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from urllib.parse import parse_qsl, unquote, urlsplit

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.catalog.errors import refused
from capstream.kernel.json import Json, dumps
from capstream.storage.ports import Documents, Item, Transaction

_BASE = "/data/foundation/catalog"
_MOST = 100
_REFERENCE = re.compile(r"<<([^<>]+)\.id>>")
_ROUTES: Sequence[tuple[str, str, str]] = (
    ("POST", r"/dataSets", "createDataset"),
    ("GET", r"/dataSets", "listDatasets"),
    ("GET", r"/dataSets/(?P<DATASET_ID>[^/]+)", "retrieveDataset"),
    ("PUT", r"/dataSets/(?P<DATASET_ID>[^/]+)", "putDataset"),
    ("PATCH", r"/dataSets/(?P<DATASET_ID>[^/]+)", "patchDataset"),
    ("POST", r"/dataSets/(?P<DATASET_ID>[^/]+)", "postDataset"),
    ("DELETE", r"/dataSets/(?P<DATASET_ID>[^/]+)", "deleteDataset"),
    ("PATCH", r"/v2/dataSets/(?P<DATASET_ID>[^/]+)", "patchDataSetV2"),
    ("POST", r"/batches", "createBatch"),
    ("GET", r"/batches", "listBatches"),
    ("GET", r"/batches/(?P<BATCH_ID>[^/]+)", "retrieveBatch"),
    ("PUT", r"/batches/(?P<BATCH_ID>[^/]+)", "updateBatch"),
    ("PATCH", r"/batches/(?P<BATCH_ID>[^/]+)", "patchBatch"),
    ("POST", r"/batches/(?P<BATCH_ID>[^/]+)", "createBatchWithId"),
    ("DELETE", r"/batches/(?P<BATCH_ID>[^/]+)", "deleteBatch"),
)

Handlers = Callable[[Documents], Mapping[str, Handler]]


def handle(documents: Documents, handlers: Handlers, call: Call) -> Answer:
    """Carry out the requests of a body in order. One that is refused is answered 400, and nothing is stored."""
    requests = _requests(call)
    with documents.transaction() as change:
        staged = _Staged(documents, change)
        known = handlers(staged)
        made: dict[str, str] = {}
        answers = [_carried_out(call, known, request, made) for request in requests]
    return Answer(body=answers)


def _requests(call: Call) -> list[dict[str, Json]]:
    body = call.json()
    if not isinstance(body, list) or not all(isinstance(each, dict) for each in body):
        raise refused(400, "The body must be an array of {id, method, resource, headers, body}.")
    if not 1 <= len(body) <= _MOST:
        raise refused(400, f"The body must hold 1 to {_MOST} requests, not {len(body)}.")
    names = [str(each.get("id") or "") for each in body]
    if "" in names or len(set(names)) < len(names):
        raise refused(400, "Every request needs an id of its own.")
    return body


def _carried_out(call: Call, known: Mapping[str, Handler], request: dict[str, Json], made: dict[str, str]) -> Json:
    name = str(request["id"])
    inner, operation = _inner(call, request, made)
    try:
        answer = known[operation](inner)
    except ApiError as error:
        body = error.answer.body
        detail = body.get("detail") if isinstance(body, dict) else ""
        raise refused(400, f"Request {name}: {detail} Nothing was stored.") from error
    if isinstance(answer.body, list) and answer.body:
        made[name] = str(answer.body[0]).rpartition("/")[2]
    return {"id": name, "code": answer.status, "body": answer.body}


def _inner(call: Call, request: dict[str, Json], made: Mapping[str, str]) -> tuple[Call, str]:
    name, method = str(request["id"]), str(request.get("method") or "").upper()
    parts = urlsplit(str(_resolved(request.get("resource"), made, name) or ""))
    path = unquote(parts.path).removeprefix(_BASE).rstrip("/")
    headers = request.get("headers") or {}
    if not isinstance(headers, dict):
        raise refused(400, f"Request {name}: headers must be an object.")
    for wanted, pattern, operation in _ROUTES:
        found = re.fullmatch(pattern, path, re.IGNORECASE)
        if found and wanted == method:
            inner = replace(
                call,
                method=method,
                path=_BASE + path,
                params=found.groupdict(),
                query=parse_qsl(parts.query, keep_blank_values=True),
                headers={**call.headers, **{str(key).lower(): str(value) for key, value in headers.items()}},
                body=dumps(_resolved(request.get("body"), made, name)),
            )
            return inner, operation
    raise refused(400, f"Request {name}: {method} {path or '(no resource)'} is not an operation on datasets or batches.")


def _resolved(value: Json, made: Mapping[str, str], name: str) -> Json:
    """Return a value with `<<request.id>>` replaced by the id of what that request made."""

    def put(found: re.Match[str]) -> str:
        if found[1] not in made:
            raise refused(400, f"Request {name}: <<{found[1]}.id>> names no earlier request that made something.")
        return made[found[1]]

    if isinstance(value, str):
        return _REFERENCE.sub(put, value)
    if isinstance(value, list):
        return [_resolved(each, made, name) for each in value]
    if isinstance(value, dict):
        return {key: _resolved(each, made, name) for key, each in value.items()}
    return value


class _Staged:
    """Documents inside one transaction: every write of the requests is part of it, and reads see it."""

    def __init__(self, documents: Documents, change: Transaction) -> None:
        self._documents = documents
        self._change = change
        self._writes = 0

    def get(self, collection: str, key: str) -> bytes | None:
        return self._change.get(collection, key)

    def get_many(self, collection: str, keys: Sequence[str]) -> dict[str, bytes]:
        return self._change.get_many(collection, keys)

    def scan(
        self, collection: str, *, prefix: str = "", after: str = "", limit: int | None = None, reverse: bool = False
    ) -> list[Item]:
        return self._change.scan(collection, prefix=prefix, after=after, limit=limit, reverse=reverse)

    def count(self, collection: str, *, prefix: str = "") -> int:
        return self._change.count(collection, prefix=prefix)

    def put(self, collection: str, items: Iterable[Item]) -> None:
        self._change.put(collection, items)

    def insert(self, collection: str, items: Iterable[Item]) -> int:
        return self._change.insert(collection, items)

    def delete(self, collection: str, keys: Iterable[str]) -> int:
        return self._change.delete(collection, keys)

    @contextmanager
    def transaction(self) -> Generator[Transaction]:
        self._writes += 1
        yield self._change

    def version(self) -> int:
        return self._documents.version() + self._writes
