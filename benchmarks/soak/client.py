"""A client process: it does one kind of load after the other until it is told to stop, or killed."""

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from benchmarks.soak.hostile import HOSTILE
from benchmarks.soak.link import Gone, Where
from benchmarks.soak.neighbours import NEIGHBOURS
from benchmarks.soak.notes import Notes
from benchmarks.soak.persona import Persona
from benchmarks.soak.polite import POLITE
from benchmarks.soak.programs import PROGRAMS

__all__ = ["CRASHED", "MIXES", "start_client"]

MIXES: Final[Mapping[str, Mapping[Callable[[Persona], None], int]]] = {
    "polite": POLITE,
    "mixed": {**POLITE, **PROGRAMS, **NEIGHBOURS},
    "programs": {**PROGRAMS, **NEIGHBOURS},
    "hostile": HOSTILE,
}
"""What a client does, by its character."""

CRASHED: Final = 3
"""The exit status of a client that has a defect of its own."""

# Between two kinds of load, in seconds on average: the machine is not to be the bottleneck.
_BREATH: Final = 0.03


def start_client(where: Where, endless: str, folder: Path, name: str, seed: str, mix: str) -> int:
    """Fork a client, and return its pid.

    Args:
        where: The daemon.
        endless: An operation of it that never ends.
        folder: Where its notes go.
        name: Its name, unique in this soak.
        seed: Its chance.
        mix: What it does: one of `MIXES`.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    status = CRASHED
    try:
        me = Persona(where, endless, Notes(folder / f"{name}.notes", name), random.Random(seed))
        _live(me, MIXES[mix])
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(status)  # nothing of the parent's is to be flushed or cleaned up twice


def _live(me: Persona, mix: Mapping[Callable[[Persona], None], int]) -> None:
    told = False

    def stop(number: int, frame: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent says when it is over
    parent = os.getppid()
    kinds, weights = list(mix), list(mix.values())
    while not told and os.getppid() == parent:
        kind = me.rng.choices(kinds, weights)[0]
        name = kind.__name__.replace("_", " ")
        try:
            kind(me)
            me.notes.did(name)
        except Gone:
            me.notes.did(f"{name} (broken off)")
            me.close()
            time.sleep(0.05)
        time.sleep(me.rng.expovariate(1 / _BREATH))
    me.close()
