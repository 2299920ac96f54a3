"""Built-in commands about events: subscribe to those to come, list those of late."""

import logging
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.fitting import fitting
from ctld.commands.journal import MANAGEMENT
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.errors import BadRequest, LocalProtocolError, ShuttingDown
from ctld.events import RING_SIZE, Event

__all__ = ["event_commands"]

logger = logging.getLogger("ctld.commands")

_DEFAULT_LIMIT: Final = 100

_Types = Annotated[str | list[str] | None, Option("only events of this type, or of these")]
_Filter = Annotated[
    dict[str, Any] | None, Option("only events with these details: for each key a value, or a list of values")
]


def event_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("event_subscribe", role="observe", many_answers=True, on_disconnect="cancel")
    async def event_subscribe(
        ctx: Context,
        type: _Types = None,
        opts: _Filter = None,
        since: Annotated[int | None, Option("replay what came after this number")] = None,
    ) -> str:
        """Answer "subscribed", and then with every event, until the client closes or cancels."""
        if ctx.operation.detached:
            raise BadRequest("a subscription needs a client that listens: it cannot be detached")
        listener = _Listener(ctx)
        with ctx.events.subscribe(*_types(type), since=since, opts=opts) as subscription:
            await listener.send("subscribed")
            while True:
                event = await anext(subscription)
                if event.type != MANAGEMENT or event.opts.get("id") != ctx.operation.id:
                    await listener.tell(event)

    @commands.command("event_list", role="observe")
    async def event_list(
        ctx: Context,
        type: _Types = None,
        opts: _Filter = None,
        since: Annotated[int | None, Option("only what came after this number, the oldest first")] = None,
        limit: Annotated[int, msgspec.Meta(ge=1, le=RING_SIZE), Option("how many at most")] = _DEFAULT_LIMIT,
    ) -> list[Event]:
        """List events of late: those after a number, or the newest ones; no more than 4 MiB at once."""
        found = ctx.events.past(*_types(type), opts=opts, since=since, limit=limit)
        return fitting(reversed(found))[::-1] if since is None else fitting(found)

    return commands


def _types(wanted: str | list[str] | None) -> list[str]:
    return [wanted] if isinstance(wanted, str) else wanted or []


class _Listener:
    """The client of a subscription, which may have stopped to read."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._waiting = False
        ctx.operation.on_stop = self._give_up

    async def send(self, response: object) -> None:
        self._waiting = True
        try:
            await self._ctx.send_interim(response)
        finally:
            self._waiting = False

    async def tell(self, event: Event) -> None:
        try:
            await self.send({"type": event.type, "opts": event.opts, "seq": event.seq, "time": event.time})
        except LocalProtocolError as exc:  # the publisher's mistake is no reason to lose the subscribers
            logger.error("! event %d of type %r cannot be sent: %s", event.seq, event.type, exc)  # noqa: TRY400 - no traceback tells who published it

    def _give_up(self) -> None:
        """Do not hold up the end of the daemon for one who does not read."""
        if self._waiting:
            self._ctx.operation.interrupt(ShuttingDown("the daemon is shutting down"))
