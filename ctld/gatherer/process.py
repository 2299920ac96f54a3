"""One worker as its parent sees it: a process, three pipes, one request at a time.

Theory of operation.  Whatever happens to the worker ends in the future of the current
request: its answer, or the failure that took the worker away.  Reading never stops for
anybody who waits, so a cancelled wait loses nothing: `interrupt()` goes on where it left.

SIGINT must hit the request that it is meant for.  The kernel tells how much of what we wrote
has not been read (FIONREAD); the signal waits until that is nothing, and the worker executes
what it has read before it looks at signals.  If the returns come nevertheless, the signal may
hit the worker later, when it is idle, or the next request: such a worker is retired.
"""

import array
import asyncio
import fcntl
import logging
import os
import signal
import termios
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from ctld.errors import CommandFailed, RemoteProtocolError
from ctld.gatherer.profile import Profile
from ctld.gatherer.replies import Answer, ReplyReader, Request, noop_request
from ctld.gatherer.restarts import Patience
from ctld.processes import Child, ExitStatus, spawn

__all__ = ["WorkerFailed", "WorkerProcess"]

logger = logging.getLogger("ctld.gatherer")

T = TypeVar("T")

_CHUNK: Final = 256 * 1024

# What a worker says on stderr beyond its tokens is kept for the error that explains its end.
_MAX_TAIL: Final = 8192

_PAGE: Final = os.sysconf("SC_PAGE_SIZE")

# How often the kernel is asked whether the worker has read its request, once somebody wants to interrupt it.
_POLL: Final = 0.005


class WorkerFailed(CommandFailed):
    """The worker is gone, or talks nonsense; `fields` tell how it ended and what it said."""

    code = "gatherer.worker"


class WorkerProcess:
    """A worker that is running, or was.

    Attributes:
        requests: How many requests it has got.
        stuck: It did not answer the last probe.
        retired: It may be in the middle of something; stop it, and ask another.
        failure: How it ended, or why it was killed; None while it can be asked.
        ended_well: It has ended, because we wanted it to.
    """

    def __init__(
        self, child: Child, profile: Profile, patience: Patience, on_end: "Callable[[WorkerProcess], None]"
    ) -> None:
        self.requests = 0
        self.stuck = False
        self.retired = False
        self.failure: WorkerFailed | None = None
        self.ended_well = False
        self._child = child
        self._profile = profile
        self._patience = patience
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._number = 0  # of the prompt that is due
        self._reader: ReplyReader[Any] | None = None
        self._answer: asyncio.Future[Answer[Any] | WorkerFailed] | None = None
        self._unsent = b""
        self._probes: set[asyncio.Future[bool]] = set()
        self._said = bytearray()  # the tail of its stderr
        self._line = bytearray()  # the line that it has not completed there
        self._stopping = False
        self._gone: asyncio.Future[None] = self._loop.create_future()

    @classmethod
    async def start(
        cls, profile: Profile, patience: Patience, on_end: "Callable[[WorkerProcess], None]"
    ) -> "WorkerProcess":
        """Start a worker and wait for its first prompt.

        Args:
            profile: What kind of worker.
            patience: How long to wait for what.
            on_end: Called when the process has ended.

        Raises:
            WorkerFailed: It ended, or said something else, or nothing for too long.
            CommandFailed: It cannot be started; see `ctld.processes.spawn`.
        """
        worker = cls(await spawn(profile.spawn()), profile, patience, on_end)
        try:
            worker._watch()
            async with asyncio.timeout(patience.start):
                await worker._expect(noop_request())  # the first prompt is what noop is answered with
        except TimeoutError:
            worker._break(f"said nothing within {patience.start:g} s of its start")
        except BaseException:
            await asyncio.shield(worker.kill())
            raise
        if worker.failure:
            await worker.kill()
            raise worker.failure
        return worker

    def __repr__(self) -> str:
        return f"<WorkerProcess pid={self.pid} requests={self.requests}>"

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    @property
    def busy(self) -> bool:
        """Whether it has a request."""
        return self._reader is not None

    @property
    def resident(self) -> int:
        """How many bytes of memory it holds; 0 if it is gone, or nobody can tell for want of descriptors."""
        try:
            with open(f"/proc/{self.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE
        except OSError:
            return 0

    async def ask(self, request: Request[T]) -> Answer[T]:
        """Send a request and wait for the answer.

        Cancelled, it leaves the request where it is: `interrupt()` comes next.

        Raises:
            WorkerFailed: The worker is gone, and nobody knows how far it came.
        """
        self.requests += 1
        answer = self._expect(request)
        self._send(request.wire)
        outcome = await asyncio.shield(answer)
        if isinstance(outcome, WorkerFailed):
            raise outcome
        return outcome

    async def interrupt(self) -> None:
        """End the request that nobody waits for any more, by SIGINT, and by SIGKILL if that is no help."""
        answer = self._answer
        if answer is None or answer.done():
            return
        try:
            async with asyncio.timeout(self._patience.grace):
                while self._is_unread():
                    await asyncio.wait([answer], timeout=_POLL)
                self._signal(signal.SIGINT)
                outcome = await asyncio.shield(answer)
        except TimeoutError:
            await self.kill()
            return
        # What was answered before the signal came may be followed by what the signal does.
        self.retired = not (isinstance(outcome, Answer) and outcome.interrupted)

    async def probe(self) -> bool:
        """Ask for a sign of life, also while a request is executed; return whether it came in time."""
        if self.failure:
            return False
        sign: asyncio.Future[bool] = self._loop.create_future()
        self._probes.add(sign)
        self._signal(signal.SIGUSR1)
        try:
            async with asyncio.timeout(self._patience.probe):
                alive = await sign
        except TimeoutError:
            alive = False
        finally:
            self._probes.remove(sign)
        self.stuck = not alive
        return alive

    async def stop(self) -> None:
        """End a worker that has no request: ask it to, and insist."""
        self._stopping = self._stopping or self.failure is None
        self._send(b"exit\n")
        if await self._is_gone():
            return
        self._signal(signal.SIGTERM)
        if not await self._is_gone():
            await self.kill()

    async def kill(self) -> None:
        """Kill it, and the command that it executes, which has a group of its own."""
        self._stopping = self._stopping or self.failure is None
        self._kill()
        if await self._is_gone():
            return
        # It sleeps in the kernel, or belongs to somebody else.  It is not asked again, and hears
        # of the end by its pipes; whoever wants to know can see it.
        logger.error("gatherer worker %d cannot be killed", self.pid)
        self._break("cannot be killed")
        self._unwatch()
        self._let_go()

    async def _is_gone(self) -> bool:
        """Wait for its end, as long as the grace is."""
        await asyncio.wait([self._gone], timeout=self._patience.grace)
        return self._gone.done()

    def _kill(self) -> None:
        if self._child.status is not None:
            return
        self._signal(signal.SIGSTOP)  # so that it reaps nobody, and their ids stay theirs
        with suppress(OSError):  # a kernel that does not tell who its children are
            with open(f"/proc/{self.pid}/task/{self.pid}/children", "rb") as file:
                commands = file.read().split()
            for command in commands:
                for kill in (os.killpg, os.kill):  # one that is just starting has no group yet
                    with suppress(ProcessLookupError, PermissionError):
                        kill(int(command), signal.SIGKILL)
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        """Signal the worker alone: a command that it is just starting is still in its group."""
        if self._child.status is None:  # until then it is not reaped, and its pid is its own
            with suppress(PermissionError):  # it runs as somebody else: its pipes are all we have
                os.kill(self.pid, number)

    def _expect(self, request: Request[Any]) -> "asyncio.Future[Answer[Any] | WorkerFailed]":
        answer: asyncio.Future[Answer[Any] | WorkerFailed] = self._loop.create_future()
        self._answer = answer
        if self.failure:
            answer.set_result(self.failure)
        else:
            self._reader = ReplyReader(request, self._number, self._profile.max_response)
        return answer

    def _conclude(self, outcome: "Answer[Any] | WorkerFailed") -> None:
        self._reader = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)

    def _break(self, why: str, **fields: object) -> None:
        """Give up on it for good; whoever waits learns why."""
        if self.failure is None:
            tail = self._said.decode(errors="replace")
            self.failure = WorkerFailed(f"gatherer worker {self.pid} {why}", pid=self.pid, stderr=tail, **fields)
        self._conclude(self.failure)
        self._kill()

    # Its pipes.

    def _watch(self) -> None:
        assert self._child.stdout is not None
        assert self._child.stderr is not None
        self._loop.add_reader(self._child.stdout, self._read, self._child.stdout, self._hear)
        self._loop.add_reader(self._child.stderr, self._read, self._child.stderr, self._overhear)
        self._child.on_exit(self._ended)

    def _unwatch(self) -> None:
        for descriptor in (self._child.stdout, self._child.stderr):
            if descriptor is not None:
                self._loop.remove_reader(descriptor)
        if self._child.stdin is not None:
            self._loop.remove_writer(self._child.stdin)
        self._child.close_pipes()

    def _read(self, descriptor: int, take: Callable[[bytes], None]) -> bool:
        """Take what has come; return False if there was nothing."""
        try:
            data = os.read(descriptor, _CHUNK)
        except BlockingIOError:
            return False
        if data:
            take(data)
        else:
            self._loop.remove_reader(descriptor)
        return bool(data)

    def _hear(self, data: bytes) -> None:
        if self._reader is None:
            if self.failure is None:
                self._break("spoke out of turn")
            return
        try:
            answer = self._reader.feed(data)
        except RemoteProtocolError as error:
            self._break(f"broke the protocol: {error}")
            return
        if answer is not None:
            self._number += 1
            self._conclude(answer)

    def _overhear(self, data: bytes) -> None:
        self._said += data
        del self._said[:-_MAX_TAIL]
        *lines, rest = (self._line + data).split(b"\n")
        self._line = rest[-_MAX_TAIL:]
        for line in lines:
            if line == b"ALIVE":
                self._answer_probes(alive=True)  # all: signals that come close together are one
            elif line == b"UNKNOWN COMMAND":
                self._break("did not understand a request")
            elif not line.endswith(b"INTERRUPTED"):
                logger.warning("gatherer worker %d says: %r", self.pid, bytes(line))

    def _answer_probes(self, *, alive: bool) -> None:
        for sign in self._probes:
            if not sign.done():
                sign.set_result(alive)

    def _send(self, data: bytes) -> None:
        if self._child.stdin is None:
            return
        try:
            sent = os.write(self._child.stdin, data)
        except BlockingIOError:
            sent = 0
        except BrokenPipeError:
            return  # it has ended, and its exit will say how
        self._unsent = data[sent:]
        if self._unsent:
            self._loop.add_writer(self._child.stdin, self._resume)

    def _resume(self) -> None:
        assert self._child.stdin is not None
        self._loop.remove_writer(self._child.stdin)
        self._send(self._unsent)

    def _is_unread(self) -> bool:
        """Tell whether something that was sent has not been read by the worker."""
        if self._child.stdin is None:
            return False
        count = array.array("i", [0])
        fcntl.ioctl(self._child.stdin, termios.FIONREAD, count)
        return bool(self._unsent or count[0])

    def _ended(self, status: ExitStatus) -> None:
        for descriptor, take in ((self._child.stdout, self._hear), (self._child.stderr, self._overhear)):
            while descriptor is not None and self._read(descriptor, take):
                pass
        self._unwatch()
        self.ended_well = self._stopping
        self._break(f"ended: {status}", status=status.code, signal=status.signal)
        self._let_go()

    def _let_go(self) -> None:
        if self._gone.done():
            return  # it ends after all, long after we gave up on it
        self._answer_probes(alive=False)
        self._gone.set_result(None)
        self._on_end(self)
