"""N5's endings as tables, and walks written by hand: a loop over a table cannot see a wrong row."""

import pytest

from ctld.errors import LocalProtocolError
from ctld.sessions.state import (
    ENDINGS,
    TRANSITIONS,
    Input,
    LastWord,
    State,
    input_on_disconnect,
    mermaid,
    next_state,
)

WALKS = {
    # A command that runs to its end.
    "STARTED JOINED EXITED DRAINED": State.ENDED,
    # It ends before its client has joined.
    "STARTED EXITED JOINED DRAINED JOINED LEFT": State.ENDED,
    "FAILED": State.ENDED,
    "FAILED STARTED": None,
    "JOINED": None,
    # Somebody wants it to end while it starts.
    "HANG_UP": State.DOOMED,
    "KILL": State.DOOMED,
    "KILL HANG_UP FAILED": State.ENDED,
    "KILL STARTED": State.HANGING_UP,
    "HANG_UP STARTED JOINED EXITED DRAINED": State.ENDED,
    "HANG_UP JOINED": None,
    # The client leaves a session that stays, and another one comes.
    "STARTED JOINED JOINED LEFT": State.DETACHED,
    "STARTED JOINED LEFT JOINED": State.ATTACHED,
    # The client dies: hung up, in time or not.
    "STARTED JOINED HANG_UP": State.HANGING_UP,
    "STARTED JOINED HANG_UP EXITED DRAINED": State.ENDED,
    "STARTED JOINED HANG_UP OVERDUE": State.KILLED,
    "STARTED JOINED HANG_UP OVERDUE EXITED DRAINED": State.ENDED,
    "STARTED JOINED HANG_UP LEFT JOINED HANG_UP": State.HANGING_UP,
    "STARTED JOINED HANG_UP KILL": State.KILLED,
    "STARTED JOINED HANG_UP DRAINED": None,
    # Killed, and killed again.
    "STARTED KILL": State.KILLED,
    "STARTED KILL KILL OVERDUE HANG_UP JOINED LEFT": State.KILLED,
    "STARTED KILL EXITED DRAINED": State.ENDED,
    # A detached one is hung up by somebody else, or by the server.
    "STARTED HANG_UP": State.HANGING_UP,
    "STARTED JOINED LEFT LEFT HANG_UP EXITED": State.DRAINING,
    # A grandchild holds the pipe: the patience ends, or a kill ends it.
    "STARTED JOINED EXITED OVERDUE": State.ENDED,
    "STARTED JOINED EXITED KILL": State.ENDED,
    "STARTED JOINED EXITED HANG_UP LEFT": State.DRAINING,
    # Exactly one end.
    "STARTED EXITED EXITED": None,
    "STARTED EXITED DRAINED DRAINED": None,
    "STARTED EXITED DRAINED EXITED": None,
    "STARTED EXITED DRAINED KILL HANG_UP": State.ENDED,
    "STARTED EXITED DRAINED OVERDUE": None,
    # Patience is only lost where something is waited for.
    "STARTED OVERDUE": None,
    "STARTED JOINED OVERDUE": None,
    "STARTED JOINED DRAINED": None,
}


@pytest.mark.parametrize("walk", WALKS)
def test_walks(walk):
    *steps, last = (Input[name] for name in walk.split())
    state = State.STARTING
    for step in steps:
        state = next_state(state, step)
    if WALKS[walk] is None:
        with pytest.raises(LocalProtocolError, match="cannot have that"):
            next_state(state, last)
    else:
        assert next_state(state, last) is WALKS[walk]


def test_every_state_can_end_and_the_end_is_final():
    for state in State:
        reached, seen = {state}, set()
        while reached - seen:
            here = (reached - seen).pop()
            seen.add(here)
            reached |= set(TRANSITIONS[here].values())
        assert State.ENDED in reached
    assert set(TRANSITIONS[State.ENDED].values()) == {State.ENDED}


def test_a_session_never_comes_back_from_its_death():
    # What was told to end, was killed, or has exited is never shown as running again.
    order = [
        State.STARTING,
        State.DOOMED,
        State.DETACHED,
        State.ATTACHED,
        State.HANGING_UP,
        State.KILLED,
        State.DRAINING,
        State.ENDED,
    ]
    for state, row in TRANSITIONS.items():
        for target in row.values():
            if state not in (State.DETACHED, State.ATTACHED):
                assert order.index(target) >= order.index(state)


def test_clients_may_come_and_go_and_wish_for_the_end_at_any_time():
    for state in set(State) - {State.STARTING, State.DOOMED}:
        for happening in (Input.JOINED, Input.LEFT, Input.HANG_UP, Input.KILL):
            next_state(state, happening)


@pytest.mark.parametrize(
    ("policy", "expected"), [("hangup", State.HANGING_UP), ("detach", State.DETACHED), ("kill", State.KILLED)]
)
def test_what_a_lost_client_means_is_its_own_choice(policy, expected):
    assert next_state(State.ATTACHED, input_on_disconnect(policy)) is expected


def test_the_table_of_endings_is_that_of_the_specification():
    table = {way.value: (set(row.transports), row.last_word, row.goes_on) for way, row in ENDINGS.items()}
    assert table == {
        "fds": ({"unix"}, LastWord.MESSAGE, True),
        "console": ({"unix"}, LastWord.NOTHING, False),
        "frames": ({"unix", "tcp", "tls"}, LastWord.EXIT_FRAME, True),
        "raw": ({"unix", "tcp"}, LastWord.NOTHING, False),
    }


def test_a_way_that_does_not_work_everywhere_says_why():
    for way, row in ENDINGS.items():
        assert bool(row.obstacle) is (row.transports != {"unix", "tcp", "tls"}), way


def test_the_diagram_shows_every_arrow():
    diagram = mermaid()
    assert diagram.startswith("stateDiagram-v2\n")
    assert "    attached --> hanging_up: it is to end\n" in diagram
    assert "    [*] --> starting\n" in diagram
    for state, row in TRANSITIONS.items():
        for happening, target in row.items():
            if state is not target:
                (line,) = [
                    line
                    for line in diagram.splitlines()
                    if line.startswith(f"    {state.name.lower()} --> {target.name.lower()}: ")
                ]
                assert happening.value in line
