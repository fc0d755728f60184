"""Sharing packages with other organisations. This server has one organisation, so it has no partners, and each answer says so."""

from capstream.aep.call import Answer, Call, Handler
from capstream.aep.sandbox.api import refused
from capstream.aep.sandbox_tooling import shown
from capstream.kernel.json import Json

_ALONE = "is not an organisation of this server"


def handlers() -> dict[str, Handler]:
    """Return the handlers of `/handshake` and `/transfer`."""
    return {
        "partnershipRequest": _ask_partners,
        "approveShareRequests": _approve,
        "listPartnershipRequests": _list,
        "createShareRequest": _share,
        "fetchShareByID": _one,
        "fetchShareList": _list,
        "listTransfers": _list,
        "importPublicPackage": _pull,
    }


def _list(call: Call) -> Answer:
    return Answer(body=shown.page(call, []) | {"nextPage": None, "pageSize": None})


def _ask_partners(call: Call) -> Answer:
    targets = _object(call).get("targetIMSOrgIds")
    if not isinstance(targets, list) or not targets or not all(isinstance(each, str) and each for each in targets):
        raise refused(400, 1000, "targetIMSOrgIds must be an array of organisation ids.")
    failed = {each: {"reason": f"{each} {_ALONE}"} for each in targets}
    return Answer(status=201, body={"successfulRequests": {}, "failedRequests": failed})


def _approve(call: Call) -> Answer:
    linking = _object(call).get("linkingID")
    if not isinstance(linking, str) or not linking:
        raise refused(400, 1000, "linkingID is required, a text.")
    raise refused(404, 1001, f"No partnership request has the linkingID {linking}.")


def _share(call: Call) -> Answer:
    body = _object(call)
    targets = body.get("targets")
    if not isinstance(body.get("packageId"), str) or not isinstance(targets, list) or not targets:
        raise refused(400, 1000, "packageId and targets, an array of {imsOrgId}, are required.")
    first = targets[0].get("imsOrgId") if isinstance(targets[0], dict) else targets[0]
    raise refused(400, 1000, f"targets[0].imsOrgId: {first} {_ALONE}.")


def _one(call: Call) -> Answer:
    raise refused(404, 1001, f"Share request {call.params['transferID']} was not found.")


def _pull(call: Call) -> Answer:
    body = _object(call)
    if not isinstance(body.get("imsOrgId"), str) or not isinstance(body.get("packageId"), str):
        raise refused(400, 1000, "imsOrgId and packageId are required, texts.")
    raise refused(400, 1000, f"imsOrgId: {body['imsOrgId']} {_ALONE}; import a package of your own by its id.")


def _object(call: Call) -> dict[str, Json]:
    body = call.json()
    if not isinstance(body, dict):
        raise refused(400, 1000, "The body must be a JSON object.")
    return body
