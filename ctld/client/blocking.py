"""The blocking client: a call is a function call.

It needs the standard library only; msgspec is loaded by the first call with `result=`.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ctld.client.conversation import Conversation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ctld.client.wire import Update

__all__ = ["Client"]

T = TypeVar("T")

_NOTHING: Mapping[str, object] = {}


class Client(Conversation):
    """A connection to a daemon, one call at a time.

    It connects at the first call, or on entering `with`; after a lost connection the next
    call makes a new one.  It is not thread-safe: give each thread a client of its own.
    Only `cancel()` may be called from a signal handler while a call is under way.

    Args:
        address: `unix:PATH`, a path, `tcp:HOST:PORT` or `tls:HOST:PORT`; None: `CTLD_SOCKET`,
            else the default of this user.
        tls: For `tls:`; None: as `CTLD_TLS_CA`, `CTLD_TLS_CERT` and `CTLD_TLS_KEY` say.
        max_line: The longest message to take from the server, in bytes.

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


def _as_type(value: Any, wanted: type[Any] | None, command: str) -> Any:
    if wanted is None:
        return value
    from ctld.client.results import as_type

    return as_type(value, wanted, command)
