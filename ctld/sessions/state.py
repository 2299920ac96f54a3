"""How sessions end: N5 of the native protocol as tables; pure.

Two things end separately.  A *session* is a program and what drives it; `TRANSITIONS` says
what becomes of it.  A *way* is how a client's connection is joined to it; `ENDINGS` says what
the client is told at the end, and whether its connection can be used for requests again.

Whatever changes the state of a session goes through `next_state()`: the state machine knows
every race, because each is just another pair of state and input.
"""

from collections.abc import Mapping
from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from ctld.errors import LocalProtocolError

__all__ = [
    "ENDINGS",
    "TRANSITIONS",
    "Ending",
    "Input",
    "LastWord",
    "OnDisconnect",
    "State",
    "Way",
    "input_on_disconnect",
    "mermaid",
    "next_state",
]

OnDisconnect: TypeAlias = Literal["hangup", "detach", "kill"]
"""What becomes of a program when nobody who may type is left."""


class State(Enum):
    """What is going on with a session."""

    STARTING = "starting"
    DOOMED = "starting, to end at once"
    DETACHED = "detached"
    ATTACHED = "attached"
    HANGING_UP = "hanging up"
    KILLED = "killed"
    DRAINING = "draining"
    ENDED = "ended"


class Input(Enum):
    """What happens to a session."""

    STARTED = "the program runs"
    FAILED = "it cannot be started"
    JOINED = "a client joins"
    LEFT = "the last client leaves, and it stays"
    HANG_UP = "it is to end"
    KILL = "it is to end at once"
    OVERDUE = "the patience is over"
    EXITED = "the program ends"
    DRAINED = "the last output is out"


_ANY_TIME: Final = {Input.JOINED, Input.LEFT, Input.HANG_UP}

TRANSITIONS: Final[Mapping[State, Mapping[Input, State]]] = {
    State.STARTING: {
        Input.STARTED: State.DETACHED,
        Input.FAILED: State.ENDED,
        Input.HANG_UP: State.DOOMED,
        Input.KILL: State.DOOMED,
    },
    State.DOOMED: {
        Input.STARTED: State.HANGING_UP,
        Input.FAILED: State.ENDED,
        Input.HANG_UP: State.DOOMED,
        Input.KILL: State.DOOMED,
    },
    State.DETACHED: {
        Input.JOINED: State.ATTACHED,
        Input.LEFT: State.DETACHED,
        Input.HANG_UP: State.HANGING_UP,
        Input.KILL: State.KILLED,
        Input.EXITED: State.DRAINING,
    },
    State.ATTACHED: {
        Input.JOINED: State.ATTACHED,
        Input.LEFT: State.DETACHED,
        Input.HANG_UP: State.HANGING_UP,
        Input.KILL: State.KILLED,
        Input.EXITED: State.DRAINING,
    },
    State.HANGING_UP: {
        **dict.fromkeys(_ANY_TIME, State.HANGING_UP),
        Input.KILL: State.KILLED,
        Input.OVERDUE: State.KILLED,
        Input.EXITED: State.DRAINING,
    },
    State.KILLED: {
        **dict.fromkeys(_ANY_TIME, State.KILLED),
        Input.KILL: State.KILLED,
        Input.OVERDUE: State.KILLED,
        Input.EXITED: State.DRAINING,
    },
    State.DRAINING: {
        **dict.fromkeys(_ANY_TIME, State.DRAINING),
        # What still holds the pipe is not the program, or nobody wants to wait for it.
        Input.KILL: State.ENDED,
        Input.OVERDUE: State.ENDED,
        Input.DRAINED: State.ENDED,
    },
    State.ENDED: {
        **dict.fromkeys(_ANY_TIME, State.ENDED),
        Input.KILL: State.ENDED,
    },
}


def next_state(state: State, happening: Input) -> State:
    """Return the state after something has happened.

    Raises:
        LocalProtocolError: That cannot happen in this state: a defect.
    """
    try:
        return TRANSITIONS[state][happening]
    except KeyError:
        raise LocalProtocolError(f"a session that is {state.value} cannot have that {happening.value}") from None


def input_on_disconnect(policy: OnDisconnect) -> Input:
    """Return what happens to a session when the last client that may type is gone."""
    return {"hangup": Input.HANG_UP, "detach": Input.LEFT, "kill": Input.KILL}[policy]


class Way(Enum):
    """How a connection is joined to what runs."""

    FDS = "fds"
    CONSOLE = "console"
    FRAMES = "frames"
    RAW = "raw"


class LastWord(Enum):
    """What the client is told at the end of a hijack."""

    MESSAGE = "a final message"
    EXIT_FRAME = "an exit frame"
    NOTHING = "nothing: the connection is closed after the last byte"


class Ending(NamedTuple):
    """One row of N5's table.

    Attributes:
        transports: Where it works; elsewhere it is refused before "continue".
        last_word: What the client is told, whether it ended well, failed, or the server stops.
        goes_on: Whether the connection then takes requests again.
        obstacle: Why it does not work elsewhere.
    """

    transports: frozenset[str]
    last_word: LastWord
    goes_on: bool
    obstacle: str = ""


ENDINGS: Final[Mapping[Way, Ending]] = {
    Way.FDS: Ending(
        frozenset({"unix"}), LastWord.MESSAGE, goes_on=True, obstacle="descriptors only cross a UNIX socket"
    ),
    Way.CONSOLE: Ending(
        frozenset({"unix"}), LastWord.NOTHING, goes_on=False, obstacle="a console of version 1 needs a UNIX socket"
    ),
    Way.FRAMES: Ending(frozenset({"unix", "tcp", "tls"}), LastWord.EXIT_FRAME, goes_on=True),
    Way.RAW: Ending(
        frozenset({"unix", "tcp"}), LastWord.NOTHING, goes_on=False, obstacle="a TLS connection cannot be given away"
    ),
}


def mermaid() -> str:
    """Return the diagram of the state machine, for the documentation."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for state, row in TRANSITIONS.items():
        for happening, target in row.items():
            if target is not state:
                arrows.setdefault((state, target), []).append(happening.value)
    lines = [f'    state "{state.value}" as {_name(state)}' for state in State]
    lines.append(f"    [*] --> {_name(State.STARTING)}")
    lines += [f"    {_name(a)} --> {_name(b)}: {', or '.join(sorted(why))}" for (a, b), why in arrows.items()]
    lines.append(f"    {_name(State.ENDED)} --> [*]")
    return "stateDiagram-v2\n" + "\n".join(lines) + "\n"


def _name(state: State) -> str:
    return state.name.lower()
