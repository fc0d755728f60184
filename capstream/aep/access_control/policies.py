"""Policies of attribute-based access control: kept as they are written. Source: access-control.yaml, sandboxes-access.md 2.4.

Their conditions are kept as text and decide nothing here: what an account may do, its roles say.
"""

from collections.abc import Mapping
from typing import Any

from capstream.aep.call import Answer, ApiError, Call, Handler
from capstream.kernel.ids import new_uuid
from capstream.kernel.json import Json, JsonError, dumps, loads
from capstream.storage.ports import Documents

_COLLECTION = "access_policies"  #: {org}/{policy} -> the policy as it is shown
_PAGE = 20
_MOST = 1000
_EFFECTS = ("permit", "deny", "indeterminate")
_STATUSES = ("active", "inactive")
_WRITABLE = ("name", "description", "status", "subjectCondition", "rules", "parameters")
_SENT_ALONG = frozenset({"id", "imsOrgID", "imsOrgId", "recordType", "createdBy", "createdAt", "modifiedBy", "modifiedAt"}) | {
    "_etag",
    "etag",
    "isDefault",
}

Policy = dict[str, Json]


def handlers(documents: Documents) -> dict[str, Handler]:
    """Return the handlers of the policies."""
    service = _Service(documents)
    return {
        "listExistingPolicies": service.list,
        "createPolicy": service.create,
        "retrievePolicy": lambda call: Answer(body=service.existing(call)),
        "updatePolicyByPolicyId": service.put,
        "updatePolicy": service.patch,
        "deletePolicy": service.delete,
    }


def _refused(status: int, title: str) -> ApiError:
    return ApiError(status, {"status": status, "title": title, "type": f"http://ns.adobe.com/aep/errors/ACS-1000-{status}"})


class _Service:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    def list(self, call: Call) -> Answer:
        """Return one page of policies, newest first."""
        start, limit = call.arg("start", "0"), call.arg("limit", str(_PAGE))
        if not (start.isdecimal() and limit.isdecimal()) or int(limit) == 0:
            raise _refused(400, "start must be 0 or more and limit 1 or more.")
        first, size = int(start), min(int(limit), _MOST)
        found = [loads(body) for _, body in self._documents.scan(_COLLECTION, prefix=f"{call.caller.org_id}/")]
        for condition in call.args("property"):
            name, operator, value = condition.partition("==")
            found = [policy for policy in found if (str(policy.get(name)) == value if operator else name in policy)]
        found.sort(key=lambda policy: (-policy["createdAt"], policy["id"]))
        shown = found[first : first + size]
        links: dict[str, Json] = {
            "self": {"href": "/policies", "templated": False, "type": None, "method": None},
            "page": {"href": "/policies?limit={limit}&start={start}&orderBy={orderBy}&property={property}", "templated": True},
        }
        if first + size < len(found):
            links["next"] = {"href": f"/policies?limit={size}&start={first + size}", "templated": False}
        page = {"orderBy": "-createdAt", "start": first, "count": len(shown), "limit": size}
        return Answer(body={"items": shown, "_page": page, "_links": links})

    def existing(self, call: Call) -> Policy:
        """Return the policy the path names."""
        policy_id = call.params["POLICY_ID"]
        body = self._documents.get(_COLLECTION, f"{call.caller.org_id}/{policy_id}")
        if body is None:
            raise _refused(404, f"Policy {policy_id} was not found. List the policies for their ids.")
        found: Policy = loads(body)
        return found

    def create(self, call: Call) -> Answer:
        """Store a new policy, active unless its body says otherwise."""
        made = {
            "id": new_uuid(),
            "recordType": "policy",
            "imsOrgId": call.caller.org_id,
            "imsOrgID": call.caller.org_id,
            "createdBy": call.caller.user_id,
            "createdAt": call.now_ms,
        }
        return self._saved(call, made | _content(call))

    def put(self, call: Call) -> Answer:
        """Replace what a caller may write."""
        before = self.existing(call)
        kept = {name: value for name, value in before.items() if name not in _WRITABLE}
        return self._saved(call, kept | _content(call))

    def patch(self, call: Call) -> Answer:
        """Apply add, replace and remove to top-level members: one operation, an array, or `{"operations": [...]}`."""
        policy = self.existing(call)
        body = call.json()
        listed = body.get("operations", [body]) if isinstance(body, dict) else body
        if not isinstance(listed, list) or not listed:
            raise _refused(400, 'The body must be {"op", "path", "value"}, an array of these, or {"operations": [...]}.')
        changed = {name: policy[name] for name in _WRITABLE if name in policy}
        for operation in listed:
            _apply(changed, operation)
        return self._saved(call, policy | _checked(changed))

    def delete(self, call: Call) -> Answer:
        """Delete the policy."""
        policy = self.existing(call)
        with self._documents.transaction() as change:
            change.delete(_COLLECTION, [f"{call.caller.org_id}/{policy['id']}"])
        return Answer(status=204)

    def _saved(self, call: Call, policy: Policy) -> Answer:
        policy |= {"modifiedBy": call.caller.user_id, "modifiedAt": call.now_ms, "_etag": None}
        with self._documents.transaction() as change:
            change.put(_COLLECTION, [(f"{call.caller.org_id}/{policy['id']}", dumps(policy))])
        return Answer(body=policy)


def _content(call: Call) -> Policy:
    body = call.json()
    if not isinstance(body, dict):
        raise _refused(400, "The body must be a JSON object.")
    if unknown := sorted(body.keys() - _SENT_ALONG - set(_WRITABLE)):
        raise _refused(400, f"{unknown[0]}: unknown member; a policy has {', '.join(_WRITABLE)}.")
    defaults: Policy = {"description": "", "status": "active", "subjectCondition": None}
    return _checked(defaults | {name: body[name] for name in _WRITABLE if name in body})


def _apply(policy: Policy, operation: Json) -> None:
    verb = str(operation.get("op", "")).lower() if isinstance(operation, dict) else ""
    name = str(operation.get("path", "")).removeprefix("/") if verb else ""
    if verb not in {"add", "replace", "remove"} or name not in _WRITABLE:
        raise _refused(400, f"op must be add, replace or remove, path one of {', '.join('/' + each for each in _WRITABLE)}.")
    if verb == "remove":
        policy[name] = {"description": "", "subjectCondition": None}.get(name)
    else:
        policy[name] = operation.get("value")


def _checked(policy: Policy) -> Policy:
    """Return the content of a policy with its rules as an array, or refuse what is wrong, by name."""
    if not isinstance(policy.get("name"), str) or not policy["name"].strip():
        raise _refused(400, "name: required, a text that is not empty.")
    if policy.get("status") not in _STATUSES:
        raise _refused(400, f"status: one of {', '.join(_STATUSES)}.")
    if not isinstance(policy.get("description"), str):
        raise _refused(400, "description: a text.")
    rules = policy.get("rules")
    listed = [rules] if isinstance(rules, dict) else rules  # the specification says object, its examples print an array
    if not isinstance(listed, list) or not listed:
        raise _refused(400, "rules: required, an array of {effect, resource, condition, actions}.")
    return policy | {"rules": [_rule(rule, at) for at, rule in enumerate(listed)]}


def _rule(rule: Json, at: int) -> Mapping[str, Any]:
    where = f"rules[{at}]"
    if not isinstance(rule, dict) or str(rule.get("effect", "")).lower() not in _EFFECTS:
        raise _refused(400, f"{where}.effect: one of {', '.join(_EFFECTS)}.")
    if not isinstance(rule.get("resource"), str) or not rule["resource"]:
        raise _refused(400, f"{where}.resource: required, such as /orgs/{{org}}/sandboxes/*.")
    actions = rule.get("actions")
    actions = [actions] if isinstance(actions, str) else actions
    if not isinstance(actions, list) or not actions or not all(isinstance(each, str) for each in actions):
        raise _refused(400, f"{where}.actions: required, an array of texts such as com.adobe.action.read.")
    condition = rule.get("condition", "")
    try:
        if not isinstance(condition, str) or (condition and not isinstance(loads(condition.encode()), dict)):
            raise _refused(400, f"{where}.condition: a text that holds a JSON-logic object.")
    except JsonError as error:
        raise _refused(400, f"{where}.condition: not JSON: {error}.") from error
    return {**rule, "actions": actions}
