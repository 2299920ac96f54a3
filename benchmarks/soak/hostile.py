"""Load that breaks every rule: none of it waits for an answer, unless an answer is due all the same."""

import random
import socket
import struct
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from benchmarks.soak.link import Link, Transport, dial
from benchmarks.soak.persona import Persona

__all__ = ["HOSTILE", "MAX_LINE", "mangled"]

MAX_LINE: Final = 1024 * 1024
"""The daemon's `max_line` here: small, so that exceeding it is cheap."""

_SOCKETS: Final = ("unix", "tcp", "tls", "taskmaster", "fss", "guest")

_LINES: Final = (
    b'{"cmd":"ping"}\n',
    b'{"cmd":"describe","id":1}\n',
    b'{"cmd":"event_subscribe","id":"e","opts":{"since":0}}\n',
    b'{"cancel":null}\n',
    b'{"cmd":"exec","opts":{"cmd":["true"]},"session":{"io":"frames"}}\n',
    b'{"cmd":"job","job":"bG9hZA==","data":""};;',
    b"\x80\x00\x00\x00\x30header:\ntype controller\naction start a b\nlength 0\npayload:\n",
    b'{"Command":"ping"}',
)


def vanish(me: Persona) -> None:
    """Ask for much and hang up at once, or reset the connection."""
    link = Link(me.where, me.rng.choice(("unix", "tcp", "tls")), me.notes)
    for number in range(me.rng.randint(1, 30)):
        if me.rng.random() < 0.5:
            link.send("describe", {}, id=number)
        else:
            link.send("op_wait", me.endless, id=number, deadline=3.0)
    if me.rng.random() < 0.5:
        link.read(me.rng.randint(1, 500))
    if me.rng.random() < 0.5 and link.transport != "unix":
        link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def half_open(me: Persona) -> None:
    """Connect, perhaps begin something, and stay without a word."""
    sock = dial(me.where, me.rng.choice(_SOCKETS))
    line = me.rng.choice(_LINES)
    _try(sock, line[: me.rng.randint(0, len(line) - 1)])
    if me.rng.random() < 0.3:
        sock.shutdown(socket.SHUT_WR)
    me.pause(1.0)
    sock.close()


def drip(me: Persona) -> None:
    """Send a request byte by byte; it is served."""
    link = Link(me.where, me.rng.choice(("unix", "tcp", "tls")), me.notes)
    for byte in link.prepare("ping"):
        link.write(bytes([byte]))
        me.pause(0.01)
    link.final()
    link.close()


def read_slowly(me: Persona) -> None:
    """Ask for far more than fits anywhere, and read it in crumbs."""
    link = Link(me.where, me.rng.choice(("unix", "tcp", "tls")), me.notes)
    link.write(b"".join(link.prepare("describe") for _ in range(40)))
    until = time.monotonic() + me.rng.uniform(0.1, 1.5)
    while time.monotonic() < until:
        link.message()
        me.pause(0.1)
    if me.rng.random() < 0.5:
        while link.waiting:
            link.final()
    link.close()


def garbage(me: Persona) -> None:
    """Send bytes without any sense, or a request with some bytes changed."""
    sock = dial(me.where, me.rng.choice(_SOCKETS))
    for _ in range(me.rng.randint(1, 10)):
        junk = me.rng.randbytes(me.rng.randint(1, 2000))
        if not _try(sock, junk if me.rng.random() < 0.3 else mangled(me.rng.choice(_LINES), me.rng)):
            break
    _taste(sock)
    sock.close()


def too_long(me: Persona) -> None:
    """Send a line that is longer than any may be; it is refused, and the connection goes on."""
    transport: Transport = me.rng.choice(("unix", "tcp", "tls"))
    link = Link(me.where, transport, me.notes)
    link.write(b"x" * (MAX_LINE + 1))
    me.expect(link.sentence().get("code") == "too-large", "a line that is too long is not refused")
    link.write(b"x\n")
    link.ask("ping")
    link.close()


def stall_handshake(me: Persona) -> None:
    """Begin TLS and do not go on, or do not even speak it."""
    sock = dial(me.where, "tls")
    _try(sock, me.rng.choice((b"", b"\x16\x03\x01\x02\x00\x01", b'{"cmd":"ping"}\n')))
    me.pause(1.0)
    sock.close()


def subscribe_and_ignore(me: Persona) -> None:
    """Subscribe to everything and read nothing, while others make events."""
    links = [Link(me.where, "unix", me.notes) for _ in range(me.rng.randint(1, 5))]
    for link in links:
        link.send("event_subscribe", {"since": 0})
    me.pause(2.0)
    for link in links:
        link.close()


def crowd(me: Persona) -> None:
    """Ask for more at once than one connection may; those above it are refused at once."""
    link = Link(me.where, me.rng.choice(("unix", "tcp")), me.notes)
    count = 100
    link.write(b"".join(link.prepare("op_wait", me.endless, id=number, deadline=0.5) for number in range(count)))
    codes = [link.final().get("code") for _ in range(count)]
    me.expect(set(codes) == {"busy", "deadline"}, f"more requests than are allowed end as {set(codes)}")
    link.close()


def not_allowed(me: Persona) -> None:
    """Ask for what one may not have."""
    link = Link(me.where, "tcp", me.notes)
    command = me.rng.choice(("shutdown", "session_list", "gather_report"))
    me.expect(link.ask(command).get("code") == "denied", f"{command} is not denied")
    link.close()


def come_and_go(me: Persona) -> None:
    """Connect and hang up, again and again."""
    for _ in range(me.rng.randint(5, 50)):
        dial(me.where, me.rng.choice(_SOCKETS)).close()


def mangled(line: bytes, rng: random.Random) -> bytes:
    """Return a message with a few bytes changed, removed or doubled."""
    data = bytearray(line)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(data))
        what = rng.random()
        if what < 0.5:
            data[place] = rng.randrange(256)
        elif what < 0.75 and len(data) > 1:
            del data[place]
        else:
            data[place:place] = data[place : place + 8]
    return bytes(data)


def _try(sock: socket.socket, data: bytes) -> bool:
    try:
        sock.sendall(data)
    except OSError:
        return False  # it has hung up on us, as it may
    return True


def _taste(sock: socket.socket) -> None:
    sock.settimeout(0.1)
    try:
        while sock.recv(65536):
            continue
    except OSError:
        return  # there is no more, or it has hung up


HOSTILE: Final[Mapping[Callable[[Persona], None], int]] = MappingProxyType(
    {
        vanish: 6,
        half_open: 4,
        drip: 2,
        read_slowly: 3,
        garbage: 8,
        too_long: 1,
        stall_handshake: 2,
        subscribe_and_ignore: 3,
        crowd: 2,
        not_allowed: 1,
        come_and_go: 2,
    }
)
"""Each kind, and how often it comes."""
