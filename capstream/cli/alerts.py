"""`capstream alerts list|show|subscribe|unsubscribe|test`: what happened to dataflow runs, and who is told of it."""

import time
from typing import Annotated

import typer
from rich.text import Text

from capstream.cli.client import PlatformClient, Refused
from capstream.cli.options import AsJson, CredentialsFile, find
from capstream.cli.printing import console, folded
from capstream.kernel.clock import rfc3339
from capstream.kernel.errors import CapstreamError, InputError
from capstream.kernel.json import Json, pretty

app = typer.Typer(help="Alerts on dataflow runs: list, show, subscribe, unsubscribe, test.", no_args_is_help=True)

_ALERTS = "/capstream/api/alerts"
_DEFAULT_RULES = ("sources-flow-run-start", "sources-flow-run-success", "sources-flow-run-failure")
_POLL_S = 0.2

Rules = Annotated[
    list[str] | None, typer.Option("--rule", help="A rule's id; may be repeated. Default: run start, success, failure.")
]


@app.command("list")
def list_(
    rule: Annotated[str, typer.Option(help="Only alerts of this rule.")] = "",
    flow: Annotated[str, typer.Option(help="Only alerts of this dataflow.")] = "",
    state: Annotated[str, typer.Option(help="triggered or resolved.")] = "",
    limit: Annotated[int, typer.Option(help="Most alerts to list.")] = 20,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """List the rules, who is told of them, and the newest alerts."""
    query = {"limit": limit} | {key: value for key, value in (("ruleId", rule), ("resourceId", flow), ("state", state)) if value}
    with PlatformClient(find(credentials)) as client:
        rules = client.platform("GET", f"{_ALERTS}/rules")
        found = {
            "rules": rules["items"],
            "neverTriggered": rules["neverTriggered"],
            "subscriptions": client.platform("GET", f"{_ALERTS}/subscriptions")["items"],
            "webhooks": client.platform("GET", _registrations(client))["_embedded"]["registrations"],
            "alerts": client.platform("GET", f"{_ALERTS}/history", query=query)["items"],
        }
    if json:
        typer.echo(pretty(found))
    else:
        _print(found)


@app.command()
def show(
    which: Annotated[str, typer.Argument(help="An alert's id, or a webhook's registration id.")],
    credentials: CredentialsFile = None,
) -> None:
    """Show one alert with its figures, or one webhook with its last deliveries."""
    with PlatformClient(find(credentials)) as client:
        found = _or_none(client, f"{_ALERTS}/history/{which}")
        if found is None:
            place = f"{_registrations(client)}/{which}"
            found = _or_none(client, place)
            if found is None:
                raise InputError(which, "neither an alert nor a webhook has this id", "see `capstream alerts list`")
            found |= {"deliveries": client.platform("GET", f"{place}/deliveries")["items"]}
    typer.echo(pretty(found))


@app.command()
def subscribe(
    flow: Annotated[str, typer.Option(help="The dataflow's id; with --webhook it may be left out: all dataflows.")] = "",
    rule: Rules = None,
    webhook: Annotated[str, typer.Option(help="URL that gets the events; it must answer a challenge. Default: the bell.")] = "",
    email: Annotated[str, typer.Option(help="Address that gets letters, besides the bell; needs the setting mail.host.")] = "",
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Be told of alerts: in the bell of the calling account, by e-mail, or at a webhook (signed, repeated until it is taken)."""
    if webhook and email:
        raise typer.BadParameter("--webhook and --email are two subscriptions: call the command twice")
    rules = list(rule or _DEFAULT_RULES)
    with PlatformClient(find(credentials)) as client:
        if webhook:
            answer = _register(client, webhook, flow, rules)
        elif flow:
            wanted = {"channels": ["inapp", "email"], "email": email} if email else {"channels": ["inapp"]}
            answer = client.platform("PUT", f"{_ALERTS}/subscriptions", body={"flowId": flow, "ruleIds": rules} | wanted)
        else:
            raise typer.BadParameter("name a dataflow with --flow, or a webhook with --webhook")
    if json:
        typer.echo(pretty(answer))
    elif webhook:
        typer.echo(f"{answer['registration_id']} ({answer['webhook_status']})")
    else:
        typer.echo(f"subscribed to {len(rules)} rules of dataflow {flow}")


@app.command()
def unsubscribe(
    which: Annotated[str, typer.Argument(help="A dataflow's id (the bell), or a webhook's registration id.")],
    credentials: CredentialsFile = None,
) -> None:
    """Be told no longer."""
    with PlatformClient(find(credentials)) as client:
        place = f"{_registrations(client)}/{which}"
        if _or_none(client, place) is not None:
            client.platform("DELETE", place)
        else:
            client.platform("PUT", f"{_ALERTS}/subscriptions", body={"flowId": which, "ruleIds": []})
    typer.echo("unsubscribed")


@app.command("test")
def send_test(
    which: Annotated[str, typer.Argument(help="A webhook's registration id.")],
    wait: Annotated[float, typer.Option(help="How long to wait for the delivery, in seconds.")] = 15.0,
    credentials: CredentialsFile = None,
    json: AsJson = False,
) -> None:
    """Send a test event to a webhook and say what came of it; exit code 1 when it was not delivered."""
    with PlatformClient(find(credentials)) as client:
        place = f"{_registrations(client)}/{which}"
        event_id = client.platform("POST", f"{place}/test")["event_id"]
        outcome = _awaited(client, place, event_id, wait)
    typer.echo(pretty(outcome) if json else f"{outcome['state']}: {outcome['last']} (attempt {outcome['attempts']})")
    if outcome["state"] != "delivered":
        raise typer.Exit(1)


def _awaited(client: PlatformClient, place: str, event_id: str, wait_s: float) -> Json:
    until = time.monotonic() + wait_s
    while True:
        deliveries = client.platform("GET", f"{place}/deliveries")["items"]
        found = next((each for each in deliveries if each["event_id"] == event_id and each["attempts"] > 0), None)
        dropped = next((each for each in deliveries if each["event_id"] == event_id and each["state"] == "dropped"), None)
        if found or dropped:
            return found or dropped
        if time.monotonic() > until:
            raise CapstreamError(f"the event was not sent within {wait_s:.0f} s; is the worker running? See `/health`")
        time.sleep(_POLL_S)


def _registrations(client: PlatformClient) -> str:
    """Return where webhooks are registered: consumer, project and workspace are ours to choose."""
    organisation = client.credentials.org_id.partition("@")[0]
    return f"/events/{organisation}/capstream/default/registrations"


def _register(client: PlatformClient, url: str, flow: str, rules: list[str]) -> Json:
    codes = {each["id"]: each["eventCode"] for each in client.platform("GET", f"{_ALERTS}/rules")["items"]}
    if unknown := [each for each in rules if each not in codes]:
        raise InputError("--rule", f"{unknown[0]} is no rule", f"there are {', '.join(codes)}")
    body = {
        "client_id": client.credentials.client_id,
        "name": f"capstream alerts {flow}".strip(),
        "webhook_url": url,
        "delivery_type": "webhook",
        "events_of_interest": [{"event_code": codes[each]} for each in rules],
    }
    return client.platform("POST", _registrations(client), body=body | ({"flow_id": flow} if flow else {}))


def _or_none(client: PlatformClient, path: str) -> Json:
    try:
        return client.platform("GET", path)
    except Refused as error:
        if error.status == 404:
            return None
        raise


def _print(found: Json) -> None:
    out = console()
    rules = folded("rule", "threshold", "severity", "enabled", title="Rules")
    for each in found["rules"]:
        threshold = each["threshold"]
        shown = f"{threshold['value']:g} {threshold['unit']}" if threshold else ""
        rules.add_row(each["id"], shown, each["severity"], "yes" if each["enabled"] else "no")
    told = folded("id", "rules", "dataflow", "to", "state", title="Subscriptions")
    for each in found["subscriptions"]:
        places = [f"bell of {each['userId']}"] if "inapp" in each["channels"] else []
        told.add_row("", each["ruleId"], each["flowId"], ", ".join([*places, *filter(None, [each.get("email")])]), "")
    for each in found["webhooks"]:
        codes = ", ".join(event["event_code"] for event in each["events_of_interest"])
        told.add_row(
            each["registration_id"], codes, each.get("flow_id", "all"), each.get("webhook_url", "journal"), each["status"]
        )
    alerts = folded("id", "triggered", "rule", "about", "severity", "state", title="Alerts")
    for each in found["alerts"]:
        names = (each["id"], rfc3339(each["triggeredAt"]), each["ruleId"], each["resourceId"], each["severity"], each["state"])
        alerts.add_row(*(Text(name) for name in names))
    for table in (rules, told, alerts):
        out.print(table)
    never: dict[str, list[str]] = {}
    for each in found["neverTriggered"]:
        never.setdefault(each["reason"], []).append(each["name"])
    for reason, which in never.items():
        out.print(f"Never triggered, for {reason}: {', '.join(which)}.")
