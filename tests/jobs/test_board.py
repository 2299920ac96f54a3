"""What follows from changes, and who hears of them, in which order."""

import asyncio

import pytest

from ctld.errors import NotFound
from ctld.jobs.board import Board
from ctld.jobs.snapshot import JobEvent


@pytest.fixture
def settled():
    return []


async def test_changes_are_followed_up_once_however_many_there_are(settled):
    board = Board(lambda: settled.append(1))
    for _ in range(10):
        board.changed()
    await board.settled()
    assert settled == [1]
    await board.settled()
    assert settled == [1]


async def test_observers_hear_before_those_who_wait(settled):
    board = Board(lambda: settled.append(1))
    heard = []
    board.subscribe(lambda event: heard.append(event.message))
    waiting = asyncio.create_task(board.next_change())
    waiting.add_done_callback(lambda task: heard.append("woken"))
    await asyncio.sleep(0)
    board.tell(JobEvent(job="a", message="one"))
    board.tell(JobEvent(job="a", message="two"))
    await waiting
    await asyncio.sleep(0)
    assert heard == ["one", "two", "woken"]


async def test_an_observer_that_fails_hurts_nobody_else(settled):
    board = Board(lambda: settled.append(1))
    heard, complaints = [], []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["exception"]))
    board.subscribe(lambda event: 1 / 0)
    board.subscribe(heard.append)
    board.tell(JobEvent(job="a", message="one"))
    await board.next_change()
    assert [type(error) for error in complaints] == [ZeroDivisionError]
    assert [event.message for event in heard] == ["one"]


async def test_what_is_left_to_be_told_is_told_at_the_end(settled):
    board = Board(lambda: settled.append(1))
    heard = []
    board.subscribe(heard.append)
    board.tell(JobEvent(job="a", message="last"))
    board.stop_settling()
    await asyncio.sleep(0)
    assert [event.message for event in heard] == ["last"]
    assert settled == []
    board.stop_settling()


async def test_a_cancelled_wait_leaves_no_trace(settled):
    board = Board(lambda: settled.append(1))
    first, second = (asyncio.create_task(board.next_change()) for _ in range(2))
    await asyncio.sleep(0)
    board.changed()
    await asyncio.sleep(0)  # settled: both are about to wake
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert not board._waiters
    third = asyncio.create_task(board.next_change())
    await asyncio.sleep(0)
    third.cancel()
    await asyncio.wait([third])
    assert not board._waiters


def test_an_unknown_job_is_not_found(settled):
    with pytest.raises(NotFound, match="there is no job 'x'"):
        Board(settled.clear).find("x")
