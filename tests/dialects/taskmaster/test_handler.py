"""Taskmaster's conversations over real TCP: every recorded query, and every rule of B2 to B6 and B11."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

import ctld
from ctld.dialects.taskmaster.handler import TASKMASTER, TaskmasterHandler, TaskmasterListen
from ctld.jobs.state import State
from tests.commands.job_stage import Stage, lab, stage
from tests.commands.test_job_wishes import IGNORES_TERM

__all__ = ["lab", "stage"]

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "taskmaster_daemon.json").read_text())

# Where the specification decides otherwise than the original (B2, B3).
LISTED = "eyJwcm9jZXNzZXMiOlt7Im5hbWUiOiJuZ2lueCJ9XX0="
LISTED_BOTH = base64.b64encode(b'{"processes":[{"name":"nginx"}],"jobs":[{"name":"nginx"}]}').decode()
LIST_ANSWER = f'{{"response":"list","error":"","data":"{LISTED}"}};;'
DECIDED = {
    "documented_key": f'{{"response":"list","list":"{LISTED_BOTH}","data":"{LISTED_BOTH}"}};;',
    "trailing_space": LIST_ANSWER,
    "two_in_one_write": LIST_ANSWER * 2,
}


class Wire:
    """One client, and the answers as they come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def bytes(self, sent: bytes, answers: int = 1) -> bytes:
        self.writer.write(sent)
        return b"".join([await self.reader.readuntil(b";;") for _ in range(answers)])

    async def ask(self, cmd: str, job: str = "", data: bytes = b"") -> tuple[str, str]:
        """The kind of the answer, and its text."""
        query = {"cmd": cmd, "job": b64(job.encode()), "data": b64(data)}
        answer = json.loads((await self.bytes(json.dumps(query).encode() + b";;")).removesuffix(b";;"))
        assert list(answer) == ["response", "error", "data"]
        return answer["response"], base64.b64decode(answer["error"] or answer["data"]).decode()


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


class Network:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.wires: list[Wire] = []

    async def connect(self, **listen) -> Wire:
        where = TaskmasterListen(address="tcp:127.0.0.1:0", **{"role": "admin", **listen})
        listener = await self.stage.served.server.listen(where, handler=TaskmasterHandler)
        host, _, port = listener.address.removeprefix("tcp:").rpartition(":")
        wire = Wire(*await asyncio.open_connection(host, int(port), limit=4 * 1024 * 1024))
        self.wires.append(wire)
        return wire


@pytest_asyncio.fixture
async def network(stage: Stage) -> AsyncIterator[Network]:
    network = Network(stage)
    yield network
    for wire in network.wires:
        wire.writer.close()
        await wire.writer.wait_closed()


@pytest_asyncio.fixture
async def wire(network: Network) -> Wire:
    return await network.connect()


async def until(stage: Stage, name: str, state: State) -> None:
    await stage.lab.until_state(stage.supervisor, name, state)


OK = ("success", "")
AGAIN = ("redundant", "")
NOT_UNDERSTOOD = ("invalid", "")


async def test_every_recorded_query_in_its_sequence(stage, wire):
    (stage.lab.work / "work").mkdir()
    job = json.dumps(VECTORS["job_file"]).encode()
    assert await wire.ask("push", "nginx", job) == OK
    for case in VECTORS["cases"]:
        if case["name"] == "status_running":
            await stage.supervisor.wait_for("nginx", "running")
        expected = DECIDED.get(case["name"], case["response"]).encode()
        assert await wire.bytes(case["request"].encode(), expected.count(b";;")) == expected, case["name"]


async def test_b3_pipelined_queries_are_answered_in_order_and_fragments_are_joined(stage, wire):
    await stage.load("nginx", "sleep 60")
    for byte in b'{"command":"kill","job":"bmdpbng="};;{"cmd":"li':
        wire.writer.write(bytes([byte]))
        await asyncio.sleep(0)
    assert await wire.bytes(b'st"};;', 2) == b'{"response":"redundant"};;' + LIST_ANSWER.encode()


async def test_b3_a_frame_that_is_too_long_is_invalid_and_the_last(wire):
    wire.writer.write(b"x" * (1024 * 1024 + 2))
    assert await wire.reader.read() == b'{"response":"invalid","error":"","data":""};;'


async def test_b4_the_order_of_checks(stage, wire):
    await stage.load("nginx", "sleep 60")
    missing = ("fail", 'Job "nosuch" does not exist.')
    for cmd in ("list", "bogus", "start", "restart", "delete", "LIST"):
        assert await wire.ask(cmd, "nosuch") == missing
    assert await wire.ask("start", "größe") == ("fail", 'Job "größe" does not exist.')
    assert await wire.ask("start", ";;") == ("fail", 'Job ";;" does not exist.')
    assert await wire.ask("bogus", "nginx") == NOT_UNDERSTOOD
    assert await wire.ask("console") == NOT_UNDERSTOOD
    for cmd in ("start", "stop", "kill", "repair", "status", "pull", "push", "delete", "reload"):
        assert await wire.ask(cmd) == ("fail", "Invalid job name.")
    assert await wire.bytes(b'{"command":"start","job":"/w=="};;') == (
        b'{"response":"fail","error":"SW52YWxpZCBqb2IgbmFtZS4="};;'
    )


async def test_b5_start_stop_kill_status(stage, wire):
    await stage.load("nginx", "sleep 60", procNr=2)
    assert await wire.ask("status", "nginx") == ("status", '"nginx" not running. ')
    assert await wire.ask("stop", "nginx") == AGAIN
    assert await wire.ask("kill", "nginx") == AGAIN
    assert await wire.ask("start", "nginx") == OK
    assert await wire.ask("status", "nginx") == ("status", '"nginx" running. 0 of 2 processes alive.')
    await stage.supervisor.wait_for("nginx", "running")
    assert await wire.ask("status", "nginx") == ("status", '"nginx" running. 2 of 2 processes alive.')
    assert await wire.ask("start", "nginx") == AGAIN
    assert await wire.ask("stop", "nginx") == OK
    assert await wire.ask("status", "nginx") == ("status", '"nginx" not running. ')
    await stage.supervisor.wait_for("nginx", "stopped")
    assert await wire.ask("stop", "nginx") == AGAIN


async def test_b5_kill_is_sigkill(stage, wire):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=300, stdout="out")
    await stage.supervisor.wait_for("deaf", "running")
    assert await wire.ask("kill", "deaf") == OK
    await stage.supervisor.wait_for("deaf", "stopped")
    assert stage.supervisor.info("deaf").processes[0].last_exit == "killed by SIGKILL"


async def test_b5_a_job_whose_processes_are_all_dead_is_running(stage, wire):
    await stage.load("dead", "true", restart=0, startTime=300, autoStart=True)
    await until(stage, "dead", State.BADSTOP)
    assert await wire.ask("status", "dead") == ("status", '"dead" running. 0 of 1 processes alive.')
    assert await wire.ask("start", "dead") == AGAIN
    assert await wire.ask("repair", "dead") == OK
    assert await wire.ask("stop", "dead") == OK
    assert await wire.ask("stop", "dead") == AGAIN
    assert await wire.ask("repair", "dead") == ("fail", '"dead" not running.')


async def test_b6_repair_doubles_nothing(stage, wire):
    await stage.load("nginx", "sleep 60", autoStart=True, procNr=2)
    await stage.supervisor.wait_for("nginx", "running")
    before = [process.pid for process in stage.supervisor.info("nginx").processes]
    assert await wire.ask("repair", "nginx") == OK
    assert await wire.ask("status", "nginx") == ("status", '"nginx" running. 2 of 2 processes alive.')
    assert [process.pid for process in stage.supervisor.info("nginx").processes] == before


async def test_b8_start_while_stopping_is_remembered(stage, wire):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=1, stdout="out")
    await stage.supervisor.wait_for("deaf", "running")
    pid = stage.supervisor.info("deaf").processes[0].pid
    assert await wire.ask("stop", "deaf") == OK
    assert await wire.ask("start", "deaf") == OK
    await stage.supervisor.wait_for("deaf", "running")
    assert stage.supervisor.info("deaf").processes[0].pid not in (None, pid)


async def test_b8_a_failing_job_with_endless_restarts_is_no_storm(stage, wire):
    await stage.load("storm", "exec /no/such/program", restart=2, restartTimes=-1)
    assert await wire.ask("start", "storm") == OK
    await stage.lab.until(stage.supervisor, lambda: stage.supervisor.info("storm").processes[0].restarts == 3)
    starts = [line for line in stage.lab.events if line in ("storm/0: Starting.", "storm/0: Restarting.")]
    assert len(starts) == 4
    assert await wire.ask("stop", "storm") == OK


async def test_b5_push_pull_delete(stage, wire):
    job = b'{"cmd":"sleep 60","autoStart":true} // \xc3\xbc'
    assert await wire.ask("push", "web/api", job) == OK
    await stage.supervisor.wait_for("web/api", "running")
    pid = stage.supervisor.info("web/api").processes[0].pid
    assert await wire.ask("push", "web/api", job) == OK
    assert stage.supervisor.info("web/api").processes[0].pid == pid  # B11: the same bytes are a no-op
    assert await wire.ask("push", "web/api", job.replace(b"60", b"61")) == OK
    await stage.supervisor.wait_for("web/api", "running")
    assert stage.supervisor.info("web/api").processes[0].pid != pid
    stage.lab.store.write("web/api", b"edited on disk \xff")
    query = b'{"command":"pull","job":"' + b64(b"web/api").encode() + b'"};;'
    answer = json.loads((await wire.bytes(query)).removesuffix(b";;"))
    assert answer == {"response": "file", "job": b64(b"web/api"), "data": b64(b"edited on disk \xff")}
    assert await wire.ask("delete", "web/api") == OK
    assert await wire.ask("list") == ("list", '{"processes":[]}')
    assert await wire.ask("delete", "web/api") == ("fail", 'Job "web/api" does not exist.')


@pytest.mark.parametrize("name", ["../evil", "/abs", "a//b", ".hidden", "a b", "größe", "a" * 65, "/".join("a" * 9)])
async def test_b4_push_to_a_name_that_is_none(stage, wire, name):
    assert await wire.ask("push", name, b'{"cmd":"true"}') == ("fail", "Invalid job name.")
    assert os.listdir(stage.lab.store.directory) == []


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"junk", "Invalid job file: not JSON: "),
        (b"\xff", "Invalid job file: not UTF-8."),
        (b'{"cmd":""}', "Invalid job file: cmd: it is empty."),
        (b'{"cmd":"true","stopSig":300}', "Invalid job file: stopSig: "),
    ],
)
async def test_b5_push_of_junk(stage, wire, data, reason):
    kind, text = await wire.ask("push", "junk", data)
    assert (kind, text[: len(reason)]) == ("fail", reason)
    assert os.listdir(stage.lab.store.directory) == []


async def test_b5_delete_of_a_job_that_ignores_term_escalates(stage, wire):
    await stage.load("deaf", IGNORES_TERM, autoStart=True, stopTime=1, stdout="out")
    await stage.supervisor.wait_for("deaf", "running")
    pid = stage.supervisor.info("deaf").processes[0].pid
    assert await wire.ask("delete", "deaf") == OK
    assert not os.path.exists(f"/proc/{pid}")
    assert await wire.ask("list") == ("list", '{"processes":[]}')


async def test_b5_reload_of_one_job(stage, wire):
    await stage.load("web", "sleep 60", autoStart=True)
    await stage.supervisor.wait_for("web", "running")
    pid = stage.supervisor.info("web").processes[0].pid
    assert await wire.ask("reload", "web") == OK
    assert stage.supervisor.info("web").processes[0].pid == pid
    stage.lab.store.write("web", b'{"cmd": 5}')
    assert await wire.ask("reload", "web") == ("fail", "Invalid job file: cmd: expected `str`, got `int`.")
    assert stage.supervisor.info("web").processes[0].pid == pid
    stage.lab.file("web", "sleep 60", autoStart=True, procNr=3)
    assert await wire.ask("reload", "web") == OK
    assert await wire.ask("status", "web") == ("status", '"web" running. 0 of 3 processes alive.')
    stage.lab.store.remove("web")
    assert await wire.ask("reload", "web") == OK
    assert await wire.ask("reload", "web") == ("fail", 'Job "web" does not exist.')


async def test_b5_restart_scans_and_leaves_alone_what_is_missing(stage, wire):
    await stage.load("old", "sleep 60")
    stage.lab.store.remove("old")
    stage.lab.file("deep/new", "sleep 60")
    assert await wire.ask("restart") == OK
    assert await wire.ask("list") == ("list", '{"processes":[{"name":"deep/new"},{"name":"old"}]}')


async def test_b11_two_clients_race(stage, network):
    await stage.load("web", "sleep 60")
    one, other = await network.connect(), await network.connect()
    for _ in range(20):
        answers = await asyncio.gather(one.ask("start", "web"), other.ask("stop", "web"))
        assert {answer[0] for answer in answers} <= {"success", "redundant"}
    await one.ask("start", "web")
    await stage.supervisor.wait_for("web", "running")
    assert await other.ask("status", "web") == ("status", '"web" running. 1 of 1 processes alive.')


async def test_the_listener_says_what_its_callers_may_do(stage, network):
    await stage.load("web", "sleep 60")
    observer = await network.connect(role="observe")
    assert (await observer.ask("status", "web"))[0] == "status"
    for cmd, role in (("start", "operate"), ("pull", "admin"), ("delete", "admin"), ("push", "admin")):
        kind, text = await observer.ask(cmd, "web", b'{"cmd":"true"}')
        assert kind == "fail"
        assert role in text
    stranger = await network.connect(role="anyone")
    assert (await stranger.ask("list"))[0] == "fail"
    assert await stranger.ask("start") == ("fail", "Invalid job name.")
    assert TaskmasterListen(address="tcp:127.0.0.1:7777").role == "observe"


async def test_what_it_does_is_history_and_events(stage, network):
    await stage.load("web", "sleep 60")
    wire = await network.connect(role="operate")
    await wire.ask("start", "web")
    events = await stage.call("event_list", type="management", opts={"cmd": "job_start"})
    assert [event["opts"]["opts"] for event in events] == [{"name": "web", "wait": False}] * 2
    assert events[0]["opts"]["peer"].startswith("tcp")


async def test_who_is_not_on_this_machine_is_refused(stage, network, monkeypatch):
    from ctld.dialects.taskmaster import handler

    monkeypatch.setattr(handler, "_is_loopback", lambda host: False)
    refused = await network.connect()
    answer = json.loads((await refused.reader.read()).removesuffix(b";;"))
    assert answer["response"] == "fail"
    assert b"loopback only" in base64.b64decode(answer["error"])
    assert await (await network.connect(allow_remote=True)).ask("list") == ("list", '{"processes":[]}')


@pytest.mark.parametrize(
    ("address", "allow_remote", "mistaken"),
    [
        ("tcp:127.0.0.1:7777", False, False),
        ("tcp:[::1]:7777", False, False),
        ("tcp:[::ffff:127.0.0.1]:7777", False, False),
        ("tcp:localhost:7777", False, False),
        ("unix:/run/tm.sock", False, False),
        ("systemd:", False, False),
        ("tcp:0.0.0.0:7777", False, True),
        ("tcp:0.0.0.0:7777", True, False),
        ("tcp:example.org:7777", False, True),
        ("tls:[::]:7777", False, True),
        ("tcp:nonsense", False, False),  # which is said elsewhere
    ],
)
def test_where_it_may_listen(address, allow_remote, mistaken):
    listen = TaskmasterListen(address=address, allow_remote=allow_remote)
    assert [key for key, _ in TASKMASTER.mistakes(listen)] == (["address"] if mistaken else [])


async def test_over_a_unix_socket_it_knows_its_callers(stage, tmp_path):
    where = TaskmasterListen(address=f"unix:{tmp_path}/tm", role="anyone")
    await stage.served.server.listen(where, handler=TaskmasterHandler)
    wire = Wire(*await asyncio.open_unix_connection(f"{tmp_path}/tm"))
    assert await wire.ask("list") == ("list", '{"processes":[]}')  # whoever runs the daemon is admin
    wire.writer.close()
    await wire.writer.wait_closed()


async def test_a_daemon_without_jobs_understands_nothing(tmp_path):
    where = TaskmasterListen(address=f"unix:{tmp_path}/tm")
    server = ctld.Server(listen=[where], dialects={"taskmaster": TaskmasterHandler})
    async with server:
        wire = Wire(*await asyncio.open_unix_connection(f"{tmp_path}/tm"))
        assert await wire.ask("list") == NOT_UNDERSTOOD
        wire.writer.close()
        await wire.writer.wait_closed()


async def test_b11_huge_data(stage, wire):
    job = b'{"cmd":"true","autoStart":false}' + b" " * 700_000
    assert await wire.ask("push", "huge", job) == OK
    assert await wire.ask("pull", "huge") == ("file", job.decode())


async def test_b11_stop_during_restart_back_off(stage, wire):
    await stage.load("sick", "false", restart=2, restartTimes=-1, startTime=300)
    assert await wire.ask("start", "sick") == OK
    await until(stage, "sick", State.BADSTOP)
    assert stage.supervisor.info("sick").processes[0].retry_in is not None
    assert await wire.ask("stop", "sick") == OK
    assert stage.supervisor.info("sick").processes[0].retry_in is None
    assert await wire.ask("stop", "sick") == AGAIN


@pytest.mark.parametrize(
    "keys", [{"dir": "/no/such/folder"}, {"user": "no such user"}, {"stdout": "/no/such/folder/out"}]
)
async def test_b11_what_cannot_be_spawned(stage, wire, keys):
    await stage.load("sick", "sleep 60", restart=0, **keys)
    assert await wire.ask("start", "sick") == OK
    await until(stage, "sick", State.BADSTOP)
    assert await wire.ask("status", "sick") == ("status", '"sick" running. 0 of 1 processes alive.')


async def test_b11_delete_then_list(stage, wire):
    await stage.load("web", "sleep 60", autoStart=True)
    sent = b'{"command":"delete","job":"d2Vi"};;{"command":"list"};;'
    empty = base64.b64encode(b'{"processes":[],"jobs":[]}')
    assert await wire.bytes(sent, 2) == (
        b'{"response":"success"};;{"response":"list","list":"' + empty + b'","data":"' + empty + b'"};;'
    )
