"""The exception tree of ctld: whose fault, which slug, what data.

Everything that ctld raises on purpose is a `CtldError`.  Below it stand four branches:

* `CommandFailed` and its subclasses end one request.  Each carries the slug that goes on
  the wire (specification of the native protocol, N3) and structured fields; the clients
  raise the very same classes, so a caller catches `Denied` wherever the command ran.
* `ProtocolError`: one side broke the rules of a wire.
* `ConnectionFailed`: the other side cannot be reached, or is gone.
* `ConfigError` and `RegistrationError`: the program was put together wrongly.

This module imports nothing, because everything imports it, the light client included.
"""

__all__ = [
    "AddressInUse",
    "BadRequest",
    "BadSyntax",
    "Busy",
    "Cancelled",
    "CommandFailed",
    "ConfigError",
    "ConnectFailed",
    "ConnectionFailed",
    "ConnectionLost",
    "CtldError",
    "DeadlineExceeded",
    "Deadlock",
    "Denied",
    "InternalError",
    "InvalidOptions",
    "ListenFailed",
    "LocalProtocolError",
    "Locked",
    "NotFound",
    "ProtocolError",
    "RegistrationError",
    "RemoteProtocolError",
    "ShuttingDown",
    "TooLarge",
    "UnknownCommand",
    "error_from_wire",
]


class CtldError(Exception):
    """The root of everything that ctld raises on purpose.

    Attributes:
        code: The slug of this kind of error; on the wire for what ends a request.
    """

    code: str = "internal"


class ConfigError(CtldError):
    """The configuration cannot be used; the message names file, line and key where known."""

    code = "config"


class RegistrationError(CtldError):
    """A command cannot be registered as it is written: a mistake in the program."""

    code = "registration"


class ListenFailed(CtldError):
    """An address cannot be listened on; the message names the address and the reason."""

    code = "listen"


class AddressInUse(ListenFailed):
    """Somebody else listens on that address."""


class ProtocolError(CtldError):
    """One side broke the rules of a wire."""

    code = "protocol"


class RemoteProtocolError(ProtocolError):
    """The peer sent something after which the connection cannot go on."""


class LocalProtocolError(ProtocolError):
    """This side tried to send what the wire cannot carry, or out of turn."""


class ConnectionFailed(CtldError):
    """The other side cannot be reached, or is gone."""

    code = "connection"


class ConnectFailed(ConnectionFailed):
    """No connection could be made; the message says what to do about it."""


class ConnectionLost(ConnectionFailed):
    """The connection ended while an answer was awaited."""


class CommandFailed(CtldError):
    """A request ends without a result: the command said so.

    Subclass it for slugs of your own, with a prefix: `code = "vm.paused"`.

    Attributes:
        message: One sentence for people.
        code: The slug for programs.
        fields: Further keys of the final message, for programs.
    """

    code = "failed"

    def __init__(self, message: str, **fields: object) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,), self.__dict__)


class BadSyntax(CommandFailed):
    """The line is no JSON."""

    code = "syntax"


class BadRequest(CommandFailed):
    """The line is JSON, but no request."""

    code = "bad-request"


class TooLarge(CommandFailed):
    """A request or a result exceeds the bound on one line."""

    code = "too-large"


class UnknownCommand(CommandFailed):
    """No command of that name is registered here."""

    code = "unknown-command"


class InvalidOptions(CommandFailed):
    """An option is unknown, missing or of the wrong type; `fields["path"]` says which."""

    code = "invalid-options"


class Denied(CommandFailed):
    """The peer may not do that; `fields` name the `role` it needs and a `remedy`."""

    code = "denied"


class NotFound(CommandFailed):
    """The thing that was named does not exist; `fields` name its `kind` and `name`."""

    code = "not-found"


class Locked(CommandFailed):
    """Somebody else holds the resource; `fields` name `resource`, `holder` and `since`."""

    code = "locked"


class Deadlock(CommandFailed):
    """Waiting would never end; `fields["cycle"]` names who waits for whom."""

    code = "deadlock"


class DeadlineExceeded(CommandFailed):
    """The deadline that came with the request has passed."""

    code = "deadline"


class Cancelled(CommandFailed):
    """The request was cancelled on somebody's wish."""

    code = "cancelled"


class Busy(CommandFailed):
    """A bound is reached; the same request may succeed later."""

    code = "busy"


class ShuttingDown(CommandFailed):
    """The daemon is going down and starts nothing new."""

    code = "shutting-down"


class InternalError(CommandFailed):
    """The daemon has a defect; `fields["ref"]` finds the traceback in its log."""

    code = "internal"


_BY_CODE: dict[str, type[CommandFailed]] = {
    cls.code: cls
    for cls in (
        BadSyntax,
        BadRequest,
        TooLarge,
        UnknownCommand,
        InvalidOptions,
        Denied,
        NotFound,
        Locked,
        Deadlock,
        DeadlineExceeded,
        Cancelled,
        Busy,
        CommandFailed,
        ShuttingDown,
        InternalError,
    )
}


def error_from_wire(message: str, code: str = "failed", fields: dict[str, object] | None = None) -> CommandFailed:
    """Build the error that a failure message stands for.

    Args:
        message: The message for people.
        code: The slug; one that no class knows makes a `CommandFailed` with that `code`.
        fields: The further keys of the final message.

    Returns:
        An instance of the class that has this slug.
    """
    error = _BY_CODE.get(code, CommandFailed)(message)
    error.code = code
    error.fields = dict(fields or {})
    return error
