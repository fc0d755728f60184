"""Each member's balances as the sum of their events: what reconciliation compares profiles and Capillary with."""

from capstream.capillary.identities import user_id
from capstream.capillary.programs import Programs
from capstream.capillary.state import load
from capstream.capillary.translate import profile_payload
from capstream.capillary.translation_config import TranslationConfig
from capstream.kernel.json import Json
from capstream.relay.ledger import read_programs, read_states
from capstream.storage.ports import Documents

COMPARED = ("points", "lifetimePoints", "tier")


def member_books(courier: Documents, config: TranslationConfig, *, after: str, limit: int, only: str = "") -> Json:
    """Return a page of members in the order of their names, `org/customer`; `next` is the `after` of the next page.

    Shape: `{orgId, customerId, asOfMs, identity, points?, lifetimePoints?, tier?, mergedInto?}`; what no event stated is absent,
    `identity` is the one in the profile. `only` names one member.
    """
    stored = read_programs(courier)
    programs = Programs.load(stored) if stored else Programs()
    found = read_states(courier, after=after, limit=limit, only=only)
    members = [_book(name, body, programs, config) for name, body in found]
    return {"members": members, **({"next": found[-1][0]} if len(found) == limit and not only else {})}


def _book(name: str, body: bytes, programs: Programs, config: TranslationConfig) -> Json:
    org_id, _, customer_id = name.partition("/")
    state = load(body)
    facts: dict[str, Json] = {"orgId": org_id, "customerId": customer_id, "asOfMs": state.as_of}
    if state.merged_into is not None:
        return facts | {"mergedInto": str(state.merged_into[0])}
    loyalty = profile_payload((org_id, customer_id), state, programs, config).body.get("loyalty", {})
    facts["identity"] = user_id(org_id, customer_id, config)
    return facts | {field: loyalty[field] for field in COMPARED if field in loyalty}
