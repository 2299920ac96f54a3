"""The jobs of a supervisor together: who waits for whom, what follows from a change, who hears of it.

A change (an event of a process, a wish) is not followed up where it happens but by one
`settle()` at the loop's next turn: however many processes change at once, the jobs are gone
through once.
"""

import asyncio
from collections.abc import Callable

from ctld.errors import NotFound, ShuttingDown
from ctld.jobs.job import Job
from ctld.jobs.snapshot import JobEvent

__all__ = ["Board"]


class Board:
    """All jobs, by name.

    Attributes:
        jobs: The jobs.
        closed: Whether nothing starts any more.

    Args:
        on_settled: Called when changes have been followed up.
    """

    def __init__(self, on_settled: Callable[[], None]) -> None:
        self.jobs: dict[str, Job] = {}
        self.closed = False
        self._on_settled = on_settled
        self._observers: set[Callable[[JobEvent], None]] = set()
        self._waiters: set[asyncio.Future[None]] = set()
        self._events: list[JobEvent] = []
        self._settling: asyncio.Handle | None = None

    def find(self, name: str) -> Job:
        """Return a job.

        Raises:
            NotFound: There is none of that name.
        """
        job = self.jobs.get(name)
        if job is None:
            raise NotFound(f"there is no job {name!r}", kind="job", name=name)
        return job

    def start(self, job: Job) -> bool:
        """Wish that a job runs, and what it depends on; False if that was wished already.

        Raises:
            CommandFailed: It is being removed.
            ShuttingDown: Nothing starts any more.
        """
        if self.closed:
            raise ShuttingDown("the daemon is going down and starts no jobs")
        if not job.desired:
            for name in job.target.depends_on:
                dependency = self.jobs.get(name)
                if dependency and not dependency.removing and dependency is not job:
                    self.start(dependency)
        return job.start(self._waits_for(job))

    def subscribe(self, observer: Callable[[JobEvent], None]) -> Callable[[], None]:
        """Have a function called, by the loop, for each event; returns the function that ends it."""
        self._observers.add(observer)
        return lambda: self._observers.discard(observer)

    def tell(self, event: JobEvent) -> None:
        """Pass an event on, before those hear who wait for a change, and follow it up."""
        self._events.append(event)
        self.changed()

    def changed(self) -> None:
        """Have a change followed up, soon."""
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_soon(self._settle)

    async def next_change(self) -> None:
        """Wait until something has changed and been followed up."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def settled(self) -> None:
        """Wait until every change so far has been followed up and told."""
        while self._settling is not None:
            await self.next_change()

    def stop_settling(self) -> None:
        """Tell what is left to be told; nothing is left to follow up."""
        if self._settling:
            self._settling.cancel()
            self._settling = None
        self._pass_on()

    def _settle(self) -> None:
        self._settling = None
        for name, job in list(self.jobs.items()):
            if job.removing and not job.is_up:
                del self.jobs[name]
                self.tell(JobEvent(job=name, message="Job is gone."))
            elif job.settle():
                self._begin(job)
        for job in self.jobs.values():
            if job.waits_for:
                job.go_on(self._waits_for(job))
        self._pass_on()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._on_settled()

    def _pass_on(self) -> None:
        """Have the observers called, each by itself: what one does wrong is no matter of the jobs."""
        loop = asyncio.get_running_loop()
        events, self._events = self._events, []
        for event in events:
            for observer in self._observers:
                loop.call_soon(observer, event)

    def _begin(self, job: Job) -> None:
        """Start a job that has just been replaced, if anybody or its file wants that."""
        if job.desired:
            job.begin()
        elif job.spec.auto_start and not self.closed:
            self.start(job)

    def _waits_for(self, job: Job) -> dict[str, str]:
        """Return which dependencies are not there yet, and why, where time alone will not help."""
        waits = {}
        for name in job.target.depends_on:
            dependency = self.jobs.get(name)
            if dependency is None:
                waits[name] = "does not exist"
            elif not dependency.desired:
                waits[name] = "is stopped"
            else:
                info = dependency.info()
                if any(process.has_given_up for process in info.processes):
                    waits[name] = "has failed"
                elif info.waits_for or not all(process.is_settled for process in info.processes):
                    waits[name] = ""
        return waits
