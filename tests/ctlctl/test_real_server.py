"""ctlctl as a process against the framework's own server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import ctld

ROOT = Path(__file__).parents[2]

commands = ctld.CommandRegistry()


@commands.command("backup_start", role="operate")
async def backup_start(
    ctx: ctld.Context, name: str, chunks: int = 2, tags: list[str] | None = None, fast: bool = False
) -> dict[str, object]:
    """Copy a container to the backup pool."""
    for number in range(chunks):
        await ctx.progress(f"copied {number + 1}", current=number + 1, total=chunks, unit="chunks")
    return {"name": name, "chunks": chunks, "tags": tags, "fast": fast}


@commands.command("hang", role="operate")
async def hang(ctx: ctld.Context) -> None:
    """Run until cancelled."""
    await ctx.progress("started")
    await asyncio.Event().wait()


@commands.command("follow", role="operate", endless=True)
async def follow(ctx: ctld.Context, start: int = 0) -> AsyncIterator[int]:
    """Count for ever."""
    while True:
        yield start
        start += 1
        await asyncio.sleep(0)


@commands.command("wipe", role="admin")
async def wipe(ctx: ctld.Context) -> None:
    """Never runs."""


class Shell:
    """Runs ctlctl against the server."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "ctlctl", "-s", self._address, *argv),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=ROOT,
        )

    async def __call__(self, *argv: str) -> tuple[int | None, str, str]:
        process = await self.start(*argv)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest_asyncio.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    listen = ctld.Listen(address=f"unix:{tmp_path}/s", role="operate")
    limits = ctld.Limits(stop_grace=0.05)
    async with ctld.Server(commands=commands, listen=[listen], limits=limits):
        yield Shell(f"{tmp_path}/s")


async def test_words_and_options(shell: Shell) -> None:
    status, out, err = await shell(
        "--json", *["backup", "start", "ct1", "--chunks", "1", "--tags", "a", "--tags", "b", "--fast"]
    )
    assert (status, json.loads(out)) == (0, {"name": "ct1", "chunks": 1, "tags": ["a", "b"], "fast": True})
    assert err == "copied 1 [1/1 chunks]\n"


@pytest.mark.parametrize(
    ("argv", "status", "err"),
    [
        ("ping", 0, ""),
        ("nope", 2, "ctlctl: Unsupported command 'nope'\n"),
        ("nope at all", 2, "ctlctl: this daemon has no command 'nope at all'\n"),
        ("backup_start", 2, "ctlctl: "),
        ("backup start", 2, "ctlctl: "),
        ("backup start x --chunks many", 2, "ctlctl: --chunks takes an integer, not 'many'\n"),
        ("--timeout 0.05 hang", 5, "started\nctlctl: "),
    ],
)
async def test_exit_status(shell: Shell, argv: str, status: int, err: str) -> None:
    got, out, said = await shell(*argv.split())
    assert (got, out) == (status, "pong\n" if argv == "ping" else "")
    assert said.startswith(err)


async def test_denied(tmp_path: Path) -> None:
    async with ctld.Server(commands=commands) as server:
        listener = await server.listen(ctld.Listen(address="tcp:127.0.0.1:0", role="operate"))
        status, out, err = await Shell(listener.address)("wipe")
    assert (status, out) == (3, "")
    assert err.startswith("ctlctl: ")
    assert "admin" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [["follow"], ["follow", "--start", "5"]], ids=" ".join)
async def test_an_endless_stream_is_printed_as_it_comes_and_cancelled(shell: Shell, argv: list[str]) -> None:
    process = await shell.start(*argv)
    assert process.stdout is not None
    first = int(argv[-1]) if len(argv) > 1 else 0
    assert [int(await process.stdout.readline()) for _ in range(100)] == list(range(first, first + 100))
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 6
    assert err.startswith(b"ctlctl: cancelling; press Ctrl-C again to leave it running\nctlctl: ")


async def test_what_others_see_of_it(shell: Shell) -> None:
    process = await shell.start("hang")
    assert process.stderr is not None
    await process.stderr.readline()
    status, out, _ = await shell("--json", "op", "list")
    assert status == 0
    assert "ctlctl hang" in out
    os.kill(process.pid, signal.SIGINT)
    await process.communicate()
    assert process.returncode == 6


# -- the framework's own daemon has what the rest of ctlctl needs


@commands.command("stubborn", role="operate")
async def stubborn(ctx: ctld.Context, release: str) -> str:
    """Cannot be cancelled before a file is there."""
    async with ctx.shield():
        await ctx.progress("started")
        while not Path(release).exists():
            await asyncio.sleep(0.01)
    return "released"


async def test_b16_the_second_ctrl_c_leaves_the_operation_running(shell: Shell, tmp_path: Path) -> None:
    release = tmp_path / "release"
    process = await shell.start("stubborn", str(release))
    assert process.stderr is not None
    assert await process.stderr.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    assert b"cancelling; press Ctrl-C again to leave it running" in await process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out) == (6, b"")
    said = err.decode().strip()
    assert said.startswith("ctlctl: left it running: ctlctl op watch ")
    _, running, _ = await shell("op", "list", "--columns", "id,command,state", "--json")
    assert {"id": said.rpartition(" ")[2], "command": "stubborn", "state": "running"} in json.loads(running)
    release.touch()


async def test_b23_detach_and_watch(shell: Shell, tmp_path: Path) -> None:
    status, out, err = await shell("backup", "start", "ct1", "--chunks", "2", "--detach")
    operation = out.strip()
    assert (status, err) == (0, f"ctlctl: it runs on: ctlctl op watch {operation}\n")
    status, out, err = await shell("op", "watch", operation)
    assert (status, err) == (0, "copied 1 [1/2 chunks]\ncopied 2 [2/2 chunks]\n")
    assert out.splitlines()[:2] == ["name    ct1", "chunks  2"]
    status, out, _ = await shell("op", "wait", operation, "--json", "--columns", "chunks")
    assert (status, json.loads(out)) == (0, {"chunks": 2})


async def test_the_list_and_the_help(shell: Shell) -> None:
    status, out, err = await shell()
    assert (status, err) == (0, "")
    assert "  backup start                Copy a container to the backup pool." in out.splitlines()
    status, out, _ = await shell("backup", "start", "--help")
    assert out.startswith("usage: ctlctl backup start NAME [--option VALUE]...\n\nCopy a container")
    status, _, err = await shell("backp", "start", "x")
    assert (status, err) == (2, "ctlctl: this daemon has no command 'backp start x'; did you mean 'backup start'?\n")


async def test_n6_monitor(shell: Shell) -> None:
    process = await shell.start("monitor", "management", "state=done", "cmd=backup_start", "--json-seq")
    assert process.stdout is not None
    while True:
        _, out, _ = await shell("--json", "status")
        if json.loads(out)["events"]["subscribers"]:
            break
    await shell("backup", "start", "ct1")
    event = json.loads(await process.stdout.readline())
    assert (event["type"], event["opts"]["cmd"]) == ("management", "backup_start")
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 0


async def test_policy_and_locks(shell: Shell) -> None:
    status, out, _ = await shell("policy")
    assert status == 0
    assert "backup start" in out
    assert await shell("lock", "graph") == (0, "", "no lock is held\n")


async def test_completion_with_the_daemons_own_values(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTLD_COMPLETE_TIMEOUT", "20")
    status, out, _ = await shell("__complete", "fish", "can", "i", "backup")
    assert (status, out) == (0, "backup_start\tCopy a container to the backup pool.\n")
