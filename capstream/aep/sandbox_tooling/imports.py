"""Publishing and importing a package: what each job does, artifact by artifact."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from capstream.aep.call import ApiError, Call, Sandbox
from capstream.aep.sandbox.api import refused
from capstream.aep.sandbox_tooling.artifacts import NEEDED, UNION, Workbench
from capstream.aep.sandbox_tooling.model import Artifact, Job, Package, Piece, Shelf, Status, Task
from capstream.kernel import log
from capstream.kernel.ids import new_hex32
from capstream.kernel.json import Json

Permits = Callable[[Call, Sandbox, str], bool]
"""Tells whether the caller holds a permission in a sandbox."""

_DAYS_MS = 86_400_000
_EXPIRY_DAYS = 90  # Source: sandbox.yaml, expiryPeriod


@dataclass(frozen=True, slots=True)
class Jobs:
    """Carries out exports and imports; each is done, and stored, when it is answered."""

    packages: Shelf[Package]
    jobs: Shelf[Job]
    bench: Workbench
    permits: Permits

    def publish(self, call: Call, package: Package, source: Sandbox, days: int | None) -> Job:
        """Copy the artifacts of a package; a package that cannot be copied whole is PUBLISH_FAILED and names why."""
        artifacts = tuple(self.bench.everything(call, source)) if package.full else package.artifacts
        tasks: list[Task] = []
        pieces: dict[tuple[str, str], Piece] = {}
        for artifact in artifacts:
            try:
                self._check(call, source, artifact.type, 1)
                for piece in self.bench.copied(call, source, artifact):
                    pieces.setdefault((piece.type, piece.id), piece)
                tasks.append(Task(artifact, "SUCCESS", "copied"))
            except ApiError as error:
                tasks.append(Task(artifact, "FAILED", _reason(error)))
        whole = all(task.status == "SUCCESS" for task in tasks)
        expiry = package.expiry_ms if days is None and package.expiry_ms else call.now_ms + (days or _EXPIRY_DAYS) * _DAYS_MS
        changed = msgspec.structs.replace(
            package,
            artifacts=artifacts,
            pieces=tuple(sorted(pieces.values(), key=lambda piece: piece.type == UNION)) if whole else (),
            status=Status.PUBLISHED if whole else Status.PUBLISH_FAILED,
            published_ms=call.now_ms if whole else 0,
            expiry_ms=expiry,
            version=package.version + 1,
            modified_ms=call.now_ms,
            modified_by=call.caller.user_id,
        )
        self.packages.save(changed)
        return self._done(call, package, "EXPORT", source.name, tasks)

    def load(
        self, call: Call, package: Package, target: Sandbox, named: Mapping[str, str], alternatives: Mapping[str, str]
    ) -> Job:
        """Make what the target has not; when one artifact is refused, take back what was made. `named`: name, description."""
        ids, made, tasks = dict(alternatives), list[tuple[str, str]](), list[Task]()
        for piece in package.pieces:
            artifact = Artifact(piece.id, piece.type, piece.title)
            if piece.id in alternatives:
                tasks.append(Task(artifact, "SKIPPED", "replaced by an alternative", alternatives[piece.id]))
                continue
            try:
                task = self._load_one(call, target, piece, ids)
            except ApiError as error:
                tasks.append(Task(artifact, "FAILED", _reason(error)))
                self._take_back(call, target, made)
                break
            tasks.append(task)
            ids[piece.id] = task.new_id
            if task.status == "SUCCESS":
                made.append((piece.type, task.new_id))
        package = msgspec.structs.replace(package, **{key: value for key, value in named.items() if value})
        return self._done(call, package, "IMPORT", target.name, tasks)

    def conflicts(self, call: Call, package: Package, target: Sandbox) -> list[Json]:
        """Return, for each artifact of the package, what the target has already in its place."""
        found: list[Json] = []
        for piece in package.pieces:
            same = self._present(call, target, piece)
            status = "FOUND" if same else "NOT_FOUND"
            message = f"{'Found' if same else 'No'} object with ID: {piece.id} in sandbox {target.name}"
            artifact = {"id": piece.id, "type": piece.type, "found": bool(same), "count": len(same), "title": piece.title}
            found.append(
                {
                    "artifact": artifact | {"messages": [{"status": status, "attempt": 1, "message": message}]},
                    "suggestionList": [
                        {"id": one.id, "type": one.type, "found": True, "count": 1, "title": one.title} for one in same
                    ],
                    "parentID": f"{package.org_id}::{package.sandbox}::{piece.type}::{piece.id}",
                }
            )
        return found

    def permissions(self, call: Call, package: Package, target: Sandbox) -> list[Json]:
        """Return what the caller needs, and lacks, to import each artifact."""
        found: list[Json] = []
        for piece in package.pieces:
            resource, _, needed = NEEDED[piece.type]
            held = self.permits(call, target, needed)
            wanted: list[Json] = [{"palmResourceType": resource, "resourcePermissions": [needed]}]
            found.append(
                {
                    "artifactID": piece.id,
                    "artifactType": piece.type,
                    "requiredPermissions": {"resources": wanted},
                    "missingPermissions": {"resources": [] if held else wanted},
                    "creationAllowed": held,
                }
            )
        return found

    def _load_one(self, call: Call, target: Sandbox, piece: Piece, ids: Mapping[str, str]) -> Task:
        artifact = Artifact(piece.id, piece.type, piece.title)
        if same := self._present(call, target, piece):
            return Task(artifact, "SKIPPED", f"sandbox {target.name} has it already", same[0].id)
        self._check(call, target, piece.type, 2)
        return Task(artifact, "SUCCESS", "made", self.bench.make(call, target, piece, ids))

    def _present(self, call: Call, target: Sandbox, piece: Piece) -> list[Artifact]:
        try:
            return self.bench.present(call, target, piece)
        except ApiError as error:
            if error.answer.status == 404:  # what it belongs to is not there either
                return []
            raise

    def _check(self, call: Call, sandbox: Sandbox, kind: str, which: int) -> None:
        needed = NEEDED[kind][which]
        if not self.permits(call, sandbox, needed):
            raise refused(403, 1004, f"The permission {needed} is missing in sandbox {sandbox.name}.")

    def _take_back(self, call: Call, target: Sandbox, made: list[tuple[str, str]]) -> None:
        for kind, made_id in reversed(made):
            try:
                self.bench.remove(call, target, kind, made_id)
            except ApiError as error:
                log.warning("import not taken back", action="import_left_over", kind=kind, id=made_id, status=error.answer.status)

    def _done(self, call: Call, package: Package, request: str, target: str, tasks: list[Task]) -> Job:
        failed = any(task.status == "FAILED" for task in tasks)
        job = Job(
            id=new_hex32(),
            org_id=package.org_id,
            request=request,
            name=package.name,
            description=package.description,
            full=package.full,
            source=package.sandbox,
            target=target,
            status="FAILED" if failed else "SUCCESS",
            at_ms=call.now_ms,
            by=call.caller.user_id,
            package_id=package.id,
            tasks=tuple(tasks),
        )
        return self.jobs.save(job)


def _reason(error: ApiError) -> str:
    """Return what a service's refusal says."""
    body = error.answer.body
    if isinstance(body, dict):
        texts = (body.get(name) for name in ("detail", "title", "errorMessage", "message"))
        return next((text for text in texts if isinstance(text, str) and text), str(error.answer.status))
    return str(error.answer.status)
