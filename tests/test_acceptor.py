import asyncio
import errno
import itertools
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from ctld import acceptor
from ctld.acceptor import Acceptor
from ctld.address import Address
from ctld.endpoint import Endpoint, Listen

ROOT = Path(__file__).parents[1]


class Door:
    """A listening socket with an acceptor, and everything that came through."""

    def __init__(self, path):
        self.path = str(path)
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(self.path)
        sock.listen(1000)
        sock.setblocking(False)
        self.endpoint = Endpoint(Listen(address=self.path), sock, Address("unix", path=self.path), "unix")
        self.accepted, self.refused, self.reports, self.clients = [], [], [], []
        self.reported_at = []
        self.on_shortage = None  # called at once, before it is tried again
        self.acceptor = None

    def open(self, endpoint=None, on_accept=None):
        self.acceptor = Acceptor(
            asyncio.get_running_loop(),
            endpoint or self.endpoint,
            on_accept or self.accepted.append,
            self.report,
            refuse=self.refuse,
        )

    def report(self, exhausted):
        self.reports.append(exhausted)
        self.reported_at.append(asyncio.get_running_loop().time())
        if exhausted and self.on_shortage is not None:
            self.on_shortage()

    def refuse(self, sock):
        self.refused.append(sock.getblocking())
        sock.close()

    def connect(self, count=1):
        for _ in range(count):
            client = socket.socket(socket.AF_UNIX)
            client.connect(self.path)
            self.clients.append(client)

    def close(self):
        if self.acceptor is not None:
            self.acceptor.stop()
        for sock in [*self.accepted, *self.clients]:
            sock.close()
        self.endpoint.close()


@pytest.fixture
async def door(tmp_path):
    made = Door(tmp_path / "s")
    yield made
    made.close()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.001)


async def some_turns():
    for _ in range(5):
        await asyncio.sleep(0.001)


class Failing:
    """A listening socket whose accept() reports one error after the other, then works."""

    def __init__(self, sock, *errors):
        self._sock = sock
        self.errors = list(errors)
        self.calls = 0

    def fileno(self):
        return self._sock.fileno()

    def accept(self):
        self.calls += 1
        if self.errors and (code := self.errors.pop(0)):
            raise OSError(code, os.strerror(code))
        return self._sock.accept()

    def close(self):
        self._sock.close()


def failing(door, *errors):
    sock = Failing(door.endpoint.socket, *errors)
    return sock, Endpoint(Listen(address=door.path), sock, door.endpoint.address, "unix")


class TestAccepting:
    async def test_every_client_comes_through_safely(self, door):
        door.open()
        door.connect(200)
        await until(lambda: len(door.accepted) == 200)
        assert not any(sock.getblocking() or sock.get_inheritable() for sock in door.accepted)
        assert door.reports == []

    async def test_a_crowd_does_not_hold_up_the_loop(self, door):
        door.connect(200)
        sizes = []
        loop = asyncio.get_running_loop()

        def turn():
            sizes.append(len(door.accepted))
            if sizes[-1] < 200:
                loop.call_soon(turn)

        door.open()
        loop.call_soon(turn)
        await until(lambda: sizes[-1:] == [200])
        assert max(after - before for before, after in itertools.pairwise(sizes)) <= 64

    async def test_who_comes_alone_is_not_looked_behind_each_time(self, door):
        sock, endpoint = failing(door)
        door.open(endpoint)
        for number in range(1, 1 + acceptor._TURNS_ALONE):
            door.connect()
            await until(lambda number=number: len(door.accepted) == number)
        assert sock.calls == 1 + acceptor._TURNS_ALONE, "in vain only behind the first"

    async def test_a_crowd_is_noticed_after_some_turns_alone(self, door):
        door.open()
        door.connect()
        await until(lambda: len(door.accepted) == 1)
        await some_turns()
        door.connect(100)
        sizes = []
        while len(door.accepted) < 101:
            sizes.append(len(door.accepted))
            await asyncio.sleep(0)
        sizes.append(len(door.accepted))
        steps = [after - before for before, after in itertools.pairwise(sizes) if after > before]
        assert steps == [*([1] * acceptor._TURNS_ALONE), acceptor._BATCH, 100 - acceptor._TURNS_ALONE - acceptor._BATCH]

    async def test_nor_is_it_overlooked_after_a_pause(self, door):
        door.open()
        door.connect()
        await until(lambda: len(door.accepted) == 1)
        door.acceptor.pause()
        door.connect(3)
        door.acceptor.resume()
        assert len(door.accepted) == 4

    async def test_pause_lets_them_wait(self, door):
        door.open()
        door.acceptor.pause()
        door.connect(3)
        await some_turns()
        assert door.accepted == []
        door.acceptor.resume()
        assert len(door.accepted) == 3, "no longer than that"
        door.connect(1)
        await until(lambda: len(door.accepted) == 4)

    async def test_pause_counts_at_once(self, door):
        door.connect(5)
        door.open(on_accept=lambda sock: (door.accepted.append(sock), door.acceptor.pause()))
        await some_turns()
        assert len(door.accepted) == 1
        door.acceptor.resume()
        await some_turns()
        assert len(door.accepted) == 2

    async def test_stop_counts_at_once_and_for_ever(self, door):
        door.connect(5)
        door.open(on_accept=lambda sock: (door.accepted.append(sock), door.acceptor.stop()))
        await some_turns()
        door.acceptor.resume()
        door.acceptor.descriptor_freed()
        door.acceptor.stop()
        await some_turns()
        assert len(door.accepted) == 1

    async def test_a_callback_that_fails_leaks_nothing(self, door):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))

        def fail(sock):
            door.accepted.append(sock)
            raise RuntimeError("no")

        door.open(on_accept=fail)
        door.connect(2)
        await until(lambda: len(reported) == 2)
        assert [sock.fileno() for sock in door.accepted] == [-1, -1]


class TestErrors:
    @pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN, errno.EINTR])
    async def test_a_client_who_is_lost_is_passed_over(self, door, code):
        _, endpoint = failing(door, code, code)
        door.open(endpoint)
        door.connect(1)
        await until(lambda: len(door.accepted) == 1)
        assert door.reports == []

    async def test_a_broken_listening_socket_is_reported_once(self, door):
        reported = []
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context["exception"]))
        sock, endpoint = failing(door, errno.EINVAL)
        door.open(endpoint)
        door.connect(1)
        await until(lambda: reported)
        await some_turns()
        assert [error.errno for error in reported] == [errno.EINVAL]
        assert sock.calls == 1

    @pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
    async def test_a_shortage_is_told_and_ends_by_itself(self, door, code):
        sock, endpoint = failing(door, code)
        seen = []
        door.on_shortage = lambda: seen.append((door.acceptor.exhausted, list(door.refused), sock.calls))
        door.open(endpoint)
        door.connect(2)
        await until(lambda: len(door.accepted) == 1)
        await until(lambda: door.reports == [True, False])
        assert seen == [(True, [False], 2)], "one is told why, on a non-blocking socket"
        assert not door.acceptor.exhausted
        told, ended = door.reported_at
        assert ended - told > acceptor._RETRY - 0.01, "no busy loop"
        assert sock.calls == 4, "one accepted, and nobody behind him"

    async def test_a_free_descriptor_ends_it_at_once(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 3600)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.acceptor.descriptor_freed()
        door.connect(2)
        await until(lambda: door.acceptor.exhausted)
        door.acceptor.descriptor_freed()
        assert len(door.accepted) == 1
        assert door.reports == [True, False]

    async def test_one_that_is_not_free_yet_costs_nobody_his_turn(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 3600)
        sock, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.connect(3)
        await until(lambda: door.acceptor.exhausted)
        sock.errors = [errno.EMFILE] * 2
        door.acceptor.descriptor_freed()
        door.acceptor.descriptor_freed()
        assert door.acceptor.exhausted
        assert len(door.refused) == 1
        door.acceptor.descriptor_freed()
        assert len(door.accepted) == 2

    async def test_so_does_resume(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 3600)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.connect(2)
        await until(lambda: door.acceptor.exhausted)
        door.acceptor.resume()
        assert len(door.accepted) == 1

    async def test_with_nobody_waiting_any_more_it_ends_too(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 0.01)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.connect(1)
        await until(lambda: door.reports == [True, False])
        assert len(door.refused) == 1

    async def test_paused_meanwhile_it_stays_paused(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 0.01)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.on_shortage = door.acceptor.pause
        door.connect(2)
        await until(lambda: door.reports)
        door.acceptor.descriptor_freed()
        await asyncio.sleep(0.02)  # a timer that is later: the other one would have gone off
        assert door.accepted == []
        door.acceptor.resume()
        assert len(door.accepted) == 1

    async def test_a_shortage_that_lasts_is_told_once(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 0.001)
        # Each attempt takes two: the second is for the one who is turned away, who is lost as well.
        sock, endpoint = failing(door, *[errno.EMFILE] * 10)
        door.open(endpoint)
        door.connect(1)
        await until(lambda: not sock.errors)
        await until(lambda: not door.acceptor.exhausted)
        assert door.reports == [True, False]

    async def test_as_long_as_it_lasts_one_is_turned_away_at_each_attempt(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 0.01)
        _, endpoint = failing(door, errno.EMFILE, 0, errno.EMFILE, 0)
        door.open(endpoint)
        door.connect(3)
        await until(lambda: len(door.accepted) == 1)
        assert len(door.refused) == 2
        door.connect(1)
        await until(lambda: len(door.accepted) == 2)

    async def test_without_a_reserve_it_waits_all_the_same(self, door, monkeypatch):
        opened = []

        def no_reserve():
            opened.append(1)

        monkeypatch.setattr(acceptor, "_open_reserve", no_reserve)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.connect(2)
        await until(lambda: len(door.accepted) == 2)
        assert door.refused == []
        assert door.reports == [True, False]
        assert len(opened) == 2, "once at the start and once after the shortage"

    async def test_stopped_during_a_shortage(self, door, monkeypatch):
        monkeypatch.setattr(acceptor, "_RETRY", 0.01)
        _, endpoint = failing(door, errno.EMFILE)
        door.open(endpoint)
        door.on_shortage = door.acceptor.stop
        door.connect(2)
        await until(lambda: door.reports)
        await asyncio.sleep(0.02)  # a timer that is later: the other one would have gone off
        assert door.accepted == []

    def test_no_reserve_is_opened_where_there_are_no_descriptors(self, monkeypatch):
        def no_open(*args):
            raise OSError(errno.EMFILE, "no")

        monkeypatch.setattr(os, "open", no_open)
        assert acceptor._open_reserve() is None


CHILD = """
    import asyncio, os, resource, socket, sys, time
    sys.path.insert(0, sys.argv[1])
    import uvloop
    from ctld.acceptor import Acceptor
    from ctld.listeners import open_endpoints
    from ctld.refusal import refuse_at_once

    async def main():
        loop = asyncio.get_running_loop()
        [endpoint] = open_endpoints(sys.argv[2])
        accepted, reports = [], []
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        acceptor = Acceptor(loop, endpoint, accepted.append, lambda there: print("exhausted", there, flush=True),
                            refuse=lambda sock: refuse_at_once(sock, b"busy"))
        print("ready", flush=True)
        command = asyncio.Event()
        loop.add_reader(0, lambda: (os.read(0, 10), command.set()))
        await command.wait()
        used = time.process_time()
        await asyncio.sleep(0.5)
        print("cpu", time.process_time() - used, flush=True)
        for sock in accepted:
            sock.close()
        accepted.clear()
        acceptor.descriptor_freed()
        command.clear()
        await command.wait()
        print("served", len(accepted), flush=True)
        acceptor.stop()
        endpoint.close()
    {"asyncio": asyncio.run, "uvloop": uvloop.run}[sys.argv[3]](main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_n2_descriptors_run_out_and_the_daemon_survives(tmp_path, loop):
    path = str(tmp_path / "s")
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(ROOT), f"unix:{path}", loop]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            clients = [socket.socket(socket.AF_UNIX) for _ in range(90)]
            for client in clients:
                client.settimeout(20)
                client.connect(path)
            assert child.stdout.readline() == "exhausted True\n"
            child.stdin.write("1\n")
            child.stdin.flush()
            label, cpu = child.stdout.readline().split()
            assert label == "cpu"
            assert float(cpu) < 0.25, "it spins while there are no descriptors"
            assert child.stdout.readline() == "exhausted False\n"
            last = socket.socket(socket.AF_UNIX)
            clients.append(last)
            last.connect(path)
            child.stdin.write("2\n")
            child.stdin.flush()
            label, served = child.stdout.readline().split()
            assert label == "served"
            assert int(served) > 10, "those who waited are served, and new ones too"
            answers = []
            for client in clients[:-1]:
                try:
                    answers.append(client.recv(10))
                except ConnectionResetError:
                    answers.append(b"")
            assert answers.count(b"busy") >= 1
            assert child.wait(20) == 0
        finally:
            child.kill()
            for client in clients:
                client.close()
