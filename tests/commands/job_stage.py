"""A server with the commands about jobs, over a laboratory whose seconds are short."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from ctld.client import AsyncClient
from ctld.commands.jobs import job_commands, publish_job_events
from ctld.jobs.state import State
from ctld.jobs.supervisor import Supervisor
from tests.jobs.conftest import Lab, lab
from tests.native import RawClient, Served, serving

__all__ = ["Stage", "lab", "stage"]


class Stage:
    """A supervisor, its server, and clients."""

    def __init__(self, lab: Lab, supervisor: Supervisor, served: Served, client: AsyncClient) -> None:
        self.lab = lab
        self.supervisor = supervisor
        self.served = served
        self.client = client

    async def call(self, command: str, opts: dict[str, Any] | None = None, /, **more: Any) -> Any:
        return await self.client.call(command, {**(opts or {}), **more})

    async def load(self, name: str, cmd: str, **keys: Any) -> None:
        self.lab.file(name, cmd, **keys)
        await self.supervisor.reload(name)

    async def raw(self) -> RawClient:
        return await self.served.connect()

    async def alive(self, name: str) -> int:
        """Wait until a job runs, and return the id of its first process."""
        await self.lab.until_state(self.supervisor, name, State.ALIVE)
        pid = self.supervisor.info(name).processes[0].pid
        assert pid is not None
        return pid

    def log(self, name: str) -> Path:
        return self.lab.work / name


@pytest_asyncio.fixture
async def stage(lab: Lab) -> AsyncIterator[Stage]:
    supervisor = await lab.supervise()
    async with serving(lab.folder, job_commands(supervisor)) as served:
        unsubscribe = publish_job_events(supervisor, served.server.events)
        async with AsyncClient(f"unix:{served.path}") as client:
            yield Stage(lab, supervisor, served, client)
        unsubscribe()
