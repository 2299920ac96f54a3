"""The jobs of the reference daemon: started after its sockets are open, stopped after its clients are gone.

The sockets come first because opening them fails where such a daemon runs already, and its
jobs must not be started twice.  Clients who come in between wait until the jobs are there.
"""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from ctld.commands.context import Context
from ctld.commands.jobs import job_commands, publish_job_events
from ctld.commands.registry import CommandRegistry
from ctld.jobs.settings import JobSettings
from ctld.jobs.store import JobStore
from ctld.jobs.supervisor import Supervisor
from ctld.server import Server

__all__ = ["JobKeeper"]

logger = logging.getLogger("ctld.jobs")

_STATE: Final = "jobs"
"""Where below the state directory is noted what runs."""


class JobKeeper:
    """The jobs of a daemon, for as long as it serves.

    Attributes:
        supervisor: The supervisor.

    Args:
        settings: What the daemon was told; with a directory.
        state_dir: Where the daemon keeps what outlives it.
    """

    def __init__(self, settings: JobSettings, state_dir: str) -> None:
        self.supervisor = Supervisor(JobStore(settings.directory), os.path.join(state_dir, _STATE))
        self._leave_running = settings.leave_running
        self._ready = asyncio.Event()

    def commands(self) -> CommandRegistry[Any]:
        """Make the registry of the commands about the jobs."""
        commands = job_commands(self.supervisor)

        @commands.around
        @asynccontextmanager
        async def once_there(ctx: Context) -> AsyncIterator[None]:
            await self._ready.wait()
            yield

        return commands

    async def serve(self, server: Server[Any]) -> None:
        """Run a server, with the jobs, until it is told to stop.

        Raises:
            CtldError: It cannot start; the message says why.
        """
        async with server:
            await self.supervisor.start()
            unsubscribe = publish_job_events(self.supervisor, server.events)
            self._ready.set()
            try:
                await server.serve_forever()
            finally:
                unsubscribe()
                await self._stop()

    async def _stop(self) -> None:
        """Stop the jobs; a further signal kills what does not stop by itself."""
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        for number in numbers:
            loop.add_signal_handler(number, self._hurry)
        try:
            await self.supervisor.close(leave_running=self._leave_running)
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)
        logger.info("= the jobs are left running" if self._leave_running else "= the jobs have stopped")

    def _hurry(self) -> None:
        for job in self.supervisor.jobs():
            self.supervisor.kill_job(job.name)
