"""The commands that only this dialect brings."""

from dataclasses import replace
from pathlib import Path

import pytest

import ctld
from ctld.dialects.fss_control.commands import control_commands
from ctld.dialects.fss_control.handler import FssListen
from ctld.errors import ConfigError
from tests.native import serving


class Operator(ctld.ClientHandler):
    async def on_connect(self) -> None:
        self.peer = replace(self.peer, role="operate", uid=12345)


def listen(**keys: tuple[str, ...]) -> FssListen:
    return FssListen(address="unix:/tmp/none", dialect="fss-control", **keys)


def test_what_is_not_configured_is_no_command() -> None:
    assert list(control_commands([])) == []
    assert [command.name for command in control_commands([listen(kexec_command=("a",))])] == ["control_kexec"]


@pytest.mark.parametrize("key", ["reboot_command", "kexec_command"])
def test_two_tables_may_not_contradict_each_other(key: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key}: another .* table says 'a': there is one machine"):
        control_commands([listen(**{key: ("a",)}), listen(), listen(**{key: ("b",)})])
    same = control_commands([listen(), listen(**{key: ("a",)}), listen(**{key: ("a",)})])
    assert len(list(same)) == 1


async def test_the_configured_program_is_run_and_its_failure_told(tmp_path: Path) -> None:
    mark = tmp_path / "rebooted"
    commands = control_commands([listen(reboot_command=("touch", str(mark)), kexec_command=("false",))])
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("control_reboot"))["status"] is True
        assert mark.exists()
        failed = await client.ask("control_kexec")
        assert (failed["code"], failed["message"].startswith("false")) == ("failed", True)


async def test_only_admins_touch_the_machine(tmp_path: Path) -> None:
    commands = control_commands([listen(reboot_command=("true",), kexec_command=("true",))])
    assert {command.role for command in commands} == {"admin"}
    async with serving(tmp_path, commands, handler=Operator) as served:
        client = await served.connect()
        for command in ("control_reboot", "control_kexec"):
            assert (await client.ask(command))["code"] == "denied"


async def test_a_program_that_does_not_end_is_ended_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctld.dialects.fss_control.commands._PATIENCE", 0.05)
    async with serving(tmp_path, control_commands([listen(reboot_command=("sleep", "60"))])) as served:
        failed = await (await served.connect()).ask("control_reboot")
        assert (failed["code"], failed["message"]) == ("failed", "sleep has not ended after 0 s")


async def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, control_commands([listen(reboot_command=("/no/such/program",))])) as served:
        assert (await (await served.connect()).ask("control_reboot"))["code"] == "failed"
