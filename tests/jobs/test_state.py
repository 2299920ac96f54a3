"""The automaton: every state against every input, and walks written by hand."""

from dataclasses import replace
from itertools import pairwise, product

import pytest

from ctld.jobs.state import (
    TRANSITIONS,
    Action,
    Input,
    Policy,
    Process,
    RestartMode,
    State,
    advance,
    expiry_input,
    judge_exit,
    mermaid,
)

# Per state and input: the next state, the actions and the text of the log, written from the specification (B8) and
# not from the table.  A dash: it cannot happen.
EXPECTED = """
STOPPED   START       STARTING  SPAWN   Starting.
STOPPED   REPAIR      STARTING  SPAWN   Starting.
STOPPED   STOP        STOPPED
STOPPED   KILL        STOPPED
STOPPED   FAILED      -
STOPPED   DIED_WELL   -
STOPPED   DIED_BADLY  -
STOPPED   UP          -
STOPPED   LATE        -
STOPPED   RETRY       -
STARTING  START       STARTING
STARTING  REPAIR      STARTING
STARTING  STOP        STOPPING  SIGNAL  Stopping.
STARTING  KILL        STOPPING  SLAY    Killing.
STARTING  FAILED      BADSTOP   .       Failed to start.
STARTING  DIED_WELL   BADSTOP   .       Failed to start: Exited too soon.
STARTING  DIED_BADLY  BADSTOP   .       Failed to start: Exited too soon.
STARTING  UP          ALIVE     .       Successfully started.
STARTING  LATE        -
STARTING  RETRY       -
ALIVE     START       ALIVE
ALIVE     REPAIR      ALIVE
ALIVE     STOP        STOPPING  SIGNAL  Stopping.
ALIVE     KILL        STOPPING  SLAY    Killing.
ALIVE     FAILED      -
ALIVE     DIED_WELL   GOODSTOP  .       Process stopped.
ALIVE     DIED_BADLY  BADSTOP   .       Process stopped unexpectedly!
ALIVE     UP          -
ALIVE     LATE        -
ALIVE     RETRY       -
STOPPING  START       STOPPING
STOPPING  REPAIR      STOPPING
STOPPING  STOP        STOPPING
STOPPING  KILL        STOPPING  SLAY    Killing.
STOPPING  FAILED      STOPPED   .       Successfully stopped.
STOPPING  DIED_WELL   STOPPED   .       Successfully stopped.
STOPPING  DIED_BADLY  STOPPED   .       Successfully stopped.
STOPPING  UP          -
STOPPING  LATE        STOPPING  SLAY    Failed to stop: Didn't stop in time.
STOPPING  RETRY       -
GOODSTOP  START       STARTING  SPAWN   Starting.
GOODSTOP  REPAIR      STARTING  SPAWN   Starting.
GOODSTOP  STOP        GOODSTOP
GOODSTOP  KILL        GOODSTOP
GOODSTOP  FAILED      -
GOODSTOP  DIED_WELL   -
GOODSTOP  DIED_BADLY  -
GOODSTOP  UP          -
GOODSTOP  LATE        -
GOODSTOP  RETRY       STARTING  SPAWN   Restarting.
BADSTOP   START       STARTING  SPAWN   Starting.
BADSTOP   REPAIR      STARTING  SPAWN   Starting.
BADSTOP   STOP        BADSTOP
BADSTOP   KILL        BADSTOP
BADSTOP   FAILED      -
BADSTOP   DIED_WELL   -
BADSTOP   DIED_BADLY  -
BADSTOP   UP          -
BADSTOP   LATE        -
BADSTOP   RETRY       STARTING  SPAWN   Restarting.
"""
ROWS = [line.split(maxsplit=4) for line in EXPECTED.strip().splitlines()]

POLICY = Policy(RestartMode.UNEXPECTED, restart_times=2, start_time=10, stop_time=5)


def test_the_expectation_is_exhaustive():
    assert {(row[0], row[1]) for row in ROWS} == {(state.name, event.name) for state, event in product(State, Input)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}-{row[1]}")
def test_every_state_against_every_input(row):
    state, event, target, *rest = row
    process = Process(State[state], budget=1, started=100.0)
    if target == "-":
        with pytest.raises(ValueError, match=f"a process that is {State[state].value} cannot see {event}"):
            advance(process, Input[event], POLICY, 101.0)
        return
    action, note = [*rest, ".", ""][:2] if len(rest) != 1 else [*rest, ""]
    after, (made,) = advance(process, Input[event], POLICY, 101.0)
    assert after.state is State[target]
    assert [done.name for done in made.actions] == ([] if action == "." else [action])
    assert made.note == note


class Walk:
    """A process under a clock that the test turns; `spawned` and `signals` count what the world was asked for."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.now, self.process = policy, 0.0, Process()
        self.notes: list[str] = []
        self.actions: list[Action] = []

    def see(self, *events: Input) -> "Walk":
        for event in events:
            self.process, made = advance(self.process, event, self.policy, self.now)
            self.notes += [transition.note for transition in made if transition.note]
            self.actions += [action for transition in made for action in transition.actions]
        return self

    def at(self, now: float, *events: Input) -> "Walk":
        """Let the clock run to `now`, with what expires on the way, then see the events."""
        while (due := self.process.deadline) is not None and due <= now:
            self.now = due
            self.see(expiry_input(self.process, self.now))
        self.now = now
        return self.see(*events)

    @property
    def state(self) -> State:
        return self.process.state

    def count(self, action: Action) -> int:
        return self.actions.count(action)


def test_walk_a_program_that_exits_at_once_is_tried_as_often_as_allowed_and_not_faster():
    walk = Walk(Policy(RestartMode.ALWAYS, restart_times=2, start_time=1))
    walk.at(0, Input.START).at(0.01, Input.DIED_WELL)
    assert (walk.state, walk.process.deadline) == (State.BADSTOP, 1)
    walk.at(0.99)
    assert walk.count(Action.SPAWN) == 1
    walk.at(1)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STARTING, 2)
    walk.at(1.01, Input.DIED_WELL).at(2.01, Input.DIED_WELL).at(100)
    assert (walk.state, walk.process.deadline, walk.process.budget) == (State.BADSTOP, None, 0)
    assert walk.count(Action.SPAWN) == 3
    assert walk.notes == [
        "Starting.",
        "Failed to start: Exited too soon.",
        "Restarting.",
        "Failed to start: Exited too soon.",
        "Restarting.",
        "Failed to start: Exited too soon.",
    ]


def test_walk_a_spawn_that_fails_for_ever_is_rate_limited():
    walk = Walk(Policy(RestartMode.UNEXPECTED, restart_times=-1, start_time=1)).at(0, Input.START, Input.FAILED)
    for second in range(1, 100):
        walk.at(second, Input.FAILED)
    assert walk.count(Action.SPAWN) == 100
    assert walk.process.budget == -1
    assert walk.process.restarts == 99


def test_walk_success_does_not_refill_the_budget():
    walk = Walk(Policy(RestartMode.UNEXPECTED, restart_times=1, start_time=1)).at(0, Input.START)
    walk.at(50, Input.DIED_BADLY).at(50)
    assert (walk.state, walk.process.budget) == (State.STARTING, 0)
    walk.at(99, Input.DIED_BADLY).at(1000)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.BADSTOP, 2)


def test_walk_a_start_on_purpose_refills_the_budget():
    walk = Walk(Policy(RestartMode.UNEXPECTED, restart_times=1, start_time=1)).at(0, Input.START, Input.FAILED)
    walk.at(1, Input.FAILED).at(10)
    assert (walk.process.budget, walk.process.restarts) == (0, 1)
    walk.see(Input.START)
    assert (walk.state, walk.process.budget, walk.process.restarts) == (State.STARTING, 1, 0)


@pytest.mark.parametrize(
    ("mode", "well", "badly"),
    [
        (RestartMode.NEVER, State.GOODSTOP, State.BADSTOP),
        (RestartMode.UNEXPECTED, State.GOODSTOP, State.STARTING),
        (RestartMode.ALWAYS, State.STARTING, State.STARTING),
    ],
)
def test_walk_the_restart_mode_decides(mode, well, badly):
    for event, state in ((Input.DIED_WELL, well), (Input.DIED_BADLY, badly)):
        walk = Walk(replace(POLICY, restart=mode)).at(0, Input.START).at(20, event).at(20)
        assert walk.state is state
        assert walk.count(Action.SPAWN) == (2 if state is State.STARTING else 1)


def test_walk_a_program_that_does_not_stop_is_killed_once():
    walk = Walk(POLICY).at(0, Input.START).at(11, Input.STOP)
    assert (walk.state, walk.process.deadline, walk.count(Action.SLAY)) == (State.STOPPING, 16, 0)
    walk.at(15.9)
    assert walk.count(Action.SLAY) == 0
    walk.at(1000)
    assert walk.count(Action.SLAY) == 1
    walk.see(Input.DIED_BADLY).at(2000)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STOPPED, 1)


def test_walk_what_was_stopped_is_never_restarted_by_itself():
    walk = Walk(replace(POLICY, restart=RestartMode.ALWAYS)).at(0, Input.START).at(11, Input.STOP, Input.DIED_BADLY)
    walk.at(1000)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STOPPED, 1)


def test_walk_a_start_while_stopping_is_remembered():
    walk = Walk(POLICY).at(0, Input.START).at(11, Input.STOP, Input.START, Input.START)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STOPPING, 1)
    walk.at(12, Input.DIED_WELL)
    assert (walk.state, walk.count(Action.SPAWN), walk.process.budget) == (State.STARTING, 2, 2)
    assert walk.notes[-2:] == ["Successfully stopped.", "Starting."]
    assert not walk.process.again


@pytest.mark.parametrize("last", [Input.STOP, Input.KILL])
def test_walk_the_last_word_while_stopping_counts(last):
    walk = Walk(POLICY).at(0, Input.START).at(11, Input.STOP, Input.START, last, Input.DIED_WELL).at(1000)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STOPPED, 1)


def test_walk_a_remembered_start_outlives_the_late_kill():
    walk = Walk(POLICY).at(0, Input.START).at(11, Input.STOP, Input.START).at(17, Input.DIED_BADLY)
    assert (walk.state, walk.count(Action.SLAY), walk.count(Action.SPAWN)) == (State.STARTING, 1, 2)


def test_walk_stop_during_the_wait_for_a_restart_calls_it_off():
    walk = Walk(POLICY).at(0, Input.START).at(1, Input.DIED_BADLY)
    assert walk.process.deadline == 10
    walk.see(Input.STOP).at(1000)
    assert (walk.state, walk.count(Action.SPAWN), walk.count(Action.SIGNAL)) == (State.BADSTOP, 1, 0)


def test_walk_stop_before_it_has_started_works():
    walk = Walk(POLICY).at(0, Input.START).at(1, Input.STOP).at(2, Input.DIED_WELL).at(1000)
    assert (walk.state, walk.notes) == (State.STOPPED, ["Starting.", "Stopping.", "Successfully stopped."])


def test_walk_a_spawn_that_fails_while_stopping_is_gone():
    walk = Walk(POLICY).at(0, Input.START, Input.STOP, Input.START, Input.FAILED)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STARTING, 2)


def test_walk_kill_needs_no_patience_and_no_second_shot():
    walk = Walk(POLICY).at(0, Input.START).at(20, Input.KILL).at(1000)
    assert (walk.state, walk.actions) == (State.STOPPING, [Action.SPAWN, Action.SLAY])


def test_walk_repair_starts_what_is_down_and_leaves_the_living_alone():
    walk = (
        Walk(replace(POLICY, restart=RestartMode.NEVER)).at(0, Input.START).at(1, Input.DIED_BADLY).at(2, Input.REPAIR)
    )
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STARTING, 2)
    walk.at(20, Input.REPAIR, Input.REPAIR)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.ALIVE, 2)


def test_walk_repair_refills_the_budget_of_the_living_without_touching_its_clock():
    walk = Walk(POLICY).at(0, Input.START, Input.FAILED).at(10)
    assert walk.process.budget == 1
    walk.at(11, Input.REPAIR)
    assert (walk.process.budget, walk.process.deadline, walk.state) == (2, 20, State.STARTING)


def test_walk_repair_does_not_start_what_is_being_stopped():
    walk = Walk(POLICY).at(0, Input.START).at(11, Input.STOP, Input.REPAIR, Input.DIED_WELL).at(100)
    assert (walk.state, walk.count(Action.SPAWN)) == (State.STOPPED, 1)


def test_nothing_expires_early_or_without_a_deadline():
    assert expiry_input(Process(State.ALIVE), 1e9) is None
    assert expiry_input(Process(State.STARTING, deadline=10), 9.99) is None
    assert expiry_input(Process(State.STARTING, deadline=10), 10) is Input.UP
    assert expiry_input(Process(State.STOPPING, deadline=10), 10) is Input.LATE
    assert expiry_input(Process(State.BADSTOP, deadline=10), 10) is Input.RETRY
    assert expiry_input(Process(State.GOODSTOP, deadline=10), 10) is Input.RETRY


@pytest.mark.parametrize(
    ("normal", "code", "signal", "judgement"),
    [
        ({0}, 0, 0, Input.DIED_WELL),
        ({0}, 1, 0, Input.DIED_BADLY),
        ({0, 3}, 3, 0, Input.DIED_WELL),
        ({-15}, 143, 15, Input.DIED_WELL),
        ({-15}, 143, 0, Input.DIED_BADLY),
        ({143}, 143, 15, Input.DIED_BADLY),
        ({0}, 137, 9, Input.DIED_BADLY),
    ],
)
def test_an_exit_is_judged_by_code_or_by_signal(normal, code, signal, judgement):
    assert judge_exit(Policy(normal_exits=frozenset(normal)), code, signal) is judgement


def test_the_diagram_shows_every_edge_of_the_table():
    drawn = mermaid()
    for state, row in TRANSITIONS.items():
        for event, transition in row.items():
            if transition.target is not state:
                lines = [
                    line
                    for line in drawn.splitlines()
                    if line.startswith(f"    {state.name} --> {transition.target.name}:")
                ]
                assert any(event.name in line for line in lines), (state, event)
    assert all(before != after for before, after in pairwise(drawn.splitlines()))


def test_only_these_states_have_a_process():
    assert {state for state in State if state.is_up} == {State.STARTING, State.ALIVE, State.STOPPING}
