"""`ctlctl monitor`: events as they happen, one line each."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ctlctl import exits
from ctlctl.exits import UsageError
from ctlctl.human import clock
from ctlctl.look import coloured
from ctlctl.output import json_line, one_line, write_line
from ctlctl.table import cell
from ctld.client.wire import classify, encode_request, failure_to_error
from ctld.errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller

__all__ = ["event_line", "run", "subscription"]

_BOLD, _DIM, _END = "\x1b[1m", "\x1b[2m", "\x1b[0m"


def run(caller: Caller, words: Sequence[str]) -> int:
    """Show events until Ctrl-C.

    Raises:
        UsageError: The words make no sense.
        CtldError: The daemon tells none, or went away.
    """
    arguments = caller.arguments.copy()
    rest, plain_words = list(reversed(words)), []
    while rest:
        word = rest.pop()
        if not (word.startswith("--") and arguments.take(word, rest)):
            plain_words.append(word)
    opts = subscription(plain_words)
    machine = arguments.json or arguments.json_seq
    with caller.lines() as lines:
        lines.send(encode_request("event_subscribe", opts))
        begun = False
        try:
            while True:
                message = lines.receive()
                kind = classify(message)
                if kind == "failure":
                    raise failure_to_error(message)
                if kind != "response":
                    continue
                event = message["response"]
                if not begun:  # "subscribed"
                    begun = True
                elif isinstance(event, dict):
                    write_line(json_line(event) if machine else event_line(event, colour=coloured()))
                else:
                    raise RemoteProtocolError("the daemon sent an event that is none")
        except KeyboardInterrupt:
            return exits.OK  # that is how one ends it


def subscription(words: Sequence[str]) -> dict[str, object]:
    """Return the options of a subscription: types, `KEY=VALUE` for details, `--since SEQ`.

    Raises:
        UsageError: The words make no sense.
    """
    types: list[str] = []
    details: dict[str, list[object]] = {}
    opts: dict[str, object] = {}
    rest = list(reversed(words))
    while rest:
        word = rest.pop()
        key, equals, value = word.partition("=")
        if key == "--since":
            value = value if equals else rest.pop() if rest else ""
            if not value.isascii() or not value.isdigit():
                raise UsageError("--since takes the number of an event")
            opts["since"] = int(value)
        elif word.startswith("--"):
            raise UsageError(f"monitor has no option {key}")
        elif equals:
            # A number may be meant as one: either does.
            details.setdefault(key, []).extend(_meanings(value))
        else:
            types.append(word)
    if types:
        opts["type"] = types
    if details:
        opts["opts"] = details
    return opts


def _meanings(text: str) -> list[object]:
    """Return what a value on the command line may mean: the text, and a number or the like."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [text, value] if isinstance(value, int | float) or value is None else [text]


def event_line(event: dict[str, Any], *, colour: bool = False) -> str:
    """Return an event as one line: when, what, and its details."""
    when, opts = event.get("time"), event.get("opts")
    details = opts if isinstance(opts, dict) else {}
    shown = clock(when) if isinstance(when, int | float) and not isinstance(when, bool) else "-"
    name = one_line(str(event.get("type")))
    parts = (
        [f"{one_line(str(key))}={cell(str(key), value)}" for key, value in details.items()]
        if isinstance(details, dict)
        else []
    )
    if colour:
        shown, name = f"{_DIM}{shown}{_END}", f"{_BOLD}{name}{_END}"
    return " ".join((shown, name, *parts))
