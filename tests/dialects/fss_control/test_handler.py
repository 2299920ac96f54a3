"""The controller on a real socket: every action of F6, every row of F4's table that needs one, and the schedule."""

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace

import pytest
import pytest_asyncio

import ctld
from ctld.commands.jobs import job_commands
from ctld.commands.schedule import Schedule, schedule_commands
from ctld.dialects.fss_control.actions import encode_order
from ctld.dialects.fss_control.client import ask
from ctld.dialects.fss_control.commands import control_commands, freezer_commands
from ctld.dialects.fss_control.handler import FSS_CONTROL, FssHandler, FssListen
from ctld.dialects.fss_control.packet import HEAD_SIZE, encode_packet
from ctld.dialects.fss_control.responses import Response, decode_response
from ctld.errors import ConnectionLost
from ctld.jobs.freezer import Freezer
from ctld.jobs.state import State
from ctld.limits import Limits
from tests.commands.job_stage import lab, stage
from tests.dialects.fss_control.test_codec import WRONG
from tests.jobs.cgroups import kernel_cgroup
from tests.native import DEFAULT_LIMITS, until
from tests.procfs import state_of

__all__ = ["kernel_cgroup", "lab", "stage"]


class Controller:
    def __init__(self, stage):
        self.stage = stage
        self.path = f"{stage.lab.folder}/c"
        self.schedule = Schedule(f"{stage.lab.folder}/state/schedule.json")
        self.commands = ctld.CommandRegistry()
        self.server = None

    async def open(self, handler=FssHandler, limits=DEFAULT_LIMITS, **keys):
        listen = FssListen(address=f"unix:{self.path}", **keys)
        self.commands.include(job_commands(self.stage.supervisor))
        self.commands.include(freezer_commands(self.stage.lab.freezer))
        self.commands.include(control_commands([listen]))
        self.commands.include(schedule_commands(self.schedule))
        self.server = ctld.Server(
            commands=self.commands, listen=[listen], dialects={"fss-control": handler}, limits=limits
        )
        await self.server.start()

    async def close(self):
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()

    async def ask(self, *words):
        return await asyncio.to_thread(ask, self.path, words, timeout=20)

    async def status(self, *words):
        response = await self.ask(*words)
        assert response.action == words[0]
        return f"{response.type} {response.status}"

    async def raw(self, data, *, half_close=True):
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            writer.write(data)
            if half_close:
                writer.write_eof()
            answer = await reader.read()
        finally:
            writer.close()
        return decode_response(answer[HEAD_SIZE:])

    async def load(self, name="svc/web", cmd="sleep 60", **keys):
        await self.stage.load(name, cmd, **keys)

    def pid(self, name="svc/web"):
        return self.stage.supervisor.info(name).processes[0].pid


@pytest_asyncio.fixture
async def control(stage):
    controller = Controller(stage)
    yield controller
    await controller.close()


async def test_start_stop_restart_rerun_and_kill_succeed_when_the_state_is_reached(control):
    await control.open()
    await control.load()
    assert await control.status("start", "svc", "web") == "controller F_success"
    first = control.pid()
    assert await control.status("restart", "svc", "web", "now") == "controller F_success"
    second = control.pid()
    assert await control.status("rerun", "svc", "web") == "controller F_success"
    assert len({first, second, control.pid(), None}) == 4
    assert await control.status("stop", "svc", "web") == "controller F_success"
    assert control.pid() is None
    assert await control.status("rerun", "svc", "web") == "controller F_success"
    assert await control.status("kill", "svc", "web") == "controller F_success"
    assert control.pid() is None


async def test_an_action_that_fails_says_why(control):
    await control.open()
    await control.load(cmd="exit 3", restart=0)
    response = await control.ask("start", "svc", "web")
    assert (response.type, response.status, response.action) == ("controller", "F_failure", "start")
    assert b"Exited too soon" in response.content
    assert await control.status("pause", "svc", "web") == "controller F_failure"


async def test_reload_sends_the_signal_of_the_job(control):
    await control.open()
    script = "trap 'echo hup >> log' HUP; echo ready >> log; while :; do sleep 0.02; done"
    await control.load(cmd=f'sh -c "{script}"', dir=str(control.stage.lab.work))
    await control.status("start", "svc", "web")
    log = control.stage.lab.work / "log"
    await until(log.exists)
    assert await control.status("reload", "svc", "web") == "controller F_done"
    await until(lambda: "hup" in log.read_text())


@pytest.mark.parametrize(("halt", "go_on"), [("pause", "resume"), ("freeze", "thaw")])
async def test_pause_and_freeze_stop_the_processes_until_resume_and_thaw(control, halt, go_on):
    await control.open()
    await control.load()
    await control.status("start", "svc", "web")
    assert await control.status(halt, "svc", "web") == "controller F_done"
    await until(lambda: state_of(control.pid()) == "T")
    assert await control.status(go_on, "svc", "web") == "controller F_done"
    await until(lambda: state_of(control.pid()) != "T")


@pytest.fixture
def freezer(control, monkeypatch):
    """A cgroup for the job, as far as the daemon can see."""
    folder = control.stage.lab.work / "cgroup"
    folder.mkdir()
    (folder / "cgroup.freeze").write_text("0")
    monkeypatch.setattr(Freezer, "cgroups_of", lambda self, pids: [folder] if pids else [])
    return folder / "cgroup.freeze"


async def test_f6_freeze_and_thaw_use_the_freezer_where_the_job_has_a_cgroup(control, freezer):
    await control.open()
    await control.load()
    assert await control.status("freeze", "svc", "web") == "controller F_failure"  # it does not run
    await control.status("start", "svc", "web")
    assert await control.status("freeze", "svc", "web") == "controller F_done"
    assert freezer.read_text() == "1"
    assert state_of(control.pid()) != "T"
    assert await control.status("thaw", "svc", "web") == "controller F_done"
    assert freezer.read_text() == "0"


async def test_f6_thaw_lets_go_on_what_was_frozen_by_signals_before(control, freezer):
    await control.open()
    await control.load()
    await control.status("start", "svc", "web")
    await control.status("pause", "svc", "web")
    await until(lambda: state_of(control.pid()) == "T")
    assert await control.status("thaw", "svc", "web") == "controller F_done"
    await until(lambda: state_of(control.pid()) != "T")


async def test_f6_where_the_freezer_may_not_be_written_signals_do(control, freezer):
    freezer.unlink()
    freezer.mkdir()
    await control.open()
    await control.load()
    await control.status("start", "svc", "web")
    assert await control.status("freeze", "svc", "web") == "controller F_done"
    await until(lambda: state_of(control.pid()) == "T")
    assert await control.status("thaw", "svc", "web") == "controller F_done"
    await until(lambda: state_of(control.pid()) != "T")


@pytest.fixture
def kernel_freezer(lab, kernel_cgroup):
    """The freezer of the kernel, for the supervisor that is made after it."""
    lab.freezer = Freezer(cgroups=kernel_cgroup.parent)


# Says that it has heard that it shall stop.  It starts nothing meanwhile: a shell is not "stopped" while its child is.
LAST_WORDS = "trap 'echo bye > words; exit 0' TERM; sleep 60 & echo ready > ready; wait"


@pytest.mark.parametrize("halt", ["freeze", "pause"])
@pytest.mark.parametrize("action", ["stop", "restart", "rerun"])
async def test_f6_what_is_suspended_by_signals_hears_that_it_shall_stop(control, halt, action):
    (control.stage.lab.work / "script").write_text(LAST_WORDS)
    await control.open()
    await control.load(cmd="sh script", stopTime=60)
    await control.status("start", "svc", "web")
    await until((control.stage.lab.work / "ready").exists)
    await control.status(halt, "svc", "web")
    await until(lambda: state_of(control.pid()) == "T")
    assert await control.status(action, "svc", "web") == "controller F_success"
    assert (control.stage.lab.work / "words").read_text() == "bye\n"


@pytest.mark.parametrize("action", ["stop", "restart", "rerun"])
async def test_f6_what_the_kernel_has_frozen_hears_that_it_shall_stop(kernel_freezer, control, kernel_cgroup, action):
    (control.stage.lab.work / "script").write_text(f"echo $$ > {kernel_cgroup}/cgroup.procs; {LAST_WORDS}")
    await control.open()
    await control.load(cmd="sh script", stopTime=60)
    await control.status("start", "svc", "web")
    await until((control.stage.lab.work / "ready").exists)
    assert await control.status("freeze", "svc", "web") == "controller F_done"
    await until(lambda: "frozen 1" in (kernel_cgroup / "cgroup.events").read_text())
    assert state_of(control.pid()) != "T"
    assert await control.status(action, "svc", "web") == "controller F_success"
    assert (control.stage.lab.work / "words").read_text() == "bye\n"


@pytest.mark.parametrize(
    ("action", "status"),
    [
        *((action, "F_success") for action in ("stop", "restart", "rerun", "kill")),
        *((action, "F_failure") for action in ("reload", "pause", "freeze")),
        *((action, "F_done") for action in ("resume", "thaw")),  # it is so already
    ],
)
async def test_f6_what_each_action_says_of_a_job_that_does_not_run(control, action, status):
    await control.open()
    await control.load()
    assert await control.status(action, "svc", "web") == f"controller {status}"


def test_what_types_do_not_say_about_the_keys():
    def mistakes(**keys):
        return list(FSS_CONTROL.mistakes(FssListen(address="/a", **keys)))

    assert mistakes(reboot_command=("a", ""), kexec_command=("b",)) == []
    assert mistakes(reboot_command=("", "a")) == [("reboot_command", "the name of the program is empty")]
    assert mistakes(kexec_command=("a", "b\0")) == [("kexec_command", "a word of a command line holds no NUL")]


def test_there_is_one_machine():
    listens = [FssListen(address="/a"), *(FssListen(address="/b", reboot_command=(word,)) for word in "xxy")]
    assert list(FSS_CONTROL.contradictions(listens[:3])) == []
    assert [(index, key) for index, key, _ in FSS_CONTROL.contradictions(listens)] == [(3, "reboot_command")]


async def test_f4_a_rule_that_is_not_known(control):
    await control.open()
    for words in (("svc", "nothing"), ("..", "etc"), ("a b", "c"), ("/", "x"), ("\udcff", "x"), ("x", "é\x1b[2J")):
        response = await control.ask("start", *words)
        assert (response.type, response.status) == ("error", "F_known_not"), words
    assert (await control.ask("stop", "svc", "nothing", "in", "5", "minutes")).status == "F_known_not"


async def test_f4_what_is_switched_off(control):
    await control.open()
    for action in ("shutdown", "reboot", "kexec"):
        response = await control.ask(action, "now")
        assert (response.type, response.status, response.action) == ("error", "F_supported_not", action)
        assert response.content.endswith(b"is switched off here")


async def test_f4_without_jobs_nothing_about_jobs_is_supported(stage):
    control = Controller(stage)
    listen = FssListen(address=f"unix:{control.path}")
    await stage.served.server.listen(listen, handler=FssHandler, commands=ctld.CommandRegistry())
    assert await control.status("start", "a", "b") == "error F_supported_not"


class Stranger(FssHandler):
    async def on_connect(self):
        await super().on_connect()
        self.peer = replace(self.peer, role="observe", uid=12345)


async def test_f4_a_caller_who_may_not(control):
    await control.open(Stranger, allow_shutdown=True)
    await control.load()
    assert await control.status("start", "svc", "web") == "error F_access_denied"
    assert await control.status("start", "svc", "web", "in", "1", "hour") == "error F_access_denied"
    assert await control.status("shutdown", "now") == "error F_access_denied"
    assert control.pid() is None


async def test_f6_a_job_that_somebody_else_works_on_is_busy(control):
    await control.open()
    await control.load(cmd="sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'", stopTime=20)
    await control.status("start", "svc", "web")
    stopping = asyncio.create_task(control.ask("stop", "svc", "web"))
    await until(lambda: control.stage.supervisor.info("svc/web").processes[0].state is State.STOPPING)
    response = await control.ask("restart", "svc", "web")
    assert (response.type, response.status, response.action) == ("controller", "F_busy", "restart")
    for action in ("start", "rerun", "pause", "resume", "freeze", "thaw"):
        assert await control.status(action, "svc", "web") == "controller F_busy", action
    assert await control.status("kill", "svc", "web") == "controller F_success"
    assert (await stopping).status == "F_success"


async def test_shutdown_stops_the_daemon_and_is_answered(control):
    await control.open(allow_shutdown=True)
    assert await control.status("shutdown", "now") == "init F_done"
    await asyncio.wait_for(control.server.wait_closed(), 20)


@pytest.mark.parametrize("init_replies", ["init", "controller"])
async def test_reboot_and_kexec_run_what_is_configured(control, init_replies):
    flag = control.stage.lab.work / "rebooted"
    await control.open(reboot_command=("touch", str(flag)), kexec_command=("false",), init_replies=init_replies)
    assert await control.status("reboot", "now") == f"{init_replies} F_done"
    assert flag.exists()
    response = await control.ask("kexec", "now")
    assert (response.type, response.status) == (init_replies, "F_failure")
    assert response.content == b"false: exit code 1"


async def test_a_program_that_is_not_there_is_a_failure(control):
    await control.open(reboot_command=("/no/such/program",))
    assert await control.status("reboot", "now") == "init F_failure"


async def test_at_and_in_are_listed_cancelled_and_run(control):
    await control.open()
    await control.load()
    assert await control.status("start", "svc", "web", "in", "2", "hours") == "controller F_done"
    year = time.localtime().tm_year + 1
    assert await control.status("stop", "svc", "web", "at", f"{year}-12-31T00:00") == "controller F_done"
    assert await control.status("kill", "svc", "web", "at", "12:30") == "controller F_done"
    listed = {entry.command: entry for entry in await control.schedule.entries()}
    assert [entry.options for entry in listed.values()] == [{"name": "svc/web"}] * 3
    assert 7190 < listed["job_start"].at - time.time() < 7210
    assert time.localtime(listed["job_stop"].at)[:5] == (year, 12, 31, 0, 0)
    assert time.localtime(listed["job_kill"].at)[3:6] == (12, 30, 0)
    await control.schedule.take(listed["job_start"].id)
    server = control.server
    server.create_task(control.schedule.keep(lambda id: server.launch(control.schedule.run, id)), name="schedule")
    assert await control.status("start", "svc", "web", "in", "0", "seconds") == "controller F_done"
    await control.stage.lab.until_state(control.stage.supervisor, "svc/web", State.ALIVE)
    soon = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 1))
    assert await control.status("stop", "svc", "web", "at", soon) == "controller F_done"
    await until(lambda: control.pid() is None)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("at", "2001-01-01T00:00"), b"that time has passed"),
        (("at", "2999-01-01"), b"that is more than ten years ahead"),
        (("in", "999999", "weeks"), b"that is more than ten years ahead"),
    ],
)
async def test_a_time_that_nobody_means_is_an_error(control, words, reason):
    await control.open()
    await control.load()
    response = await control.ask("start", "svc", "web", *words)
    assert (response.type, response.status, response.action) == ("error", "F_valid_not", "start")
    assert response.content == reason
    assert await control.schedule.entries() == []


async def test_what_concerns_the_machine_is_scheduled_too(control):
    await control.open(allow_shutdown=True, reboot_command=("true",))
    assert await control.status("shutdown", "in", "1", "week") == "init F_done"
    assert await control.status("reboot", "in", "1", "hour", "30", "minutes") == "init F_done"
    assert [entry.command for entry in await control.schedule.entries()] == ["control_reboot", "shutdown"]
    assert await control.status("kexec", "in", "1", "hour") == "error F_supported_not"


async def test_the_peer_has_so_long_for_a_packet(control):
    await control.open(timeout=0.1)
    for beginning in (b"", b"\x80\0\0\0\x30header"):
        response = await control.raw(beginning, half_close=False)
        assert (response.type, response.status) == ("error", "F_time_out")


async def test_the_time_for_a_packet_is_not_that_of_the_action(control):
    await control.open(timeout=0.05)
    await control.load(startTime=1)  # 0.2 s here
    assert await control.status("start", "svc", "web") == "controller F_success"


@pytest.mark.parametrize(("data", "status", "action"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_f4_malformed_packets_are_answered_the_connection_ends_and_nothing_is_done(control, data, status, action):
    await control.open()
    await control.load("a/b")
    response = await control.raw(data)
    assert (response.type, response.status, response.action) == ("error", status, action)
    assert response.content.decode().isprintable()
    assert control.pid("a/b") is None


async def test_what_follows_a_packet_does_not_cost_the_answer(control):
    await control.open()
    packet = encode_packet(encode_order(["start", "a", "b"]))
    response = await control.raw(packet + b"x" * 100_000, half_close=False)
    assert response.status == "F_known_not"


async def test_the_head_of_an_answer_comes_in_one_write(control):
    await control.open()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(sock, control.path)
        await loop.sock_sendall(sock, encode_packet(encode_order(["start", "a", "b"])))
        assert len(await loop.sock_recv(sock, 65536)) > HEAD_SIZE


async def test_a_client_that_has_gone_does_not_stop_what_it_began(control):
    await control.open()
    await control.load()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(control.path)
        sock.sendall(encode_packet(encode_order(["start", "svc", "web"])))
    await control.stage.lab.until_state(control.stage.supervisor, "svc/web", State.ALIVE)


async def test_a_full_house_is_an_answer(control):
    await control.open(limits=Limits(max_connections=2))  # one uid gets half of them
    _, writer = await asyncio.open_unix_connection(control.path)
    await until(control.server.connections)
    response = await control.ask("start", "a", "b")
    assert response == Response("error", "F_busy", "", b"the daemon is busy: too many connections")
    writer.close()
    await until(lambda: not control.server.connections())
    assert (await control.ask("start", "a", "b")).status == "F_known_not"


async def test_a_client_that_leaves_in_the_middle_of_its_packet_leaves_nothing(control):
    await control.open()
    _, writer = await asyncio.open_unix_connection(control.path)
    writer.write(encode_packet(encode_order(["start", "a", "b"]))[:20])
    await until(control.server.connections)
    writer.transport.abort()
    await until(lambda: not control.server.connections())


async def test_a_peer_that_never_reads_is_let_go(control):
    await control.open()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(control.path)
        sock.sendall(encode_packet(encode_order(["start", "a", "b"])))
        await until(lambda: control.server._reception.counters()["accepted"] == 1)
        await until(lambda: not control.server.connections())


async def test_the_client_gives_up_when_it_is_told_to(control):
    await control.open()
    await control.load(cmd="sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'", stopTime=20)
    await control.status("start", "svc", "web")
    with pytest.raises(ConnectionLost, match="too long"):
        await asyncio.to_thread(ask, control.path, ["stop", "svc", "web"], timeout=0.1)
    os.kill(control.pid(), signal.SIGKILL)
