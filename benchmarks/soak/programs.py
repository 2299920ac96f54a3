"""Load that runs programs: sessions that are used, left, dropped, watched and killed."""

import base64
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from benchmarks.soak.ledger import ANY
from benchmarks.soak.link import Link
from benchmarks.soak.persona import JOBS, KILLED, Persona
from ctld.wire.frames import FrameReader, FrameType, encode_frame

__all__ = ["PROGRAMS"]

_ENDLESS: Final = ["sh", "-c", "while :; do echo still here; sleep 0.05; done"]

_SINGLE_FRAMES: Final = {"io": "frames"}


def run(me: Persona) -> None:
    """Run a program, talk to it, and learn how it ended."""
    link = me.link(admin=True)
    sizes = [me.rng.randint(0, 40_000) for _ in range(me.rng.randint(0, 4))]
    if _begin(link, "exec", {"cmd": ["sh", "-c", "cat; exit 5"]}, session=_SINGLE_FRAMES):
        for size in sizes:
            link.write(encode_frame(FrameType.STDIN, b"x" * size) if size else b"")
        link.write(encode_frame(FrameType.STDIN, b""))
        received, end = _to_the_end(link)
        good = end.get("exitstatus") == 5 and received == sum(sizes)
        killed = end.get("exitstatus", 0) >= KILLED or "error" in end
        me.expect(good or killed, f"a program's output or status: {end}")
        me.expect(link.ask("ping").get("response") == "pong", "a connection does not go on after a session")
    me.keep(link)


def terminal(me: Persona) -> None:
    """Use a console as osctl does."""
    link = Link(me.where, "unix", me.notes)
    link.send("console", {"cmd": ["sh"], "rows": 40, "cols": 100})
    if link.message().get("response") == "continue":
        link.forget()
        keys = base64.b64encode(b"echo $((6*7))\nexit\n").decode()
        link.write(json.dumps({"rows": 50, "cols": 120, "keys": keys}).encode() + b"\n")
        seen = b""
        while data := link.read():
            seen += data
    link.close()


def drop(me: Persona) -> None:
    """Begin a session and vanish, in the middle of its output."""
    link = Link(me.where, me.rng.choice(("unix", "tls")), me.notes)
    end = me.rng.choice(("hangup", "kill", "detach"))
    cmd = me.rng.choice((["cat"], ["yes"], _ENDLESS))
    tty = me.rng.random() < 0.5
    if _begin(link, "exec", {"cmd": cmd}, session={**_SINGLE_FRAMES, "tty": tty, "on_disconnect": end}):
        link.forget()
        if me.rng.random() < 0.5:
            link.read(me.rng.randint(1, 1000))
        me.pause(0.1)
    link.close()


def visit(me: Persona) -> None:
    """Look at the sessions that others have left, and end some of them."""
    link = me.link(admin=True)
    listed = link.ask("session_list")
    sessions = [row["id"] for row in listed.get("response") or () if row["state"] in ("attached", "detached")]
    for name in me.rng.sample(sessions, min(len(sessions), 3)):
        what = me.rng.random()
        if what < 0.5:
            link.ask("session_kill", {"id": name})
        elif what < 0.7:
            link.ask("session_signal", {"id": name, "signal": "TERM"})
        else:
            _attach(me, link, "session_attach", {"id": name, "read_only": me.rng.random() < 0.5})
    me.keep(link)


def attach_to_job(me: Persona) -> None:
    """Look at the terminal of a job for a moment."""
    link = me.link(admin=True)
    _attach(me, link, "job_attach", {"name": JOBS[3]})
    me.keep(link)


def _attach(me: Persona, link: Link, command: str, opts: dict[str, Any]) -> None:
    if _begin(link, command, opts, session=_SINGLE_FRAMES):
        link.write(encode_frame(FrameType.RESIZE, b'{"rows": 30, "cols": 90}'))
        me.pause(0.1)
        link.write(encode_frame(FrameType.EXIT))
        _to_the_end(link)


def _begin(link: Link, command: str, opts: dict[str, Any], **members: Any) -> bool:
    """Ask for a session; tell whether there is one."""
    link.send(command, opts, **members)
    return link.message().get("response") == "continue"


def _to_the_end(link: Link) -> tuple[int, dict[str, Any]]:
    """Read frames up to the exit; return how many bytes the program has written, and how it ended."""
    reader = FrameReader()
    received = 0
    while True:
        data = link.read()
        if not data:
            raise link.lost("hung up in the middle of a session")
        reader.feed(data)
        while (frame := reader.next_frame()) is not None:
            if frame.type is FrameType.PING:
                link.write(encode_frame(FrameType.PONG, frame.payload))
            elif frame.type is FrameType.STDOUT:
                received += len(frame.payload)
            elif frame.type is FrameType.EXIT:
                link.ended(ANY)
                return received, frame.object()


PROGRAMS: Final[Mapping[Callable[[Persona], None], int]] = MappingProxyType(
    {run: 5, terminal: 3, drop: 4, visit: 5, attach_to_job: 3}
)
"""Each kind, and how often it comes."""
