"""What a client wants of a session: the `session` member of a request, typed (N4, N5)."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec

from ctld.errors import Denied, InvalidOptions
from ctld.sessions.state import OnDisconnect

__all__ = ["SessionOptions", "refuse_steering", "session_options"]

# What tells a program of its reader's terminal and language, and nothing of where to find code.
_HARMLESS: Final = re.compile(r"TERM|COLORTERM|COLUMNS|LINES|NO_COLOR|LANG|LANGUAGE|LC_[A-Z]{1,20}")
_PLAIN: Final = re.compile(r"[A-Za-z0-9._@:+-]{0,64}")

_Side = Annotated[int, msgspec.Meta(ge=1, le=0xFFFF)]


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a client wants of a session.

    Attributes:
        io: How its connection is joined to the program; None: as the command thinks best.
        tty: Whether the program gets a terminal.
        rows: The height of the client's window.
        cols: Its width.
        env: Environment variables to add.
        cwd: The directory to start in.
        on_disconnect: What becomes of the program when the client is gone.
    """

    io: Literal["fds", "frames", "console"] | None = None
    tty: bool = False
    rows: _Side = 24
    cols: _Side = 80
    env: dict[str, str] = {}
    cwd: str | None = None
    on_disconnect: OnDisconnect = "hangup"


def session_options(member: Mapping[str, Any] | None, opts: Mapping[str, Any]) -> SessionOptions:
    """Return what a client wants, by the member of its request and among its options; the member wins.

    Raises:
        InvalidOptions: It cannot be understood.
    """
    wanted = {name: value for name, value in {**opts, **(member or {})}.items() if value is not None}
    try:
        return msgspec.convert(wanted, SessionOptions)
    except msgspec.ValidationError as exc:
        text, _, place = str(exc).partition(" - at `")
        path = place.rstrip("`").removeprefix("$.")
        what = f"session option {path!r}: " if path else "session options: "
        raise InvalidOptions(
            f"{what}{text[:1].lower()}{text[1:]}", path=f"$.session{'.' if path else ''}{path}"
        ) from exc


def _is_harmless(name: str, value: str) -> bool:
    return bool(_HARMLESS.fullmatch(name) and _PLAIN.fullmatch(value))


def refuse_steering(wanted: SessionOptions) -> None:
    """Refuse what would make a program another one: for those who may run this one, but not any.

    A variable can have a program load a library (`LD_PRELOAD`) or find other programs (`PATH`), and a
    directory can hold its configuration.

    Raises:
        Denied: Such a variable, or a directory, is wanted.
    """
    wishes = [repr(name) for name, value in wanted.env.items() if not _is_harmless(name, value)]
    wishes += ["the directory"] if wanted.cwd is not None else []
    if wishes:
        raise Denied(
            f"only the role admin chooses what a program finds around it: {', '.join(wishes)[:200]}",
            role="admin",
            remedy="leave it away",
        )
