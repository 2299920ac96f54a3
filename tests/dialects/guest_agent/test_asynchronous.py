"""`asend_command()`: the same as `send_command()`, without blocking the loop."""

import asyncio
import socket
from pathlib import Path

import pytest

from ctld.dialects.guest_agent import Monitor
from ctld.dialects.guest_agent.asynchronous import asend_command

LOST = b'{"Status":103,"StatusMessage":"Connection error"}'


async def test_an_answer_comes_back_and_the_loop_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    release = asyncio.Event()

    async def wait(request: bytes) -> bytes:
        await release.wait()
        return b'{"Status":0}'

    monitor = Monitor(str(path))
    monitor.register("wait", wait)
    await monitor.start()
    try:
        asking = asyncio.get_running_loop().create_task(asend_command(b'{"Command":"wait"}', path))
        await asyncio.sleep(0)
        release.set()
        assert await asking == b'{"Status":0}'
    finally:
        monitor.close()
        await monitor.wait_closed()


@pytest.mark.parametrize("where", ["nothing-here", "with\0nul"])
async def test_nobody_there_is_a_connection_error(tmp_path: Path, where: str) -> None:
    assert await asend_command(b"{}", f"{tmp_path}/{where}") == LOST


async def test_a_monitor_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "pipe"))
        listening.listen()  # the kernel takes the client in; nobody ever answers it
        assert await asend_command(b"{}", tmp_path / "pipe", timeout=0.05) == LOST
