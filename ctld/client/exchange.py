"""One request under way, between the connection that hears of it and the tasks that wait.

The connection calls the `on_` methods, which never block; tasks await `changed()`.  An
exchange ends exactly once: by its final message, by its deadline, with its connection, or
because it was given up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol

from ctld.client.wire import Update
from ctld.errors import Cancelled, CtldError, DeadlineExceeded, TooLarge
from ctld.wire.messages import Progress

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CANCEL_WAIT", "HIGH_WATER", "MAX_HELD", "PROGRESS_KEPT", "Exchange", "Wire"]

# Seconds that a cancelled task waits for the final message before it goes on without.
CANCEL_WAIT: Final = 5.0

# Progress messages kept for a caller that is slow to read them, or never does: they are
# news for people, of which the oldest are worth least.
PROGRESS_KEPT: Final = 1024

# Bytes of items of one stream that wait for their reader; above it reading pauses, if no
# other task waits for an answer over the same connection.
HIGH_WATER: Final = 1024 * 1024

# Bytes of items at which a stream is given up: its reader does something else on this
# connection, and pausing would keep the answer from it.
MAX_HELD: Final = 64 * 1024 * 1024


class Wire(Protocol):
    """What an exchange needs of its connection."""

    def send_cancel(self, exchange: Exchange) -> bool:
        """Ask the server to cancel it; False if the server cannot."""
        ...

    def forget(self, exchange: Exchange) -> None:
        """Drop whatever the server still says about it."""
        ...

    def waiting(self, more: int) -> None:
        """Learn that so many more tasks wait for an answer."""
        ...

    def balance(self, exchange: Exchange) -> None:
        """Learn that the items held by an exchange have become more, or fewer."""
        ...


class Exchange:
    """A request, what came of it so far, and who waits for more."""

    def __init__(self, wire: Wire, request_id: int, command: str) -> None:
        self.id = request_id
        self.command = command
        self.news: deque[Progress] = deque(maxlen=PROGRESS_KEPT)
        self.items: deque[tuple[Any, int]] = deque()
        self.held = 0
        self.done = False
        self.lasting = False  # every response is one of many; only a failure ends it
        self.response: Any = None
        self.error: CtldError | None = None
        self.deadline = 0.0
        self.timer: asyncio.TimerHandle | None = None
        self._wire = wire
        self._waiters: set[asyncio.Future[None]] = set()

    def on_progress(self, message: Mapping[str, Any]) -> None:
        """Keep a progress message."""
        update = Update(message)
        self.news.append(Progress(update.message, update.current, update.total, update.unit, update.data, update.seq))
        self._wake()

    def on_item(self, value: Any, size: int) -> None:
        """Keep an item of a streamed result."""
        self.items.append((value, size))
        self.held += size
        if self.held > MAX_HELD:
            self.give_up(TooLarge(f"more than {MAX_HELD} bytes of {self.command} were not read"))
        else:
            self._wire.balance(self)
            self._wake()

    def take_item(self) -> Any:
        """Return the next item."""
        value, size = self.items.popleft()
        self.held -= size
        self._wire.balance(self)
        return value

    def abandon(self) -> None:
        """Give it up because nobody reads its items, and drop those that are here."""
        self.give_up(Cancelled(f"the items of {self.command} were not read to the end"))
        self.items.clear()
        self.held = 0
        self._wire.balance(self)

    def end(self, response: Any = None, error: CtldError | None = None) -> None:
        """End it with a result or an error; the first one counts."""
        if self.done:
            return
        self.done = True
        self.response, self.error = response, error
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self._wake()

    def cancel(self) -> None:
        """Ask the server to cancel it; where the server cannot, end it on this side alone."""
        if not self.done and not self._wire.send_cancel(self):
            self.give_up(Cancelled(f"{self.command} was given up; the daemon cannot cancel, so it goes on there"))

    def give_up(self, error: CtldError) -> None:
        """End it without its final message, whatever the server still says."""
        if not self.done:
            self._wire.send_cancel(self)
            self._wire.forget(self)
            self.end(error=error)

    def expire(self) -> None:
        """End it because the server should have answered by now."""
        self.give_up(DeadlineExceeded(f"no answer to {self.command} within its deadline of {self.deadline:g} s"))

    async def changed(self) -> None:
        """Wait for news of any kind.

        A task that is cancelled here cancels the request and waits for its end, a little,
        so that what it does next finds the command stopped.
        """
        try:
            await self._wait()
        except asyncio.CancelledError:
            if not self.done:
                self.cancel()
                await self._settle()
            raise

    async def wait(self) -> None:
        """Wait for news of any kind; a task that is cancelled here leaves the request alone."""
        await self._wait()

    async def _settle(self) -> None:
        try:
            async with asyncio.timeout(CANCEL_WAIT):
                while not self.done:
                    await self._wait()
        except TimeoutError:
            pass
        finally:
            self.give_up(Cancelled(f"{self.command} was cancelled; its end has not been seen"))

    async def _wait(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        self._wire.waiting(1)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)
            self._wire.waiting(-1)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
