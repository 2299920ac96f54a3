"""One peer of a monitor, on a transport of the test's own."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from ctld.dialects.guest_agent.connection import Connection


class Transport(asyncio.Transport):
    """Remembers what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.ended = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def is_closing(self) -> bool:
        return self.aborted

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


class Peer:
    def __init__(self, *, timeout: float = 60, strict: bool = False, max_request: int = 100) -> None:
        self.requests: list[tuple[str, bytes, Callable[[bytes], None]]] = []
        self.connection = Connection(
            lambda *request: self.requests.append(request),
            timeout=timeout,
            strict_errors=strict,
            max_request=max_request,
        )
        self.transport = Transport()
        self.connection.connection_made(self.transport)

    async def leave(self) -> None:
        self.connection.connection_lost(None)
        await self.connection.wait_closed()


@pytest.mark.parametrize("cut", range(1, len(b'{"Command":"x"}')))
async def test_a_request_may_come_in_pieces_and_only_the_first_counts(cut: int) -> None:
    peer = Peer()
    wire = b'{"Command":"x"}'
    peer.connection.data_received(wire[:cut])
    assert peer.requests == []
    peer.connection.data_received(wire[cut:])
    peer.connection.data_received(b'{"Command":"y"}')
    [(command, request, answer)] = peer.requests
    assert (command, request) == ("x", wire)
    answer(b"done")
    assert peer.transport.written == b"done"
    await peer.leave()


async def test_a_request_that_is_too_long_ends_it() -> None:
    peer = Peer(max_request=10)
    peer.connection.data_received(b'{"Command":"' + b"x" * 100)
    assert peer.transport.aborted
    assert peer.requests == []
    await peer.leave()


async def test_a_peer_that_has_asked_nothing_is_not_waited_for() -> None:
    peer = Peer()
    peer.connection.stop()
    assert peer.transport.aborted
    await peer.leave()


async def test_of_a_peer_that_has_gone_no_clock_is_left() -> None:
    peer = Peer()
    await peer.leave()
    assert peer.connection._timer.cancelled()


async def test_no_time_at_all_is_over_at_once() -> None:
    peer = Peer(timeout=0)
    assert peer.transport.aborted
    peer.connection.data_received(b'{"Command":"x"}')
    assert peer.requests == []
    await peer.leave()
