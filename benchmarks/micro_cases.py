"""What the micro benchmarks run: the parts of a request's way, each by itself, without a socket.

A case is made ready once, run so many times to become warm, and then as many times again,
which counts.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import msgspec

import ctld
from benchmarks.wires import TEXT, json_line
from ctlctl.table import table
from ctld.client.wire import LineReader, classify, decode_line, encode_request
from ctld.commands.options import OptionSet
from ctld.events import EventBus
from ctld.history import History
from ctld.history_entry import Entry
from ctld.peer import Peer
from ctld.testing import context, serving
from ctld.wire.codec import NEED_DATA
from ctld.wire.messages import Reply
from ctld.wire.native import NativeCodec

if TYPE_CHECKING:
    from ctld.commands.dispatch import Dispatcher
    from ctld.connection import Connection
    from ctld.conversation import Conversation

__all__ = ["BATCH", "CASES", "Case", "Run"]

BATCH = 64

PING = json_line("ping")
ECHO = json_line("echo", {"text": TEXT})

Run = Callable[[int], Coroutine[Any, Any, None]]
"""Does the thing so many times."""


@dataclass(frozen=True, slots=True)
class Case:
    """One micro benchmark.

    Attributes:
        ready: Makes it ready; what it gives is measured.
        times: How many times one measurement runs it: enough that a percent shows.
        each: How many requests one time is.
    """

    ready: Callable[[], Any]  # an asynchronous context manager that gives a Run
    times: int = 600
    each: int = 1


def repeat(action: Callable[[], object]) -> Run:
    """Make a run of something that does not wait."""

    async def run(times: int) -> None:
        for _ in range(times):
            action()

    return run


# The native codec.


def _decoding(data: bytes) -> Callable[[], Any]:
    """Decode requests as a connection does: all that have arrived at once."""

    @asynccontextmanager
    async def ready() -> AsyncIterator[Run]:
        codec = NativeCodec()

        def decode() -> None:
            if codec.receive_requests(data) is None:  # a batch that is too large, or not whole
                while codec.hand_out(len):
                    pass

        yield repeat(decode)

    return ready


@asynccontextmanager
async def decoding_by_line() -> AsyncIterator[Run]:
    """Decode a line that may be anything, such as a wish to cancel."""
    codec = NativeCodec()

    def decode() -> None:
        codec.receive_data(b'{"cancel":4711}\n')
        while codec.next_event() is not NEED_DATA:
            pass

    yield repeat(decode)


@asynccontextmanager
async def encoding() -> AsyncIterator[Run]:
    """Encode the reply of an echo, and take the bytes."""
    codec = NativeCodec()
    reply = Reply(TEXT)

    def encode() -> None:
        codec.send(reply)
        codec.data_to_send()

    yield repeat(encode)


# The whole way, with a transport that only counts.


class _Transport(asyncio.Transport):
    """Counts what is written, and drops it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.lines += bytes(data).count(b"\n")

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read."""

    def resume_reading(self) -> None:
        """Nothing is read."""


class _Probe(ctld.ClientHandler):
    """An ordinary handler, that can be found."""

    latest: "_Probe"

    def __init__(self, site: Any, sock: Any, peer: Peer) -> None:
        super().__init__(site, sock, peer)
        self.dispatcher: Dispatcher = site.dispatcher
        self.conversation: Conversation | None = None
        _Probe.latest = self

    def attach(self, conversation: Any) -> None:
        super().attach(conversation)
        self.conversation = conversation


class _BareProbe(_Probe):
    """Answers by itself, without the dispatcher."""

    async def on_connect(self) -> None:
        """Bypassing the dispatcher takes the role admin."""
        self.peer = Peer("benchmark", "admin")

    async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
        return ctld.Reply("pong")


def _commands() -> ctld.CommandRegistry[None]:
    commands = ctld.CommandRegistry[None]()

    @commands.command("echo", role="observe")
    async def echo(ctx: ctld.Context, text: str) -> str:
        return text

    @commands.command("record", role="operate")
    async def record(ctx: ctld.Context, text: str) -> str:
        return text

    return commands


def _answering(data: bytes, handler: type[_Probe], requests: int = 1) -> Callable[[], Any]:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Run]:
        async with serving(_commands(), handler=handler) as client:
            await client.call("ping")
            conversation = handler.latest.conversation
            assert conversation is not None
            connection: Connection = conversation.connection
            real, counting = connection.transport, _Transport()
            connection.connection_made(counting)

            async def run(times: int) -> None:
                expected = counting.lines
                for _ in range(times):
                    expected += requests
                    connection.data_received(data)
                    while counting.lines < expected:  # noqa: ASYNC110 - a turn of the loop is part of what is measured
                        await asyncio.sleep(0)

            yield run
            connection.connection_made(real)

    return ready


# The dispatcher.


def _dispatching(name: str, options: Mapping[str, object]) -> Callable[[], Any]:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Run]:
        async with serving(_commands(), handler=_Probe) as client:
            await client.call("ping")
            dispatcher = _Probe.latest.dispatcher
            peer = _Probe.latest.peer
            raw = msgspec.Raw(msgspec.json.encode(options))
            history: History = cast("Any", _Probe.latest.server).history

            async def run(times: int) -> None:
                for _ in range(times):
                    reply = await dispatcher.run(peer, name, raw)
                    assert type(reply) is Reply
                await history.flush()

            yield run

    return ready


@asynccontextmanager
async def options() -> AsyncIterator[Run]:
    """Decode and check typed options, and call the function with them."""
    command = _dummy_command()
    wanted = command.options
    assert isinstance(wanted, OptionSet)
    raw = msgspec.Raw(b'{"name":"ct1","memory":4096,"tags":["a","b"],"paused":true}')

    def decode() -> None:
        wanted.decode(raw).call(_three, None)

    yield repeat(decode)


def _three(ctx: object, name: str, memory: int, tags: list[str], paused: bool = False) -> None:
    """Stand for the command."""


def _dummy_command() -> Any:
    commands = ctld.CommandRegistry[None]()

    @commands.command("create", role="operate")
    async def create(ctx: ctld.Context, name: str, memory: int, tags: list[str], paused: bool = False) -> None:
        pass

    return next(iter(commands))


# Locks, events, history.


class _Container(ctld.Lockable):
    def lock_resource(self) -> tuple[str, str]:
        return "container", "tank:ct1"


@asynccontextmanager
async def locking() -> AsyncIterator[Run]:
    """Take a state lock that is free, and release it."""
    context()  # makes a registry current
    container = _Container()

    async def run(times: int) -> None:
        for _ in range(times):
            async with container.exclusively():
                pass

    yield run


def _publishing(subscribers: int) -> Callable[[], Any]:
    @asynccontextmanager
    async def ready() -> AsyncIterator[Run]:
        bus = EventBus()
        with ExitStack() as stack:
            listening = [stack.enter_context(bus.subscribe("tick")) for _ in range(subscribers)]

            async def run(times: int) -> None:
                for number in range(times):
                    bus.publish("tick", number=number)
                    for subscription in listening:
                        await anext(subscription)

            yield run

    return ready


@asynccontextmanager
async def noting() -> AsyncIterator[Run]:
    """Make an entry of the audit log, and hand it over; the writing itself is a thread's."""
    with TemporaryDirectory() as folder:
        async with History(Path(folder) / "history.db") as history:

            async def run(times: int) -> None:
                for _ in range(times):
                    history.record(_entry())
                await history.flush()

            yield run


def _entry() -> Entry:
    return Entry(
        time=time.time(),
        duration=0.001,
        command="vm_start",
        options='{"name":"ct1"}',
        outcome="done",
        peer="root",
        uid=0,
        gid=0,
        pid=4711,
        loginuid=0,
        executable="/usr/bin/ctlctl",
        connection="17",
        dialect="native",
        operation="a1b2c3-17",
    )


# The client's side.


@asynccontextmanager
async def client_codec() -> AsyncIterator[Run]:
    """Make a request, and understand its answer."""
    reader = LineReader()
    answer = b'{"status":true,"response":"' + TEXT.encode() + b'"}\n'

    def ask() -> None:
        encode_request("echo", {"text": TEXT})
        reader.feed(answer)
        line = reader.next_line()
        assert line is not None
        assert classify(decode_line(line)) == "response"

    yield repeat(ask)


@asynccontextmanager
async def rendering() -> AsyncIterator[Run]:
    """Lay out a table of twenty rows."""
    rows = [
        {"id": f"s{number}", "cmd": "login", "owner": "root", "pid": 4000 + number, "state": "attached", "age": number}
        for number in range(20)
    ]
    yield repeat(lambda: table(rows, width=100))


CASES: dict[str, Case] = {
    "codec: decode ping": Case(_decoding(PING)),
    "codec: decode echo": Case(_decoding(ECHO)),
    f"codec: decode echo, {BATCH} at once, each": Case(_decoding(ECHO * BATCH), 24, BATCH),
    "codec: decode a cancel": Case(decoding_by_line),
    "codec: encode a reply": Case(encoding),
    "options: decode and call": Case(options),
    "dispatcher: ping": Case(_dispatching("ping", {})),
    "dispatcher: echo": Case(_dispatching("echo", {"text": TEXT})),
    "dispatcher: operating command": Case(_dispatching("record", {"text": TEXT}), 300),
    "request: ping, bare handler": Case(_answering(PING, _BareProbe)),
    "request: ping": Case(_answering(PING, _Probe)),
    "request: echo": Case(_answering(ECHO, _Probe)),
    f"request: echo, {BATCH} at once, each": Case(_answering(ECHO * BATCH, _Probe, BATCH), 24, BATCH),
    "lock: take and release": Case(locking),
    "event: publish, nobody listens": Case(_publishing(0)),
    "event: publish to 10": Case(_publishing(10), 150),
    "history: note an entry": Case(noting),
    "client: ask and understand": Case(client_codec),
    "ctlctl: a table of 20 rows": Case(rendering, 12),
}


def ready_of(case: Case) -> Any:
    """Make a case ready: an asynchronous context manager that gives its run."""
    return cast("Any", case.ready())
