"""`--watch`: a command again and again, over one connection, until Ctrl-C."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ctlctl import exits
from ctlctl.human import age, clock
from ctlctl.output import is_terminal, one_line, write_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ctlctl.arguments import Arguments
    from ctlctl.caller import Caller

__all__ = ["watch"]

_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


def watch(caller: Caller, arguments: Arguments, command: str, opts: Mapping[str, object], shown: Sequence[str]) -> int:
    """Run a command every few seconds and show each result in place of the last one.

    Raises:
        CtldError: One of the runs failed.
    """
    machine = arguments.json or arguments.json_seq
    once = arguments.copy()
    once.watch = 0.0
    once.quiet = True
    while True:
        if is_terminal(1) and not machine:
            every = f"every {age(arguments.watch)}: {one_line(' '.join((caller.prog, *shown)))}"
            write_line(f"{_CLEAR}{every}  {clock(time.time())}\n")
        caller.execute(once, command, opts, streams=False)
        try:
            time.sleep(arguments.watch)
        except KeyboardInterrupt:
            return exits.OK  # between two runs nothing is left undone
        if not is_terminal(1) and not machine:
            write_line(f"-- {clock(time.time())}")
