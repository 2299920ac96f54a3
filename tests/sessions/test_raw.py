"""`Hijack` by hand; over real sockets it is in `tests/test_hijack.py`."""

import asyncio
import socket

import pytest

from ctld.errors import LocalProtocolError
from ctld.sessions.raw import Hijack


class Stream:
    def __init__(self):
        self.paused = False
        self.sent = b""
        self.flushed = 0

    def give_to(self, owner):
        self.owner = owner

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def write(self, data):
        self.sent += data

    async def flush(self):
        self.flushed += 1

    def detach(self):
        return socket.socket(), b"unread"


async def test_bytes_wait_for_who_receives_them():
    hijack = Hijack(stream := Stream())
    stream.owner.on_data(b"abc")
    assert await hijack.receive(2) == b"ab"
    assert await hijack.receive() == b"c"
    waiting = asyncio.ensure_future(hijack.receive())
    await asyncio.sleep(0)
    stream.owner.on_data(b"d")
    assert await waiting == b"d"
    stream.owner.on_end()
    assert await hijack.receive() == b""


async def test_too_much_that_waits_pauses_the_client():
    hijack = Hijack(stream := Stream())
    stream.owner.on_data(b"x" * 300_000)
    assert stream.paused
    assert len(await hijack.receive(200_000)) == 200_000
    assert not stream.paused


async def test_sending_waits_for_the_kernel():
    hijack = Hijack(stream := Stream())
    await hijack.send(b"abc")
    assert (stream.sent, stream.flushed) == (b"abc", 1)


async def test_two_cannot_receive_at_once():
    hijack = Hijack(Stream())
    first = asyncio.ensure_future(hijack.receive())
    await asyncio.sleep(0)
    with pytest.raises(LocalProtocolError, match="another task"):
        await hijack.receive()
    first.cancel()
    await asyncio.wait([first])


async def test_what_a_client_that_is_gone_sent_before_is_still_received():
    hijack = Hijack(stream := Stream())
    stream.owner.on_data(b"last")
    stream.owner.on_gone()
    assert await hijack.receive() == b"last"
    assert await hijack.receive() == b""
    stream.owner.on_drained()


async def test_detached_it_is_the_commands_no_more():
    hijack = Hijack(stream := Stream())
    stream.owner.on_data(b"read ")
    sock, rest = hijack.detach()
    sock.close()
    assert rest == b"read unread"
    with pytest.raises(LocalProtocolError):
        hijack.detach()
    with pytest.raises(LocalProtocolError):
        await hijack.send(b"x")
    with pytest.raises(LocalProtocolError):
        await hijack.receive()
    hijack.close()
    assert not stream.paused


async def test_closing_wakes_who_receives():
    hijack = Hijack(Stream())
    waiting = asyncio.ensure_future(hijack.receive())
    await asyncio.sleep(0)
    hijack.close()
    with pytest.raises(LocalProtocolError):
        await waiting
