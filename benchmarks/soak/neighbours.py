"""Load in the other dialects, by their own clients."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from benchmarks.soak.ledger import ANY, Key
from benchmarks.soak.link import NO_ROOM, PATIENCE, Gone
from benchmarks.soak.persona import JOBS, Persona
from ctld.dialects.fss_control.client import ask as ask_controller
from ctld.dialects.guest_agent.client import send_command
from ctld.dialects.guest_agent.statuses import Status, failure_body
from ctld.dialects.taskmaster.client import TaskmasterClient
from ctld.errors import CtldError

__all__ = ["NEIGHBOURS"]

_NO_ANSWER: Final = failure_body(Status.CONNECTION_ERROR)


def taskmaster(me: Persona) -> None:
    """Manage a job of our own, over one connection."""
    name = me.notes.tag()
    file = b'{"cmd": "sleep 1000", "autoStart": false, "stopTime": 1}'
    commands = {
        "start": "job_start",
        "stop": "job_stop",
        "kill": "job_kill",
        "repair": "job_repair",
        "pull": "job_pull",
    }
    with TaskmasterClient("127.0.0.1", me.where.taskmaster) as client:
        try:
            client.connect().settimeout(PATIENCE)
        except CtldError as exc:
            raise Gone(str(exc)) from exc
        _query(me, client, "list")
        _query(me, client, "push", name, "job_push", file)
        for cmd in me.rng.sample(sorted(commands), me.rng.randint(0, 3)):
            _query(me, client, cmd, name, commands[cmd])
        _query(me, client, "status", me.rng.choice(JOBS))
        _query(me, client, "delete", name, "job_delete")


def controller(me: Persona) -> None:
    """Send orders about rules that there are, and about one that there is not."""
    for _ in range(me.rng.randint(1, 5)):
        name = me.notes.tag()
        action = me.rng.choice(("start", "stop", "restart", "pause", "resume", "kill"))
        key = name, f"job_{action}"
        _order(me, key, [action, "nowhere", name])
    action = me.rng.choice(("start", "stop", "restart", "pause", "resume", "freeze", "thaw", "reload", "kill"))
    when = me.rng.choice(([], [], ["in", str(me.rng.randint(1, 5)), "seconds"]))
    directory, rule = me.rng.choice(JOBS).split("/")
    _order(me, None, [action, directory, rule, *when])


def guest(me: Persona) -> None:
    """Ask as a guest agent is asked."""
    for _ in range(me.rng.randint(1, 5)):
        name = me.rng.choice(("ping", "version", "job.list", "job_status", "job.start"))
        opts = {"name": me.rng.choice((*JOBS, "load/none"))} if "s" in name and name != "version" else {}
        opts = {} if name == "job.list" else opts
        tag = me.notes.tag()
        key = tag, name.replace(".", "_")
        me.notes.sent(key)
        answer = send_command(json.dumps({"Command": name, "cli": tag, **opts}).encode(), me.where.guest)
        if answer == _NO_ANSWER or (not answer and name == "job.start"):
            # Not to be told from an answer that took longer than this wire allows.
            me.notes.did("guest agent's request without an answer")
            continue
        me.expect(answer.startswith(b'{"Status":'), f"a guest agent's answer: {answer[:100]!r}")
        _answered(me, key, json.loads(answer)["StatusMessage"])
    send_command(b'{"Command":"agent.config.getoption","Option":"Daemon.LogLevel"}', me.where.guest)


def _query(
    me: Persona, client: TaskmasterClient, cmd: str, job: str = "", command: str = "", data: bytes = b""
) -> None:
    """Ask Taskmaster's way; the daemon may look at the job before it runs the command."""
    key = job, command
    if command:
        me.notes.sent((job, "job_status"))
        me.notes.sent(key)
    try:
        response = client.ask(cmd, job, data)
    except CtldError as exc:
        me.notes.trouble(key, str(exc))
        raise Gone(str(exc)) from exc
    if command and "does not exist" not in response.error:
        _answered(me, key, response.error)


def _order(me: Persona, key: Key | None, words: list[str]) -> None:
    if key is not None:
        me.notes.sent(key)
    try:
        response = ask_controller(me.where.fss, words, timeout=PATIENCE)
    except CtldError as exc:
        if key is not None:
            me.notes.trouble(key, str(exc))
        raise Gone(str(exc)) from exc
    if key is not None:
        _answered(me, key, response.content.decode(errors="replace"))


def _answered(me: Persona, key: Key, sentence: str) -> None:
    """Note an answer, unless it is that the daemon has no room."""
    if sentence.startswith(NO_ROOM):
        me.notes.trouble(key, "refused")
    else:
        me.notes.answered(key, ANY)


NEIGHBOURS: Final[Mapping[Callable[[Persona], None], int]] = MappingProxyType({taskmaster: 5, controller: 5, guest: 5})
"""Each kind, and how often it comes."""
