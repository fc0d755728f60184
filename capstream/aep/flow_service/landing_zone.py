"""The Data Landing Zone: a folder for each sandbox, reached by signed addresses, emptied of what is older than a week.

Source: batch-ingestion.md C (embedded design: the Azure shapes; ASSUMPTION).
"""

import hmac
import secrets
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.aep.error_shapes import generic_body
from capstream.aep.flow_service.file_store import Entry, FileStore
from capstream.aep.flow_service.secrets import Vault
from capstream.kernel.clock import rfc3339
from capstream.storage.ports import Documents, Transaction

CONTAINER = "dlz-user-container"
KEEP_MS = 7 * 86_400_000
_SECRETS = "landing_zones"  #: {sandbox}/secret -> sealed secret that signs its addresses
_VERSION = "2023-11-03"
_TYPE = "user_drop_zone"


class OutsideZone(ValueError):
    """A path leads out of the container."""


@dataclass(frozen=True, slots=True)
class Zones:
    """The folders of all sandboxes."""

    root: Path

    def folder(self, sandbox_id: str) -> Path:
        """Return the folder of a sandbox; it is made when it does not exist."""
        found = self.root / sandbox_id
        found.mkdir(parents=True, exist_ok=True)
        return found

    def place(self, sandbox_id: str, path: str) -> Path:
        """Return where a path lies, with or without the container's name before it. Errors: OutsideZone."""
        inside = path.strip("/")
        if inside == CONTAINER or inside.startswith(f"{CONTAINER}/"):
            inside = inside[len(CONTAINER) :].strip("/")
        if any(part in ("", ".", "..") for part in inside.split("/")) and inside:
            raise OutsideZone(f"{path} is no path inside the container")
        if "\0" in inside or "\\" in inside:
            raise OutsideZone("a path holds no backslash and no NUL")
        return self.folder(sandbox_id) / inside

    @contextmanager
    def opened(self, sandbox_id: str) -> Generator[FileStore]:
        """Open the zone of a sandbox."""
        yield _Zone(self, sandbox_id)

    def sweep(self, now_ms: int) -> int:
        """Delete the files that are older than a week and return how many were."""
        gone = 0
        for file in self.root.rglob("*") if self.root.exists() else ():
            if file.is_file() and now_ms - file.stat().st_mtime * 1000 > KEEP_MS:
                file.unlink(missing_ok=True)
                gone += 1
        return gone

    def forget(self, sandbox_id: str) -> None:
        """Delete the zone of a sandbox."""
        shutil.rmtree(self.root / sandbox_id, ignore_errors=True)


class _Zone:
    host_key = ""

    def __init__(self, zones: Zones, sandbox_id: str) -> None:
        self._zones = zones
        self._sandbox_id = sandbox_id

    def list(self, path: str) -> list[Entry]:
        found = [self._entry(each) for each in self._place(path).iterdir() if not each.name.startswith(".")]
        return sorted(found, key=lambda entry: (not entry.is_folder, entry.name))

    def read(self, path: str, limit: int) -> bytes:
        with self._place(path).open("rb") as file:
            return file.read(limit)

    def about(self, path: str) -> Entry:
        return self._entry(self._place(path))

    def fetch(self, entry: Entry, into: Path, progress: Callable[[int], None]) -> None:
        progress(0)
        shutil.copyfile(self._place(entry.path), into)

    def _place(self, path: str) -> Path:
        try:
            return self._zones.place(self._sandbox_id, path)
        except OutsideZone as error:
            raise FileNotFoundError(2, str(error)) from error

    def _entry(self, place: Path) -> Entry:
        about = place.stat()
        inside = place.relative_to(self._zones.folder(self._sandbox_id)).as_posix()
        return Entry(place.name, f"{CONTAINER}/{inside}", place.is_dir(), about.st_size, about.st_mtime_ns // 1_000_000)


class Signatures:
    """Signs and checks the addresses of zones. A new secret makes all older addresses worthless."""

    def __init__(self, documents: Documents, vault: Vault) -> None:
        self._documents = documents
        self._vault = vault

    def token(self, sandbox_id: str, now_ms: int, *, renew: bool = False) -> str:
        """Return the signed query of a sandbox's container, good for a week."""
        said = {"sv": _VERSION, "si": sandbox_id, "sr": "c", "sp": "racwdl", "se": rfc3339(now_ms + KEEP_MS)}
        return urlencode(said | {"sig": self._signature(said, self._secret(sandbox_id, renew=renew))})

    def sandbox_of(self, query: str, now_ms: int) -> str | None:
        """Return the sandbox whose container a signed query opens, None when it is forged, over or withdrawn."""
        given = dict(parse_qsl(query))
        said = {name: given.get(name, "") for name in ("sv", "si", "sr", "sp", "se")}
        sealed = self._documents.get(_SECRETS, f"{said['si']}/secret")
        if sealed is None or said["se"] < rfc3339(now_ms):
            return None
        wanted = self._signature(said, self._vault.unseal(sealed.decode()))
        return said["si"] if hmac.compare_digest(wanted.encode(), given.get("sig", "").encode()) else None

    def _secret(self, sandbox_id: str, *, renew: bool) -> str:
        key = f"{sandbox_id}/secret"
        sealed = self._documents.get(_SECRETS, key)
        if sealed is not None and not renew:
            return self._vault.unseal(sealed.decode())
        secret = secrets.token_urlsafe(32)
        with self._documents.transaction() as change:
            change.put(_SECRETS, [(key, self._vault.seal(secret).encode())])
        return secret

    @staticmethod
    def _signature(said: Mapping[str, str], secret: str) -> str:
        text = "\n".join(f"{name}={value}" for name, value in sorted(said.items()))
        return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


def resealed_secrets(change: Transaction, vault: Vault) -> int:
    """Seal the secrets that sign addresses with the vault's first key; return how many there were."""
    found = [(key, body) for key, body in change.scan(_SECRETS) if key.endswith("/secret")]
    change.put(_SECRETS, [(key, vault.seal(vault.unseal(body.decode())).encode()) for key, body in found])
    return len(found)


def handlers(documents: Documents, vault: Vault, public_url: str) -> dict[str, Handler]:
    """Return the handlers of the landing zone's own endpoints."""
    signatures = Signatures(documents, vault)

    def zone(call: Call) -> Answer:
        _check_type(call)
        return Answer(body={"containerName": CONTAINER, "containerTTL": str(KEEP_MS // 86_400_000)})

    def credentials(call: Call, *, renew: bool = False) -> Answer:
        _check_type(call)
        token = signatures.token(call.sandbox.id, call.now_ms, renew=renew)
        base = (public_url or call.base_url).rstrip("/")
        return Answer(
            body={
                "containerName": CONTAINER,
                "SASToken": token,
                "storageAccountName": base.partition("://")[2].partition("/")[0],
                "SASUri": f"{base}/dlz/{CONTAINER}?{token}",
                "expiryDate": rfc3339(call.now_ms + KEEP_MS)[:10],
            }
        )

    def refresh(call: Call) -> Answer:
        if call.arg("action").lower() != "refresh":
            raise _refused(f"action {call.arg('action')!r} is not refresh.")
        return credentials(call, renew=True)

    return {
        "retrieveLandingZone": zone,
        "retrieveLandingZoneCredentials": credentials,
        "refreshLandingZoneCredentials": refresh,
    }


def _check_type(call: Call) -> None:
    if call.arg("type").lower() not in ("", _TYPE):
        raise _refused(f"type {call.arg('type')!r} is not served; the landing zone for users is {_TYPE}.")


def _refused(detail: str) -> ApiError:
    return ApiError(400, generic_body(400, detail))
