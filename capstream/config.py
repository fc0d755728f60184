"""The only reader of environment and files: one tree of settings, environment over TOML over default.

Environment names are `CAPSTREAM_` + section + `_` + key in capitals, e.g. `CAPSTREAM_SERVER_PORT`; the data folder is
`CAPSTREAM_DATA`. Unknown keys are errors: a misspelt setting must not be silently ignored.
"""

import os
import tomllib
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

from capstream.kernel.clock import Clock, shifted, system_clock
from capstream.kernel.errors import InputError

DEFAULT_DATA = ".capstream"
_BOOLEANS: Mapping[str, bool] = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def setting(
    default: Any, doc: str, unit: str = "", *, least: float | None = None, most: float | None = None, live: bool = False
) -> Any:
    """Return a dataclass field with its documentation; the reference page is generated from it.

    A `live` setting takes effect when the settings are read again; the others need a restart.
    """
    return field(default=default, metadata={"doc": doc, "unit": unit, "least": least, "most": most, "live": live})


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where and how the one port is served."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8787, "Port to listen on.")
    public_url: str = setting("", "Base URL under which others reach this server; empty: http://localhost:{port}.")
    log_level: str = setting("info", "debug, info, warning or error.", live=True)
    clock_offset_s: int = setting(0, "Rehearse a wrong clock: added to the time of every process.", "seconds")
    crash_at: str = setting("", "Rehearse a recovery: role:step:n kills that process once, the n-th time it reaches the step.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ims:
    """The embedded identity management system."""

    token_ttl_s: int = setting(86_400, "Lifetime of access tokens.", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessControl:
    """Roles and permissions of the embedded platform."""

    enabled: bool = setting(True, "Refuse what an account's roles do not permit; false: every account may do everything.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySettings:
    """The embedded platform's front door."""

    strict: bool = setting(False, "Refuse what Adobe's documents forbid but clients send; for contract tests.")
    rate_limits: str = setting(
        "",
        "Rehearse 429: `service=rate:burst`, comma-separated, calls a second in the long run and at once for each account; "
        "`*` means every other service, `ims` is the token service, e.g. `flow_service=2:10,*=50:100`. Empty: no limit.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """The embedded Experience Platform."""

    batch_records: int = setting(2000, "Most records in one pipeline micro-batch.", "records")
    linger_ms: int = setting(150, "How long a micro-batch may wait for more records.", "milliseconds")
    backlog_limit: int = setting(2_000_000, "Accepted messages waiting for the pipeline above which inlets refuse.", "messages")
    overload_status: int = setting(503, "Status of a refusal under overload; 500 suits Kafka connectors without dead letters.")
    query_timeout_s: float = setting(30.0, "Longest run time of a query.", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Dataflows of the embedded platform."""

    activation_delay_s: int = setting(0, "Rehearse the pause between a new dataflow and its first data.", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """Runs of streaming dataflows."""

    close_delay_s: int = setting(300, "How long after its UTC hour a run is closed.", "seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Capillary's side of the wire."""

    body_limit: int = setting(10_485_760, "Largest webhook body.", "bytes")
    backlog_limit: int = setting(20_000_000, "Events waiting for delivery above which webhooks get 429.", "events", live=True)
    min_free_bytes: int = setting(268_435_456, "Free disk space below which webhooks get 429.", "bytes", live=True)
    outbox_bytes: int = setting(
        21_474_836_480,
        "Disk that what waits for one dataflow of a source may take, unless the source says so itself; above it webhooks of that "
        "source get 429; 0: no bound.",
        "bytes",
        live=True,
    )
    resume_percent: int = setting(
        90,
        "Where 429 ends: when what waits is down to this share of the limit that was exceeded, or when `min_free_bytes` is this "
        "share of what is free. 1 to 100; at 100 answers change to and fro at the limit.",
        "percent",
        least=1,
        most=100,
        live=True,
    )
    batch_events: int = setting(
        1800,
        "Most events translated and posted together; a backlog is settled by up to 32 times as many.",
        "events",
        live=True,
    )
    translators: int = setting(
        1,
        "Processes that translate beside the courier while a backlog waits; each takes as much memory as the courier. With fewer "
        "processor cores than that and one more they are of no use.",
        "processes",
        least=0,
        most=8,
    )
    linger_ms: int = setting(20, "How long the courier waits for more events before it posts.", "milliseconds", live=True)
    key_file: str = setting("", "File of the key that seals the relay's secrets; empty: relay/vault.key in the data folder.")
    journal_days: float = setting(30, "How long webhooks that were dealt with stay, for replays.", "days", least=0, live=True)
    journal_bytes: int = setting(0, "Journal size above which they go before their time; 0: none.", "bytes", live=True)
    dedupe_days: float = setting(30, "How long repeats are told; Capillary repeats for 7 days.", "days", least=8, live=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """Members whose status became Deleted: the relay takes what it keeps of them out by itself."""

    grace_days: float = setting(7, "How long after the deletion their data stays.", "days", least=0, live=True)
    every_hours: float = setting(
        6,
        "How long at least from one sweep to the next: each reads the whole journal, at low priority.",
        "hours",
        least=0,
        live=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerts:
    """When the relay raises an alert."""

    lag_s: float = setting(300, "Age of the oldest undelivered webhook, or of a flow's trouble.", "seconds", live=True)
    dead_letters: int = setting(0, "Dead letters that may lie about without an alert.", "letters", live=True)
    free_bytes: int = setting(1_073_741_824, "Free disk space below which an alert is raised.", "bytes", live=True)
    token_s: float = setting(600, "How long no token may come from the identity management system.", "seconds", live=True)
    privacy_s: float = setting(86_400, "How long after its time a deleted member may still be there.", "seconds", live=True)


_SECURITIES: Mapping[str, int] = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """The mail server by which the embedded platform sends alerts."""

    host: str = setting("", "Mail server (SMTP); empty: no alerts by e-mail.")
    port: int = setting(0, "Its port; 0: 587 with starttls, 465 with tls, 25 with none.")
    security: str = setting("starttls", "starttls, tls, or none: a letter is never sent with less than this.")
    user: str = setting("", "Name to log in with; empty: without logging in.")
    password_file: str = setting("", "File that holds the password of `user`; it is read for each letter.")
    sender: str = setting("", "Address the letters come from; needed with `host`.")

    def __post_init__(self) -> None:
        if self.security not in _SECURITIES:
            raise InputError("mail.security", f"{self.security!r} is unknown", f"one of {', '.join(_SECURITIES)}")
        if self.host and "@" not in self.sender:
            raise InputError("mail.sender", "an address is needed with mail.host", "the address the letters come from")
        if self.user and self.security == "none":
            raise InputError("mail.security", "none would send the password of mail.user in clear", "starttls or tls")
        if self.user and not self.password_file:
            raise InputError("mail.password_file", "is needed with mail.user", "a file that holds the password")
        if not 0 <= self.port <= 65535:
            raise InputError("mail.port", f"{self.port} is no port", "0 to 65535")

    @property
    def port_used(self) -> int:
        """The port letters are sent to."""
        return self.port or _SECURITIES[self.security]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that can be set."""

    data: Path
    server: Server = field(default_factory=Server)
    ims: Ims = field(default_factory=Ims)
    access_control: AccessControl = field(default_factory=AccessControl)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    platform: Platform = field(default_factory=Platform)
    flow: Flow = field(default_factory=Flow)
    runs: Runs = field(default_factory=Runs)
    relay: Relay = field(default_factory=Relay)
    privacy: Privacy = field(default_factory=Privacy)
    alerts: Alerts = field(default_factory=Alerts)
    mail: Mail = field(default_factory=Mail)

    def clock(self) -> Clock:
        """Return the clock of this server's processes."""
        return shifted(system_clock, self.server.clock_offset_s * 1000)

    @property
    def base_url(self) -> str:
        """The URL others use, without trailing slash."""
        return self.server.public_url.rstrip("/") or f"http://localhost:{self.server.port}"


def load(
    environment: Mapping[str, str] | None = None,
    *,
    data: Path | None = None,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """Return the settings of a data folder: `overrides` (command line) over environment over `{data}/capstream.toml`.

    Errors: InputError naming the key, what is wrong and what is allowed.
    """
    env = os.environ if environment is None else environment
    folder = data or Path(env.get("CAPSTREAM_DATA", DEFAULT_DATA))
    file = folder / "capstream.toml"
    written = _read(file)
    sections: dict[str, Any] = {}
    for section, kind in _sections().items():
        values = dict(written.pop(section, {}))
        values |= _from_environment(env, section, kind)
        values |= {key: value for key, value in (overrides or {}).get(section, {}).items() if value is not None}
        sections[section] = _build(kind, section, values)
    if written:
        raise InputError(f"{file}: {next(iter(written))}", "unknown section", f"known: {', '.join(_sections())}")
    return Settings(data=folder.absolute(), **sections)


def service_manager(environment: MutableMapping[str, str] | None = None) -> tuple[str, float]:
    """Return the socket systemd listens at (empty: none) and the seconds of its watchdog (0: none). Source: sd_notify(3).

    They are for this process alone, so they are taken out of the environment that its children get.
    """
    env = os.environ if environment is None else environment
    address, watchdog, for_pid = (env.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
    is_for_us = watchdog.isdecimal() and for_pid in ("", str(os.getpid()))
    return address, int(watchdog) / 1_000_000 if is_for_us else 0.0


class Live:
    """The settings of a process as they are now; `reload` reads them again and tells who listens."""

    def __init__(self, settings: Settings) -> None:
        self.now = settings
        self._listeners: list[Callable[[Settings], None]] = []

    def listen(self, hear: Callable[[Settings], None]) -> None:
        """Let `hear` know every change."""
        self._listeners.append(hear)

    def reload(self) -> tuple[list[str], list[str]]:
        """Read the settings again; return the names of those that took effect, and of those that need a restart.

        Errors: InputError when the file is wrong; everything stays as it is then.
        """
        fresh = load(data=self.now.data)
        changed = differences(self.now, fresh)
        taken = [name for name, is_live in changed.items() if is_live]
        self.now = _with_live(self.now, fresh)
        for hear in self._listeners:
            hear(self.now)
        return taken, [name for name in changed if name not in taken]


def differences(old: Settings, new: Settings) -> dict[str, bool]:
    """Return the settings that differ, as `section.key`, with whether each takes effect without a restart."""
    return {
        f"{section}.{key}": bool(each.metadata.get("live"))
        for section, key, each in describe()
        if getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
    }


def _with_live(old: Settings, new: Settings) -> Settings:
    live: dict[str, dict[str, Any]] = {}
    for section, key, each in describe():
        if each.metadata.get("live"):
            live.setdefault(section, {})[key] = getattr(getattr(new, section), key)
    sections: dict[str, Any] = {section: replace(getattr(old, section), **values) for section, values in live.items()}
    return replace(old, **sections)


def describe() -> list[tuple[str, str, Field[Any]]]:
    """Return (section, key, field) of every setting, for the reference page."""
    return [(section, each.name, each) for section, kind in _sections().items() for each in fields(kind)]


def _sections() -> dict[str, type]:
    return {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind) and isinstance(kind, type)}


def _read(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise InputError(str(file), f"not TOML: {error}") from error


def _from_environment(env: Mapping[str, str], section: str, kind: type) -> dict[str, Any]:
    names = {each.name: f"CAPSTREAM_{section}_{each.name}".upper() for each in fields(kind)}
    return {key: env[name] for key, name in names.items() if name in env}


def _build(kind: type, section: str, values: Mapping[str, Any]) -> Any:
    types = get_type_hints(kind)
    for key in values:
        if key not in types:
            raise InputError(f"{section}.{key}", "unknown setting", f"known: {', '.join(types)}")
    built = kind(**{key: _cast(f"{section}.{key}", value, types[key]) for key, value in values.items()})
    for each in fields(kind):
        least, most, value = each.metadata.get("least"), each.metadata.get("most"), getattr(built, each.name)
        if least is not None and value < least:
            raise InputError(f"{section}.{each.name}", f"{value} is too little", f"at least {least}")
        if most is not None and value > most:
            raise InputError(f"{section}.{each.name}", f"{value} is too much", f"at most {most}")
    return built


def _cast(path: str, value: Any, kind: type) -> Any:
    try:
        if kind is bool:
            return _BOOLEANS[str(value).lower()]
        return kind(value)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(path, f"{value!r} is not {kind.__name__}") from error
