"""Supervisors over a directory of their own, with job files whose seconds are short."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import msgspec
import pytest_asyncio

from ctld.jobs import supervisor as supervisor_module
from ctld.jobs.freezer import Freezer
from ctld.jobs.jobfile import JobSpec, parse_job_file
from ctld.jobs.state import State
from ctld.jobs.store import JobStore
from ctld.jobs.supervisor import Supervisor

# Long enough for a shell to start and end on a busy machine, short enough to wait for.
SECOND = 0.2


def parse_fast(data: bytes) -> JobSpec:
    spec = parse_job_file(data)
    policy = spec.policy
    times = {"start_time": policy.start_time * SECOND, "stop_time": policy.stop_time * SECOND}
    return msgspec.structs.replace(spec, policy=replace(policy, **times))


class Lab:
    """A directory of job files, and the supervisors that run on it."""

    def __init__(self, folder):
        self.folder = folder
        self.work = folder / "work"
        self.store = JobStore(str(folder / "jobs"))
        self.state = str(folder / "state")
        self.freezer = Freezer()
        (folder / "jobs").mkdir()
        self.work.mkdir()
        self.supervisors: list[Supervisor] = []
        self.events: list[str] = []

    def file(self, name: str, cmd: str, **keys) -> bytes:
        data = json.dumps({"cmd": cmd, "autoStart": False, **keys}).encode()
        self.store.write(name, data)
        return data

    async def supervise(self) -> Supervisor:
        supervisor = Supervisor(self.store, self.state, directory=str(self.work), freezer=self.freezer)
        self.supervisors.append(supervisor)
        supervisor.subscribe(lambda event: self.events.append(f"{event.job}/{event.index}: {event.message}"))
        await supervisor.start()
        return supervisor

    async def until(self, supervisor: Supervisor, condition: Callable[[], bool]) -> None:
        """Wait for something that a change brings about."""
        async with asyncio.timeout(20):
            while not condition():
                await supervisor._board.next_change()

    async def until_state(self, supervisor: Supervisor, name: str, state: State, index: int = 0) -> None:
        await self.until(supervisor, lambda: supervisor.info(name).processes[index].state is state)


@pytest_asyncio.fixture
async def lab(tmp_path, monkeypatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(supervisor_module, "parse_job_file", parse_fast)
    lab = Lab(tmp_path)
    yield lab
    for supervisor in lab.supervisors:
        await supervisor.close()


@contextlib.asynccontextmanager
async def closing(close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        await close()
