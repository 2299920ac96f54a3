"""One daemon with jobs that listens in all four dialects, and what it tells about what was asked of it."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import ctld
from ctld.client import AsyncClient
from ctld.commands.jobs import job_commands, publish_job_events
from ctld.commands.schedule import Schedule, schedule_commands
from ctld.dialects.fss_control.commands import control_commands
from ctld.dialects.fss_control.handler import FssListen
from ctld.dialects.guest_agent.commands import agent_commands
from ctld.dialects.guest_agent.handler import GuestAgentListen
from ctld.dialects.table import DIALECTS
from ctld.dialects.taskmaster.handler import TaskmasterListen
from ctld.endpoint import Listen
from ctld.events import Event
from ctld.history_entry import Entry
from ctld.jobs.supervisor import Supervisor
from ctld.peer import Role
from ctld.settings import Settings
from tests.dialects.conformance.fss_control import FssWire
from tests.dialects.conformance.guest_agent import GuestAgentWire
from tests.dialects.conformance.native import NativeWire
from tests.dialects.conformance.taskmaster import TaskmasterWire
from tests.dialects.conformance.wire import Wire
from tests.jobs.conftest import Lab
from tests.native import DEFAULT_LIMITS

WIRES: dict[str, type[Wire]] = {wire.name: wire for wire in (NativeWire, TaskmasterWire, FssWire, GuestAgentWire)}


class Daemon:
    """The daemon, and an ear at its events."""

    def __init__(self, server: ctld.Server[Any], supervisor: Supervisor, lab: Lab, client: AsyncClient) -> None:
        self.server = server
        self.supervisor = supervisor
        self.lab = lab
        self.client = client
        self.heard: list[Event] = []
        self._events = server.events.subscribe("management", "job")

    @asynccontextmanager
    async def connect(self, name: str) -> AsyncIterator[Wire]:
        address = next(address for address, _ in self.server.listeners() if _dialect_at(address) == name)
        if name == "taskmaster":
            host, _, port = address.removeprefix("tcp:").rpartition(":")
            streams = await asyncio.open_connection(host, int(port))
        else:
            streams = await asyncio.open_unix_connection(address.removeprefix("unix:"))
        wire = WIRES[name](*streams)
        try:
            yield wire
        finally:
            await wire.hang_up()

    async def load(self, name: str, cmd: str, **keys: Any) -> None:
        self.lab.file(name, cmd, **keys)
        await self.supervisor.reload(name)
        await self.hears(lambda: self.messages(name) == ["Job added."])
        self.heard.clear()

    async def hears(self, condition: Callable[[], bool]) -> None:
        """Take events until something is so."""
        while not condition():
            self.heard.append(await anext(self._events))

    def messages(self, name: str) -> list[str]:
        """What was told of a job."""
        return [event.opts["message"] for event in self.heard if event.type == "job" and event.opts["name"] == name]

    def management(self) -> list[tuple[Any, ...]]:
        """What was told of commands: which, with what, by whom, and what became of it."""
        told = [event.opts for event in self.heard if event.type == "management"]
        return [(opts["cmd"], opts["opts"], opts["peer"], opts["state"]) for opts in told]

    def alone(self) -> bool:
        """Whether the daemon knows of every client but its own that it has gone."""
        reception: Any = self.server._reception
        return sum(not client.conversation.connection.gone for client in reception.clients) == 1

    async def records(self) -> list[Entry]:
        return (await self.server.history.query())[::-1]


def _dialect_at(address: str) -> str:
    return "taskmaster" if address.startswith("tcp:") else address.rpartition("/")[2]


@asynccontextmanager
async def running(lab: Lab, role: Role = "admin") -> AsyncIterator[Daemon]:
    """Run a daemon whose callers all have a role."""
    listens = [
        Listen(address=f"unix:{lab.folder}/native"),
        TaskmasterListen(address="tcp:127.0.0.1:0", role=role),
        FssListen(address=f"unix:{lab.folder}/fss-control"),
        GuestAgentListen(address=f"unix:{lab.folder}/guest-agent"),
    ]
    supervisor = await lab.supervise()
    commands = job_commands(supervisor)
    commands.include(control_commands(listens))
    commands.include(schedule_commands(Schedule(f"{lab.folder}/state/schedule.json")))
    commands.include(agent_commands(Settings()))
    server: ctld.Server[Any] = ctld.Server(
        commands=commands,
        listen=listens,
        dialects={name: dialect.handler for name, dialect in DIALECTS.items()},
        roles={role: [f"uid:{os.geteuid()}"]},
        limits=DEFAULT_LIMITS,
    )
    async with server:
        unsubscribe = publish_job_events(supervisor, server.events)
        async with AsyncClient(f"unix:{lab.folder}/native") as client:
            daemon = Daemon(server, supervisor, lab, client)
            with daemon._events:
                yield daemon
        unsubscribe()
