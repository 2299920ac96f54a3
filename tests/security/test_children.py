"""What a client makes of a child's environment, and what a child keeps of the daemon's rights."""

import dataclasses
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctld.client import AsyncClient
from ctld.errors import CommandFailed
from ctld.processes import PIPE, Spawn, spawn
from tests.native import serving
from tests.processes.test_spawning import read_all

root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")

LAUNCHED = {"limits": {resource.RLIMIT_CORE: (0, 0)}}

# A library that notes who loads it, by what program.
SPY = r"""
#include <stdio.h>
#include <unistd.h>
__attribute__((constructor)) static void spy(void)
{
    char program[4096] = "";
    ssize_t size = readlink("/proc/self/exe", program, sizeof program - 1);
    FILE *file = fopen(SPY_FILE, "a");
    if (file) {
        fprintf(file, "%d %.*s\n", (int)geteuid(), (int)size, program);
        fclose(file);
    }
}
"""


@root
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("way", [{}, LAUNCHED], ids=["popen", "launcher"])
async def test_an_environment_is_in_force_only_as_the_user_it_is_for(tmp_path: Path, way: dict) -> None:
    """Nothing of ours runs with the client's LD_PRELOAD, and above all nothing as root."""
    tmp_path.chmod(0o777)
    for parent in list(tmp_path.parents)[:-2]:
        parent.chmod(parent.stat().st_mode | 0o055)
    noted, library = tmp_path / "noted", tmp_path / "spy.so"
    (tmp_path / "spy.c").write_text(SPY)
    build = ["cc", "-shared", "-fPIC", f'-DSPY_FILE="{noted}"', "-o", str(library), str(tmp_path / "spy.c")]
    subprocess.run(build, check=True, capture_output=True)
    environ = {"PATH": "/usr/bin:/bin", "LD_PRELOAD": str(library), "PYTHONSTARTUP": "/evil", "PYTHONPATH": "/evil"}
    spec = Spawn(argv=["/bin/true"], env=environ, user="nobody", stdout=PIPE, stderr=PIPE, **way)
    async with await spawn(spec) as child:
        assert (await child.wait()).code == 0
    (loaded,) = noted.read_text().splitlines()
    uid, program = loaded.split(" ", 1)
    assert uid != "0"
    assert program == os.path.realpath("/bin/true")


@root
@pytest.mark.parametrize("way", [{}, LAUNCHED], ids=["popen", "launcher"])
async def test_a_child_of_another_user_keeps_nothing_of_root(way: dict) -> None:
    script = "cat /proc/self/status; ls /proc/self/fd"
    async with await spawn(Spawn(argv=["/bin/sh", "-c", script], user="nobody", stdout=PIPE, **way)) as child:
        said = (await read_all(child.stdout)).decode()
    status = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert "0" not in status["Gid"].split()
    assert "0" not in status["Groups"].split()
    assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {0}
    descriptors = {int(line) for line in said.splitlines() if line.strip().isdigit()}
    assert descriptors <= {0, 1, 2, 3}  # the last is that of the listing itself


@pytest.mark.parametrize("way", [{}, LAUNCHED], ids=["popen", "launcher"])
@pytest.mark.parametrize("environ", [{"A": "b\0C=d"}, {"A\0": "b"}])
async def test_no_second_variable_is_smuggled_in(way: dict, environ: dict) -> None:
    with pytest.raises(CommandFailed):
        await spawn(Spawn(argv=["/usr/bin/env"], env=environ, stdout=PIPE, **way))


async def test_who_may_run_one_program_does_not_make_it_another(tmp_path: Path) -> None:
    """A command runs one program for operators; with LD_PRELOAD it would be any program, as the daemon's user."""
    commands: ctld.CommandRegistry[Any] = ctld.CommandRegistry()

    @commands.command("tool", role="operate", session=True)
    async def tool(ctx: ctld.Context) -> int:
        """Run the one program."""
        return await ctx.exec(["/bin/sh", "-c", "echo $TERM $OWN $LD_PRELOAD"], env={"OWN": "own"})

    roles = iter(["operate", "operate", "operate", "operate", "admin"])

    class Caller(ctld.ClientHandler[Any]):
        async def on_connect(self) -> None:
            self.peer = dataclasses.replace(self.peer, role=next(roles))

    async with serving(tmp_path, commands, handler=Caller) as served:
        for wish in ({"env": {"LD_PRELOAD": "/tmp/evil.so"}}, {"cwd": "/tmp"}):
            for members in ({"session": wish}, {"opts": wish}):
                client = await served.connect()
                client.send({"cmd": "tool", **members})
                answer = await client.receive()
                assert (answer["status"], answer["code"], answer["role"]) == (False, "denied", "admin")
        address = f"unix:{served.path}"
        roles = iter(["operate", "operate", "admin", "admin"])  # a session has a connection of its own
        for env, said in (({"TERM": "vt100"}, b"vt100 own\n"), ({"TERM": "vt100", "LD_PRELOAD": ""}, b"vt100 own\n")):
            async with AsyncClient(address) as asking, asking.session("tool", env=env) as run:
                assert b"".join([piece async for piece in run.stdout]) == said
