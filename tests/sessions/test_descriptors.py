"""Pipes that are kept open until their reader has emptied them (N5.1)."""

import asyncio
import os
import time

from ctld.sessions.descriptors import PipeWatch


async def test_an_empty_pipe_is_not_waited_for():
    reading, writing = os.pipe()
    watch = PipeWatch(writing)
    os.close(writing)
    await asyncio.wait_for(watch.emptied(), 0.5)
    watch.close()
    watch.close()
    assert os.read(reading, 1) == b""
    os.close(reading)


async def test_it_waits_for_the_reader():
    reading, writing = os.pipe()
    watch = PipeWatch(writing, writing)
    os.write(writing, b"x" * 1000)
    os.close(writing)
    waiting = asyncio.ensure_future(watch.emptied())
    for _ in range(10):
        await asyncio.sleep(0.002)
        assert not waiting.done()
        os.read(reading, 99)
    os.read(reading, 10)
    await asyncio.wait_for(waiting, 0.9)
    watch.close()
    os.close(reading)


async def test_who_has_stopped_reading_is_given_a_second():
    reading, writing = os.pipe()
    watch = PipeWatch(writing)
    os.write(writing, b"x")
    started = time.monotonic()
    await watch.emptied()
    assert 0.9 < time.monotonic() - started < 3
    watch.close()
    os.close(reading)
    os.close(writing)


async def test_what_is_no_pipe_is_left_alone(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    with open(tmp_path / "file", "w") as file:
        watch = PipeWatch(file.fileno())
        assert len(os.listdir("/proc/self/fd")) == before + 1
        await watch.emptied()
        watch.close()
