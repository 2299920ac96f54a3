"""Load that keeps to the rules of the native protocol: it waits for what it has asked for."""

import os
import socket
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from benchmarks.soak.persona import JOBS, KILLED, LATE, PROFILE, Persona

__all__ = ["POLITE"]

_LOOKS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("ping", {}),
    ("version", {}),
    ("status", {}),
    ("describe", {}),
    ("describe", {"cmd": "job_start"}),
    ("can_i", {"cmd": "shutdown"}),
    ("connection_list", {}),
    ("op_list", {}),
    ("lock_list", {}),
    ("lock_graph", {}),
    ("task_list", {}),
    ("event_list", {"limit": 20}),
    ("history_list", {"limit": 20}),
    ("job_list", {"usage": True}),
    ("job_status", {"name": JOBS[0]}),
    ("job_status", {"name": "load/none"}),
    ("ping", {"surplus": 1}),
    ("no_such_command", {}),
)


def look(me: Persona) -> None:
    """Ask one thing after the other."""
    link = me.link()
    for _ in range(me.rng.randint(1, 20)):
        command, opts = me.rng.choice(_LOOKS)
        link.ask(command, opts)
    me.keep(link)


def pipeline(me: Persona) -> None:
    """Send many requests at once and then read their answers, which come in order."""
    link = me.link()
    chosen = [me.rng.choice(_LOOKS[:3]) for _ in range(me.rng.randint(2, 60))]
    link.write(b"".join(link.prepare(command, opts) for command, opts in chosen))
    for _ in chosen:
        link.final()
    me.keep(link)


def parallel(me: Persona) -> None:
    """Send many requests with ids; the answers come in any order."""
    link = me.link()
    ids = list(range(me.rng.randint(2, 40)))
    for number in ids:
        command, opts = me.rng.choice(_LOOKS)
        link.send(command, opts, id=number)
    answered = {link.final().get("id") for _ in ids}
    me.expect(answered == set(ids), "the ids of the answers are not those of the requests")
    me.keep(link)


def cancel(me: Persona) -> None:
    """Cancel some of what never ends."""
    link = me.link()
    ids = [f"wait-{number}" for number in range(me.rng.randint(1, 10))]
    for name in ids:
        link.send("op_wait", me.endless, id=name)
    link.send("op_wait", me.endless)
    me.pause(0.05)
    for cancelled in me.rng.sample([*ids, None, "unknown"], len(ids) + 2):
        link.cancel(cancelled)
    for _ in range(len(ids) + 1):
        me.expect(link.final().get("code") == "cancelled", "a cancelled request ended otherwise")
    me.keep(link)


def deadline(me: Persona) -> None:
    """Let the time of a request run out, also of one that is still waiting for its turn."""
    link = me.link()
    for _ in range(me.rng.randint(1, 4)):
        link.send("op_wait", me.endless, deadline=me.rng.uniform(0.001, 0.2))
    while link.waiting:
        me.expect(link.final().get("code") == "deadline", "the time was over and the request ended otherwise")
    me.keep(link)


def sleep(me: Persona) -> None:
    """Watch progress."""
    link = me.link()
    link.send("sleep", {"seconds": me.rng.uniform(0, 0.3), "steps": me.rng.randint(1, 20)})
    link.final()
    me.keep(link)


def detach(me: Persona) -> None:
    """Leave an operation to itself; watch it, wait for it, or cancel it."""
    link = me.link(admin=True)
    line = f"sleep {me.rng.uniform(0, 0.4):.3f}"
    answer = link.ask("gather_exec", {"profile": PROFILE, "line": line}, detach=True)
    if answer["status"]:
        operation = {"id": answer["response"]["operation"]}
        command = me.rng.choice(("op_wait", "op_watch", "op_cancel", None))
        if command:
            link.ask(command, operation, deadline=LATE, **({"stream": True} if command == "op_watch" else {}))
    me.keep(link)


def manage_jobs(me: Persona) -> None:
    """Start, stop and signal jobs, beside others who do the same."""
    link = me.link()
    for _ in range(me.rng.randint(1, 4)):
        command = me.rng.choice(
            ("job_start", "job_stop", "job_restart", "job_kill", "job_pause", "job_resume", "job_signal", "job_repair")
        )
        opts: dict[str, Any] = {"name": me.rng.choice(JOBS)}
        if me.rng.random() < 0.3:
            opts["manipulation_lock"] = me.rng.choice(("wait", "ignore"))
        if me.rng.random() < 0.3 and command not in ("job_pause", "job_resume", "job_signal"):
            opts["wait"] = False
        link.ask(command, opts, deadline=me.rng.choice((0.1, 2.0, 20.0)))
    me.keep(link)


def own_job(me: Persona) -> None:
    """Make a job, look at it, and remove it."""
    link = me.link(admin=True)
    name = me.notes.tag()
    file = '{"cmd": "sleep 1000", "stopTime": 1}'
    if link.ask("job_push", {"name": name, "data": file})["status"]:
        for command in me.rng.sample(("job_status", "job_pull", "job_stop", "job_start"), 2):
            link.ask(command, {"name": name})
        link.ask("job_delete", {"name": name})
    me.keep(link)


def tail(me: Persona) -> None:
    """Follow what a job writes, and leave."""
    link = me.link()
    opts = {"name": JOBS[1], "lines": 5, "follow": True}
    link.send("job_tail", opts, id="tail", stream=True, deadline=me.rng.uniform(0.1, 1.0))
    stay = me.rng.randint(1, 20)
    while link.waiting:
        link.message()
        stay -= 1
        if stay == 0:
            link.cancel("tail")
    me.keep(link)


def gather(me: Persona) -> None:
    """Have the workers run, list and collect something."""
    link = me.link(admin=True)
    kind = me.rng.random()
    if kind < 0.5:
        line = me.rng.choice(("true", "false", "echo hello", "sleep 0.1"))
        link.ask("gather_exec", {"profile": PROFILE, "line": line}, deadline=LATE)
    elif kind < 0.8:
        opts = {"profile": PROFILE, "pattern": "/etc/*.conf"}
        link.ask("gather_glob", opts, stream=me.rng.random() < 0.5, deadline=LATE)
    else:
        name = me.notes.tag()
        items = [{"exec": "uname -a"}, {"copy": "/etc/hostname"}, {"exec": "sleep 0.1"}]
        late = me.rng.uniform(0.01, 0.3) if me.rng.random() < 0.3 else LATE
        link.ask(
            "gather_report", {"profile": PROFILE, "items": items, "destination": name, "archive": False}, deadline=late
        )
        link.ask("gather_forget", {"name": name})
    me.keep(link)


def half_close(me: Persona) -> None:
    """Say that nothing more will come, and still get every answer."""
    link = me.link(transport=me.rng.choice(("unix", "tcp")))
    count = me.rng.randint(1, 30)
    link.write(b"".join(link.prepare("ping") for _ in range(count)))
    link.sock.shutdown(socket.SHUT_WR)
    for _ in range(count):
        link.final()
    me.expect(link.read() == b"", "the daemon says more than was asked for")
    link.close()


def follow_events(me: Persona) -> None:
    """Listen to events for a while, beside other requests."""
    link = me.link()
    link.send("event_subscribe", {}, id="events", deadline=me.rng.uniform(0.1, 1.0))
    stay = me.rng.randint(1, 50)
    while link.waiting:
        link.message()
        stay -= 1
        if stay % 10 == 0:
            link.send("ping", id=stay)
        if stay == 0:
            link.cancel("events")
    me.keep(link)


def pass_descriptors(me: Persona) -> None:
    """Run a program on descriptors of our own."""
    link = me.link(transport="unix")
    text = os.urandom(8).hex()
    link.send("exec", {"cmd": ["sh", "-c", f"echo {text}; exit 7"]}, session={"io": "fds"})
    answer = link.message()
    if answer.get("response") == "continue":
        reading, writing = os.pipe()
        try:
            with open(os.devnull, "rb") as nothing:
                for descriptor in (nothing.fileno(), writing, writing):
                    link.pass_descriptor(descriptor)
            os.close(writing)
            writing = -1
            with open(reading, "rb", closefd=False) as output:
                received = output.read()
            final = link.final()
            status = (final.get("response") or {}).get("exitstatus", KILLED)
            good = received == f"{text}\n".encode() and status == 7
            me.expect(good or status >= KILLED, f"a program's output or status is wrong: {received!r} {final}")
        finally:
            os.close(reading)
            if writing >= 0:
                os.close(writing)
    me.keep(link)


POLITE: Final[Mapping[Callable[[Persona], None], int]] = MappingProxyType(
    {
        look: 20,
        pipeline: 10,
        parallel: 10,
        cancel: 6,
        deadline: 4,
        sleep: 3,
        detach: 5,
        manage_jobs: 8,
        own_job: 3,
        tail: 3,
        gather: 6,
        half_close: 4,
        follow_events: 4,
        pass_descriptors: 3,
    }
)
"""Each kind, and how often it comes."""
