"""A clock that keeps nothing alive."""

import asyncio
import gc
import socket
import weakref

import pytest

from ctld.dialects.deadline import call_later, end_connection, end_input


class Thing:
    def __init__(self):
        self.called = asyncio.Event()

    def method(self):
        self.called.set()


async def test_the_method_is_called():
    thing = Thing()
    call_later(0.001, thing.method)
    await thing.called.wait()


async def test_what_is_gone_is_not_kept():
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    thing = Thing()
    reference = weakref.ref(thing)
    call_later(0.001, thing.method)
    del thing
    gc.collect()
    assert reference() is None
    await asyncio.sleep(0.01)  # a timer that is later: the other one has found nobody
    assert reported == []


def test_the_input_of_a_socket_ends():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        end_input(ours)
        assert ours.recv(1) == b""
    end_input(ours)


def test_both_directions_of_a_socket_end():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"never read")
        end_connection(ours)
        assert theirs.recv(1) == b""
        with pytest.raises(BrokenPipeError):
            ours.send(b"x")
    end_connection(ours)
