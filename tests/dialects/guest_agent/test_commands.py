"""The daemon's configuration, told one option at a time, and no secret of it."""

from pathlib import Path

import msgspec
import pytest

from ctld.dialects.guest_agent.commands import agent_commands, camel_case
from ctld.secret import Secret
from ctld.settings import Settings
from tests.native import serving


class Inner(msgspec.Struct):
    runtime_dir: str = "/run/x"
    tls_key: str = "/etc/key.pem"
    password: Secret | None = None


class Mine(msgspec.Struct):
    daemon: Inner = msgspec.field(default_factory=lambda: Inner(password=Secret("hunter2")))
    listen: tuple[Inner, ...] = (Inner(runtime_dir="/hidden"),)
    enabled: bool = True
    count: int = 3
    share: float = 0.5
    nothing: None = None


def test_keys_are_spelled_as_guest_agents_do() -> None:
    assert camel_case({"daemon": {"runtime_dir": "/x", "log": 1}}) == {"Daemon": {"RuntimeDir": "/x", "Log": 1}}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("Daemon.RuntimeDir", "/run/x"),
        ("Daemon.TlsKey", "/etc/key.pem"),
        ("Daemon.Password", "***"),
        ("Enabled", "true"),
        ("Count", "3"),
        ("Share", "0.5"),
    ],
)
async def test_an_option_is_text(tmp_path: Path, option: str, value: str) -> None:
    async with serving(tmp_path, agent_commands(Mine())) as served:
        answer = await (await served.connect()).ask("agent_config_getoption", {"option": option})
        assert answer["response"] == {"option": option, "value": value}


@pytest.mark.parametrize(
    ("option", "status", "message"),
    [
        ("", 2, "No option specified"),
        ("Daemon", 1, "Option does not exist"),  # a table
        ("Listen", 1, "Option does not exist"),  # an array
        ("Nothing", 1, "Option does not exist"),
        ("Daemon.RuntimeDir.More", 1, "Option does not exist"),  # below a value
        ("Daemon.Unknown", 1, "Option does not exist"),
        ("Daemon.runtimeDir", 3, "Invalid option, key names must start with uppercase"),
        ("Listen.0", 3, "Invalid option, key names must start with uppercase"),
    ],
)
async def test_what_is_no_option_is_a_failure(tmp_path: Path, option: str, status: int, message: str) -> None:
    async with serving(tmp_path, agent_commands(Mine())) as served:
        answer = await (await served.connect()).ask("agent_config_getoption", {"option": option})
        assert (answer["code"], answer["message"]) == ("agent.option", message)
        assert "/run/x" not in str(answer)


def test_the_daemons_own_settings_can_all_be_told() -> None:
    assert len(list(agent_commands(Settings()))) == 1
