"""The transport side of one client, on a transport of the test's own."""

import asyncio
import os
import socket
from collections.abc import Iterator
from itertools import takewhile
from typing import Any

import pytest

from ctld.budget import UNIT, InputBudget
from ctld.connection import Connection
from ctld.errors import LocalProtocolError, RemoteProtocolError
from ctld.hangup import HangupWatch
from ctld.limits import Limits
from ctld.outbox import Outbox
from ctld.wire.messages import Invalid, Item, Reply, Request
from ctld.wire.native import NativeCodec
from tests.native import until

DEFAULT = Limits()


class Transport(asyncio.Transport):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.reading = True
        self.waiting = 0
        self.ended = False
        self.closed = False
        self.aborted = False
        self.protocol: Any = None

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        if not self.aborted and not self.closed:
            self.aborted = self.closed = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)


def served(connection: Connection, size: int) -> None:
    """Count bytes as served, like an exchange does."""
    connection.queued -= size
    if connection.charged:
        connection.regulate()


class Receiver:
    """Takes events, and counts what it takes like a conversation does."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.told: list[Any] = []
        self.hold_at = ""
        connection.attach(self)

    def on_event(self, event: Any) -> None:
        self.told.append(event)
        if isinstance(event, Request):
            self.connection.queued += self.connection.codec.event_size
            if event.cmd == self.hold_at:
                self.connection.hold()

    def on_requests(self, requests: list[Request]) -> int:
        taken = list(takewhile(lambda event: event.cmd != self.hold_at, requests))
        self.told += taken
        self.connection.queued += self.connection.codec.event_size * len(taken)
        return len(taken)

    def on_end_of_input(self) -> None:
        self.told.append("end")

    def on_protocol_error(self, error: RemoteProtocolError) -> None:
        self.told.append(error)

    def on_vanished(self) -> None:
        self.told.append("vanished")

    def on_drained(self) -> None:
        self.told.append("drained")


class Setup:
    def __init__(
        self, limits: Limits, budget: InputBudget | None = None, kind: str = "unix", codec: Any = None
    ) -> None:
        self.socket, self.peer = socket.socketpair()
        self.watch = HangupWatch(asyncio.get_running_loop())
        self.budget = budget or InputBudget(limits.max_queued)
        self.outbox = Outbox(asyncio.get_running_loop())
        self.connection = Connection(
            self.socket, kind, codec or NativeCodec(limits.max_line), limits, self.budget, self.watch, self.outbox
        )
        self.receiver = Receiver(self.connection)
        self.transport = Transport()
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def close(self) -> None:
        self.watch.close()
        self.socket.close()
        self.peer.close()


@pytest.fixture
def setups() -> Iterator[Any]:
    made: list[Setup] = []

    def make(limits: Limits = DEFAULT, **options: Any) -> Setup:
        made.append(Setup(limits, **options))
        return made[-1]

    yield make
    for setup in made:
        setup.close()


def lines(n: int, size: int = 0) -> bytes:
    return (b'{"cmd":"x","opts":{"a":"%s"}}\n' % (b"y" * size)) * n


async def test_everything_sent_in_one_turn_leaves_in_one_write(setups: Any) -> None:
    setup = setups()
    for i in range(5):
        setup.connection.send(Item(i))
    assert setup.transport.written == []
    await asyncio.sleep(0)
    assert len(setup.transport.written) == 1
    assert setup.transport.written[0].count(b"\n") == 5
    await asyncio.sleep(0)
    assert len(setup.transport.written) == 1


async def test_the_last_message_of_a_turn_is_written_at_once(setups: Any) -> None:
    setup = setups()
    setup.connection.send(Reply(1), more=False)
    assert len(setup.transport.written) == 1


async def test_much_output_does_not_pile_up_within_a_turn(setups: Any) -> None:
    setup = setups()
    for _ in range(100):
        setup.connection.send(Reply("x" * 10_000))
    assert sum(map(len, setup.transport.written)) > 900_000


async def test_sending_to_a_gone_peer_does_nothing(setups: Any) -> None:
    setup = setups()
    setup.connection.connection_lost(None)
    setup.connection.send(Reply(1), more=False)
    setup.connection.abort()
    assert setup.transport.written == []
    assert setup.receiver.told == ["vanished"]


async def test_what_cannot_be_encoded_leaves_nothing_behind(setups: Any) -> None:
    setup = setups()
    with pytest.raises(LocalProtocolError):
        setup.connection.send(Reply(object()))
    setup.connection.send(Reply(1), more=False)
    assert setup.transport.written == [b'{"status":true,"response":1}\n']


async def test_drained_waits_while_the_peer_reads_too_slowly(setups: Any) -> None:
    setup = setups()
    assert setup.transport.high == Limits().high_water
    setup.connection.pause_writing()
    waiters = [asyncio.get_running_loop().create_task(setup.connection.drained()) for _ in range(3)]
    await asyncio.sleep(0)
    assert not any(waiter.done() for waiter in waiters)
    waiters[0].cancel()
    await asyncio.sleep(0)
    setup.connection.resume_writing()
    await asyncio.gather(*waiters[1:])
    assert setup.receiver.told == ["drained"]


async def test_drained_ends_when_the_peer_is_gone(setups: Any) -> None:
    setup = setups()
    setup.connection.pause_writing()
    waiter = asyncio.get_running_loop().create_task(setup.connection.drained())
    await asyncio.sleep(0)
    assert not waiter.done()
    setup.connection.connection_lost(ConnectionResetError())
    await waiter
    assert setup.connection.gone


async def test_reading_pauses_over_the_bound_and_goes_on_below_it(setups: Any) -> None:
    setup = setups(Limits(max_queued_per_connection=300_000, max_line=300_000))
    setup.connection.data_received(lines(10, 40_000))
    assert not setup.transport.reading
    assert setup.budget.used >= 4 * UNIT
    while not setup.transport.reading:
        served(setup.connection, 40_000)
    assert setup.connection.queued < 300_000
    setup.connection.connection_lost(None)
    assert setup.budget.used == 0


async def test_an_unfinished_line_counts_too(setups: Any) -> None:
    setup = setups(Limits(max_queued_per_connection=100_000, max_line=100_000))
    setup.connection.data_received(lines(2, 40_000) + b"x" * 30_000)
    assert not setup.transport.reading
    served(setup.connection, 40_000)
    assert setup.transport.reading  # else the line would never be finished
    setup.connection.connection_lost(None)


async def test_the_server_s_budget_holds_up_those_who_use_it(setups: Any) -> None:
    budget = InputBudget(4 * UNIT)
    greedy, second, modest = (setups(budget=budget) for _ in range(3))
    greedy.connection.data_received(lines(10, 40_000))
    second.connection.data_received(lines(4, 40_000))
    modest.connection.data_received(lines(10))
    assert budget.exhausted
    assert not second.transport.reading
    assert modest.transport.reading
    served(greedy.connection, greedy.connection.queued)
    assert second.transport.reading
    for setup in (greedy, second, modest):
        setup.connection.connection_lost(None)
    assert budget.used == 0


async def test_a_peer_that_leaves_while_it_waits_for_the_budget_is_forgotten(setups: Any) -> None:
    budget = InputBudget(UNIT)
    first, second = setups(budget=budget), setups(budget=budget)
    first.connection.data_received(lines(4, 40_000))
    second.connection.data_received(lines(4, 40_000))
    second.connection.connection_lost(None)
    first.connection.connection_lost(None)
    assert budget.used == 0
    assert second.receiver.told.count("vanished") == 1


async def test_hold_leaves_what_follows_to_a_new_owner(setups: Any) -> None:
    setup = setups()
    setup.receiver.hold_at = "console"
    rest = b'{"cmd":"looks like a request"}\nand more'
    setup.connection.data_received(b'{"cmd":"ping"}\n{"cmd":"console"}\n' + rest)
    assert [event.cmd for event in setup.receiver.told] == ["ping", "console"]
    assert not setup.transport.reading
    assert setup.connection.codec.trailing_data() == rest


async def test_resume_goes_on_with_what_was_held(setups: Any) -> None:
    setup = setups()
    setup.receiver.hold_at = "console"
    setup.connection.data_received(b'{"cmd":"console"}\n{"cmd":"ping"}\n')
    setup.connection.resume()
    assert [event.cmd for event in setup.receiver.told] == ["console", "ping"]
    assert setup.transport.reading


async def test_end_of_input_is_told_after_the_last_line(setups: Any) -> None:
    setup = setups()
    setup.connection.data_received(b'{"cmd":"ping"}')
    assert setup.connection.eof_received() is True
    assert [getattr(event, "cmd", event) for event in setup.receiver.told] == ["ping", "end"]


async def test_over_tls_end_of_input_is_the_end(setups: Any) -> None:
    setup = setups(kind="tls")
    assert setup.connection.eof_received() is False


async def test_after_end_of_input_a_hang_up_is_noticed_while_a_request_is_served(setups: Any) -> None:
    setup = setups()
    setup.connection.data_received(b'{"cmd":"ping"}\n')
    setup.connection.eof_received()
    await asyncio.sleep(0)
    assert "vanished" not in setup.receiver.told
    setup.peer.close()
    await until(lambda: setup.connection.lost)
    assert setup.receiver.told[1:] == ["end", "vanished"]
    assert setup.transport.aborted


async def test_with_nothing_to_serve_nobody_watches_for_the_end_after_the_end(setups: Any) -> None:
    setup = setups()
    setup.connection.eof_received()
    assert setup.receiver.told == ["end"]
    assert not setup.connection._watching


async def test_a_hang_up_while_paused_keeps_what_is_still_to_be_read(setups: Any) -> None:
    setup = setups(Limits(max_queued_per_connection=100_000, max_line=100_000))
    setup.connection.data_received(lines(5, 40_000))
    assert not setup.transport.reading
    setup.peer.close()
    await until(lambda: setup.connection.gone)
    assert not setup.connection.lost
    assert not setup.transport.aborted
    served(setup.connection, setup.connection.queued)
    assert setup.transport.reading
    setup.connection.connection_lost(None)
    assert setup.receiver.told.count("vanished") == 1


async def test_a_peer_that_had_hung_up_is_at_its_end_once_the_transport_is_gone(setups: Any) -> None:
    setup = setups(Limits(max_queued_per_connection=100_000, max_line=100_000))
    setup.connection.data_received(lines(5, 40_000))
    setup.peer.close()
    await until(lambda: setup.connection.gone)
    assert "end" not in setup.receiver.told
    setup.connection.connection_lost(ConnectionResetError())
    assert setup.receiver.told.count("end") == 1
    assert setup.receiver.told.count("vanished") == 1


async def test_finish_half_closes_and_reads_on_until_the_peer_hangs_up(setups: Any) -> None:
    setup = setups()
    setup.connection.send(Reply("last"))
    finishing = asyncio.get_running_loop().create_task(setup.connection.finish(60))
    await asyncio.sleep(0)
    assert setup.transport.ended
    assert setup.transport.written[-1].endswith(b'"last"}\n')
    setup.connection.data_received(b"more and more")
    assert setup.connection.eof_received() is False
    setup.connection.connection_lost(None)
    await finishing
    assert setup.receiver.told == ["vanished"]


async def test_finish_is_bounded(setups: Any) -> None:
    setup = setups()
    await setup.connection.finish(0.01)
    assert setup.transport.aborted


async def test_finish_without_linger_closes_at_once(setups: Any) -> None:
    setup = setups()
    await setup.connection.finish(0)
    assert setup.transport.closed
    assert not setup.transport.ended
    await setup.connection.finish(0)


async def test_finish_that_is_cancelled_aborts(setups: Any) -> None:
    setup = setups()
    finishing = asyncio.get_running_loop().create_task(setup.connection.finish(3600))
    await asyncio.sleep(0)
    finishing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert setup.transport.aborted
    await asyncio.sleep(0)


async def test_finish_before_there_is_a_transport_does_nothing() -> None:
    ours, theirs = socket.socketpair()
    loop = asyncio.get_running_loop()
    connection = Connection(ours, "unix", NativeCodec(), Limits(), InputBudget(1), HangupWatch(loop), Outbox(loop))
    await connection.finish(1)
    connection.abort()
    assert connection.unread_output == 0
    assert connection.transport_info("peername") is None
    ours.close()
    theirs.close()


async def test_a_broken_wire_is_told_once_and_nothing_more_is_understood(setups: Any) -> None:
    class Breaking(NativeCodec):
        def next_event(self) -> Any:
            raise RemoteProtocolError("that is no packet")

    setup = setups(codec=Breaking())
    setup.connection.data_received(b"x")
    setup.connection.data_received(b"y")
    [error] = setup.receiver.told
    assert str(error) == "that is no packet"


async def test_bad_lines_are_events(setups: Any) -> None:
    setup = setups()
    setup.connection.data_received(b"nonsense\n")
    [event] = setup.receiver.told
    assert isinstance(event, Invalid)


async def test_descriptors_of_these_tests_are_real(setups: Any) -> None:
    assert os.fstat(setups().connection.sock.fileno())


async def test_one_read_of_many_lines_is_understood_in_several_turns(setups: Any) -> None:
    setup = setups()
    setup.connection.data_received(b"x\n" * 5000)
    assert len(setup.receiver.told) == 1024
    assert setup.connection.backlog
    assert not setup.transport.reading
    turns = 0
    while setup.connection.backlog:
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 4
    assert len(setup.receiver.told) == 5000
    assert setup.transport.reading


async def test_a_peer_that_leaves_during_that_is_understood_to_its_end(setups: Any) -> None:
    setup = setups()
    setup.connection.data_received(b"x\n" * 3000 + b'{"cmd":"last"}')
    setup.connection.eof_received()
    setup.connection.connection_lost(None)
    await until(lambda: not setup.connection.backlog)
    told = [event for event in setup.receiver.told if isinstance(event, Invalid | Request)]
    assert len(told) == 3001
    assert setup.receiver.told[-1] == "end"


async def test_hold_strikes_in_the_midst_of_many_lines(setups: Any) -> None:
    setup = setups()
    setup.receiver.hold_at = "console"
    rest = b"raw bytes\n" * 3000
    setup.connection.data_received(b'{"cmd":"ping"}\n' * 2000 + b'{"cmd":"console"}\n' + rest)
    await until(lambda: not setup.connection.backlog)
    assert [event.cmd for event in setup.receiver.told].count("console") == 1
    assert setup.connection.codec.trailing_data() == rest
