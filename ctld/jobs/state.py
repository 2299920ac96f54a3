"""When a process is started, restarted, stopped and given up: a pure automaton.

Theory of operation.  One `Process` value stands for one process of a job, alive or not.
`advance()` takes it, an `Input`, the job's `Policy` and the time, and returns the next value
and the `Action`s to carry out; whatever changes the state of a process stands in
`TRANSITIONS`.  At most one timer is wanted at any moment (`Process.deadline`); what its
expiry means follows from the state: the process has lived long enough to count as started
(UP), has had enough time to stop (LATE), or is to be started again (RETRY).

Three things are decided beside the table, each in one function: what an exit means
(`judge_exit`), whether there is another try (`_plan_retry`), and that a process which was
wanted back while it stopped starts as soon as it is gone (`advance`).

An early death is seen at once, but tried again only `start_time` after the start: that is the
rate limit, and it holds for what could not even be spawned.
"""

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final

__all__ = [
    "TRANSITIONS",
    "Action",
    "Effect",
    "Input",
    "Policy",
    "Process",
    "RestartMode",
    "State",
    "Transition",
    "advance",
    "expiry_input",
    "judge_exit",
    "mermaid",
]


class State(Enum):
    """What a process is doing."""

    STOPPED = "stopped"
    STARTING = "starting"
    ALIVE = "alive"
    STOPPING = "stopping"
    GOODSTOP = "goodstop"
    BADSTOP = "badstop"

    @property
    def is_up(self) -> bool:
        """Whether there is a process, or one about to be."""
        return self in (State.STARTING, State.ALIVE, State.STOPPING)


class Input(Enum):
    """What may happen to a process."""

    START = "start"
    STOP = "stop"
    KILL = "kill"
    REPAIR = "repair"
    FAILED = "could not be spawned"
    DIED_WELL = "died as expected"
    DIED_BADLY = "died unexpectedly"
    UP = "lived for start_time"
    LATE = "still there after stop_time"
    RETRY = "restart is due"


class Action(Enum):
    """What the world has to do about it."""

    SPAWN = "spawn"
    SIGNAL = "send the stop signal"
    SLAY = "send SIGKILL"


class Effect(Enum):
    """What changes in the value besides its state."""

    REFILL = "budget := restart_times"
    SPEND = "budget := budget - 1"
    PLAN_RETRY = "restart later, if the policy and the budget say so"
    CALL_OFF = "no restart"
    REMEMBER = "start again once it is gone"
    FORGET = "stay stopped once it is gone"


class RestartMode(Enum):
    """When a process that ended by itself is started again, as job files number it."""

    NEVER = 0
    UNEXPECTED = 1
    ALWAYS = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """What a job file says about living and dying.

    Attributes:
        restart: After which ends there is a restart.
        restart_times: How many restarts one start is good for; negative: any number.
        start_time: Seconds that a process has to live to count as started; at least that much
            lies between two starts.
        stop_time: Seconds that it gets to stop before it is killed.
        normal_exits: The ends that are expected: exit codes, and signals as negative numbers.
    """

    restart: RestartMode = RestartMode.UNEXPECTED
    restart_times: int = 3
    start_time: float = 1.0
    stop_time: float = 5.0
    normal_exits: frozenset[int] = frozenset({0})


@dataclass(frozen=True, slots=True)
class Process:
    """One process of a job, as the automaton sees it.

    Attributes:
        state: What it is doing.
        budget: How many restarts are left; negative: any number.
        restarts: How many there have been since it was last started on purpose.
        started: When it was last started.
        deadline: When `expiry_input()` becomes true; None: never.
        again: Whether it starts again once it is gone.
    """

    state: State = State.STOPPED
    budget: int = 0
    restarts: int = 0
    started: float = 0.0
    deadline: float | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """One cell of the table.

    Attributes:
        target: The next state.
        note: What the log says; empty: nothing.
        effects: What else changes.
        actions: What is to be done.
    """

    target: State
    note: str = ""
    effects: tuple[Effect, ...] = ()
    actions: tuple[Action, ...] = field(default=())


_S, _I, _A, _E = State, Input, Action, Effect

_START: Final = Transition(_S.STARTING, "Starting.", (_E.REFILL,), (_A.SPAWN,))
_RETRY: Final = Transition(_S.STARTING, "Restarting.", (_E.SPEND,), (_A.SPAWN,))
_STOP: Final = Transition(_S.STOPPING, "Stopping.", (_E.FORGET,), (_A.SIGNAL,))
_KILL: Final = Transition(_S.STOPPING, "Killing.", (_E.FORGET,), (_A.SLAY,))
_TOO_SOON: Final = Transition(_S.BADSTOP, "Failed to start: Exited too soon.", (_E.PLAN_RETRY,))
_GONE: Final = Transition(_S.STOPPED, "Successfully stopped.")


def _ended(state: State) -> dict[Input, Transition]:
    """The row of a process that ended by itself; it may be waiting for its restart."""
    return {
        _I.START: _START,
        _I.REPAIR: _START,
        _I.RETRY: _RETRY,
        _I.STOP: Transition(state, effects=(_E.CALL_OFF,)),
        _I.KILL: Transition(state, effects=(_E.CALL_OFF,)),
    }


TRANSITIONS: Final[dict[State, dict[Input, Transition]]] = {
    _S.STOPPED: {
        _I.START: _START,
        _I.REPAIR: _START,
        _I.STOP: Transition(_S.STOPPED),
        _I.KILL: Transition(_S.STOPPED),
    },
    _S.STARTING: {
        _I.START: Transition(_S.STARTING),
        _I.REPAIR: Transition(_S.STARTING, effects=(_E.REFILL,)),
        _I.STOP: _STOP,
        _I.KILL: _KILL,
        _I.FAILED: Transition(_S.BADSTOP, "Failed to start.", (_E.PLAN_RETRY,)),
        _I.DIED_WELL: _TOO_SOON,
        _I.DIED_BADLY: _TOO_SOON,
        _I.UP: Transition(_S.ALIVE, "Successfully started."),
    },
    _S.ALIVE: {
        _I.START: Transition(_S.ALIVE),
        _I.REPAIR: Transition(_S.ALIVE, effects=(_E.REFILL,)),
        _I.STOP: _STOP,
        _I.KILL: _KILL,
        _I.DIED_WELL: Transition(_S.GOODSTOP, "Process stopped.", (_E.PLAN_RETRY,)),
        _I.DIED_BADLY: Transition(_S.BADSTOP, "Process stopped unexpectedly!", (_E.PLAN_RETRY,)),
    },
    _S.STOPPING: {
        _I.START: Transition(_S.STOPPING, effects=(_E.REMEMBER,)),
        _I.REPAIR: Transition(_S.STOPPING),
        _I.STOP: Transition(_S.STOPPING, effects=(_E.FORGET,)),
        _I.KILL: Transition(_S.STOPPING, "Killing.", (_E.FORGET,), (_A.SLAY,)),
        _I.FAILED: _GONE,
        _I.DIED_WELL: _GONE,
        _I.DIED_BADLY: _GONE,
        _I.LATE: Transition(_S.STOPPING, "Failed to stop: Didn't stop in time.", (), (_A.SLAY,)),
    },
    _S.GOODSTOP: _ended(_S.GOODSTOP),
    _S.BADSTOP: _ended(_S.BADSTOP),
}
"""What happens in which state; a missing cell cannot happen, and `advance()` raises."""

_EXPIRY: Final = {
    _S.STARTING: _I.UP,
    _S.STOPPING: _I.LATE,
    _S.GOODSTOP: _I.RETRY,
    _S.BADSTOP: _I.RETRY,
}


def advance(process: Process, event: Input, policy: Policy, now: float) -> tuple[Process, list[Transition]]:
    """Let something happen to a process.

    Args:
        process: The process before it.
        event: What happens.
        policy: What the job file says.
        now: The time, by the same clock as `process.started`.

    Returns:
        The process after it, and the transitions that it made, in order, for their actions.

    Raises:
        ValueError: That cannot happen in that state.
    """
    transition = TRANSITIONS[process.state].get(event)
    if transition is None:
        raise ValueError(f"a process that is {process.state.value} cannot see {event.name}")
    after = _apply(process, transition, policy, now)
    if transition is _GONE and process.again:
        started, more = advance(after, Input.START, policy, now)
        return started, [transition, *more]
    return after, [transition]


def expiry_input(process: Process, now: float) -> Input | None:
    """Return what the passing of time means for a process; None: nothing yet."""
    if process.deadline is None or now < process.deadline:
        return None
    return _EXPIRY[process.state]


def judge_exit(policy: Policy, code: int, signal: int = 0) -> Input:
    """Decide whether an end was expected: by exit code, or by the signal's number, negated."""
    return Input.DIED_WELL if (-signal if signal else code) in policy.normal_exits else Input.DIED_BADLY


def mermaid() -> str:
    """Draw the automaton from its table, for the documentation."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.STOPPED.name}"]
    for state, row in TRANSITIONS.items():
        targets: dict[State, list[str]] = {}
        for event, transition in row.items():
            if transition.target is not state or transition.actions:
                targets.setdefault(transition.target, []).append(event.name)
        lines += [f"    {state.name} --> {target.name}: {', '.join(names)}" for target, names in targets.items()]
    lines.append(f"    {State.STOPPING.name} --> {State.STARTING.name}: gone, and wanted back by START")
    return "\n".join(lines) + "\n"


def _apply(process: Process, transition: Transition, policy: Policy, now: float) -> Process:
    after = replace(process, state=transition.target)
    for effect in transition.effects:
        after = _change(after, effect, policy, now)
    if Action.SPAWN in transition.actions:
        return replace(after, started=now, deadline=now + policy.start_time)
    if Action.SIGNAL in transition.actions:
        return replace(after, deadline=now + policy.stop_time)
    if Action.SLAY in transition.actions:
        return replace(after, deadline=None)
    if transition.target in (State.ALIVE, State.STOPPED):
        return replace(after, deadline=None)
    return after


def _change(process: Process, effect: Effect, policy: Policy, now: float) -> Process:
    match effect:
        case Effect.REFILL:
            return replace(process, budget=policy.restart_times, restarts=0, again=False)
        case Effect.SPEND:
            return replace(process, budget=max(process.budget - 1, -1), restarts=process.restarts + 1)
        case Effect.PLAN_RETRY:
            return replace(process, deadline=_plan_retry(process, policy, now))
        case Effect.CALL_OFF:
            return replace(process, deadline=None)
        case Effect.REMEMBER:
            return replace(process, again=True)
        case Effect.FORGET:
            return replace(process, again=False)


def _plan_retry(process: Process, policy: Policy, now: float) -> float | None:
    """Return when a process that has just ended is to be started again; None: not at all."""
    wanted = policy.restart is RestartMode.ALWAYS or (
        policy.restart is RestartMode.UNEXPECTED and process.state is State.BADSTOP
    )
    if not wanted or process.budget == 0:
        return None
    return max(now, process.started + policy.start_time)
