"""The Data Landing Zone over HTTP: as much of the blob protocol as the documented upload needs. Source: batch-ingestion.md C."""

import os
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4
from xml.sax.saxutils import escape

from starlette.requests import Request
from starlette.responses import FileResponse, Response

from capstream.aep.flow_service.landing_zone import CONTAINER, OutsideZone, Zones

PATH = "/dlz"
_FOREIGN = "The address names no container. Take the SASUri of the credentials and put / and the name of the file before its ?."


class ZoneApp:
    """Takes, gives, lists and deletes files under signed addresses."""

    def __init__(self, zones: Zones, sandbox_of: Callable[[str], str | None]) -> None:
        """`sandbox_of` returns the sandbox that a signed query opens, or None."""
        self._zones = zones
        self._sandbox_of = sandbox_of

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        sandbox_id = self._sandbox_of(request.url.query)
        if sandbox_id is None:
            return _error(403, "AuthenticationFailed", "The signature is wrong, over or withdrawn; fetch the credentials again.")
        container, _, inside = request.scope["path"].removeprefix(PATH).strip("/").partition("/")
        if container != CONTAINER:
            return _error(404, "ContainerNotFound", _FOREIGN)
        if not inside:
            return self._listed(request, sandbox_id)
        try:
            place = self._zones.place(sandbox_id, inside)
        except OutsideZone as error:
            return _error(400, "InvalidUri", str(error))
        if request.method == "PUT":
            return await _put(request, place)
        if not place.is_file():
            return _error(404, "BlobNotFound", f"{inside} does not exist in the container.")
        if request.method == "DELETE":
            place.unlink()
            return Response(status_code=202)
        if request.method in ("GET", "HEAD"):
            return FileResponse(place, media_type="application/octet-stream", headers={"x-ms-blob-type": "BlockBlob"})
        return _error(405, "UnsupportedHttpVerb", f"{request.method} is not served; use PUT, GET, HEAD or DELETE.")

    def _listed(self, request: Request, sandbox_id: str) -> Response:
        if request.method != "GET" or request.query_params.get("comp") != "list":
            return _error(400, "InvalidQueryParameterValue", "Of a container only ?restype=container&comp=list is served.")
        folder = self._zones.folder(sandbox_id)
        files = sorted(each for each in folder.rglob("*") if each.is_file() and not each.name.startswith("."))
        prefix = request.query_params.get("prefix", "")
        named = [(each.relative_to(folder).as_posix(), each.stat().st_size) for each in files]
        blobs = "".join(
            f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>{size}</Content-Length></Properties></Blob>"
            for name, size in named
            if name.startswith(prefix)
        )
        text = f'<EnumerationResults ContainerName="{CONTAINER}"><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>'
        return Response(f'<?xml version="1.0" encoding="utf-8"?>{text}', media_type="application/xml")


async def _put(request: Request, place: Path) -> Response:
    """Store a file whole or not at all: it has its name when all of it is on the disk."""
    if request.headers.get("x-ms-blob-type", "BlockBlob").lower() != "blockblob":
        return _error(400, "InvalidHeaderValue", "x-ms-blob-type must be BlockBlob.")
    if place.is_dir():
        return _error(409, "ResourceTypeMismatch", "A folder of this name exists.")
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.parent / f".{uuid4().hex}.part"
    try:
        with part.open("wb") as file:
            async for piece in request.stream():
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
    return Response(status_code=201)


def _error(status: int, code: str, message: str) -> Response:
    text = f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>'
    return Response(text, status, {"x-ms-error-code": code}, media_type="application/xml")
