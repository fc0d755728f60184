"""Sandbox tooling: packages of a sandbox's objects, published and imported into others. Source: sandbox.yaml (`/exim`).

Exports and imports are done when they are answered; their jobs stay to be looked at.
"""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from capstream.aep.call import Answer, Call, Handler, Sandbox
from capstream.aep.sandbox.api import refused
from capstream.aep.sandbox.model import Sandboxes
from capstream.aep.sandbox_tooling import sharing, shown
from capstream.aep.sandbox_tooling.artifacts import KINDS, Workbench
from capstream.aep.sandbox_tooling.imports import Jobs, Permits
from capstream.aep.sandbox_tooling.model import JOBS, PACKAGES, Artifact, Job, Package, Shelf, Status
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

_MOST_ARTIFACTS = 1000
_LONGEST = 300


def handlers(
    documents: Documents,
    sandboxes: Sandboxes,
    services: Mapping[str, Mapping[str, Handler]],
    *,
    tenant_id: str,
    permits: Permits = lambda *_: True,
) -> dict[str, Handler]:
    """Return the handlers of Sandbox tooling; `services` are those whose objects a package may hold."""
    packages = Shelf(documents, PACKAGES, Package)
    jobs = Jobs(packages, Shelf(documents, JOBS, Job), Workbench(services, tenant_id), permits)
    service = _Service(packages, jobs, sandboxes)
    return {
        "listPackages": service.list,
        "createPackage": service.create,
        "updatePackage": service.update,
        "makePackagePublic": service.make_public,
        "lookUpPackage": lambda call: Answer(body=shown.package(service.existing(call))),
        "deletePackage": service.delete,
        "publishPackage": service.publish,
        "importPackage": service.conflicts,
        "importPackageById": service.load_named,
        "submitImport": service.load,
        "dependentObjects": service.dependents,
        "packagePayload": service.payload,
        "checkImportPermissions": service.permissions,
        "checkPackagePreflight": service.permissions,
        "listJobs": service.jobs,
        "fetchJob": service.job,
        **sharing.handlers(),
    }


class _Service:
    def __init__(self, packages: Shelf[Package], jobs: Jobs, sandboxes: Sandboxes) -> None:
        self._packages = packages
        self._jobs = jobs
        self._sandboxes = sandboxes

    def list(self, call: Call) -> Answer:
        """Return one page of packages, newest first."""
        found = [shown.package(each) for each in self._packages.all(call.caller.org_id)]
        if status := call.arg("status"):
            found = [each for each in found if each["status"] == status]
        return Answer(body=shown.page(call, found))

    def existing(self, call: Call, package_id: str = "") -> Package:
        """Return the package that is meant."""
        wanted = package_id or call.params["packageID"]
        found = self._packages.get(call.caller.org_id, wanted)
        if found is None:
            raise refused(404, 1001, f"Package {wanted} was not found. List the packages for their ids.")
        return found

    def create(self, call: Call) -> Answer:
        """Make a draft."""
        body = _object(call)
        full = body.get("packageType") == "FULL"
        if not full and body.get("packageType") != "PARTIAL":
            raise refused(400, 1000, "packageType must be PARTIAL or FULL.")
        source = body.get("sourceSandbox") or {"name": call.headers.get("x-sandbox-name") or "prod"}
        made = Package(
            id=new_hex32(),
            org_id=call.caller.org_id,
            sandbox=self._sandbox(call, source).name,
            name=self._free_name(call, body.get("name")),
            description=_text(body, "description"),
            full=full,
            expiry_ms=_expiry(body, call.now_ms),
            artifacts=() if full else _artifacts(body.get("artifacts") or []),
            created_ms=call.now_ms,
            modified_ms=call.now_ms,
            created_by=call.caller.user_id,
            modified_by=call.caller.user_id,
        )
        return Answer(status=201, body=shown.package(self._packages.save(made)))

    def update(self, call: Call) -> Answer:
        """Add artifacts to a draft, take them out, or change what is said about a package."""
        body = _object(call)
        package = self.existing(call, _text(body, "id", needed=True))
        action = body.get("action")
        if action == "UPDATE":
            changes: dict[str, Json] = {}
            if body.get("name") not in (None, package.name):
                changes["name"] = self._free_name(call, body["name"])
            if "description" in body:
                changes["description"] = _text(body, "description")
            if body.get("packageVisibility") is not None:
                changes["public"] = _is_public(body)
        elif action in {"ADD", "DELETE"}:
            changes = {"artifacts": _changed(package, action, _artifacts(body.get("artifacts")))}
        else:
            raise refused(400, 1000, "action must be ADD, DELETE or UPDATE.")
        if body.get("expiry") is not None:
            changes["expiry_ms"] = _expiry(body, call.now_ms)
        return Answer(status=201, body=shown.package(self._changed(call, package, changes)))

    def make_public(self, call: Call) -> Answer:
        """Let other organisations import the package."""
        body = _object(call)
        package = self.existing(call, _text(body, "id", needed=True))
        if body.get("action") != "UPDATE" or not _is_public(body):
            raise refused(400, 1000, "action must be UPDATE and packageVisibility PUBLIC.")
        return Answer(status=202, body=shown.package(self._changed(call, package, {"public": True})))

    def delete(self, call: Call) -> Answer:
        """Delete the package; what was imported from it stays."""
        package = self.existing(call)
        self._packages.remove(package)
        return Answer(body={"reason": f"Package {package.id} deleted"})

    def publish(self, call: Call) -> Answer:
        """Copy the artifacts as they are now."""
        package = self.existing(call)
        if package.status is Status.PUBLISHED:
            raise refused(400, 1000, f"Package {package.id} is published already.")
        if not package.full and not package.artifacts:
            raise refused(400, 1000, "A PARTIAL package needs artifacts before it can be published.")
        days = call.arg("expiryPeriod")
        if days and not (days.isascii() and days.isdigit() and 0 < int(days) < 100_000):
            raise refused(400, 1000, f"expiryPeriod: {days} must be a number of days, 1 or more.")
        source = self._sandbox(call, {"name": package.sandbox})
        job = self._jobs.publish(call, package, source, int(days) if days else None)
        return Answer(body=shown.accepted(package, job))

    def conflicts(self, call: Call) -> Answer:
        """Return what the target sandbox has already."""
        package, target = self._ready(call, self.existing(call)), self._target(call)
        return Answer(body=self._jobs.conflicts(call, package, target))

    def load(self, call: Call) -> Answer:
        """Import a published package."""
        body = _object(call)
        package = self._ready(call, self.existing(call, _text(body, "id", needed=True)))
        target = self._sandbox(call, body.get("destinationSandbox"))
        alternatives = _alternatives(body.get("alternatives") or {})
        named = {name: _text(body, name) for name in ("name", "description")}
        job = self._jobs.load(call, package, target, named, alternatives)
        return Answer(status=202, body=shown.accepted(package, job))

    def load_named(self, call: Call) -> Answer:
        """Import a published package as aepp asks for it: by path and query."""
        package = self._ready(call, self.existing(call))
        body = _object(call) if call.body.strip() not in (b"", b"null") else {}
        alternatives = _alternatives(body.get("alternatives") or {})
        job = self._jobs.load(call, package, self._target(call), {}, alternatives)
        return Answer(status=202, body=shown.accepted(package, job))

    def dependents(self, call: Call) -> Answer:
        """Return what the named artifacts, or all of a published package, need."""
        package = self.existing(call)
        if package.status is Status.DRAFT:
            raise refused(400, 1000, f"Package {package.id} is a draft: publish it first.")
        wanted = _artifacts(call.json()) if call.body.strip() not in (b"", b"null") else package.artifacts
        return Answer(status=201, body=[self._with_children(call, package, each) for each in wanted])

    def payload(self, call: Call) -> Answer:
        """Return what names the package to another organisation."""
        package = self.existing(call)
        return Answer(body={"imsOrgId": package.org_id, "packageId": package.id})

    def permissions(self, call: Call) -> Answer:
        """Return what the caller needs to import the package."""
        package, target = self._ready(call, self.existing(call)), self._target(call)
        found = self._jobs.permissions(call, package, target)
        return Answer(body={"packageID": package.id, "targetSandboxName": target.name, "permissionResponse": found})

    def jobs(self, call: Call) -> Answer:
        """Return one page of exports and imports, newest first."""
        found = [shown.job_row(each) for each in self._jobs.jobs.all(call.caller.org_id)]
        for name, member in (("requestType", "requestType"), ("jobStatus", "jobStatus"), ("jobType", "jobType")):
            if wanted := call.arg(name):
                found = [each for each in found if each[member] == wanted]
        return Answer(body=shown.page(call, found))

    def job(self, call: Call) -> Answer:
        """Return one job with what it did."""
        found = self._jobs.jobs.get(call.caller.org_id, call.params["jobID"])
        if found is None:
            raise refused(404, 1001, f"Job {call.params['jobID']} was not found. List the jobs for their ids.")
        return Answer(body=shown.job(found))

    def _with_children(self, call: Call, package: Package, wanted: Artifact) -> Json:
        source = self._sandbox(call, {"name": package.sandbox})
        pieces = self._jobs.bench.copied(call, source, wanted)
        children = [{"id": each.id, "title": each.title, "type": each.type} for each in pieces if each.id != wanted.id]
        title = next((each.title for each in pieces if each.id == wanted.id), wanted.id)
        return {"id": wanted.id, "title": title, "type": wanted.type, "children": children}

    def _changed(self, call: Call, package: Package, changes: Mapping[str, Json]) -> Package:
        marks = {"version": package.version + 1, "modified_ms": call.now_ms, "modified_by": call.caller.user_id}
        return self._packages.save(msgspec.structs.replace(package, **{**changes, **marks}))

    def _free_name(self, call: Call, name: Json) -> str:
        if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST:
            raise refused(400, 1000, f"name is required, a text of 1 to {_LONGEST} characters.")
        if any(each.name == name for each in self._packages.all(call.caller.org_id)):
            raise refused(400, 1000, f"A package named {name} exists already. Choose another name.")
        return name

    def _ready(self, call: Call, package: Package) -> Package:
        if package.status is not Status.PUBLISHED:
            raise refused(400, 1000, f"Package {package.id} is {package.status}: only a PUBLISHED package can be imported.")
        if package.expiry_ms < call.now_ms:
            raise refused(400, 1000, f"Package {package.id} has expired. Make it again.")
        return package

    def _target(self, call: Call) -> Sandbox:
        return self._sandbox(call, {"name": call.arg("targetSandbox")})

    def _sandbox(self, call: Call, named: Json) -> Sandbox:
        name = named.get("name") if isinstance(named, dict) else None
        if not isinstance(name, str) or not name:
            raise refused(
                400, 1000, "The name of a sandbox is needed: sourceSandbox.name, destinationSandbox.name or targetSandbox."
            )
        if isinstance(named, dict) and named.get("imsOrgId") not in (None, call.caller.org_id):
            raise refused(400, 1000, f"Sandbox {name}: imsOrgId must be {call.caller.org_id}.")
        found = self._sandboxes.by_name(call.caller.org_id, name)
        if found is None:
            raise refused(404, 1001, f"Sandbox {name} was not found or is not active.")
        return found


def _object(call: Call) -> dict[str, Json]:
    body = call.json()
    if not isinstance(body, dict):
        raise refused(400, 1000, "The body must be a JSON object.")
    return body


def _text(body: dict[str, Json], name: str, *, needed: bool = False) -> str:
    value = body.get(name)
    if value is None and not needed:
        return ""
    if not isinstance(value, str) or (needed and not value):
        raise refused(400, 1000, f"{name} must be a text.")
    return value


def _is_public(body: dict[str, Json]) -> bool:
    wanted = str(body.get("packageVisibility")).upper()
    if wanted not in {"PUBLIC", "PRIVATE"}:
        raise refused(400, 1000, "packageVisibility must be PUBLIC or PRIVATE.")
    return wanted == "PUBLIC"


def _artifacts(listed: Json) -> tuple[Artifact, ...]:
    if not isinstance(listed, list) or len(listed) > _MOST_ARTIFACTS:
        raise refused(400, 1000, f"artifacts must be an array of at most {_MOST_ARTIFACTS} {{id, type, title}}.")
    found: dict[tuple[str, str], Artifact] = {}
    for at, each in enumerate(listed):
        kind, name = (each.get("type"), each.get("id")) if isinstance(each, dict) else (None, None)
        if not isinstance(name, str) or not name:
            raise refused(400, 1000, f"artifacts[{at}].id is required, a text.")
        if kind not in KINDS:
            raise refused(400, 1000, f"artifacts[{at}].type: {kind} cannot be packed; what can: {', '.join(KINDS)}.")
        found[kind, name] = Artifact(name, kind, str(each.get("title") or ""))
    return tuple(found.values())


def _changed(package: Package, action: str, named: tuple[Artifact, ...]) -> tuple[Artifact, ...]:
    if package.full or package.status is Status.PUBLISHED:
        raise refused(400, 1000, "Only the artifacts of a PARTIAL package that is not published can be changed.")
    keys = {(each.type, each.id) for each in named}
    others = tuple(each for each in package.artifacts if (each.type, each.id) not in keys)
    if action == "DELETE":
        if len(others) + len(keys) > len(package.artifacts):
            raise refused(400, 1000, "artifacts names one that is not in the package.")
        return others
    return (*others, *named)


def _alternatives(named: Json) -> dict[str, str]:
    """Return the id that replaces each artifact: a text, or an object with `id`."""
    if not isinstance(named, dict):
        raise refused(400, 1000, "alternatives must be an object: artifact id to the id that replaces it.")
    found = {key: value.get("id") if isinstance(value, dict) else value for key, value in named.items()}
    texts = {key: value for key, value in found.items() if isinstance(value, str) and value}
    if wrong := found.keys() - texts.keys():
        raise refused(400, 1000, f"alternatives: {min(wrong)} needs the id that replaces it.")
    return texts


def _expiry(body: dict[str, Json], now_ms: int) -> int:
    text = body.get("expiry")
    if text is None:
        return 0
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError as error:
        raise refused(400, 1000, f"expiry: {text!r} must be a time such as 2030-05-20T20:05:10Z.") from error
    if moment.tzinfo is None:
        raise refused(400, 1000, f"expiry: {text!r} needs a time zone, such as Z.")
    expiry_ms = int(moment.timestamp() * 1000)
    if expiry_ms <= now_ms:
        raise refused(400, 1000, f"expiry: {text} has passed.")
    return expiry_ms
