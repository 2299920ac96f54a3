"""The commands that only this dialect brings."""

from pathlib import Path

import pytest

from ctld.dialects.fss_control.commands import control_commands
from ctld.dialects.fss_control.handler import FssListen
from ctld.errors import ConfigError
from tests.native import serving


def listen(**keys: tuple[str, ...]) -> FssListen:
    return FssListen(address="unix:/tmp/none", dialect="fss-control", **keys)


def test_what_is_not_configured_is_no_command() -> None:
    assert {command.name for command in control_commands([])} == {"job_freeze", "job_thaw"}


def test_two_tables_may_not_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="reboot_command"):
        control_commands([listen(reboot_command=("a",)), listen(reboot_command=("b",))])
    same = control_commands([listen(reboot_command=("a",)), listen(reboot_command=("a",))])
    assert "control_reboot" in {command.name for command in same}


async def test_the_configured_program_is_run_and_its_failure_told(tmp_path: Path) -> None:
    mark = tmp_path / "rebooted"
    commands = control_commands([listen(reboot_command=("touch", str(mark)), kexec_command=("false",))])
    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        assert (await client.ask("control_reboot"))["status"] is True
        assert mark.exists()
        failed = await client.ask("control_kexec")
        assert (failed["code"], failed["message"].startswith("false")) == ("failed", True)


async def test_a_program_that_is_missing_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path, control_commands([listen(reboot_command=("/no/such/program",))])) as served:
        assert (await (await served.connect()).ask("control_reboot"))["code"] == "failed"
