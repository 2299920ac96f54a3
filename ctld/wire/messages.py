"""What travels over a control connection, as frozen values.

They are msgspec Structs and not dataclasses, because one is made for every message: a
frozen Struct costs an eighth of a frozen dataclass.  Every dialect speaks in these terms,
whatever its bytes look like.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from ctld.errors import InvalidOptions

__all__ = [
    "NO_OPTIONS",
    "Banner",
    "Cancel",
    "Continue",
    "Failure",
    "Incoming",
    "Invalid",
    "Item",
    "Options",
    "Outgoing",
    "Progress",
    "Reply",
    "Request",
    "RequestId",
    "as_mapping",
]

RequestId: TypeAlias = int | str

if TYPE_CHECKING:
    Options: TypeAlias = msgspec.Raw | Mapping[str, Any]
else:
    # What msgspec decodes; other dialects pass a mapping, and constructors are not checked.
    Options = msgspec.Raw

NO_OPTIONS: Final = msgspec.Raw(b"{}")
"""The options of a request that has none: always this very object."""


_decode_mapping: Final = msgspec.json.Decoder(dict[str, Any]).decode


def as_mapping(options: msgspec.Raw | Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the options of a request as a mapping, decoded if they are JSON text.

    Raises:
        InvalidOptions: They cannot be decoded: a number that no float can hold, or too many levels.
    """
    if not isinstance(options, msgspec.Raw):
        return options
    try:
        return _decode_mapping(options)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise InvalidOptions(str(exc), path="$") from exc


class Banner(msgspec.Struct, frozen=True, gc=False):
    """The server's first message (native protocol, N1 and N4).

    Attributes:
        version: The version of the daemon, as its handler tells it.
        protocol: The version of the protocol; 1 where the banner does not say.
        features: What of version 2 the server can do.
        max_line: The longest line it takes, in bytes; 0 where it does not say.
        server: The framework behind the daemon, and its version.
    """

    version: Any
    protocol: int = 1
    features: tuple[str, ...] = ()
    max_line: int = 0
    server: str = ""


class Request(msgspec.Struct, frozen=True, gc=False, rename={"options": "opts"}, forbid_unknown_fields=True):
    """Somebody asks for a command.

    Decoding one from a text is strict: what has further keys may be no request at all.

    Attributes:
        cmd: The name of the command.
        options: Its options, as the codec left them: JSON text not decoded yet, or a mapping.
        id: The caller's own name for the request; with one, it runs beside the others.
        deadline: Seconds after its arrival at which it is to be cancelled.
        stream: Whether a command that yields sends each item, or one list of them.
        detach: Whether the answer comes at once, and the command runs on as an operation.
        session: What the caller wants of a session, for commands that take the socket.
    """

    cmd: str
    options: Options = NO_OPTIONS
    id: RequestId | None = None
    deadline: float | None = None
    stream: bool = False
    detach: bool = False
    session: Mapping[str, Any] | None = None

    @property
    def opts(self) -> Mapping[str, Any]:
        """The options as a mapping, decoded anew at each access.

        Raises:
            InvalidOptions: They cannot be decoded, as `as_mapping()` says.
        """
        return as_mapping(self.options)

    def with_opts(self, opts: Mapping[str, Any]) -> "Request":
        """Return the same request with other options, for a handler that rewrites them."""
        return Request(self.cmd, opts, self.id, self.deadline, self.stream, self.detach, self.session)


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """Somebody wants the request with this id cancelled; None: the one without id that runs."""

    id: RequestId | None = None


class Invalid(msgspec.Struct, frozen=True, gc=False):
    """A line that cannot be served: it gets its answer, and the connection goes on."""

    code: str
    message: str
    id: RequestId | None = None
    fields: Mapping[str, object] = {}


class Progress(msgspec.Struct, frozen=True, gc=False):
    """News of a request that still runs.

    Attributes:
        message: A string for people; the ancestor's clients also know structures here.
        current: How much is done.
        total: How much there is.
        unit: Of what: `bytes`, `items`, or a word of the command's own.
        data: Anything for programs.
        seq: The number of this message within its operation, from 1.
    """

    message: Any = ""
    current: float | None = None
    total: float | None = None
    unit: str = ""
    data: Any = None
    seq: int = 0


class Item(msgspec.Struct, frozen=True, gc=False):
    """One element of a streamed result."""

    item: Any


class Continue(msgspec.Struct, frozen=True, gc=False):
    """The connection is no longer for requests: what follows is the command's own (N5).

    Attributes:
        session: The id of the session, where the client knows of such things.
    """

    session: str = ""


# The collector looks into this one: an operation keeps it, and a result may know of its operation.
class Reply(msgspec.Struct, frozen=True):
    """The end of a request that succeeded."""

    response: Any = None


class Failure(msgspec.Struct, frozen=True, gc=False):
    """The end of a request that did not.

    Attributes:
        message: One sentence for people.
        code: The slug for programs (native protocol, N3).
        fields: Further keys of the message.
    """

    message: str
    code: str = "failed"
    fields: Mapping[str, object] = {}


Incoming: TypeAlias = Request | Cancel | Invalid
"""What a server's codec makes of bytes."""

Outgoing: TypeAlias = Banner | Progress | Item | Continue | Reply | Failure
"""What a server's codec makes bytes of."""
