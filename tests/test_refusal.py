import asyncio
import contextlib
import socket

import pytest

from ctld import refusal
from ctld.refusal import Refusals, refuse_at_once

BUSY = b'{"status":false,"message":"too many connections","code":"busy"}\n'


def connected(transport):
    if transport == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as server:
            theirs = socket.create_connection(server.getsockname())
            ours, _ = server.accept()
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


@pytest.fixture(params=["unix", "tcp"])
def pair(request):
    ours, theirs = connected(request.param)
    with theirs:
        yield ours, theirs  # whoever refuses owns our end


@pytest.fixture
async def refusals(monkeypatch):
    monkeypatch.setattr(refusal, "_LINGER", 3600)  # so that no test passes by waiting
    made = Refusals(asyncio.get_running_loop())
    yield made
    made.close_all()


async def received(sock):
    loop, data = asyncio.get_running_loop(), b""
    while chunk := await asyncio.wait_for(loop.sock_recv(sock, 1000), 10):
        data += chunk
    return data


async def gone(sock):
    """Wait until the other side has closed altogether."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async with asyncio.timeout(10):
            while True:
                await loop.sock_sendall(sock, b"x" * 1000)


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def test_the_client_reads_why_and_then_the_end(refusals, pair):
    refusals.refuse(pair[0], BUSY)
    assert await received(pair[1]) == BUSY
    assert len(refusals) == 1
    pair[1].close()
    await until(lambda: len(refusals) == 0)
    assert pair[0].fileno() == -1


async def test_also_a_client_who_has_sent_a_lot_first(refusals, pair):
    loop = asyncio.get_running_loop()
    pair[1].send(b"request " * 5000)
    refusals.refuse(pair[0], BUSY)
    await asyncio.wait_for(loop.sock_sendall(pair[1], b"more " * 400_000), 10)
    assert await received(pair[1]) == BUSY


async def test_a_client_who_never_hangs_up_is_left_after_a_while(refusals, pair, monkeypatch):
    monkeypatch.setattr(refusal, "_LINGER", 0.05)
    refusals.refuse(pair[0], BUSY)
    await gone(pair[1])
    assert len(refusals) == 0


async def test_a_client_who_is_gone_already(refusals, pair):
    pair[1].close()
    refusals.refuse(pair[0], BUSY)
    await until(lambda: pair[0].fileno() == -1)
    assert len(refusals) == 0


async def test_a_client_who_resets(refusals):
    ours, theirs = connected("unix")
    refusals.refuse(ours, BUSY)
    theirs.close()  # with the message unread: a reset
    await until(lambda: ours.fileno() == -1)
    assert len(refusals) == 0


async def test_few_linger_and_the_rest_hear_it_too(refusals, monkeypatch):
    monkeypatch.setattr(refusal, "_MAX_LINGERING", 3)
    pairs = [connected("unix") for _ in range(5)]
    for ours, theirs in pairs:
        theirs.send(b"request\n")
        refusals.refuse(ours, BUSY)
    assert len(refusals) == 3
    assert [ours.fileno() == -1 for ours, _ in pairs] == [False] * 3 + [True] * 2
    for _, theirs in pairs:
        assert await received(theirs) == BUSY
        theirs.close()
    await until(lambda: len(refusals) == 0)


async def test_nothing_is_left_at_shutdown(refusals):
    pairs = [connected("unix") for _ in range(3)]
    for ours, _ in pairs:
        refusals.refuse(ours, BUSY)
    refusals.close_all()
    refusals.close_all()
    assert len(refusals) == 0
    for ours, theirs in pairs:
        assert ours.fileno() == -1
        theirs.close()


async def test_nobody_has_to_be_told_anything(refusals, pair):
    refusals.refuse(pair[0], b"")
    assert await received(pair[1]) == b""


def test_at_once_means_without_waiting(pair):
    pair[1].send(b"request\n")
    refuse_at_once(pair[0], BUSY)
    assert pair[0].fileno() == -1
    pair[1].setblocking(True)
    assert pair[1].recv(1000) == BUSY


def test_at_once_does_not_read_for_ever(pair, monkeypatch):
    monkeypatch.setattr(refusal, "_CHUNK", 10)
    pair[1].send(b"x" * 1000)
    refuse_at_once(pair[0], BUSY)
    assert pair[0].fileno() == -1


def test_at_once_with_a_client_who_is_gone(pair):
    pair[1].close()
    refuse_at_once(pair[0], BUSY)
    assert pair[0].fileno() == -1
