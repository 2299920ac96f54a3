import asyncio
import os
import socket
import struct

import pytest

from ctld import hangup
from ctld.hangup import HangupWatch


@pytest.fixture
async def watch():
    made = HangupWatch(asyncio.get_running_loop())
    yield made
    made.close()


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


@pytest.fixture
def tcp():
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
        with ours, theirs:
            yield ours, theirs


async def fired(watch, sock):
    """Watch a socket; return an event that says when its peer is gone."""
    event = asyncio.Event()
    watch.watch(sock.fileno(), event.set)
    return event


async def settled(watch):
    """Wait until everything that has happened so far has been seen: a canary's hang-up comes after it."""
    canary, other = socket.socketpair()
    with canary:
        event = await fired(watch, canary)
        other.close()
        await asyncio.wait_for(event.wait(), 10)
    assert canary.fileno() == -1


class TestUnix:
    async def test_a_peer_that_closes_is_noticed(self, watch, pair):
        event = await fired(watch, pair[0])
        await settled(watch)
        assert not event.is_set()
        pair[1].close()
        await asyncio.wait_for(event.wait(), 10)
        assert len(watch) == 0

    async def test_with_data_in_the_socket_that_nobody_reads(self, watch, pair):
        event = await fired(watch, pair[0])
        pair[1].sendall(b"x" * 50_000)
        await settled(watch)
        assert not event.is_set()
        pair[1].sendall(b"x" * 50_000)
        pair[1].close()
        await asyncio.wait_for(event.wait(), 10)

    async def test_with_an_answer_that_the_peer_did_not_read(self, watch, pair):
        event = await fired(watch, pair[0])
        pair[0].sendall(b"answer")
        pair[1].close()
        await asyncio.wait_for(event.wait(), 10)

    async def test_a_half_close_is_none(self, watch, pair):
        event = await fired(watch, pair[0])
        pair[1].sendall(b"last request")
        pair[1].shutdown(socket.SHUT_WR)
        await settled(watch)
        assert not event.is_set()
        pair[1].close()
        await asyncio.wait_for(event.wait(), 10)

    async def test_a_peer_that_is_gone_already_is_noticed(self, watch, pair):
        pair[1].close()
        event = await fired(watch, pair[0])
        assert not event.is_set(), "never from within watch()"
        await asyncio.wait_for(event.wait(), 10)

    async def test_a_half_close_that_we_answer_is_one(self, watch, pair):
        event = await fired(watch, pair[0])
        pair[1].shutdown(socket.SHUT_WR)
        await settled(watch)
        assert not event.is_set()
        pair[0].shutdown(socket.SHUT_WR)
        await asyncio.wait_for(event.wait(), 10)

    async def test_data_wakes_nobody(self, watch, pair):
        await fired(watch, pair[0])
        await settled(watch)
        calls = []
        watch._epoll, epoll = Counting(watch._epoll, calls), watch._epoll
        for _ in range(20):
            pair[1].send(b"x")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        watch._epoll = epoll
        assert len(calls) <= 1


class Counting:
    def __init__(self, epoll, calls):
        self._epoll, self._calls = epoll, calls

    def poll(self, *args):
        self._calls.append(args)
        return self._epoll.poll(*args)


class TestTcp:
    async def test_fin_is_not_told_from_a_half_close(self, watch, tcp):
        event = await fired(watch, tcp[0])
        tcp[1].close()
        await settled(watch)
        assert not event.is_set()

    async def test_the_next_message_provokes_a_reset(self, watch, tcp):
        event = await fired(watch, tcp[0])
        tcp[1].close()
        tcp[0].send(b"anybody there?")
        await asyncio.wait_for(event.wait(), 10)

    async def test_a_reset_is_noticed(self, watch, tcp):
        event = await fired(watch, tcp[0])
        tcp[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        tcp[1].close()
        await asyncio.wait_for(event.wait(), 10)


class TestBookkeeping:
    async def test_what_is_not_watched_any_more_is_not_reported(self, watch, pair):
        event = await fired(watch, pair[0])
        watch.unwatch(pair[0].fileno())
        watch.unwatch(pair[0].fileno())
        pair[1].close()
        await settled(watch)
        assert not event.is_set()

    async def test_the_newest_callback_counts(self, watch, pair):
        old = await fired(watch, pair[0])
        new = await fired(watch, pair[0])
        pair[1].close()
        await asyncio.wait_for(new.wait(), 10)
        assert not old.is_set()

    async def test_a_callback_comes_once(self, watch, pair):
        calls = []
        watch.watch(pair[0].fileno(), lambda: calls.append(1))
        pair[1].close()
        await settled(watch)
        await settled(watch)
        assert calls == [1]

    async def test_one_callback_may_unwatch_another(self, watch):
        pairs = [socket.socketpair() for _ in range(2)]
        calls = []

        def gone(me, other):
            calls.append(me)
            watch.unwatch(pairs[other][0].fileno())

        for me, other in ((0, 1), (1, 0)):
            watch.watch(pairs[me][0].fileno(), lambda me=me, other=other: gone(me, other))
        for _, theirs in pairs:
            theirs.close()
        await settled(watch)
        assert len(calls) == 1
        for ours, _ in pairs:
            ours.close()

    async def test_a_callback_that_fails_does_not_hide_the_others(self, watch):
        seen, reported = [], []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        pairs = [socket.socketpair() for _ in range(5)]

        def gone(number):
            seen.append(number)
            raise RuntimeError(number)

        for number, (ours, _) in enumerate(pairs):
            watch.watch(ours.fileno(), lambda number=number: gone(number))
        for _, theirs in pairs:
            theirs.close()
        await settled(watch)
        assert sorted(seen) == [0, 1, 2, 3, 4]
        assert len(reported) == 5
        for ours, _ in pairs:
            ours.close()

    async def test_a_callback_may_close_the_watch(self, watch):
        pairs = [socket.socketpair() for _ in range(3)]
        done = asyncio.Event()

        def gone():
            assert not done.is_set()
            watch.close()
            done.set()

        for ours, _ in pairs:
            watch.watch(ours.fileno(), gone)
        for _, theirs in pairs:
            theirs.close()
        await asyncio.wait_for(done.wait(), 10)
        assert len(watch) == 0
        for ours, _ in pairs:
            ours.close()

    async def test_it_works_again_after_close(self, watch, pair):
        await fired(watch, pair[0])
        watch.close()
        watch.close()
        event = await fired(watch, pair[0])
        pair[1].close()
        await asyncio.wait_for(event.wait(), 10)

    async def test_a_descriptor_that_was_closed_first_is_forgiven(self, watch, pair):
        await fired(watch, pair[0])
        fd = pair[0].fileno()
        pair[0].close()
        watch.unwatch(fd)
        assert len(watch) == 0

    async def test_a_copy_that_lives_on_after_that_is_ignored(self, watch):
        ours, theirs = socket.socketpair()
        event = await fired(watch, ours)
        fd, copy = ours.fileno(), os.dup(ours.fileno())  # the kernel goes on watching what the copy refers to
        with open(os.devnull) as null:
            ours.detach()
            os.dup2(null.fileno(), fd)  # closes the socket, but the canary does not get its number
        watch.unwatch(fd)
        theirs.close()
        await settled(watch)
        assert not event.is_set()
        os.close(copy)
        os.close(fd)

    async def test_a_number_that_comes_back_is_a_new_socket(self, watch):
        ours, theirs = socket.socketpair()
        old = await fired(watch, ours)
        fd, copy = ours.fileno(), os.dup(ours.fileno())
        watch.unwatch(fd)
        again, other = socket.socketpair()
        os.dup2(again.fileno(), fd)
        new = await fired(watch, ours)
        theirs.close()
        await settled(watch)
        assert not old.is_set()
        assert not new.is_set()
        other.close()
        await asyncio.wait_for(new.wait(), 10)
        for sock in (again, ours):
            sock.close()
        os.close(copy)

    async def test_a_crowd_is_handled_in_turns(self, watch, monkeypatch):
        monkeypatch.setattr(hangup, "_BATCH", 2)
        pairs = [socket.socketpair() for _ in range(7)]
        events = [await fired(watch, ours) for ours, _ in pairs]
        for _, theirs in pairs:
            theirs.close()
        await asyncio.wait_for(asyncio.gather(*(event.wait() for event in events)), 10)
        for ours, _ in pairs:
            ours.close()

    async def test_what_cannot_be_watched_is_an_error(self, watch, tmp_path):
        with open(tmp_path / "file", "w") as file, pytest.raises(PermissionError):
            watch.watch(file.fileno(), print)
        assert len(watch) == 0

    async def test_it_costs_nothing_until_it_is_used(self):
        before = os.listdir("/proc/self/fd")
        made = HangupWatch(asyncio.get_running_loop())
        assert len(os.listdir("/proc/self/fd")) == len(before)
        made.close()
