from pathlib import Path

import pytest

from capstream.config import describe, load
from capstream.kernel.errors import InputError


def test_environment_wins_over_file_and_command_line_over_both(tmp_path: Path) -> None:
    (tmp_path / "capstream.toml").write_text("[server]\nport = 1\nlog_level = 'debug'\n")
    environment = {"CAPSTREAM_SERVER_PORT": "2", "CAPSTREAM_PLATFORM_LINGER_MS": "7"}
    settings = load(environment, data=tmp_path)
    assert (settings.server.port, settings.server.log_level, settings.platform.linger_ms) == (2, "debug", 7)
    assert load(environment, data=tmp_path, overrides={"server": {"port": 3}}).server.port == 3
    assert load(environment, data=tmp_path, overrides={"server": {"port": None}}).base_url == "http://localhost:2"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[server]\nprot = 1", r"server\.prot: unknown setting \(known: host, port"),
        ("[sever]\nport = 1", r"sever: unknown section"),
        ("[server]\nport = 'x'", r"server\.port: 'x' is not int"),
        ("[server", "not TOML"),
        ("[mail]\nhost = 'mail.example.com'", r"mail\.sender: an address is needed"),
        ("[mail]\nsecurity = 'ssl'", r"mail\.security: 'ssl' is unknown \(one of starttls, tls, none"),
        ("[mail]\nuser = 'u'\nsecurity = 'none'", r"mail\.security: none would send the password"),
        ("[mail]\nuser = 'u'", r"mail\.password_file: is needed"),
        ("[mail]\nport = 70000", r"mail\.port: 70000 is no port"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "capstream.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        load({}, data=tmp_path)


def test_every_setting_is_documented() -> None:
    assert all(each.metadata["doc"] for _, _, each in describe())
