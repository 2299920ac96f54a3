"""The daemon's configuration, told one option at a time."""

from pathlib import Path

import msgspec

from ctld.dialects.guest_agent.commands import agent_commands, camel_case
from tests.native import serving


class Inner(msgspec.Struct):
    runtime_dir: str = "/run/x"


class Settings(msgspec.Struct):
    daemon: Inner = msgspec.field(default_factory=Inner)


def test_keys_are_spelled_as_guest_agents_do() -> None:
    assert camel_case({"daemon": {"runtime_dir": "/x", "log": 1}}) == {"Daemon": {"RuntimeDir": "/x", "Log": 1}}


async def test_an_option_is_told_and_an_unknown_one_is_not(tmp_path: Path) -> None:
    async with serving(tmp_path, agent_commands(Settings())) as served:
        client = await served.connect()
        known = await client.ask("agent_config_getoption", {"option": "Daemon.RuntimeDir"})
        assert "/run/x" in known["response"]
        unknown = await client.ask("agent_config_getoption", {"option": "Daemon.Nothing"})
        assert "/run/x" not in str(unknown)
