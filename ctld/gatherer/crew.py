"""The workers of one profile: who is free, who has to go, who comes back.

Theory of operation.  There is one slot per worker that may exist.  A request holds a slot
from before it has a worker until that worker is idle again, retired or dead; so the slots
bound the workers, and the queue for them is the queue for workers.  What was started is
brought to its end even if the caller is cancelled a second time: by a task that owns the slot.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Coroutine
from typing import TypeVar, cast

import msgspec

from ctld.errors import Busy, Cancelled, CommandFailed, DeadlineExceeded, ShuttingDown
from ctld.gatherer.process import WorkerFailed, WorkerProcess
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import Request
from ctld.gatherer.restarts import Patience, Restarts

__all__ = ["Crew", "CrewSnapshot", "WorkerSnapshot"]

logger = logging.getLogger("ctld.gatherer")

T = TypeVar("T")


class WorkerSnapshot(msgspec.Struct, frozen=True):
    """One worker at one moment.

    Attributes:
        pid: Its process id.
        state: `idle`, `busy`, `stuck` if it did not answer the last probe, `stopping`.
        requests: How many requests it has got.
        resident: How many bytes of memory it holds.
    """

    pid: int
    state: str
    requests: int
    resident: int


class CrewSnapshot(msgspec.Struct, frozen=True):
    """All workers of one profile at one moment.

    Attributes:
        profile: The profile's name.
        workers: Those that run.
        calls: How many requests are being served or wait for a worker.
        requests: How many were sent to workers.
        starts: How many workers were started.
        crashes: How many ended, or did not start, against our will.
        degraded: For how many seconds requests fail at once; 0: they do not.
    """

    profile: str
    workers: tuple[WorkerSnapshot, ...]
    calls: int
    requests: int
    starts: int
    crashes: int
    degraded: float


class Crew:
    """The workers of one profile."""

    def __init__(self, name: str, profile: Profile, patience: Patience) -> None:
        self._name = name
        self._profile = profile
        self._patience = patience
        self._restarts = Restarts(patience)
        self._slots = asyncio.Semaphore(profile.workers)
        self._workers: set[WorkerProcess] = set()
        self._idle: deque[WorkerProcess] = deque()
        self._scopes: set[asyncio.Timeout] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False
        self._requests = self._starts = self._crashes = 0

    def snapshot(self) -> CrewSnapshot:
        """Return what is going on."""
        workers = sorted(self._workers, key=lambda worker: worker.pid)
        return CrewSnapshot(
            profile=self._name,
            workers=tuple(
                WorkerSnapshot(worker.pid, self._state(worker), worker.requests, worker.resident) for worker in workers
            ),
            calls=len(self._scopes),
            requests=self._requests,
            starts=self._starts,
            crashes=self._crashes,
            degraded=round(self._restarts.degraded(self._now()), 3),
        )

    async def call(self, request: Request[T], timeout: float | None = None) -> T:
        """Have a worker serve a request; it is sent again after a crash only if that does no harm.

        Args:
            request: What to ask.
            timeout: How many seconds it may take; None: as the profile says.

        Raises:
            DeadlineExceeded: The time is over.  A worker that did not give up at once may have
                taken up to the grace period longer.
            WorkerFailed: The worker ended; nobody knows how far it came.
            Busy: Too many wait already, or too many workers crashed lately.
            ShuttingDown: The pool is being closed.
            Cancelled: Somebody else sent SIGINT to the worker.
        """
        self._refuse()
        if len(self._scopes) >= self._profile.workers + self._profile.max_waiting:
            raise Busy(f"{len(self._scopes)} requests wait for gatherer {self._name!r} already")
        seconds = self._profile.timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(seconds) as scope:
                self._scopes.add(scope)
                try:
                    return await self._serve(request)
                except WorkerFailed as failure:
                    if not request.repeatable:
                        raise
                    logger.info("%s: asking again: %s", self._name, failure)
                    return await self._serve(request)
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if self._closing:
                raise ShuttingDown(f"gatherer {self._name!r} is shutting down") from None
            raise DeadlineExceeded(f"gatherer {self._name!r} took longer than {seconds:g} s") from None

    async def check_health(self) -> None:
        """Ask all workers for a sign of life, and replace the idle ones that give none.

        A busy one may be waiting for a slow disk: its request's deadline decides about it.
        """
        await asyncio.gather(*(self._check(worker) for worker in self._workers))

    async def close(self) -> None:
        """End all requests and all workers; return when they are gone."""
        self._closing = True
        now = self._now()
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(now)
        for _ in range(self._profile.workers):  # who holds all of them knows that nobody is at work
            await self._slots.acquire()
        while self._idle:
            self._start(self._idle.pop().stop())
        for _ in range(self._profile.workers):  # for who closes once more
            self._slots.release()
        while self._tasks:
            done, _ = await asyncio.wait(self._tasks)
            self._tasks -= done

    def _refuse(self) -> None:
        if self._closing:
            raise ShuttingDown(f"gatherer {self._name!r} is shutting down")
        if seconds := self._restarts.degraded(self._now()):
            raise Busy(
                f"gatherer {self._name!r} is degraded: {self._patience.crashes} workers crashed lately; "
                f"try again in {seconds:.0f} s",
                retry_after=round(seconds, 3),
            )

    async def _serve(self, request: Request[T]) -> T:
        await self._slots.acquire()
        try:
            worker = await self._take()
        except BaseException:
            self._slots.release()
            raise
        self._requests += 1
        try:
            answer = await worker.ask(request)
        except BaseException:
            await asyncio.shield(self._start(self._settle(worker)))
            raise
        self._put_back(worker)
        self._slots.release()
        if answer.interrupted:
            raise Cancelled("somebody interrupted the gatherer")
        return cast(T, answer.value)  # None only where T is None

    async def _take(self) -> WorkerProcess:
        """Return an idle worker, or a new one, when it may be started."""
        while True:
            self._refuse()
            if self._idle:
                return self._idle.pop()
            if not (delay := self._restarts.delay(self._now())):
                break
            await asyncio.sleep(delay)
        self._starts += 1
        try:
            worker = await WorkerProcess.start(self._profile, self._patience, self._on_end)
        except CommandFailed as error:
            self._crashed(str(error))
            raise
        self._workers.add(worker)
        return worker

    async def _settle(self, worker: WorkerProcess) -> None:
        try:
            await worker.interrupt()
            self._put_back(worker)
        finally:
            self._slots.release()

    def _put_back(self, worker: WorkerProcess) -> None:
        if worker.failure:
            return  # it has ended, or is about to
        profile = self._profile
        if worker.retired or worker.requests >= profile.max_requests or worker.resident > profile.max_resident:
            self._start(worker.stop())
        else:
            self._idle.append(worker)

    async def _check(self, worker: WorkerProcess) -> None:
        if await worker.probe() or worker not in self._workers:
            return
        logger.warning("%s: worker %d gives no sign of life", self._name, worker.pid)
        if worker in self._idle:
            self._idle.remove(worker)
            await worker.kill()

    def _on_end(self, worker: WorkerProcess) -> None:
        if worker not in self._workers:
            return  # it never started
        self._workers.remove(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        if not worker.ended_well:
            self._crashed(str(worker.failure))

    def _crashed(self, why: str) -> None:
        self._crashes += 1
        self._restarts.crashed(self._now())
        logger.warning("%s: %s", self._name, why)

    def _state(self, worker: WorkerProcess) -> str:
        if worker.stuck:
            return "stuck"
        if worker.busy:
            return "busy"
        return "idle" if worker in self._idle else "stopping"

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
