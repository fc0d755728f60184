"""Capillary's API of the simulated programme, over HTTP in process."""

import asyncio
from base64 import b64encode
from decimal import Decimal
from hashlib import md5
from zoneinfo import ZoneInfo

import httpx
import pytest

from capstream.capillary.programme.config import Customers, Programme, Redeem, Shops
from capstream.capillary.programme.customers import delete
from capstream.capillary.programme.engine import Engine
from capstream.capillary.programme.events import SimEvent
from capstream.capillary.retail import Bill, BillLine
from capstream.kernel.json import Json
from capstream.relay.deliveries import Deliveries
from capstream.relay.facade import Control, Facade, FacadeOptions, Run
from capstream.relay.faults import NO_FAULTS, Feed, Posting
from capstream.relay.sender import Attempt, Sender, SenderOptions
from capstream.relay.webhook_api import WebhookApi
from capstream.relay.webhooks import Webhooks

URL = "https://relay.example.com/webhooks/capillary/nw"
START_MS = 1_704_880_800_000  # 2024-01-10 10:00 in London
PROGRAMME = Programme(
    redeem=Redeem(probability=1.0, reversal_probability=0.0),
    customers=Customers(
        update_probability_per_month=0, merge_probability=0, deletion_probability=0, missing_email=0, missing_mobile=0
    ),
    shops=Shops(online_share=0.0),
)


def bill(number: str, day: int, quantity: int, price: str) -> Bill:
    till_ms = START_MS + day * 86_400_000
    line = BillLine(1, number, 1, "A1", "lantern", quantity, Decimal(price), till_ms, "101", "EIRE", "GBP")
    return Bill(number, "101", till_ms, number.startswith("C"), "EIRE", "GBP", (line,))


class Api:
    """The façade with a wall clock that only a test moves."""

    def __init__(self, options: FacadeOptions | None = None) -> None:
        self.engine = Engine(PROGRAMME, seed=3)
        for _ in self.engine.run([bill("1", 0, 6, "100"), bill("2", 40, 1, "90"), bill("C3", 41, -1, "100")]):
            pass
        self.wall_ms = 1_800_000_000_000
        self.commands: list[str] = []
        control = Control(state=lambda: {"events": 7}, commands={"pause": lambda: self.commands.append("pause")})
        self.deliveries = Deliveries(lambda: self.handed_out)
        self.handed_out = 0
        sent = SenderOptions(url=URL, headers={"X": "secret"})
        webhooks = Webhooks(clock=lambda: self.wall_ms, options=sent)
        webhooks.own(Sender(Feed(iter(()), NO_FAULTS, seed=1), sent, lambda: self.wall_ms), self.deliveries)
        api = WebhookApi(webhooks=webhooks, clock=lambda: self.wall_ms, zone=ZoneInfo("Europe/London"))
        run = Run(control=control, webhooks=api)
        self.facade = Facade(self.engine, options or FacadeOptions(), lambda: self.wall_ms, run)
        self.token = ""

    def call(self, path: str, method: str = "GET", *, body: Json = None, headers: dict[str, str] | None = None) -> httpx.Response:
        async def run() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.facade.app())
            sent = {"X-CAP-API-OAUTH-TOKEN": self.token} if self.token and headers is None else headers
            async with httpx.AsyncClient(transport=transport, base_url="http://capillary") as client:
                return await client.request(method, path, json=body, headers=sent)

        return asyncio.run(run())

    def log_in(self, key: str = "k", secret: str = "s") -> httpx.Response:  # noqa: S107 - made up
        response = self.call("/v3/oauth/token/generate", "POST", body={"key": key, "secret": secret})
        if response.is_success:
            self.token = response.json()["data"]["accessToken"]
        return response


@pytest.fixture
def api() -> Api:
    made = Api()
    made.log_in()
    return made


def test_the_loyalty_details_are_the_ledger(api: Api) -> None:
    response = api.call("/v2/customers/900000101/loyaltyDetails")
    (details,) = response.json()["data"]
    (row,) = api.engine.truth()
    assert response.status_code == 200
    told = {
        "points": details["loyaltyPoints"],
        "lifetimePoints": details["lifetimePoints"],
        "pointsRedeemed": details["redeemed"],
        "expiredPoints": details["expired"],
        "returnedPoints": details["returned"],
        "adjustedPoints": details["adjusted"],
        "promisedPoints": details["delayedPoints"],
        "lifetimePurchases": details["cumulativePurchases"],
        "tier": details["currentSlab"],
        "tierNumber": details["slabSNo"],
    }
    assert told == {key: row[key] for key in told}
    assert (row["pointsRedeemed"], row["returnedPoints"]) == (0, 65)  # the return undid the payment too
    assert details["slabExpiryDate"] == "2025-01-31T23:59:59+00:00"
    assert details["nextSlab"] == "Gold"


def test_answers_state_the_virtual_time_of_the_newest_event(api: Api) -> None:
    as_of = int(api.call("/v2/customers/900000101/loyaltyDetails").headers["X-Capstream-Time"])
    assert as_of == api.engine.world.members[900000101].newest_ms
    list(api.engine.advance(START_MS + 50 * 86_400_000))
    later = int(api.call("/v2/customers/900000101/loyaltyDetails").headers["X-Capstream-Time"])
    assert api.engine.now_ms - 1000 < later < api.engine.now_ms


def test_the_other_calls_about_a_member(api: Api) -> None:
    (row,) = api.engine.truth()
    customer = api.call("/v2/customers/900000101?source=INSTORE&embed=points,expirySchedules,customerStatus").json()
    identifiers = {one["type"]: one["value"] for one in customer["profiles"][0]["identifiers"]}
    assert identifiers == {"email": "member-0101@example.com", "mobile": "447700900000101", "externalId": "UK-101"}
    assert customer["pointsSummary"]["mainPoints"] == row["points"]
    balance = api.call("/v2/customers/900000101/points/balance").json()
    assert (balance["mainPoints"], balance["promisedPoints"]) == (row["points"], row["promisedPoints"])
    assert api.call("/v2/customers/points/balance/900000101").json() == balance
    (tier,) = api.call("/v2/customers/900000101/tierDetails").json()["programTiers"]
    assert (tier["currentTierName"], tier["tierExpiryDate"]) == ("Silver", "2025-01-31 23:59:59")
    schedule = api.call("/v2/customers/900000101/pointsExpirySchedule").json()["expirySchedules"]
    assert [{"date": one["expiryDate"], "points": one["points"]} for one in schedule] == row["lots"]
    headers = api.call("/v2/customers/900000101/transactions?limit=1").json()["data"]
    assert [one["billDetails"]["billNumber"] for one in headers] == ["2"]
    assert api.call("/v2/customers/900000101/singlePointsExpiryUpdates").json() == {"singlePointsExpiryUpdateList": []}


def test_a_bill_has_lines_and_what_points_paid(api: Api) -> None:
    bill = api.call("/v2/transactions/880100002?type=REGULAR&tenders=true").json()
    details = bill["lineItems"][0]["details"]
    assert (details["itemCode"], details["qty"], details["rate"], details["amount"]) == ("A1", 1.0, 90.0, 90.0)
    assert [(one["mode"], one["amount"]) for one in bill["paymentModes"]] == [("CardPayment", 57.5), ("Points", 32.5)]
    assert bill["billDetails"]["billingTime"] == "2024-02-19T10:00:00.000Z"


def test_a_return_names_its_parent(api: Api) -> None:
    bill = api.call("/v2/transactions/880100003?type=RETURN").json()
    assert bill["returnDetails"] == {"canceled": False, "type": "FULL", "parentTransactionId": 880100002}
    assert bill["lineItems"][0]["details"]["qty"] == 1.0


@pytest.mark.parametrize(
    "path", ["/v2/transactions/1", "/v2/transactions/880100003?type=REGULAR", "/v2/transactions/880100002?type=RETURN"]
)
def test_an_unknown_bill_is_not_found(api: Api, path: str) -> None:
    assert api.call(path).status_code == 404


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("identifierName=externalId&identifierValue=UK-101", 0),
        ("identifierName=email&identifierValue=nobody@example.com", 8015),
        ("identifierName=shoe&identifierValue=9", 8013),
        ("source=WECHAT&identifierName=email&identifierValue=x", 8011),
    ],
)
def test_looking_up_by_identifier(api: Api, query: str, code: int) -> None:
    response = api.call(f"/v2/customers/lookup?{query}")
    if code:
        assert (response.status_code, response.json()["errors"][0]["code"]) == (400, code)
    else:
        assert response.json() == {"entity": 900000101, "warnings": []}
        assert api.call(f"/v2/customers/lookup/loyaltyDetails?{query}").json()["data"][0]["loyaltyId"] == 900000101
        assert api.call(f"/v2/customers/lookup/customerDetails?{query}").json()["id"] == 900000101


def test_unknown_and_deleted_members(api: Api) -> None:
    assert api.call("/v2/customers/5/loyaltyDetails").json()["errors"][0]["code"] == 8015
    api.engine.schedule(900000101, delete)
    list(api.engine.advance(START_MS + 60 * 86_400_000))
    assert "deleted after PII" in api.call("/v2/customers/900000101").json()["errors"][0]["message"]


def test_without_a_token_nothing_is_told() -> None:
    api = Api()
    assert api.call("/v2/customers/900000101").status_code == 401
    api.token = "made-up"
    assert api.call("/v2/customers/900000101").status_code == 401


def test_tokens_expire() -> None:
    api = Api(FacadeOptions(token_ttl_s=300))
    assert api.log_in().json()["data"]["ttlSeconds"] == 300
    api.wall_ms += 299_999
    assert api.call("/v2/customers/900000101").status_code == 200
    api.wall_ms += 1
    assert api.call("/v2/customers/900000101").status_code == 401


def test_configured_credentials_are_checked() -> None:
    api = Api(FacadeOptions(key="relay", secret="pass-1"))
    assert api.log_in("relay", "wrong").status_code == 401
    assert api.log_in("relay", "pass-1").status_code == 200
    hashed = md5(b"pass-1", usedforsecurity=False).hexdigest()
    for password, status in ((hashed, 200), ("pass-1", 401)):
        basic = b64encode(f"relay:{password}".encode()).decode()
        assert api.call("/v2/customers/900000101", headers={"Authorization": f"Basic {basic}"}).status_code == status


def test_the_limit_of_calls_is_per_minute() -> None:
    api = Api(FacadeOptions(per_minute=2))
    api.log_in()
    assert [api.call("/v2/customers/900000101").status_code for _ in range(3)] == [200, 200, 429]
    api.wall_ms += 60_000
    assert api.call("/v2/customers/900000101").status_code == 200


def test_faults_happen_as_often_as_asked() -> None:
    api = Api(FacadeOptions(error_share=1.0))
    api.log_in()
    assert api.call("/v2/customers/900000101").status_code == 500
    throttled = Api(FacadeOptions(throttle_share=1.0))
    throttled.log_in()
    assert throttled.call("/v2/customers/900000101").status_code == 429


def test_what_is_not_built_says_so(api: Api) -> None:
    assert api.call("/v3/webHooks/eventMetaData/pointsIssued").status_code == 501
    assert api.call("/v3/webHooks", "DELETE").status_code == 405
    assert api.call("/v3/events/other").status_code == 501
    assert api.call("/_sim/clock", "POST").status_code == 501
    assert api.call("/nothing").status_code == 404


def test_control_shows_the_state_and_obeys(api: Api) -> None:
    assert api.call("/_sim/state").json()["events"] == 7
    assert api.call("/_sim/pause", "POST").status_code == 200
    assert api.commands == ["pause"]


def test_control_acts_on_a_member(api: Api) -> None:
    assert api.call("/_sim/members/900000101/adjust", "POST", body={"points": 5}).status_code == 202
    kinds = [event.kind for step in api.engine.advance(START_MS + 45 * 86_400_000) for event in step]
    assert kinds[0] == "manualPointsAdjustment"
    assert api.call("/_sim/members/900000101/adjust", "POST", body={"points": "many"}).status_code == 400
    assert api.call("/_sim/members/5/adjust", "POST", body={"points": 5}).status_code == 400


def posting(number: int, **more: bool) -> Posting:
    body: Json = {"eventId": f"e-{number}", "refId": f"r-{number}", "apiRequestId": "one"}
    return Posting(SimEvent(body, START_MS, 900000100 + number, "pointsIssued"), b"", START_MS, **more)


def test_deliveries_are_logged_and_counted(api: Api) -> None:
    day = 1_799_971_200_000
    (webhook,) = api.call("/v3/webHooks").json()["data"]
    assert (webhook["webHookUrl"], webhook["webHookHeaders"]) == (URL, {"X": "********"})
    answers = [(1, [200]), (2, [503, 200]), (3, [400]), (4, [503])]
    for number, statuses in answers:
        for tries, status in enumerate(statuses, 1):
            at = day + number * 60_000 + tries
            api.deliveries.attempted(Attempt(posting(number), tries, status, at, at + 10 * tries))
    api.deliveries.lost(posting(3))
    api.deliveries.attempted(Attempt(posting(1, is_duplicate=True), 1, 200, day, day + 5))
    api.deliveries.attempted(Attempt(posting(1, is_spoilt=True), 1, 200, day, day + 30))
    api.handed_out = 6
    path = f"/v3/events/consumer-groups/{webhook['consumerGroupId']}"
    counts = {"totalEvents": 7, "deliveredEvents": 3, "failedEvents": 1, "retryingEvents": 1, "pendingEvents": 2}
    found = api.call(f"{path}/metrics").json()["data"]
    assert found == {**counts, "averageDeliveryTime": 20.0, "startDate": api.wall_ms - 30 * 86_400_000, "endDate": api.wall_ms}
    first = api.call(f"{path}/metrics?startDate={day}&endDate={day + 119_999}").json()["data"]
    assert (first["deliveredEvents"], first["totalEvents"]) == (2, 2)
    log = api.call("/v3/webHooks/eventLog/e-2").json()["data"]
    assert (log["status"], log["consumerResponse"]) == ("DELIVERED", {"webhookHttpStatus": 200, "time_taken": 20})
    assert (log["eventIngestionTimestamp"], log["eventStartTimestamp"]) == (day + 120_001, day + 120_002)
    assert len(api.call("/v3/webHooks/eventLog/requestId/one").json()["data"]) == 5
    assert [each["eventId"] for each in api.call("/v3/webHooks/eventLog/refId/r-3").json()["data"]] == ["e-3"]
    page = api.call(f"{path}/logs?eventSearchKey=900000104&sortBy=webhookDuration:desc").json()
    assert [each["eventId"] for each in page["data"]] == ["e-4"]
    longest = api.call(f"{path}/logs?sortBy=webhookDuration:desc&size=1").json()
    assert (longest["data"][0]["consumerResponse"]["time_taken"], longest["pagination"]["total"]) == (30, 5)
    for wrong, status in (("/v3/webHooks/eventLog/none", 404), (f"{path}0/metrics", 404), (f"{path}/metrics?endDate=x", 400)):
        assert api.call(wrong).status_code == status
    assert api.call(f"{path}/metrics?startDate=2&endDate=1").status_code == 400
    api.token = ""
    assert api.call(f"{path}/metrics").status_code == 401
