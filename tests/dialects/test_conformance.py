"""One command set, many wires: the same eight scenarios over every dialect, against one daemon.

Whatever the wire, the jobs do the same, the audit log says the same and the same events are told;
only who asked and in which dialect differs.  Where a wire cannot say something, a `Rule` of
docs/reference/dialects.md tells what becomes of it, and the test names that rule.
"""

import json
import os
import pwd
import signal
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from ctld.jobs.state import State
from tests.dialects.conformance.daemon import WIRES, Daemon, running
from tests.jobs.conftest import lab
from tests.native import until

__all__ = ["lab"]

WEB = "svc/web"

# It goes on when it is asked to stop; how long, the test decides.
DEAF = "sh -c 'trap \"\" TERM; echo ready; while :; do sleep 0.05; done'"


@pytest.fixture(params=WIRES)
def name(request):
    """The dialect of a cell of the matrix."""
    return request.param


@pytest_asyncio.fixture
async def daemon(lab):
    async with running(lab) as daemon:
        yield daemon


@pytest_asyncio.fixture
async def guarded(lab):
    """A daemon whose callers may only look."""
    async with running(lab, role="observe") as daemon:
        yield daemon


def peer_of(name: str) -> tuple[str, int | None]:
    """Who asked, as far as the wire tells."""
    if not WIRES[name].authenticates:  # Rule.NO_IDENTITY
        return "tcp", None
    return pwd.getpwuid(os.geteuid()).pw_name, os.geteuid()


def options_of(name: str) -> dict[str, Any]:
    return {"name": WEB} if WIRES[name].waits else {"name": WEB, "wait": False}  # Rule.NO_WAITING


async def assert_told(daemon: Daemon, name: str, command: str, outcome: str, slug: str = "", message: str = "") -> None:
    """One entry in the audit log, and an event for its beginning and its end: the same for every wire."""
    peer, _ = peer_of(name)
    options = options_of(name)
    await daemon.hears(lambda: len(daemon.management()) >= 2)
    assert daemon.management() == [(command, options, peer, "run"), (command, options, peer, outcome)]
    await assert_recorded(daemon, name, command, outcome, slug, message)


async def assert_recorded(daemon: Daemon, name: str, command: str, outcome: str, slug: str, message: str) -> None:
    (entry,) = await daemon.records()
    assert (entry.command, entry.outcome, entry.slug, entry.message) == (command, outcome, slug, message)
    assert json.loads(entry.options) == options_of(name)
    assert (entry.dialect, entry.peer, entry.uid) == (name, *peer_of(name))


async def assert_untold(daemon: Daemon) -> None:
    """Nothing was run: neither an entry nor an event."""
    daemon.server.events.publish("job", name="", message="the end")
    await daemon.hears(lambda: daemon.messages("") == ["the end"])
    assert len(daemon.heard) == 1
    assert await daemon.records() == []


async def run_deaf(daemon: Daemon) -> int:
    """Start a job that does not stop when it is asked to; return its process."""
    await daemon.load(WEB, DEAF, stopTime=300, stdout="out")
    daemon.supervisor.start_job(WEB)
    out = daemon.lab.work / "0_out"
    await daemon.hears(lambda: len(daemon.messages(WEB)) == 2)
    await until(lambda: out.read_text() == "ready\n")
    daemon.heard.clear()
    pid = daemon.supervisor.info(WEB).processes[0].pid
    assert pid is not None
    return pid


def state_of(daemon: Daemon) -> State:
    return daemon.supervisor.info(WEB).processes[0].state


async def test_ok(daemon, name):
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    assert answer.word == {
        "native": "response",
        "taskmaster": "success",  # Rule.NO_RESULT
        "fss-control": "controller F_success",  # Rule.NO_RESULT
        "guest-agent": "0",
    }[name]  # fmt: skip
    if wire.waits:
        assert state_of(daemon) is State.ALIVE
    await daemon.hears(lambda: len(daemon.messages(WEB)) == 2)
    assert state_of(daemon) is State.ALIVE
    assert daemon.messages(WEB) == ["Starting.", "Successfully started."]
    await assert_told(daemon, name, "job_start", "done")
    # Rule.NO_PROGRESS
    assert answer.progress == (2 if name == "native" else 0)


async def test_fails(daemon, name):
    await daemon.load(WEB, "false", restart=0, startTime=300)
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    assert (
        answer.word
        == {
            "native": "failed",
            "taskmaster": "success",  # Rule.NO_WAITING
            "fss-control": "controller F_failure",
            "guest-agent": "105",
        }[name]
    )
    if wire.waits:
        reason = "process 0: Failed to start: Exited too soon. (exit code 1)"  # and only once
        assert answer.message == f"job '{WEB}' is not running: {reason}"
    await daemon.hears(lambda: len(daemon.messages(WEB)) == 2)
    assert daemon.messages(WEB) == ["Starting.", "Failed to start: Exited too soon. (exit code 1)"]
    assert state_of(daemon) is State.BADSTOP
    if wire.waits:
        await assert_told(daemon, name, "job_start", "failed", "failed", answer.message)
    else:
        await assert_told(daemon, name, "job_start", "done")


async def test_unknown_job(daemon, name):
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    message = f"there is no job '{WEB}'"
    assert (answer.word, answer.message) == {
        "native": ("not-found", message),
        "taskmaster": ("fail", f'Job "{WEB}" does not exist.'),
        "fss-control": ("error F_known_not", message),
        "guest-agent": ("111", message),
    }[name]
    await assert_told(daemon, name, "job_start", "failed", "not-found", message)


async def test_unknown_command(daemon, name):
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect(name) as wire:
        answer = await wire.ask("fly", WEB)
    assert answer.word == {
        "native": "unknown-command",
        "taskmaster": "invalid",
        "fss-control": "error F_header_not",
        "guest-agent": "101",
    }[name]  # fmt: skip
    await assert_untold(daemon)


async def test_not_permitted(guarded, name):
    daemon = guarded
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    assert answer.word == {
        "native": "denied",
        "taskmaster": "fail",  # Rule.FEW_WORDS
        "fss-control": "error F_access_denied",
        "guest-agent": "110",
    }[name]  # fmt: skip
    assert "operate" in answer.message
    assert state_of(daemon) is State.STOPPED
    await assert_recorded(daemon, name, "job_start", "denied", "denied", answer.message)
    assert daemon.management() == []


async def test_locked(daemon, name):
    pid = await run_deaf(daemon)
    holder = await daemon.client.call("job_stop", {"name": WEB, "cli": "the first"}, detach=True)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.STOPPING)
    await daemon.hears(lambda: len(daemon.management()) == 1)
    daemon.heard.clear()
    async with daemon.connect(name) as wire:
        answer = await wire.ask("start", WEB)
    assert answer.word == {
        "native": "locked",
        "taskmaster": "fail",  # Rule.FEW_WORDS
        "fss-control": "controller F_busy",
        "guest-agent": "113",
    }[name]  # fmt: skip
    assert answer.message == f"job {WEB} is held by 'the first'"
    await assert_told(daemon, name, "job_start", "failed", "locked", answer.message)
    os.kill(pid, signal.SIGKILL)
    await daemon.client.call("op_wait", {"id": holder["operation"]})
    assert state_of(daemon) is State.STOPPED


async def test_slow(daemon, name):
    pid = await run_deaf(daemon)
    async with daemon.connect(name) as wire:
        wire.send("stop", WEB)
        await daemon.lab.until_state(daemon.supervisor, WEB, State.STOPPING)
        # While it takes its time, the daemon serves others, and shows it to them.
        listed = [operation["command"] for operation in await daemon.client.call("op_list")]
        assert listed == (["job_stop", "op_list"] if wire.waits else ["op_list"])  # Rule.NO_WAITING
        os.kill(pid, signal.SIGKILL)
        answer = await wire.receive()
    assert answer.word == {
        "native": "response",
        "taskmaster": "success",
        "fss-control": "controller F_success",
        "guest-agent": "0",
    }[name]  # fmt: skip
    await daemon.lab.until_state(daemon.supervisor, WEB, State.STOPPED)
    await assert_told(daemon, name, "job_stop", "done")


async def test_client_gone(daemon, name):
    pid = await run_deaf(daemon)
    async with daemon.connect(name) as wire:
        wire.send("stop", WEB)
        await daemon.lab.until_state(daemon.supervisor, WEB, State.STOPPING)
    await until(daemon.alone)  # the daemon has noticed, and goes on
    assert state_of(daemon) is State.STOPPING
    os.kill(pid, signal.SIGKILL)
    await daemon.lab.until_state(daemon.supervisor, WEB, State.STOPPED)
    await assert_told(daemon, name, "job_stop", "done")


async def test_malformed(daemon, name):
    await daemon.load(WEB, "sleep 60")
    async with daemon.connect(name) as wire:
        wire.send_nonsense()
        answer = await wire.receive()
    assert answer.word == {
        "native": "syntax",
        "taskmaster": "invalid",
        "fss-control": "error F_packet_not",
        "guest-agent": "103",
    }[name]  # fmt: skip
    assert state_of(daemon) is State.STOPPED
    await assert_untold(daemon)  # Rule.NO_REQUEST


# What a record says about who asked, how, and when.
ABOUT_THE_CALLER = (
    "id", "time", "duration", "connection", "operation",
    "dialect", "peer", "uid", "gid", "pid", "loginuid", "executable",
)  # fmt: skip


async def test_all_at_once_differ_only_in_who_asked_and_how(daemon):
    async with AsyncExitStack() as stack:
        wires = []
        for name in WIRES:
            await daemon.load(f"svc/{name}", "sleep 60")
            wires.append(await stack.enter_async_context(daemon.connect(name)))
        for wire in wires:
            wire.send("start", f"svc/{wire.name}")
        for wire in wires:
            await wire.receive()
    for name in WIRES:
        await daemon.lab.until_state(daemon.supervisor, f"svc/{name}", State.ALIVE)
    entries = [msgspec.to_builtins(entry) for entry in await daemon.records()]
    assert sorted(entry["dialect"] for entry in entries) == sorted(WIRES)
    for entry in entries:
        options = json.loads(entry.pop("options"))
        assert options.pop("name") == f"svc/{entry['dialect']}"
        assert options == ({} if WIRES[entry["dialect"]].waits else {"wait": False})  # Rule.NO_WAITING
        for key in ABOUT_THE_CALLER:
            del entry[key]
        assert entry == {"command": "job_start", "cli": "", "outcome": "done", "slug": "", "message": ""}
