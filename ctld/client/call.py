"""What the asynchronous client returns: a call to await, or a stream of items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ctld.client.results import as_type

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ctld.client.exchange import Exchange
    from ctld.wire.messages import Progress

__all__ = ["Call", "ItemStream"]

T = TypeVar("T")


class Call(Generic[T]):
    """A command under way.  Await it: the result.  Iterate it: its progress, as it comes.

    Cancelling a task that does either cancels the command, waits a little for its end and
    then lets the cancellation go on.  Progress that nobody reads is kept up to a bound; the
    oldest is dropped first.  A call that is neither awaited nor iterated runs all the same.
    """

    def __init__(self, exchange: Exchange, result: type[T] | None) -> None:
        self._exchange = exchange
        self._result = result

    def __repr__(self) -> str:
        return f"<Call {self._exchange.command} {'done' if self.done else 'running'}>"

    @property
    def done(self) -> bool:
        """Whether the command has ended, so that awaiting returns at once."""
        return self._exchange.done

    def __await__(self) -> Generator[Any, None, T]:
        """Wait for the result.

        Raises:
            CommandFailed: The command failed; one class per slug, such as `Denied`.
            ConnectionFailed: The server went away.
            ProtocolError: One side broke the rules.
        """
        return self._finish().__await__()

    async def _finish(self) -> T:
        exchange = self._exchange
        while not exchange.done:
            await exchange.changed()
        if exchange.error is not None:
            raise exchange.error.with_traceback(None)  # awaited again, it must not grow
        value: T = exchange.response
        return value if self._result is None else as_type(value, self._result, exchange.command)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Progress:
        exchange = self._exchange
        while not exchange.news:
            if exchange.done:
                raise StopAsyncIteration
            await exchange.changed()
        return exchange.news.popleft()

    def cancel(self) -> None:
        """Ask the server to cancel the command: awaiting it then raises `Cancelled`.

        It may still end with its result, if that came first.  A server of version 1 cannot
        cancel: then only this call ends, and the command goes on.
        """
        self._exchange.cancel()


class ItemStream(Generic[T]):
    """The items of a result, as they come.

    Leaving it early cancels the command: at once by `aclose()` (`contextlib.aclosing`), else
    when the last reference to it goes.
    """

    def __init__(
        self, exchange: Exchange, result: type[T] | None, on_progress: Callable[[Progress], object] | None
    ) -> None:
        self._exchange = exchange
        self._result = result
        self._on_progress = on_progress
        self._whole: list[Any] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        exchange = self._exchange
        while True:
            while exchange.news:
                update = exchange.news.popleft()
                if self._on_progress is not None:
                    self._on_progress(update)
            if exchange.items:
                return self._typed(exchange.take_item())
            if exchange.done:
                return self._typed(self._next_of_whole())
            await exchange.changed()

    def _next_of_whole(self) -> Any:
        """Return the next item of a result that came in one piece, or end."""
        exchange = self._exchange
        if exchange.error is not None:
            raise exchange.error.with_traceback(None)
        if self._whole is None:
            value = exchange.response
            self._whole = [] if value is None else list(value) if isinstance(value, list) else [value]
            self._whole.reverse()
        if not self._whole:
            raise StopAsyncIteration
        return self._whole.pop()

    def _typed(self, value: Any) -> T:
        return as_type(value, self._result, self._exchange.command) if self._result is not None else value

    def cancel(self) -> None:
        """Ask the server to cancel the command; what it has sent can still be read."""
        self._exchange.cancel()

    async def aclose(self) -> None:
        """Cancel the command, if it still runs, and drop the items that were not read."""
        self._exchange.abandon()

    def __del__(self) -> None:
        self._exchange.abandon()
