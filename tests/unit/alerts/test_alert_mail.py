"""Alerts by e-mail, to a mail server that listens."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alert_world import AlertWorld
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mail_server import MailServerStub, listening
from pipeline_world import MEMBER_FLOW, body_of, member

from capstream.aep.alerts.audience import is_address
from capstream.aep.alerts.mail import MailServer
from capstream.kernel.json import Json

START, FAILURE = "sources-flow-run-start", "sources-flow-run-failure"
TO, SENDER = "member-0001@example.com", "capstream@example.com"
MINUTE_MS = 60_000


def server_at(port: int, security: str = "none", **more: str) -> MailServer:
    return MailServer(host="localhost", port=port, security=security, sender=SENDER, **more)


@pytest.fixture
def post(alerts: AlertWorld) -> Iterator[MailServerStub]:
    with listening() as server:
        alerts.use_mail(server_at(server.port))
        yield server


def subscribe(alerts: AlertWorld, *rules: str, email: str = TO) -> None:
    wanted = {"flowId": MEMBER_FLOW, "ruleIds": list(rules), "channels": ["email"], "email": email}
    answer = alerts.ask("replaceAlertSubscriptions", wanted)
    assert (answer.status, body_of(answer)["email"]) == (200, email)


def start_run(alerts: AlertWorld) -> Json:
    alerts.accept(MEMBER_FLOW, member(1))
    alerts.settle()
    return body_of(alerts.ask("retrieveAlert", id=alerts.history(ruleId=START)[0]["id"]))


def test_who_subscribed_by_email_gets_a_letter(alerts: AlertWorld, post: MailServerStub) -> None:
    subscribe(alerts, START)
    alert = start_run(alerts)
    ((to, letter),) = post.letters
    assert TO in to
    assert (letter["From"], letter["To"], letter["Auto-Submitted"]) == (SENDER, TO, "auto-generated")
    assert letter["Message-ID"] == f"<{alert['id']}@example.com>"
    assert MEMBER_FLOW in " ".join(letter["Subject"].split())
    assert f"capstream alerts show {alert['id']}" in letter.get_payload()
    assert alert["mail"] == [{"to": TO, "state": "delivered", "attempts": 1, "last": "SMTP 250"}]
    assert body_of(alerts.ask("listNotifications"))["items"] == []  # the bell was not asked for


def test_addresses_among_the_subscribers_of_a_rule_get_letters_once(alerts: AlertWorld, post: MailServerStub) -> None:
    subscribe(alerts, START)
    wanted = {"subscribers": [TO, "member-0002@example.com", "0A1B2C@techacct.adobe.com", "tests"]}
    alerts.ask("replaceAlertSubscribers", wanted, id=START)
    start_run(alerts)
    assert sorted(letter["To"] for _, letter in post.letters) == [TO, "member-0002@example.com"]


def test_a_letter_refused_for_now_is_repeated_also_after_a_restart(alerts: AlertWorld, post: MailServerStub) -> None:
    post.refusals = ["450 later", "450 later"]
    subscribe(alerts, START)
    alert = start_run(alerts)
    assert alert["mail"] == [{"to": TO, "state": "waiting", "attempts": 1, "last": "SMTP 450 for the recipient"}]
    alerts.restart()
    for minutes in (1, 2):
        alerts.now_ms += minutes * MINUTE_MS
        alerts.settle()
    assert len(post.letters) == 1
    assert body_of(alerts.ask("retrieveAlert", id=alert["id"]))["mail"][0]["attempts"] == 3


def test_a_letter_refused_for_good_is_not_repeated(alerts: AlertWorld, post: MailServerStub) -> None:
    post.refusals = ["550 no such mailbox"]
    subscribe(alerts, START)
    assert start_run(alerts)["mail"] == [{"to": TO, "state": "dropped", "attempts": 1, "last": "SMTP 550 for the recipient"}]
    alerts.now_ms += 30 * MINUTE_MS
    alerts.settle()
    assert post.letters == []


def test_a_server_that_cannot_be_reached_is_tried_again(alerts: AlertWorld) -> None:
    with listening() as server:
        port = server.port
    alerts.use_mail(server_at(port))
    subscribe(alerts, START)
    assert start_run(alerts)["mail"] == [{"to": TO, "state": "waiting", "attempts": 1, "last": "ConnectionRefusedError"}]


def test_no_letter_leaves_in_clear_when_starttls_is_asked_for(alerts: AlertWorld) -> None:
    with listening() as server:
        alerts.use_mail(server_at(server.port, "starttls"))
        subscribe(alerts, START)
        assert start_run(alerts)["mail"][0]["last"] == "SMTPNotSupportedError"
        assert server.letters == []


def test_a_password_goes_over_an_encrypted_line_and_is_read_anew(
    alerts: AlertWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    password = tmp_path / "password"
    password.write_text("wrong\n")
    with listening(_own_certificate(tmp_path), "right") as server:
        alerts.use_mail(server_at(server.port, "starttls", user="capstream", password_file=str(password)))
        subscribe(alerts, START)
        assert start_run(alerts)["mail"][0]["last"] == "SMTP 535: the server does not accept mail.user"
        password.write_text("right\n")
        alerts.now_ms += MINUTE_MS
        alerts.settle()
        assert (len(server.letters), server.encrypted) == (1, [True])


def test_email_needs_a_mail_server_and_an_address(alerts: AlertWorld) -> None:
    wanted = {"flowId": MEMBER_FLOW, "ruleIds": [FAILURE], "channels": ["email"]}
    refused = alerts.ask("replaceAlertSubscriptions", wanted)
    assert (refused.status, "mail.host" in body_of(refused)["detail"]) == (409, True)
    alerts.use_mail(server_at(1))
    for body, words in ((wanted, "is missing"), (wanted | {"email": "a@b\nBcc: c@example.com"}, "no e-mail address")):
        refused = alerts.ask("replaceAlertSubscriptions", body)
        assert (refused.status, words in body_of(refused)["detail"]) == (400, True)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (TO, True),
        ("o'neil+alerts@mail.example.co.uk", True),
        ("tests", False),
        ("0A1B2C3D4E5F@techacct.adobe.com", False),
        ("0A1B2C3D4E5F@AdobeID", False),
        ("a/b@example.com", False),
        ("a@example.com, b@example.com", False),
        ("a@example.com\r\nBcc: b@example.com", False),
        ("a@-.com" + "m" * 300, False),
        ("", False),
    ],
)
def test_which_texts_are_addresses(text: str, good: bool) -> None:
    assert is_address(text) is good


def _own_certificate(folder: Path) -> ssl.SSLContext:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    encoding, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "cert.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(encoding))
    (folder / "key.pem").write_bytes(key.private_bytes(encoding, private, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context
