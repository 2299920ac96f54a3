"""Stopping a server in stages.

Each stage bounds the one before it: what runs is told and gets a grace period; what still
runs is cancelled and gets another; what does not even end then is answered for, logged and
left behind.  Everybody who waits for an answer gets one.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from ctld.commands.runtime import Runtime
from ctld.errors import ShuttingDown
from ctld.reception import Reception

__all__ = ["end_background_tasks", "stop_in_stages"]

logger = logging.getLogger("ctld.server")


async def stop_in_stages(runtime: Runtime, reception: Reception, hurry: asyncio.Event) -> None:
    """See all clients and operations out.

    Args:
        runtime: What the daemon's parts share; its listeners are closed already.
        reception: The clients.
        hurry: Set when nobody wants to wait for what runs any more.
    """
    runtime.stopping = True
    await runtime.sessions.close(hurry)
    # What clients have sent up to now is still read, and answered with `shutting-down`.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    reception.end_handshakes()
    for client in reception.clients:
        client.conversation.stop()
    for operation in runtime.operations.running():
        operation.request_stop()
    runtime.events.close()
    await _ended(runtime, reception, runtime.limits.stop_grace, hurry)
    reason = ShuttingDown("the daemon is shutting down")
    for client in reception.clients:
        client.conversation.interrupt(reason)
    for operation in runtime.operations.running():
        operation.interrupt(reason)
    await _ended(runtime, reception, runtime.limits.cancel_grace)
    for client in reception.clients:
        logger.error("! client %d does not end: a command does not let itself be cancelled", client.number)
        client.conversation.abandon()
    left = _tasks(runtime, reception)
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=runtime.limits.drain_timeout)
    reception.close()


async def end_background_tasks(tasks: Iterable[asyncio.Task[Any]], timeout: float) -> None:
    """Cancel tasks and wait for them; a crash has been reported when it happened.

    Args:
        tasks: The tasks.
        timeout: How many seconds they get.
    """
    waiting = set(tasks)
    for task in waiting:
        task.cancel()
    if waiting:
        _, left = await asyncio.wait(waiting, timeout=timeout)
        for task in left:
            logger.error("! background task %s does not end", task.get_name())


def _tasks(runtime: Runtime, reception: Reception) -> set[asyncio.Task[Any]]:
    clients = {client.task for client in reception.clients}
    operations = {operation.task for operation in runtime.operations.running() if operation.detached}
    return {task for task in clients | operations if task is not None}


async def _ended(runtime: Runtime, reception: Reception, timeout: float, hurry: asyncio.Event | None = None) -> None:
    """Wait until all clients and operations have ended; not longer than the timeout, nor in a hurry."""
    deadline = asyncio.get_running_loop().time() + timeout
    hurried = None if hurry is None else asyncio.ensure_future(hurry.wait())
    try:
        while tasks := _tasks(runtime, reception):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0 or (hurry is not None and hurry.is_set()):
                return
            waiting = tasks if hurried is None else tasks | {hurried}
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)
    finally:
        if hurried is not None:
            hurried.cancel()
