"""Events as the asynchronous client sees them: a subscription to enter, and to iterate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ctld.client.results import as_type
from ctld.events import Event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctld.client.exchange import Exchange

__all__ = ["EventStream", "subscription_options"]


def subscription_options(
    types: Sequence[str], opts: Mapping[str, object] | None, since: int | None
) -> dict[str, object]:
    """Return the options of `event_subscribe`."""
    options: dict[str, object] = {"type": list(types)} if types else {}
    if opts:
        options["opts"] = opts
    if since is not None:
        options["since"] = since
    return options


class EventStream:
    """A subscription: `async with client.events("state") as events: async for event in events: ...`.

    From the beginning of the block on nothing is missed: what cannot be delivered is told by
    an event of the type `gap`.  A task that is cancelled while it waits for the next event, by
    a time-out for example, may go on iterating afterwards.
    """

    def __init__(self, exchange: Exchange) -> None:
        exchange.lasting = True
        self._exchange = exchange

    async def __aenter__(self) -> Self:
        """Wait until the subscription stands.

        Raises:
            CommandFailed: The server refuses it.
            ConnectionFailed: The server went away.
        """
        await self._next()  # "subscribed"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._exchange.abandon()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """Return the next event.

        Raises:
            ShuttingDown: The server stops; there are no more.
            ConnectionFailed: The server went away.
        """
        return as_type(await self._next(), Event, self._exchange.command)

    async def _next(self) -> Any:
        exchange = self._exchange
        while not exchange.items:
            if exchange.error is not None:
                raise exchange.error.with_traceback(None)
            await exchange.wait()
        return exchange.take_item()
