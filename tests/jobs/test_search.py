import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctld.jobs import search
from ctld.jobs.ledger import TOKEN_VARIABLE, Entry
from ctld.jobs.search import command_digest, find_process
from ctld.processes import ProcessIdentity, launcher
from tests.native import until


def entry(**changes) -> Entry:
    fields = {"job": "web", "index": 0, "token": "t", "digest": "d", "stop_signal": 15, "stop_time": 5.0}
    return Entry(**{**fields, **changes})


@pytest.fixture
def token():
    """A token; whoever carries it is killed in the end."""
    token = secrets.token_hex(8)
    yield token
    for path in Path("/proc").iterdir():
        if path.name.isdecimal() and token.encode() in search._read(path, "environ"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.name), signal.SIGKILL)


def environment(token: str) -> dict[str, str]:
    return {**os.environ, TOKEN_VARIABLE: token}


async def test_a_living_process_is_found_and_another_is_not():
    mine = ProcessIdentity.of(os.getpid())
    assert await find_process(entry(identity=mine)) == mine
    assert await find_process(entry(identity=ProcessIdentity(mine.pid, mine.started + 1, mine.boot))) is None


async def test_a_token_finds_the_leader_and_not_its_descendants(token):
    script = "setsid sleep 60 >/dev/null & sleep 60 >/dev/null & echo; wait"
    process = subprocess.Popen(
        ["sh", "-c", script], env=environment(token), start_new_session=True, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    assert await find_process(entry(token=token)) == ProcessIdentity.of(process.pid)
    assert await find_process(entry(token=token[:-1])) is None
    process.kill()
    process.communicate()


async def test_a_process_that_vanishes_meanwhile_is_no_error(monkeypatch, token):
    def vanished(pid):
        raise ProcessLookupError

    process = subprocess.Popen(["sleep", "60"], env=environment(token), start_new_session=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "getsid", vanished)
        assert await find_process(entry(token=token)) is None
    process.kill()
    process.wait()


# What a child is between fork and exec: a copy of its daemon, until it becomes another program.
UNBORN = (
    "import os, sys\n"
    "sys.stdin.readline()\n"
    "os.setsid()\n"
    f"os.execvpe('sleep', ['sleep', '60'], {{**os.environ, {TOKEN_VARIABLE!r}: sys.argv[1]}})\n"
)


async def test_the_search_waits_for_those_who_have_not_become_their_program_yet(token, monkeypatch):
    unborn = subprocess.Popen([sys.executable, "-c", UNBORN, token], stdin=subprocess.PIPE)
    digest = command_digest(unborn.pid)
    while not digest:
        digest = command_digest(unborn.pid)
    wanted = entry(token=token, daemon=ProcessIdentity.of(os.getpid()), daemon_command=digest)
    looks = []
    look = search._is_anybody_unborn
    monkeypatch.setattr(search, "_is_anybody_unborn", lambda entry: looks.append(look(entry)) or looks[-1])
    searching = asyncio.create_task(find_process(wanted))
    await until(lambda: len(looks) > 2)
    assert not searching.done()
    assert all(looks)
    unborn.stdin.write(b"\n")
    unborn.stdin.close()
    assert await searching == ProcessIdentity.of(unborn.pid)
    unborn.kill()
    unborn.wait()


async def test_a_launcher_is_waited_for_too_but_not_for_ever(token, monkeypatch):
    monkeypatch.setattr(search, "_PATIENCE", 0.05)
    command = [sys.executable, "-c", "input()", launcher.__file__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    began = asyncio.get_running_loop().time()
    assert await find_process(entry(token=token, daemon=ProcessIdentity.of(os.getpid()), daemon_command="x")) is None
    assert asyncio.get_running_loop().time() - began >= 0.04
    process.communicate(b"\n")


async def test_without_anybody_unborn_the_search_ends_at_once(token):
    before = ProcessIdentity.of(os.getpid())
    younger = ProcessIdentity(before.pid, before.started + 10**9, before.boot)
    began = asyncio.get_running_loop().time()
    assert await find_process(entry(token=token, daemon=younger, daemon_command=command_digest("self"))) is None
    assert asyncio.get_running_loop().time() - began < 1


def test_who_does_not_exist_has_no_command():
    assert command_digest(0) == ""
    assert command_digest("self") == command_digest(os.getpid()) != ""
