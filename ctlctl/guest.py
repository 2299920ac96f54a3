"""`ctlctl guest send`: one request to a command monitor, and its answer as it is."""

from __future__ import annotations

import os
import sys

from ctlctl import exits
from ctlctl.exits import HelpWanted, UsageError
from ctlctl.output import is_terminal, neutral, write_text
from ctld.dialects.guest_agent.client import (
    DEFAULT_DIRECTORY,
    KnownListener,
    is_request,
    pipe_name,
    send_command,
)

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["complete", "run"]

_LISTENERS = {"guestagent": KnownListener.GUEST_AGENT, "coreplugin": KnownListener.CORE_PLUGIN}
_VALUED = ("--socket", "--listener", "--dir", "--timeout")

# Monitors take a mebibyte; what is longer is no request.
_MAX_REQUEST = 1024 * 1024


def run(caller: Caller, words: Sequence[str]) -> int:
    """Send a request, print the answer, and return the exit status: 0, whatever the answer says."""
    options, rest = _split(words)
    if len(rest) != 1:
        raise UsageError("guest send takes one JSON object, or - to read it from the standard input")
    timeout = _seconds(options.get("--timeout", "10"))
    path = options.get("--socket") or _default_path(options)
    request = rest[0].encode("utf-8", "surrogateescape")
    if rest[0] == "-":
        request = sys.stdin.buffer.read(_MAX_REQUEST + 1)
    if len(request) > _MAX_REQUEST:
        raise UsageError(f"invalid request: it has more than {_MAX_REQUEST} bytes")
    if not is_request(request):
        raise UsageError(f"invalid request: [{neutral(request[:200].decode(errors='replace'))}]")
    answer = send_command(request, path, timeout).decode("utf-8", "surrogateescape")
    write_text(f"{neutral(answer) if is_terminal(1) else answer}\n")
    return exits.OK


def complete(words: Sequence[str]) -> list[tuple[str, str]]:
    """Return what may follow these words of a command line, each with what to say of it."""
    if words and words[-1] == "--listener":
        return [(name, "") for name in _LISTENERS]
    if words and words[-1] in _VALUED:
        return []  # a file, or a number
    return [(option, "") for option in _VALUED if option not in words]


def _split(words: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Take the options off; what follows `--` are words.

    Raises:
        UsageError: One is unknown, lacks its value or contradicts another.
        HelpWanted: That is asked for.
    """
    options: dict[str, str] = {}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        name, equals, value = rest.pop(0).partition("=")
        if name == "--":
            break
        if name in ("-h", "--help"):
            raise HelpWanted(["guest", "send"])
        if name not in _VALUED:
            raise UsageError(f"guest send has no option {name}")
        if not equals:
            if not rest:
                raise UsageError(f"{name} needs a value")
            value = rest.pop(0)
        options[name] = value
    if "--socket" in options and not options.keys().isdisjoint(("--listener", "--dir")):
        raise UsageError("--socket says where already: --listener and --dir do not go with it")
    return options, rest


def _default_path(options: dict[str, str]) -> str:
    name = options.get("--listener", "guestagent")
    if name not in _LISTENERS:
        raise UsageError(f"there is no listener {name!r}: there are {', '.join(_LISTENERS)}")
    return pipe_name(_LISTENERS[name], os.path.abspath(options.get("--dir", DEFAULT_DIRECTORY)))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e9:
        raise UsageError(f"--timeout takes a number of seconds above 0, not {text!r}")
    return seconds
