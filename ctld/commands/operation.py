"""What runs, or has run: one entry per command that was asked for.

An operation can be interrupted by several people for several reasons: its client, another
one, its deadline, the shutdown.  The first one wins.  To interrupt is to cancel the task at
whatever it awaits, with the reason noted here, so that the dispatcher can tell this
cancellation from any other and answer with the reason.  A shielded section postpones that.
"""

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Literal

import msgspec
from typing_extensions import TypeVar

from ctld.errors import Busy, Cancelled, CommandFailed, NotFound
from ctld.locks import current_locks
from ctld.peer import Peer, Role
from ctld.wire.messages import Progress, Reply

__all__ = ["Operation", "OperationTable", "State"]

logger = logging.getLogger("ctld.commands")

T = TypeVar("T", default=Any)

State = Literal["running", "done", "failed", "cancelled"]

# Codes of endings that somebody wished for, or time brought about: not the command's failure.
_CANCELLED_CODES: Final = frozenset({"cancelled", "deadline", "shutting-down"})


class _News:
    """What an operation has said so far."""

    __slots__ = ("kept", "seq")

    def __init__(self, most: int) -> None:
        self.kept: deque[Progress] = deque(maxlen=most)
        self.seq = 0


# A Struct, because one is made for every request: an `__init__` in Python would take three times as long.
class Operation(msgspec.Struct, Generic[T], eq=False, weakref=True):
    """One run of a command, as seen from outside of it.

    Attributes:
        command: The name of the command.
        peer: Who asked for it.
        role: The role that its command needs.
        cli: The client's command line, if it told.
        started: When it began, by `time.monotonic()`.
        started_at: When it began, by the clock on the wall.
        detached: Whether it runs on its own, so that its result is kept for those who ask.
        on_disconnect: What a vanished client means for it.
        task: The task that runs it, or that its client's other requests share.
        manipulation_lock: What the request says about locks that others hold.
        on_stop: Called when the command should end soon.
        on_finished: Called when it has ended, after its state is set.
        cancel_sent: Whether the task has been told of an interruption.
        interruption: Why somebody wants it to end, if somebody does.
    """

    _table: "OperationTable"
    number: int
    command: str
    peer: Peer
    role: Role
    started: float
    cli: str = ""
    task: asyncio.Task[Any] | None = None
    on_disconnect: str = "continue"
    manipulation_lock: object = None
    detached: bool = False
    cancel_sent: bool = False
    interruption: CommandFailed | None = None
    _ending: Reply | CommandFailed | None = None
    on_finished: Callable[[], None] | None = None
    _news: _News | None = None  # made when it first says something
    _changed: asyncio.Event | None = None
    _shields: int = 0
    on_stop: Callable[[], None] | None = None
    _stop_requested: bool = False
    _stop_event: asyncio.Event | None = None

    # That of a Struct shows all that it holds: a log is no place for somebody's options.
    __repr__ = object.__repr__

    @property
    def id(self) -> str:
        """Its id, unique across restarts of the daemon."""
        return f"{self._table.boot}-{self.number}"

    @property
    def started_at(self) -> float:
        """When it began, by the clock on the wall."""
        return time.time() - (time.monotonic() - self.started)

    @property
    def age(self) -> float:
        """How many seconds ago it began."""
        return time.monotonic() - self.started

    @property
    def latest(self) -> Progress:
        """Its latest progress message; an empty one before the first."""
        return self._news.kept[-1] if self._news is not None else Progress()

    @property
    def seq(self) -> int:
        """The number of its latest progress message."""
        return 0 if self._news is None else self._news.seq

    @property
    def holder(self) -> str:
        """Its name in "is held by ...": the client's `cli` in quotes, else the command (N3)."""
        return f"'{self.cli}'" if self.cli else self.command

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self._ending is not None

    @property
    def state(self) -> State:
        """`running`, `done`, `failed` or `cancelled`."""
        ending = self._ending
        if isinstance(ending, CommandFailed):
            return "cancelled" if ending.code in _CANCELLED_CODES else "failed"
        return "running" if ending is None else "done"

    @property
    def result(self) -> Any:
        """What it returned, once it has."""
        return self._ending.response if isinstance(self._ending, Reply) else None

    @property
    def error(self) -> CommandFailed | None:
        """Why it failed, once it has."""
        return self._ending if isinstance(self._ending, CommandFailed) else None

    def cancel(self) -> None:
        """Ask it to end; it ends as `cancelled`, or with its result if that comes first."""
        self.interrupt(Cancelled(f"{self.command} was cancelled"))

    def interrupt(self, reason: CommandFailed) -> None:
        """Cancel what it awaits, so that it ends with this reason; the first reason stands."""
        if self.finished or self.interruption is not None:
            return
        self.interruption = reason
        if not self._shields:
            self._cancel_task()

    def request_stop(self) -> None:
        """Tell the command that it should end soon: its context's `stopping` is set."""
        self._stop_requested = True
        if self._stop_event is not None:
            self._stop_event.set()
        if self.on_stop is not None:
            self.on_stop()

    @property
    def stopping(self) -> asyncio.Event:
        """Set once the command should end; made when it is first asked for."""
        if self._stop_event is None:
            self._stop_event = asyncio.Event()
            if self._stop_requested:
                self._stop_event.set()
        return self._stop_event

    @asynccontextmanager
    async def shield(self) -> AsyncIterator[None]:
        """Postpone an interruption until the block has ended."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
            if self.interruption is not None and not self._shields:
                self._cancel_task()

    def note(self, message: Any, current: float | None, total: float | None, unit: str, data: Any) -> Progress:
        """Make its next progress message, and keep it for those who watch; see `Progress`."""
        news = self._news
        if news is None:
            self._news = news = _News(self._table.progress_kept)
        news.seq += 1
        update = Progress(message, current, total, unit, data, news.seq)
        news.kept.append(update)
        if self._changed is not None:
            self._changed.set()
        return update

    def finish(self, ending: Reply | CommandFailed) -> None:
        """Note how it ended, and tell everybody who waits."""
        self._ending = ending
        table = self._table
        table._running.pop(self.number, None)  # noqa: SLF001 - the two classes are one piece of machinery
        if self.detached:
            self.task = None
            table._keep(self)  # noqa: SLF001 - see above
        if self.on_finished is not None:
            on_finished, self.on_finished = self.on_finished, None
            try:
                on_finished()
            except Exception:  # the command has ended all the same, and somebody waits for its answer
                logger.exception("! how %s ended cannot be noted", self.command)
        if self._changed is not None:
            self._changed.set()

    def abandon(self, task: "asyncio.Task[Any]") -> None:
        """Note that its task is over, if it ended before it began."""
        if not self.finished:
            self.finish(self.interruption or Cancelled(f"{self.command} was cancelled before it began"))

    async def wait(self) -> T:
        """Return its result once it has ended.

        Raises:
            CommandFailed: It failed, or was cancelled.
            Deadlock: It waits, by whatever detour, for the command that asks.
        """
        while not self.finished:
            await self._change()
        error = self.error
        if error is not None:
            raise error.with_traceback(None)  # else the trace of everybody who has waited would pile up in it
        result: T = self.result
        return result

    async def updates(self, since: int = 0) -> AsyncIterator[Progress]:
        """Iterate over its progress messages after number `since`, until it has ended.

        Raises:
            Deadlock: It waits, by whatever detour, for the command that asks.
        """
        while True:
            kept = () if self._news is None else self._news.kept
            for update in [update for update in kept if update.seq > since]:
                since = update.seq
                yield update
            if self.seq > since:
                continue  # they came while the consumer was busy
            if self.finished:
                return
            await self._change()

    def _cancel_task(self) -> None:
        if self.task is not None and not self.cancel_sent and not self.finished:  # then the task is at work elsewhere
            self.cancel_sent = True
            self.task.cancel()

    async def _change(self) -> None:
        if self._changed is None or self._changed.is_set():
            self._changed = asyncio.Event()
        locks = current_locks.get()
        if locks is None:  # outside of a server there are no locks to wait for in turn
            await self._changed.wait()
            return
        with locks.waiting_for_operation(None, self):
            await self._changed.wait()


class OperationTable:
    """Everything that runs, and what has run on its own a short while ago.

    Args:
        kept: How many ended operations are kept.
        retention: For how many seconds.
        progress_kept: How many progress messages each operation keeps.
    """

    def __init__(self, *, kept: int = 1024, retention: float = 900.0, progress_kept: int = 256) -> None:
        self.boot = f"{time.time_ns() // 1_000_000:x}"
        self.progress_kept = progress_kept
        self.started = 0
        self._kept = kept
        self._retention = retention
        self._running: dict[int, Operation[Any]] = {}
        self._ended: OrderedDict[int, tuple[float, Operation[Any]]] = OrderedDict()

    def start(
        self,
        command: str,
        peer: Peer,
        role: Role = "admin",
        cli: str = "",
        task: asyncio.Task[Any] | None = None,
        on_disconnect: str = "continue",
        manipulation_lock: object = None,
    ) -> Operation[Any]:
        """Make the entry of a command that begins; see `Operation`."""
        self.started = number = self.started + 1
        operation: Operation[Any] = Operation(
            self, number, command, peer, role, time.monotonic(), cli, task, on_disconnect, manipulation_lock
        )
        self._running[number] = operation
        return operation

    def _keep(self, operation: Operation[Any]) -> None:
        """Keep an entry that has ended for a while."""
        self._ended[operation.number] = (time.monotonic(), operation)
        self._forget()

    def find(self, operation_id: str) -> Operation[Any]:
        """Return the operation of that id.

        Raises:
            NotFound: It never was, or ended and its result is not kept any more.
        """
        self._forget()
        boot, _, number = operation_id.partition("-")
        if boot == self.boot and number.isascii() and number.isdecimal() and len(number) < 20:
            with contextlib.suppress(KeyError):
                return self._running[int(number)]
            with contextlib.suppress(KeyError):
                return self._ended[int(number)][1]
        raise NotFound(f"there is no operation {operation_id!r}", kind="operation", name=operation_id)

    def running(self) -> list[Operation[Any]]:
        """Return what runs now, oldest first."""
        return list(self._running.values())

    def check_detached(self, uid: int | None, most: int) -> None:
        """See whether one more may run on its own; one user may have half of them.

        Raises:
            Busy: There are enough.
        """
        alone = [operation for operation in self._running.values() if operation.detached]
        of_user = sum(operation.peer.uid == uid for operation in alone)
        if len(alone) >= most or of_user >= max(1, most // 2):
            raise Busy(f"{of_user if len(alone) < most else len(alone)} operations run without a client already")

    def __iter__(self) -> Iterator[Operation[Any]]:
        """Iterate over what has ended and is kept, then over what runs."""
        self._forget()
        yield from [operation for _, operation in self._ended.values()]
        yield from self.running()

    def __len__(self) -> int:
        """The number of running operations."""
        return len(self._running)

    def _forget(self) -> None:
        oldest_kept = time.monotonic() - self._retention
        while self._ended:
            number, (ended, _) = next(iter(self._ended.items()))
            if ended >= oldest_kept and len(self._ended) <= self._kept:
                return
            del self._ended[number]
