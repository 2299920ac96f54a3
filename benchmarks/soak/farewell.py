"""The end of the daemon: in order, in time, with an answer for everybody, and nothing left."""

import signal
import socket
import time
from typing import Any, Final

from benchmarks.soak.checks import Check
from benchmarks.soak.daemon import Daemon
from benchmarks.soak.ledger import ANY
from benchmarks.soak.link import Gone, Link
from benchmarks.soak.notes import Notes
from benchmarks.soak.processes import family
from ctld.wire.frames import FrameReader, FrameType

__all__ = ["farewell"]

# Seconds: the graces of the daemon's configuration one after the other, and some for the machine.
_IN_TIME: Final = 15.0

# A stream that follows a file has a good end of its own then.
_GOOD: Final = ("shutting-down", "")


def farewell(daemon: Daemon, notes: Notes) -> list[Check]:
    """Tell the daemon to stop while there is something of everything, and look at how it does."""
    waits = {name: Link(daemon.where, "unix", notes) for name in ("sleep", "event_subscribe", "job_tail", "exec")}
    waits["tls"] = Link(daemon.where, "tls", notes)
    waits["sleep"].send("sleep", {"seconds": 3600})
    waits["event_subscribe"].send("event_subscribe")
    waits["job_tail"].send("job_tail", {"name": "load/chatty", "follow": True}, stream=True)
    waits["exec"].send("exec", {"cmd": ["cat"]}, session={"io": "frames"})
    waits["tls"].send("sleep", {"seconds": 3600}, id=1)
    for link in waits.values():
        if link is not waits["sleep"] and link is not waits["tls"]:
            link.message()
    begun = time.monotonic()
    daemon.signal(signal.SIGTERM)
    ends = {name: _end(link, frames=name == "exec") for name, link in waits.items()}
    status = daemon.wait(2 * _IN_TIME)
    took = time.monotonic() - begun
    left = [f"{process.kind} {process.pid}: {process.command}" for process in family(daemon.pid, ())]
    return [
        Check("everybody is told of the end", [f"{name}: {end}" for name, end in ends.items() if end not in _GOOD]),
        Check("the exit status is 0", [] if status == 0 else [str(status)]),
        Check("the end comes in time", [] if took < _IN_TIME else ["too late"], f"{took:.1f} s"),
        Check("nothing is left of it", left + _listening(daemon)),
    ]


def _end(link: Link, *, frames: bool) -> str:
    """Return the slug of the last message of a connection; nothing if it is a result."""
    try:
        if frames:
            return _last_frame(link)
        message: dict[str, Any] = {}
        while link.waiting:
            message = link.final()  # events come before it
        return str(message.get("code", ""))
    except Gone as gone:
        return str(gone)
    finally:
        link.close()


def _last_frame(link: Link) -> str:
    reader = FrameReader()
    while data := link.read():
        reader.feed(data)
        while (frame := reader.next_frame()) is not None:
            if frame.type is FrameType.EXIT:
                link.ended(ANY)
                return str(frame.object().get("error"))
    return "hung up"


def _listening(daemon: Daemon) -> list[str]:
    left = []
    for path in (daemon.where.unix, daemon.where.fss, daemon.where.guest):
        with socket.socket(socket.AF_UNIX) as sock:
            if sock.connect_ex(path) == 0:
                left.append(f"somebody listens on {path}")
    return left
