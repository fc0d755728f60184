"""Merge policies of a sandbox. A fresh sandbox has one. Source: profile.md 3.1."""

from uuid import NAMESPACE_URL, uuid5

import msgspec

from capstream.aep.call import Sandbox
from capstream.aep.profile.model import AttributeMerge, MergePolicy
from capstream.kernel.json import Json
from capstream.storage.ports import Documents

COLLECTION = "merge_policies"


class MergePolicies:
    """The merge policies of every sandbox. Only the one a sandbox is born with exists until they can be created."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def all(self, sandbox_id: str) -> list[MergePolicy]:
        """Return the policies of a sandbox, the one it was born with first."""
        stored = self._documents.scan(COLLECTION, prefix=f"{sandbox_id}/")
        policies = [msgspec.json.decode(body, type=MergePolicy) for _, body in stored]
        taken = any(policy.default for policy in policies)
        return [born_with(sandbox_id, default=not taken), *policies]

    def get(self, sandbox_id: str, policy_id: str) -> MergePolicy | None:
        """Return a policy, or None."""
        return next((policy for policy in self.all(sandbox_id) if policy.id == policy_id), None)

    def default(self, sandbox_id: str) -> MergePolicy:
        """Return the policy that applies when a caller names none."""
        return next(policy for policy in self.all(sandbox_id) if policy.default)


def born_with(sandbox_id: str, *, default: bool = True) -> MergePolicy:
    """Return the policy every sandbox has from the start. Source: profile.md 3.1 (ASSUMPTION: active on the edge)."""
    return MergePolicy(id=str(uuid5(NAMESPACE_URL, f"merge-policy/{sandbox_id}")), name="Default Timebased", default=default)


def rendered(policy: MergePolicy, org_id: str, sandbox: Sandbox) -> dict[str, Json]:
    """Return the API's merge policy object."""
    merge: dict[str, Json] = {"type": policy.merge.value}
    if policy.merge is AttributeMerge.DATASET:
        merge["order"] = list(policy.order)
    return {
        "id": policy.id,
        "name": policy.name,
        "imsOrgId": org_id,
        "sandbox": {
            "sandboxId": sandbox.id,
            "sandboxName": sandbox.name,
            "type": sandbox.type,
            "default": sandbox.default,
        },
        "schema": {"name": policy.schema_name},
        "version": policy.version,
        "identityGraph": {"type": policy.graph.value},
        "attributeMerge": merge,
        "isActiveOnEdge": policy.edge,
        "default": policy.default,
        "updateEpoch": policy.updated_s,
    }
