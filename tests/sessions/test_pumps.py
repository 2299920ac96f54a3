"""Bytes between descriptors and callbacks, on both loops."""

import asyncio
import fcntl
import os
import socket

import pytest

from ctld.sessions.pumps import InputPump, OutputPump
from tests.native import until


def pipe() -> tuple[int, int]:
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    return reading, writing


class Reader:
    def __init__(self, fd: int) -> None:
        self.data = b""
        self.ended = 0
        self.pump = OutputPump(fd, self.take, self.end)

    def take(self, data: bytes) -> None:
        self.data += data

    def end(self) -> None:
        self.ended += 1


class TestOutput:
    async def test_everything_and_then_one_end(self):
        reading, writing = pipe()
        reader = Reader(reading)
        os.write(writing, b"abc")
        await until(lambda: reader.data == b"abc")
        assert not reader.pump.silent
        os.write(writing, b"def")
        os.close(writing)
        await until(lambda: reader.ended)
        assert (reader.data, reader.ended, reader.pump.open) == (b"abcdef", 1, False)
        reader.pump.close()
        reader.pump.resume()
        assert not reader.pump.paused

    async def test_paused_it_reads_nothing(self):
        reading, writing = pipe()
        reader = Reader(reading)
        reader.pump.pause()
        reader.pump.pause()
        assert reader.pump.paused
        os.write(writing, b"abc")
        for _ in range(5):
            await asyncio.sleep(0)
        assert reader.data == b""
        reader.pump.resume()
        await until(lambda: reader.data == b"abc")
        reader.pump.close()
        os.close(writing)

    async def test_a_terminal_that_nobody_has_open_is_at_its_end(self):
        master, slave = os.openpty()
        os.set_blocking(master, False)
        os.write(slave, b"last words")
        reader = Reader(master)
        os.close(slave)
        await until(lambda: reader.ended)
        assert reader.data == b"last words"

    async def test_a_socket_that_was_reset_is_at_its_end(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        ours.send(b"never read")
        reader = Reader(ours.detach())
        theirs.close()
        await until(lambda: reader.ended)

    async def test_a_pause_within_a_callback(self):
        reading, writing = pipe()
        seen = []

        def take(data: bytes) -> None:
            seen.append(data)
            pump.pause()

        pump = OutputPump(reading, take, lambda: None)
        os.write(writing, b"x" * 60_000)
        await until(lambda: seen)
        os.write(writing, b"y")
        for _ in range(5):
            await asyncio.sleep(0)
        assert b"y" not in b"".join(seen)
        pump.close()
        os.close(writing)


class TestInput:
    async def test_what_is_written_arrives(self):
        reading, writing = pipe()
        pump = InputPump(writing, lambda full: None)
        pump.write(b"abc")
        pump.write(b"")
        assert os.read(reading, 10) == b"abc"
        pump.end()
        assert os.read(reading, 10) == b""
        assert not pump.open
        pump.write(b"too late")
        pump.close()
        os.close(reading)

    async def test_who_does_not_read_fills_it_and_who_reads_again_empties_it(self):
        reading, writing = pipe()
        told = []
        pump = InputPump(writing, told.append)
        sent = b"".join(bytes([number]) * 50_000 for number in range(20))
        for start in range(0, len(sent), 50_000):
            pump.write(sent[start : start + 50_000])
        assert told == [True]
        assert pump.full
        pump.end()
        seen = b""
        while pump.open or len(seen) < len(sent):
            try:
                seen += os.read(reading, 65536)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert seen == sent
        assert told == [True, False]
        assert os.read(reading, 1) == b""
        os.close(reading)

    async def test_pieces_are_written_in_their_order_however_many_there_are(self):
        reading, writing = pipe()
        pump = InputPump(writing, lambda full: None)
        sent = [bytes([number % 251]) * (number * 7) for number in range(400)]
        pump.write(*sent[:200])
        pump.write(*sent[200:])
        pump.end()
        seen = b""
        while len(seen) < sum(map(len, sent)):
            try:
                seen += os.read(reading, 65536)
            except BlockingIOError:
                await asyncio.sleep(0)
        assert seen == b"".join(sent)
        assert os.read(reading, 1) == b""
        os.close(reading)

    async def test_a_pipe_that_was_full_once_holds_more_from_then_on(self):
        reading, writing = pipe()
        before = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
        pump = InputPump(writing, lambda full: None)
        pump.write(bytes(1000))
        assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == before
        pump.write(bytes(before))
        assert fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ) == 4 * before
        pump.close()
        os.close(reading)

    async def test_what_is_no_pipe_may_be_full_too(self):
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        pump = InputPump(os.dup(ours.fileno()), lambda full: None)
        pump.write(bytes(400_000))
        ours.close()
        pump.end()
        seen = 0
        while data := await asyncio.to_thread(theirs.recv, 65536):
            seen += len(data)
        assert seen == 400_000
        theirs.close()

    async def test_a_piece_that_waits_keeps_little_more_than_itself(self):
        reading, writing = pipe()
        pump = InputPump(writing, lambda full: None)
        pump.write(bytes(100_000))  # fills it
        chunks = [bytearray(100_000) for _ in range(2)]
        pump.write(memoryview(chunks[0])[:10])
        pump.write(memoryview(chunks[1])[:90_000])
        chunks[0].clear()  # nobody looks at it
        with pytest.raises(BufferError):
            chunks[1].clear()
        pump.close()
        os.close(reading)

    async def test_who_closes_his_end_is_no_error(self):
        reading, writing = pipe()
        told = []
        pump = InputPump(writing, told.append)
        for _ in range(10):
            pump.write(b"x" * 65536)
        os.close(reading)
        await until(lambda: not pump.open)
        assert told == [True, False]

    async def test_a_closed_reader_is_noticed_at_the_next_write(self):
        reading, writing = pipe()
        pump = InputPump(writing, lambda full: pytest.fail("never full"))
        os.close(reading)
        pump.write(b"x")
        assert not pump.open

    async def test_closing_drops_what_waits(self):
        reading, writing = pipe()
        told = []
        pump = InputPump(writing, told.append)
        for _ in range(10):
            pump.write(b"x" * 65536)
        pump.close()
        assert told == [True, False]
        assert not pump.full
        os.close(reading)
