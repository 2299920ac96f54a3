"""Exchange: one request on its way, from its arrival to its final message."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextvars import Context as ContextVariables
from typing import Any, Protocol

import msgspec

from ctld.client_handler import ClientHandler, current_request
from ctld.commands.context import Authorize, Origin
from ctld.commands.dispatch import Dispatcher
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of, internal_error
from ctld.commands.permission import require_role
from ctld.commands.runtime import Runtime
from ctld.commands.settling import settle
from ctld.connection import Connection
from ctld.errors import Busy, Cancelled, CommandFailed, DeadlineExceeded, LocalProtocolError
from ctld.hijack import HijackedConnection, check_way
from ctld.peer import Peer
from ctld.policy import ROLES
from ctld.sessions.state import Way
from ctld.stream import Stream
from ctld.wire.messages import Failure, Invalid, Item, Progress, Reply

__all__ = ["Exchange", "Parties"]

logger = logging.getLogger("ctld.connection")


class Parties(Protocol):
    """Who takes part: the conversation that a request belongs to."""

    @property
    def connection(self) -> Connection:
        """The transport side."""
        ...

    @property
    def handler(self) -> ClientHandler[Any]:
        """The author's side."""
        ...

    def others(self, exchange: "Exchange") -> int:
        """Count the requests that are outstanding beside one."""
        ...

    @property
    def origin(self) -> Origin:
        """Where its requests come from."""
        ...


# A Struct, because one is made for every request: an `__init__` in Python would take three times as long.
class Exchange(msgspec.Struct, eq=False, weakref=True):
    """One request on its way: from its arrival to its final message.

    It is the sink of the command that serves it.
    """

    conversation: Parties
    request: Any
    size: int = 0  # bytes of input that it holds on to
    unusual: bool = False  # something is to be looked at before it is answered
    deadline: float | None = None
    operation: Operation[Any] | None = None
    hijack: HijackedConnection | None = None
    may_hold: bool = False  # it asks for a command that may take the connection
    holds: bool = False  # what follows it may not be a request
    interruption: CommandFailed | None = None
    task: asyncio.Task[Any] | None = None  # that serves it, once it has begun to
    carrier: asyncio.Task[Any] | None = None  # that was made for it alone
    cancel_sent: bool = False
    dispatched: bool = False
    lasting: bool = False  # whether it answers more than once, for as long as the client listens
    ended: bool = False  # it has had its final message: what its command leaves running says no more

    # That of a Struct shows all that it holds: a log is no place for somebody's options.
    __repr__ = object.__repr__

    @property
    def authorize(self) -> Authorize | None:
        """What the handler says to a command, where it wants a say."""
        handler = self.conversation.handler
        return handler.authorize if handler.has_authorize else None

    @property
    def server_version(self) -> str | None:
        """The version that the client was told."""
        return self.conversation.handler.server_version()

    @property
    def origin(self) -> Origin:
        """Where the request came from."""
        return self.conversation.origin

    async def answer(self, dispatcher: Dispatcher, task: asyncio.Task[Any] | None) -> Reply | Failure:
        """Answer a request that may be none, or late, or interrupted, or is for the handler's own `handle_cmd()`.

        Args:
            dispatcher: The way to the commands; a request that is not `unusual` can take it without this detour.
            task: The task that this runs in.
        """
        request = self.request
        if type(request) is Invalid:
            return Failure(request.message, request.code, request.fields)
        if self.interruption is not None:
            return failure_of(self.interruption)
        if self.deadline is not None and asyncio.get_running_loop().time() >= self.deadline:
            return Failure(f"{request.cmd[:200]} had to wait too long", DeadlineExceeded.code)
        self.task = task
        handler = self.conversation.handler
        token = current_request.set(self) if handler.has_handle_cmd else None
        timer = self._start_clock() if handler.has_handle_cmd or handler.has_authorize else None
        try:
            if token is None:
                outcome = await dispatcher.run(
                    handler.peer,
                    request.cmd,
                    request.options,
                    self,
                    stream=request.stream,
                    detach=request.detach,
                    deadline=self.deadline,
                )
            else:
                outcome = await handler.handle_cmd(request)
                if type(outcome) is not Reply or not (self.dispatched or handler.peer.role == ROLES[-1]):
                    self._check(outcome, dispatcher.runtime)
        except CommandFailed as exc:
            outcome = failure_of(exc)
        except asyncio.CancelledError:
            reason = self._interrupted_by(task)
            if reason is None:
                raise
            outcome = failure_of(reason)
        except (KeyboardInterrupt, GeneratorExit):
            raise  # not the handler's, as in the dispatcher
        except BaseException as exc:  # noqa: BLE001 - the boundary: a handler's handle_cmd() may have any defect
            outcome = failure_of(internal_error(logger, f"handle_cmd() of {request.cmd[:200]!r}", exc))
        finally:
            if token is not None:
                current_request.reset(token)
            if timer is not None:
                timer.cancel()
        if self.cancel_sent or (token is not None and task is not None and task.cancelling()):
            await self.settle()
        return outcome

    def _interrupted_by(self, task: asyncio.Task[Any] | None) -> CommandFailed | None:
        """Return why a cancellation that has come through was meant for the request; None: it was for the task."""
        if self.interruption is not None or self.operation is None or task is None or task.cancelling():
            return self.interruption
        # Its command has taken it back; but `wait_for()` around it, before Python 3.12, delivers it all the same.
        return self.operation.interruption

    def _start_clock(self) -> asyncio.TimerHandle | None:
        """Bound what the author's side does before the dispatcher keeps the deadline (N4: waiting included)."""
        if self.deadline is None:
            return None
        late = DeadlineExceeded(f"{self.request.cmd[:200]} took too long")
        # It keeps its context, and asyncio keeps a cancelled timer until its time comes: so an empty one.
        return asyncio.get_running_loop().call_at(self.deadline, self.interrupt, late, context=ContextVariables())

    def _check(self, outcome: object, runtime: Runtime) -> None:
        """Hold what an override of `handle_cmd()` returns to the contract (N7).

        Raises:
            Denied: It answered by itself, and the peer does not have the role for that.
            InternalError: It returned something else, or a failure without a message.
        """
        what = self.request.cmd[:200]
        if type(outcome) is Reply:
            if not self.dispatched:
                require_role(runtime, self.conversation.handler.peer, "admin", what)
        elif type(outcome) is not Failure or not outcome.message:
            returned = f"handle_cmd() of {what!r} returned {type(outcome).__name__}, or no message"
            raise internal_error(logger, returned, None)

    def send_progress(self, update: Progress) -> Awaitable[None] | None:
        """Send progress; returns what to wait for while the client reads too slowly."""
        if self.ended or (self.hijack is not None and self.hijack.way is not Way.FDS):
            return None  # nobody waits for it, or the bytes are no messages any more; who watches the operation sees it
        connection = self.conversation.connection
        connection.send(update, self.request.id)
        return connection.drained() if connection.congested else None

    def send_item(self, item: Item) -> Awaitable[None] | None:
        """Send an item; returns what to wait for while the client reads too slowly."""
        return self._send(item)

    def send_interim(self, reply: Reply) -> Awaitable[None] | None:
        """Send an answer that is not the last one; returns what to wait for while the client reads too slowly."""
        self.lasting = True
        drained = self._send(reply)
        if self.conversation.connection.input_ended:
            self.on_end_of_input()
        return drained

    def _send(self, message: Item | Reply) -> Awaitable[None] | None:
        if self.ended:
            return None
        connection = self.conversation.connection
        connection.send(message, self.request.id)
        return connection.drained() if connection.congested else None

    def begun(self, operation: Operation[Any]) -> None:
        """Learn which operation serves the request."""
        self.operation = operation
        if self.interruption is not None:
            operation.interrupt(self.interruption)
        elif operation.on_disconnect == "cancel" and self.conversation.connection.gone:
            operation.interrupt(Cancelled("the client has gone"))

    def on_end_of_input(self) -> None:
        """The client sends no more; on TCP a client that has gone looks just like that."""
        if self.lasting and self.conversation.connection.kind == "tcp":
            self.interrupt(Cancelled("the client sends no more, and over TCP that is as good as gone"))

    def become(self, peer: Peer) -> None:
        """Serve the rest of the conversation as another peer."""
        self.conversation.handler.peer = peer

    @property
    def session(self) -> Mapping[str, Any] | None:
        """What the client wants of a session; None where it does not say."""
        wanted: Mapping[str, Any] | None = self.request.session
        return wanted

    def hold(self) -> None:
        """Let nothing be understood that follows: the command may take the connection."""
        self.holds = True
        self.conversation.connection.hold()

    async def take_over(self, way: Way, session_id: str = "") -> Stream:
        """Say "continue", and give the connection's bytes to the command."""
        connection = self.conversation.connection
        check_way(way, connection.kind)
        if not self.holds or self.hijack is not None:
            raise LocalProtocolError("only a command with session=True takes the connection, and once")
        if self.conversation.others(self):
            raise Busy("other requests of this connection are outstanding")
        if connection.gone:
            raise Cancelled("the client has gone")
        self.hijack = HijackedConnection(connection, way)
        self.hijack.say_continue(session_id if self.session is not None else "", self.request.id)
        await self.hijack.flush()
        return self.hijack

    def say(self, outcome: Reply | Failure, *, more: bool) -> None:
        """Send the last word, in whatever way the connection is in (N5).

        Raises:
            LocalProtocolError: The wire cannot carry it; nothing of it has been sent.
        """
        self.ended = True
        said = outcome if self.hijack is None else self.hijack.last_word(outcome)
        if said is not None:
            self.conversation.connection.send(said, self.request.id, more=more)

    def conclude(self, outcome: Reply | Failure, more: bool) -> bool:
        """Send the last word, and let go of what the request held; True: the connection ends with it."""
        connection = self.conversation.connection
        self.ended = True
        try:
            if self.hijack is None:
                connection.send(outcome, self.request.id, more)
            else:
                self.say(outcome, more=more)
        except LocalProtocolError as exc:
            self.say(failure_of(internal_error(logger, f"the result of {self.request.cmd[:200]!r}", exc)), more=more)
        connection.queued -= self.size
        if connection.charged:
            connection.regulate()
        if not self.holds:
            return False
        self.holds = False
        if self.hijack is None:
            connection.resume()
            return False
        self.hijack.give_back()
        return not self.hijack.goes_on

    def interrupt(self, reason: CommandFailed) -> None:
        """Have it end with this reason, wherever it is."""
        if self.operation is not None and not self.operation.finished:
            self.operation.interrupt(reason)
        elif self.interruption is None:
            self.interruption = reason
            self.unusual = True
            if self.task is not None:
                self.cancel_sent = True
                self.task.cancel()

    async def settle(self) -> None:
        """Take back what cancelling the request, or its handler, left counted in the task."""
        if self.task is not None and (self.cancel_sent or self.task.cancelling()):
            interrupted, self.cancel_sent = self.cancel_sent, False
            await settle(self.task, interrupted=interrupted)
