"""Bringing the daemon to rest, and telling whether it is."""

import time
from collections import Counter
from typing import Any, Final, NamedTuple

from benchmarks.soak.daemon import WORKERS, Daemon
from benchmarks.soak.ledger import TAG
from benchmarks.soak.persona import JOBS, PROFILE
from benchmarks.soak.processes import descriptors, family, resident, threads
from ctld.client.blocking import Client
from ctld.errors import CommandFailed

__all__ = ["Footprint", "at_rest", "fill", "footprint", "settle"]

# Seconds: longer than any grace, wait for a restart, or result that is kept.
_PATIENCE: Final = 30.0

# More ended sessions than a daemon keeps for those who were cut off, with more output than it keeps of each.
_SESSIONS: Final = 70
_OUTPUT: Final = 300_000

# What is still written, forgotten or closed a moment after the last request, in seconds.
_MOMENT: Final = 2.0


class Footprint(NamedTuple):
    """What a daemon at rest consists of.

    Attributes:
        descriptors: How many, by what they are.
        threads: How many.
        resident: Its memory, in bytes.
        tasks: How many, by their names.
        family: The processes below it, by their kind.
    """

    descriptors: Counter[str]
    threads: int
    resident: int
    tasks: Counter[str]
    family: Counter[str]


def settle(daemon: Daemon, endless: str) -> list[str]:
    """End what the load has left, put the jobs and workers where they were, and wait for rest.

    Args:
        daemon: The daemon.
        endless: The operation that would not end.

    Returns:
        What does not come to rest; nothing if all does.
    """
    with daemon.control() as client:
        client.call("op_cancel", {"id": endless})
        for entry in client.call("job_schedule"):
            _attempt(client, "job_schedule_cancel", {"id": entry["id"]})
        for session in client.call("session_list"):
            if session["state"] != "ended":
                _attempt(client, "session_kill", {"id": session["id"]})
        for job in client.call("job_list"):
            if job["name"].startswith(TAG):
                _attempt(client, "job_delete", {"name": job["name"]})
        for report in client.call("gather_reports"):
            _attempt(client, "gather_forget", {"name": report["name"]})
        for name in JOBS:
            _attempt(client, "job_thaw", {"name": name, "manipulation_lock": "wait"})
            _attempt(client, "job_start", {"name": name, "manipulation_lock": "wait"})
        line = {"profile": PROFILE, "line": "sleep 0.5"}
        started = [client.call("gather_exec", line, detach=True)["operation"] for _ in range(WORKERS)]
        for operation in started:
            _attempt(client, "op_wait", {"id": operation})
        give_up = time.monotonic() + _PATIENCE
        while (restless := at_rest(client)) and time.monotonic() < give_up:
            time.sleep(0.2)
    time.sleep(_MOMENT)
    return restless


def fill(daemon: Daemon) -> None:
    """Have a daemon keep as many ended sessions as it ever does, so that its memory does not grow by them later."""
    cmd = ["sh", "-c", f"head -c {_OUTPUT} /dev/zero; sleep 0.2"]
    for _ in range(_SESSIONS):
        with daemon.control() as client, client.session("exec", {"cmd": cmd}, on_disconnect="detach") as session:
            session.detach()


def at_rest(client: Client) -> list[str]:
    """Say what is going on in a daemon to which nobody else speaks; nothing if it is at rest."""
    status = client.call("status")
    found = {
        "connections": status["connections"] - 1,
        "operations that run": status["running"] - 1,
        "subscribers": status["events"]["subscribers"],
        "bytes queued": status["queued_bytes"],
        "listeners without descriptors": int(status["out_of_descriptors"]),
        "locks": len(client.call("lock_list")),
        "sessions": sum(session["state"] != "ended" for session in client.call("session_list")),
        "jobs that do not run": sum(not _runs(job) for job in client.call("job_list")),
        "commands scheduled": len(client.call("job_schedule")),
    }
    told = [f"{count} {what}" for what, count in found.items() if count]
    told += [f"a connection: {row}" for row in client.call("connection_list")[:-1]] if found["connections"] else []
    if status["history"]["state"] != "ok":
        told.append(f"the history is {status['history']['state']}: {status['history']['reason']}")
    return told


def footprint(daemon: Daemon) -> Footprint:
    """Look at a daemon at rest."""
    with daemon.control() as client:
        tasks = daemon.tasks(client)
    time.sleep(_MOMENT / 2)
    return Footprint(
        descriptors(daemon.pid),
        threads(daemon.pid),
        resident(daemon.pid),
        tasks,
        Counter(process.kind for process in family(daemon.pid, ()) if _counts(process.command)),
    )


def _runs(job: dict[str, Any]) -> bool:
    return not job["paused"] and job["desired"] == "running" and job["alive"] == len(job["processes"])


def _counts(command: str) -> bool:
    # The chatty jobs start one of these five times a second.
    return command not in ("sleep 0.2", "date")


def _attempt(client: Client, command: str, opts: dict[str, Any]) -> None:
    try:
        client.call(command, {**opts, "cli": "the soak itself"}, deadline=_PATIENCE)
    except CommandFailed:
        return  # it has happened already, or cannot: `at_rest()` says what is left
