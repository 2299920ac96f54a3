"""What the daemon tells of commands while they run, and what it keeps of them afterwards.

Two listeners, one source: `management` events (native protocol, N6) and the audit log.  Both
see the commands above `observe`, or all where the daemon is configured so; the log also sees
every denial, and a command's own `record=` has the last word there.

What a caller sent is never passed on as it came.  Options are those that the command
declares, without secrets; texts in which a secret may stand (the client's command line, an
error's message) are searched for it.  Where that would cost more than it is worth, the whole
text is blanked: when in doubt, say less.
"""

import time
from collections.abc import Iterable, Mapping
from itertools import chain, islice
from typing import Any, Final

import msgspec

from ctld.commands.context import Origin, Sink
from ctld.commands.denials import DenialBudget
from ctld.commands.operation import Operation
from ctld.commands.outcome import failure_of
from ctld.commands.registry import Command
from ctld.commands.runtime import Runtime
from ctld.errors import CommandFailed, Denied, InvalidOptions, LocalProtocolError
from ctld.history import MAX_OPTIONS, MAX_TEXT
from ctld.history_entry import Entry
from ctld.peer import Peer
from ctld.policy import at_least
from ctld.secret import BLANK, Secret, redact, redact_text, secret_values
from ctld.wait_graph import printable
from ctld.wire.jsontext import encode
from ctld.wire.messages import as_mapping

__all__ = ["MANAGEMENT", "MAX_CLI_SHOWN", "MAX_EVENT_OPTIONS", "Journal"]

MANAGEMENT: Final = "management"
"""The type of the events about commands."""

# Options that are longer as JSON are left out of events: the ring keeps thousands of those.
MAX_EVENT_OPTIONS: Final = 16 * 1024

# The client's command line is a name in "is held by ...": a longer one is cut there.
MAX_CLI_SHOWN: Final = 200

# A text is searched for no more secrets than that: options written by people have a few.
_MAX_SECRETS: Final = 64


class _Told(msgspec.Struct, frozen=True):
    """What may be told of a request.

    Attributes:
        options: Its options as JSON text.
        shown: Its options as plain values; None where they are too long for an event.
        cli: The client's command line.
        secrets: What no text may contain; None: nobody has looked, so that no text can be told.
    """

    options: str
    shown: Any
    cli: str
    secrets: tuple[Secret | str, ...] | None = ()


class Journal:
    """Tells and keeps what the commands of a dispatcher do.

    Args:
        runtime: What the daemon's parts share.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._denials = DenialBudget()

    def follows(self, command: Command) -> bool:
        """Tell whether there is anything to tell or to keep of a command."""
        return self._tells(command) or self._keeps(command)

    def begin(
        self,
        operation: Operation[Any],
        command: Command,
        options: msgspec.Raw | Mapping[str, Any],
        cli: str,
        sink: Sink,
    ) -> None:
        """Note that a command begins; how it ends is noted when its operation does.

        Args:
            operation: Its operation; it gets the command line as it may be shown.
            command: The command.
            options: Its options, as they came.
            cli: The client's command line, as it came.
            sink: Where the request came from.
        """
        followed = self.follows(command)
        if not followed and not command.options.has_secrets:
            operation.cli = printable(cli, MAX_CLI_SHOWN)
            return
        told = _told(command, options, cli)
        operation.cli = printable(told.cli, MAX_CLI_SHOWN)
        if followed:
            note = _Note(self, operation, command, told, sink)
            operation.on_finished = note.end
            note.tell("run")

    def denied(
        self, peer: Peer, command: Command, options: msgspec.Raw | Mapping[str, Any], sink: Sink, error: Denied
    ) -> None:
        """Keep that somebody asked for what he may not have."""
        history = self._runtime.history
        if history is None or command.record is False or not self._denials.admits(peer):
            return
        told = _told(command, options, None)
        history.record(_entry(told, peer, sink.origin, error, command=command.name, time=time.time(), outcome="denied"))

    def _tells(self, command: Command) -> bool:
        return self._runtime.publish_all or not at_least("observe", command.role)

    def _keeps(self, command: Command) -> bool:
        if self._runtime.history is None:
            return False
        if command.record is not None:
            return command.record
        return self._runtime.record_all or not at_least("observe", command.role)


class _Note:
    """One run of a command, between its beginning and its end."""

    __slots__ = ("_events", "_history", "_operation", "_origin", "_told")

    def __init__(self, journal: Journal, operation: Operation[Any], command: Command, told: _Told, sink: Sink) -> None:
        runtime = journal._runtime  # noqa: SLF001 - the two classes are one piece of machinery
        self._events = runtime.events if journal._tells(command) else None  # noqa: SLF001 - see above
        self._history = runtime.history if journal._keeps(command) else None  # noqa: SLF001 - see above
        self._operation = operation
        self._told = told
        # Now, while the caller's process is still there to be asked about.
        self._origin = None if self._history is None else sink.origin

    def tell(self, state: str) -> None:
        """Publish what has become of it."""
        if self._events is not None:
            operation = self._operation
            opts = {} if self._told.shown is None else {"opts": self._told.shown}
            self._events.publish(
                MANAGEMENT, id=operation.id, cmd=operation.command, **opts, peer=str(operation.peer), state=state
            )

    def end(self) -> None:
        """Tell and keep how it ended."""
        operation, error = self._operation, self._operation.error
        self.tell(operation.state)
        if self._history is not None and self._origin is not None:
            entry = _entry(
                self._told,
                operation.peer,
                self._origin,
                error,
                command=operation.command,
                operation=operation.id,
                time=operation.started_at,
                duration=operation.age,
                outcome="denied" if isinstance(error, Denied) else operation.state,
            )
            self._history.record(entry)


def _entry(told: _Told, peer: Peer, origin: Origin, error: CommandFailed | None, **rest: Any) -> Entry:
    return Entry(
        options=told.options,
        cli=told.cli,
        slug="" if error is None else error.code,
        message="" if error is None else _searched(failure_of(error).message, told.secrets),
        peer=str(peer),
        uid=peer.uid,
        gid=peer.gid,
        pid=peer.pid,
        loginuid=origin.loginuid,
        executable=origin.executable,
        connection=origin.connection,
        dialect=origin.dialect,
        **rest,
    )


def _told(command: Command, options: msgspec.Raw | Mapping[str, Any], cli: str | None) -> _Told:
    """Find out what may be told of a request; without `cli`, it is taken from the options."""
    option_set = command.options
    size = len(memoryview(options)) if isinstance(options, msgspec.Raw) else _size_of(options)
    if size > MAX_OPTIONS:  # not worth decoding; and to look for secrets would take as long as the caller likes
        hidden = option_set.has_secrets
        told = f'"{size} bytes, too long to keep"'
        return _Told(told, None, BLANK if hidden else cli or "", None if hidden else ())
    try:
        given = as_mapping(options)
    except InvalidOptions:  # a denial comes before they are decoded
        hidden = option_set.has_secrets
        return _Told('"unreadable"', None, BLANK if hidden else cli or "", None if hidden else ())
    if cli is None:
        cli = given["cli"] if isinstance(given.get("cli"), str) else ""
    declared = option_set.declared(given)
    secrets: list[Secret | str] = []
    if option_set.has_secrets:
        secrets += (value for value in declared.values() if isinstance(value, Secret))
        secrets += secret_values(option_set.schema, declared)
        declared = redact(option_set.schema, declared)
        cli = _searched(cli, secrets)
    try:
        text = encode(declared)
    except LocalProtocolError:  # values that a command was launched with in the program
        return _Told('"not JSON"', None, cli, tuple(secrets))
    shown = msgspec.json.decode(text) if len(text) <= MAX_EVENT_OPTIONS else None
    return _Told(text.decode(), shown, cli, tuple(secrets))


def _size_of(options: Mapping[str, Any]) -> int:
    """Return about how many bytes options take as JSON; stops as soon as they are too many to keep."""
    size = 0
    left: list[Any] = [options]
    while left and size <= MAX_OPTIONS:
        value = left.pop()
        if isinstance(value, str | bytes):
            size += len(value)
        elif isinstance(value, Mapping):
            left += islice(chain.from_iterable(value.items()), MAX_OPTIONS)
        elif isinstance(value, list | tuple | set | frozenset):
            left += islice(value, MAX_OPTIONS)
        size += 1
    return size


def _searched(text: str, secrets: Iterable[Secret | str] | None) -> str:
    """Blank secrets in a text; all of it where a search would take long, or nobody knows them."""
    if secrets is None:
        return BLANK if text else text
    # A secret that is longer than the text does not stand in it, however it is quoted.
    wanted = [secret for secret in secrets if len(_revealed(secret)) <= len(text)]
    if not wanted:
        return text
    return BLANK if len(wanted) > _MAX_SECRETS or len(text) > MAX_TEXT else redact_text(text, wanted)


def _revealed(secret: Secret | str) -> str:
    return secret.reveal() if isinstance(secret, Secret) else secret
