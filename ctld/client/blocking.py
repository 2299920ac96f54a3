"""The blocking client: a call is a function call.

It needs the standard library only; msgspec is loaded by the first call with `result=`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ctld.client.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from ctld.client.blocking_session import BlockingSession
    from ctld.client.wire import Update
    from ctld.events import Event

__all__ = ["Client"]

T = TypeVar("T")

_NOTHING: Mapping[str, object] = {}


class Client(Conversation):
    """A connection to a daemon, one call at a time.

    It connects at the first call, or on entering `with`; after a lost connection the next
    call makes a new one.  It is not thread-safe: give each thread a client of its own.
    Only `cancel()` may be called from a signal handler while a call is under way.

    Args:
        address: `unix:PATH`, a path, `tcp:HOST:PORT`, `tls:HOST:PORT` or `ssh://HOST`; None: `CTLD_SOCKET`,
            else the default of this user.
        tls: For `tls:`; None: as `CTLD_TLS_CA`, `CTLD_TLS_CERT` and `CTLD_TLS_KEY` say.
        max_line: The longest message to take from the server, in bytes.
        remote: For `ssh:`, the program to start over there.

    Raises:
        ConfigError: The address is none that a client can connect to.
    """

    @overload
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        result: type[T],
        deadline: float | None = None,
        on_progress: Callable[[Update], object] | None = None,
    ) -> T: ...
    @overload
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        deadline: float | None = None,
        detach: bool = False,
        on_progress: Callable[[Update], object] | None = None,
    ) -> Any: ...
    def call(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        result: type[Any] | None = None,
        deadline: float | None = None,
        detach: bool = False,
        on_progress: Callable[[Update], object] | None = None,
    ) -> Any:
        """Run a command and return its result.

        Args:
            command: Its name.
            opts: Its options.
            result: The type to make of the result, by msgspec; None: as JSON has it.
            deadline: Seconds after which the server cancels it; a server that stays silent
                is given up a few seconds later.
            detach: Return at once with `{"operation": ID}`, while the command goes on.
            on_progress: Called with each progress message.

        Raises:
            CommandFailed: It failed; one class per slug, such as `Denied` or `Locked`.
            ConnectionFailed: There is no server, or it went away.
            ProtocolError: One side broke the rules.
        """
        answer: Any = None
        # Closed by hand: the traceback of a callback's error would keep the call open.
        with closing(self.run(command, opts, deadline=deadline, detach=detach)) as news:
            for kind, value in news:
                if kind == "progress":
                    if on_progress is not None:
                        on_progress(value)
                elif kind == "response":
                    answer = value
        return _as_type(answer, result, command)

    @overload
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        result: type[T],
        deadline: float | None = None,
        on_progress: Callable[[Update], object] | None = None,
    ) -> Iterator[T]: ...
    @overload
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = ...,
        /,
        *,
        deadline: float | None = None,
        on_progress: Callable[[Update], object] | None = None,
    ) -> Iterator[Any]: ...
    def stream(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        result: type[Any] | None = None,
        deadline: float | None = None,
        on_progress: Callable[[Update], object] | None = None,
    ) -> Iterator[Any]:
        """Run a command and yield the items of its result as they come.

        The request is sent when the first item is asked for.  A list that comes whole, as
        version 1 sends it, is yielded item by item.  Leaving the loop early cancels the
        command and closes the connection.

        Raises:
            CommandFailed: It failed, perhaps after some items.
            ConnectionFailed: There is no server, or it went away.
            ProtocolError: One side broke the rules.
        """
        with closing(self.run(command, opts, stream=True, deadline=deadline)) as news:
            for kind, value in news:
                if kind == "progress":
                    if on_progress is not None:
                        on_progress(value)
                elif kind == "item":
                    yield _as_type(value, result, command)
                elif value is not None:
                    for item in value if isinstance(value, list) else [value]:
                        yield _as_type(item, result, command)

    def events(
        self, *types: str, opts: Mapping[str, object] | None = None, since: int | None = None
    ) -> Iterator[Event]:
        """Subscribe to events, and return them as they come.

        From the return of this method on nothing is missed: what cannot be delivered is told
        by an event of the type `gap`.  Leaving the loop closes the connection.

        Args:
            types: The wanted types; none: all of them.
            opts: For each key the value that an event must have, or a list of such values.
            since: The number of the last event that is known: what came after it is replayed.

        Raises:
            CommandFailed: The server refuses it; while iterating: it stops.
            ConnectionFailed: There is no server, or it went away.
            ProtocolError: One side broke the rules.
        """
        from ctld.client.subscription import subscription_options
        from ctld.events import Event

        news = self.run("event_subscribe", subscription_options(types, opts, since), lasting=True)
        next(news)  # "subscribed"

        def events() -> Iterator[Event]:
            with closing(news):
                for _, value in news:
                    yield _as_type(value, Event, "event_subscribe")

        return events()

    def session(
        self,
        command: str,
        opts: Mapping[str, object] = _NOTHING,
        /,
        *,
        tty: bool = False,
        rows: int | None = None,
        cols: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        on_disconnect: str | None = None,
    ) -> AbstractContextManager[BlockingSession]:
        """Open a session: run a program on the other side, on a connection of its own.

        Leaving the block hangs the program up if it still runs, or leaves it, as
        `on_disconnect` says.

        Args:
            command: `exec`, `session_attach`, or another command that opens a session.
            opts: Its options.
            tty: Whether the program gets a terminal.
            rows: The height of the window.
            cols: Its width.
            env: Variables to add to the program's environment.
            cwd: The directory to start in.
            on_disconnect: What becomes of the program when the connection is gone: `hangup`,
                `detach` or `kill`.

        Raises:
            CommandFailed: It was refused.
            ConnectionFailed: There is no server, or it went away.
        """
        from ctld.client.blocking_session import open_blocking_session

        wanted = {"tty": tty, "rows": rows, "cols": cols, "env": env, "cwd": cwd, "on_disconnect": on_disconnect}
        return open_blocking_session(self.address, self._tls, self._max_line, command, opts, wanted)


def _as_type(value: Any, wanted: type[Any] | None, command: str) -> Any:
    if wanted is None:
        return value
    from ctld.client.results import as_type

    return as_type(value, wanted, command)
