"""The Data Landing Zone over HTTP: signed addresses, upload as documented, nothing outside the container."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from flow_plane import FlowPlane

from capstream import own_api
from capstream.aep.file_ingestion.zone_app import ZoneApp
from capstream.aep.flow_service.landing_zone import Signatures

ZONE = "/data/foundation/connectors/landingzone"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[FlowPlane]:
    made = FlowPlane(tmp_path, public_url="http://platform.test")
    yield made
    made.close()


def send(plane: FlowPlane, method: str, url: str, **request: Any) -> httpx.Response:
    signatures = Signatures(plane.documents, plane.vault)
    app = own_api.asgi(ZoneApp(plane.service.zones, lambda query: signatures.sandbox_of(query, plane.now_ms)))

    async def sent() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app)) as client:
            return await client.request(method, url, **request)

    return asyncio.run(sent())


def at(uri: str, path: str) -> str:
    address, _, query = uri.partition("?")
    return f"{address}/{path}?{query}"


def uri(plane: FlowPlane) -> str:
    answer = plane.call("GET", f"{ZONE}/credentials?type=user_drop_zone")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"containerName", "SASToken", "storageAccountName", "SASUri", "expiryDate"}
    assert body["SASUri"].endswith(f"/dlz/dlz-user-container?{body['SASToken']}")
    return str(body["SASUri"])


def test_the_container_has_a_name_and_a_time(plane: FlowPlane) -> None:
    found = plane.call("GET", f"{ZONE}?type=user_drop_zone")
    assert (found.status_code, found.json()) == (200, {"containerName": "dlz-user-container", "containerTTL": "7"})
    assert plane.call("GET", f"{ZONE}?type=dlz_destination").status_code == 400
    assert plane.call("POST", f"{ZONE}/credentials?type=user_drop_zone&action=forget").status_code == 400


def test_a_file_is_put_read_listed_and_deleted(plane: FlowPlane) -> None:
    where = uri(plane)
    headers = {"x-ms-blob-type": "BlockBlob", "x-ms-version": "2023-11-03"}
    assert send(plane, "PUT", at(where, "in/a.csv"), content=b"a,b\n1,2\n", headers=headers).status_code == 201
    assert send(plane, "PUT", at(where, "in/a.csv"), content=b"a,b\n3,4\n", headers=headers).status_code == 201
    assert send(plane, "GET", at(where, "in/a.csv")).content == b"a,b\n3,4\n"
    assert send(plane, "HEAD", at(where, "in/a.csv")).headers["content-length"] == "8"
    listed = send(plane, "GET", f"{where}&restype=container&comp=list").text
    assert "<Name>in/a.csv</Name><Properties><Content-Length>8</Content-Length>" in listed
    assert "<Blob>" not in send(plane, "GET", f"{where}&restype=container&comp=list&prefix=out/").text
    assert send(plane, "PUT", at(where, "in"), content=b"x", headers=headers).status_code == 409
    assert send(plane, "PUT", at(where, "p"), content=b"x", headers={"x-ms-blob-type": "PageBlob"}).status_code == 400
    assert send(plane, "POST", at(where, "in/a.csv")).status_code == 405
    assert send(plane, "GET", where).status_code == 400
    assert send(plane, "DELETE", at(where, "in/a.csv")).status_code == 202
    assert send(plane, "GET", at(where, "in/a.csv")).status_code == 404


def test_only_a_fresh_signature_of_the_sandbox_opens_it(plane: FlowPlane) -> None:
    where = uri(plane)
    assert uri(plane).partition("sig=")[2] == where.partition("sig=")[2]
    forged = where.replace("sp=racwdl", "sp=racwdlx")
    for bad in (forged, where.partition("?")[0], where[:-1], where.replace(f"si={plane.prod.id}", "si=other")):
        assert send(plane, "GET", f"{bad}&restype=container&comp=list").status_code == 403
    assert send(plane, "GET", at(where.replace("dlz-user-container", "other"), "a")).status_code == 404
    for outside in ("..%2F..%2Fcontrol.db", "in/../../x", "a%5Cb"):
        assert send(plane, "PUT", at(where, outside), content=b"x").status_code in (400, 404)
    plane.now_ms += 8 * 86_400_000
    assert send(plane, "GET", f"{where}&restype=container&comp=list").status_code == 403
    renewed = plane.call("POST", f"{ZONE}/credentials?type=user_drop_zone&action=refresh").json()["SASUri"]
    assert send(plane, "GET", f"{renewed}&restype=container&comp=list").status_code == 200
    plane.now_ms -= 8 * 86_400_000
    assert send(plane, "GET", f"{where}&restype=container&comp=list").status_code == 403  # the old secret is gone
