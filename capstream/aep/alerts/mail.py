"""Alerts by e-mail: the letter, and handing it to a mail server (SMTP)."""

import smtplib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate
from pathlib import Path

from capstream.aep.alerts.catalogue import Rule
from capstream.aep.alerts.model import Instance
from capstream.aep.alerts.rules import Subject
from capstream.aep.alerts.webhooks import Attempt
from capstream.kernel.clock import rfc3339
from capstream.kernel.json import Json, dumps

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """How letters leave. `security` is starttls, tls or none."""

    host: str
    port: int
    security: str
    sender: str
    user: str = ""
    password_file: str = ""

    def letter(self, told: tuple[Rule, Subject, Instance], to: str) -> bytes:
        """Return the letter about an alert. Its Message-ID is the alert's: one that comes twice can be told."""
        rule, subject, found = told
        letter = EmailMessage()
        letter["From"], letter["To"] = self.sender, to
        letter["Subject"] = f"{rule.name}: {_named(subject)} (sandbox {subject.sandbox_name})"
        letter["Date"] = formatdate(found.triggered_ms / 1000)
        letter["Message-ID"] = f"<{found.id}@{self.sender.rpartition('@')[2]}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(_text(rule, subject, found))
        return letter.as_bytes()


def send(server: MailServer, to: str, letter: bytes) -> Attempt:
    """Hand a letter over once. What the server refuses for good (5xx) is not repeated, a wrong password and all else is."""
    try:
        password = Path(server.password_file).read_text("utf-8").strip() if server.user else ""
        with _connected(server) as session:
            if server.user:
                session.login(server.user, password)
            session.sendmail(server.sender, [to], letter)
    except smtplib.SMTPRecipientsRefused as error:
        code = error.recipients[to][0]
        return Attempt(ok=False, again=code < 500, words=f"SMTP {code} for the recipient")
    except smtplib.SMTPAuthenticationError as error:
        return Attempt(ok=False, again=True, words=f"SMTP {error.smtp_code}: the server does not accept mail.user")
    except smtplib.SMTPResponseException as error:
        return Attempt(ok=False, again=error.smtp_code < 500, words=f"SMTP {error.smtp_code}")
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return Attempt(ok=False, again=True, words=type(error).__name__)
    return Attempt(ok=True, again=False, words="SMTP 250")


def _connected(server: MailServer) -> smtplib.SMTP:
    if server.security == "tls":
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    session = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
    try:
        if server.security == "starttls":
            session.starttls(context=ssl.create_default_context())
    except BaseException:
        session.close()
        raise
    return session


def _named(subject: Subject) -> str:
    return f"{'dataflow' if subject.type == 'flow' else subject.type} {subject.id}"


def _text(rule: Rule, subject: Subject, found: Instance) -> str:
    facts: Mapping[str, Json] = {
        "Alert": found.id,
        "Severity": found.severity,
        "About": _named(subject),
        "Run": found.run_id,
        "Sandbox": subject.sandbox_name,
        "Organisation": subject.org_id,
        "Triggered": rfc3339(found.triggered_ms),
    }
    values = {
        name: value if isinstance(value, int | float | str) else dumps(value).decode() for name, value in found.values.items()
    }
    lines = [f"{name}: {value}" for name, value in (*facts.items(), *values.items())]
    return "\n".join([rule.description, "", *lines, "", f"See it whole: capstream alerts show {found.id}", ""])
