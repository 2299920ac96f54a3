import pytest

from ctld.jobs.snapshot import JobInfo, ProcessInfo, Verdict, assess
from ctld.jobs.state import State


def process(state: State, **keys) -> ProcessInfo:
    return ProcessInfo(index=keys.pop("index", 0), state=state, **keys)


STOPPED, STARTING, ALIVE = process(State.STOPPED), process(State.STARTING), process(State.ALIVE)
STOPPING, DONE = process(State.STOPPING), process(State.GOODSTOP)
FAILED = process(State.BADSTOP, message="Failed to start. (exit code 1)", last_exit="exit code 1")
WAITING = process(State.BADSTOP, retry_in=1.0)
AGAIN = process(State.GOODSTOP, retry_in=0.0)


def job(*processes: ProcessInfo, desired: bool = True, **keys) -> JobInfo:
    return JobInfo(name="web", desired=desired, processes=processes, **keys)


@pytest.mark.parametrize(
    ("info", "summary"),
    [
        (job(STOPPED, desired=False), "stopped"),
        (job(DONE, FAILED, desired=False), "stopped"),
        (job(STOPPING, STOPPED, desired=False), "stopping"),
        (job(STOPPED, waits_for={"db": ""}), "waiting"),
        (job(ALIVE, paused=True), "paused"),
        (job(ALIVE, ALIVE), "running"),
        (job(ALIVE, DONE), "running"),
        (job(DONE, DONE), "finished"),
        (job(ALIVE, STARTING), "starting"),
        (job(ALIVE, FAILED), "failed"),
        (job(ALIVE, WAITING), "backoff"),
        (job(AGAIN), "backoff"),
        (job(STOPPING, ALIVE), "restarting"),
    ],
)
def test_one_word_says_it_all(info, summary):
    assert info.summary == summary


@pytest.mark.parametrize(
    ("info", "running", "stopped"),
    [
        (job(ALIVE, ALIVE), Verdict.REACHED, "somebody has started it again"),
        (job(ALIVE, DONE), Verdict.REACHED, "somebody has started it again"),
        (job(ALIVE, STARTING), Verdict.PENDING, "somebody has started it again"),
        (job(WAITING), Verdict.PENDING, "somebody has started it again"),
        (job(AGAIN), Verdict.PENDING, "somebody has started it again"),
        (job(ALIVE, FAILED), "process 0: Failed to start. (exit code 1)", "somebody has started it again"),
        (job(process(State.BADSTOP, message="No.", index=3)), "process 3: No.", "somebody has started it again"),
        (job(STOPPED, waits_for={"db": ""}), Verdict.PENDING, "somebody has started it again"),
        (
            job(STOPPED, waits_for={"a": "", "db": "is stopped"}),
            "it waits for job 'db', which is stopped",
            "somebody has started it again",
        ),
        (job(ALIVE, ALIVE, paused=True), Verdict.REACHED, "somebody has started it again"),
        (job(ALIVE, STARTING, paused=True), "it is suspended", "somebody has started it again"),
        (job(WAITING, paused=True), "it is suspended", "somebody has started it again"),
        (job(STOPPED, desired=False), "somebody has stopped it", Verdict.REACHED),
        (job(FAILED, DONE, desired=False), "somebody has stopped it", Verdict.REACHED),
        (job(STOPPING, desired=False), "somebody has stopped it", Verdict.PENDING),
        (job(STOPPING, desired=False, leaving="removed"), "it is being removed", Verdict.PENDING),
        (job(STOPPING, desired=False, leaving="replaced"), Verdict.PENDING, Verdict.PENDING),
        (job(STOPPING, leaving="replaced"), Verdict.PENDING, Verdict.PENDING),
    ],
)
def test_a_wish_has_come_true_or_may_or_cannot(info, running, stopped):
    assert assess("running", info) == running
    assert assess("stopped", info) == stopped


def test_what_is_up_and_what_is_alive():
    info = job(ALIVE, STARTING, STOPPING, DONE)
    assert (info.is_up, info.alive) == (True, 1)
    assert not job(DONE, FAILED, STOPPED, WAITING).is_up
