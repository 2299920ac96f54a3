"""Who writes when: all of one turn together, and who is alone at once."""

import asyncio

import pytest

from ctld.outbox import _ANSWERS_ALONE, _TURNS_ALONE, Outbox


class Sender:
    """Notes that it was flushed."""

    def __init__(self, order: list["Sender"], *, fails: bool = False) -> None:
        self._order = order
        self._fails = fails

    def flush(self) -> None:
        self._order.append(self)
        if self._fails:
            raise RuntimeError("a defect")


def answer(outbox: Outbox, sender: Sender) -> None:
    """Do what an outlet does with the last message of a request."""
    if outbox.at_once:
        outbox.at_once -= 1
        sender.flush()
    else:
        outbox.add(sender)


async def make_shared(outbox: Outbox) -> None:
    """Let two write in one turn."""
    for _ in range(2):
        outbox.add(Sender([]))
    outbox.at_once = 0
    await asyncio.sleep(0)


async def test_what_is_added_in_one_turn_is_written_together_at_its_end():
    outbox, order = Outbox(asyncio.get_running_loop()), []
    senders = [Sender(order) for _ in range(3)]
    for sender in senders:
        outbox.add(sender)
    assert order == []
    await asyncio.sleep(0)
    assert order == senders
    await asyncio.sleep(0)
    outbox.add(senders[0])
    await asyncio.sleep(0)
    assert len(order) == 4, "each time once"


async def test_who_is_alone_is_written_at_once_but_for_a_try_now_and_then():
    outbox, order = Outbox(asyncio.get_running_loop()), []
    waited = 0
    for number in range(1, 1 + 10 * _ANSWERS_ALONE):
        answer(outbox, Sender(order))
        if len(order) < number:
            waited += 1
            await asyncio.sleep(0)
        assert len(order) == number
    assert waited == 9


async def test_as_long_as_there_are_several_nobody_is_written_at_once():
    outbox, order = Outbox(asyncio.get_running_loop()), []
    await make_shared(outbox)
    for turn in range(1, 100):
        for _ in range(2):
            answer(outbox, Sender(order))
        assert len(order) == 2 * turn - 2
        await asyncio.sleep(0)


async def test_a_single_turn_alone_does_not_count():
    outbox, order = Outbox(asyncio.get_running_loop()), []
    await make_shared(outbox)
    for turn in range(_TURNS_ALONE):
        answer(outbox, Sender(order))
        assert len(order) == turn, "only so many in a row do"
        await asyncio.sleep(0)
    answer(outbox, Sender(order))
    assert len(order) == _TURNS_ALONE + 1


async def test_a_defect_of_one_leaves_the_others_their_turn():
    loop = asyncio.get_running_loop()
    reported = []
    loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    outbox, order = Outbox(loop), []
    senders = [Sender(order), Sender(order, fails=True), Sender(order)]
    for sender in senders:
        outbox.add(sender)
    for _ in range(2):
        await asyncio.sleep(0)
    assert set(order) == set(senders)
    assert len(order) == 3
    with pytest.raises(RuntimeError, match="a defect"):
        raise reported[0]
