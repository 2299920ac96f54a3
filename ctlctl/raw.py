"""`ctlctl raw`: type JSON, see every frame with the time at which it came.

What is typed goes out line by line as it stands, so that mistakes can be tried as well.
At the end of the input the connection is closed for writing, and what is still to come is
shown.
"""

from __future__ import annotations

import os
import select
import sys
import time
from typing import TYPE_CHECKING

from ctlctl import exits
from ctlctl.exits import UsageError
from ctlctl.look import coloured
from ctlctl.output import neutral, write_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ctlctl.caller import Caller
    from ctlctl.lines import Lines

__all__ = ["frame_line", "run"]

_READ_SIZE = 64 * 1024
_TICK = 1.0  # seconds after which a wait looks up: a signal just before the system call is seen only after it
_GREEN, _CYAN, _END = "\x1b[32m", "\x1b[36m", "\x1b[0m"


def run(caller: Caller, words: Sequence[str]) -> int:
    """Pass lines on, and show what comes and goes, until both sides have ended.

    Raises:
        UsageError: Something follows.
        CtldError: There is no daemon.
    """
    if words:
        raise UsageError("raw takes no words: type lines of JSON")
    with caller.lines() as lines:
        try:
            _converse(lines)
        except KeyboardInterrupt:
            return exits.OK  # that is how one ends it
    return exits.OK


def _converse(lines: Lines) -> None:
    typed = b""
    reading = [lines.fileno()] if sys.stdin is None else [lines.fileno(), 0]
    while True:
        ready = [lines.fileno()] if lines.waiting() else select.select(reading, [], [], _TICK)[0]
        if lines.fileno() in ready:
            going_on = lines.feed()
            while (line := lines.next_line()) is not None:
                _show("<", bytes(line))
            if not going_on:
                if rest := lines.rest():
                    _show("<", rest)
                return
        if 0 in ready:
            data = os.read(0, _READ_SIZE)
            *whole, typed = (typed + data).split(b"\n")
            if not data:
                reading.remove(0)
                whole, typed = [typed] if typed else [], b""
            for line in whole:
                lines.send(line + b"\n")
                if not os.isatty(0):  # on a terminal it stands there already
                    _show(">", line)
            if not data:
                lines.finish()


def _show(direction: str, line: bytes) -> None:
    write_line(frame_line(time.time(), direction, line, colour=coloured()))


def frame_line(now: float, direction: str, line: bytes, *, colour: bool = False) -> str:
    """Return a frame with its time; bytes that are no text are shown as escapes."""
    stamp = f"{time.strftime('%H:%M:%S', time.localtime(now))}.{int(now % 1 * 1e6):06d}"
    text = neutral(line.decode(errors="backslashreplace"), frozenset())
    if colour:
        direction = f"{_GREEN if direction == '<' else _CYAN}{direction}{_END}"
    return f"{stamp} {direction} {text}"
