"""A dispatcher without sockets: what commands run on in these tests."""

import asyncio
from typing import Any

from ctld.commands.builtins import builtin_commands
from ctld.commands.context import Origin
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import OperationTable
from ctld.commands.registry import CommandRegistry
from ctld.commands.runtime import Runtime
from ctld.limits import Limits
from ctld.peer import Peer
from ctld.policy import Policy

ALICE = Peer(name="alice", role="operate", uid=1001, transport="unix")
BOB = Peer(name="bob", role="observe", uid=1002, transport="unix")
ROOT = Peer(name="root", role="admin", uid=0, transport="unix")


class Sink:
    """The client's end: keeps what it is sent, and can be slow."""

    task = None
    origin = Origin()

    def __init__(self, authorize=None, server_version="7.0"):
        self.authorize = authorize
        self.server_version = server_version
        self.progress: list[Any] = []
        self.items: list[Any] = []
        self.operation: Any = None
        self.peer: Peer | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.blocked = asyncio.Event()

    async def send_progress(self, update):
        self.progress.append(update)
        await self._pass()

    async def send_item(self, item):
        self.items.append(item.item)
        await self._pass()

    async def send_interim(self, reply):
        await self._pass()

    async def _pass(self):
        if not self.gate.is_set():
            self.blocked.set()
            await self.gate.wait()

    def begun(self, operation):
        self.operation = operation

    def become(self, peer):
        self.peer = peer


class View:
    """The server, as far as commands see it."""

    def __init__(self):
        self.closed = 0

    def close(self):
        self.closed += 1

    def create_task(self, coro, *, name):
        return asyncio.get_running_loop().create_task(coro, name=name)

    def status(self):
        return {"state": "running", "pid": 1}

    def connections(self):
        return [{"peer": "alice"}]


def stage(commands: CommandRegistry[Any] | None = None, *, app: Any = None, limits: Limits | None = None) -> Dispatcher:
    limits = Limits() if limits is None else limits
    runtime = Runtime(
        app=app,
        server=View(),
        policy=Policy(),
        limits=limits,
        operations=OperationTable(
            kept=limits.operations_kept, retention=limits.result_retention, progress_kept=limits.progress_kept
        ),
    )
    return Dispatcher((commands or CommandRegistry()).resolve(builtin_commands()), runtime)
