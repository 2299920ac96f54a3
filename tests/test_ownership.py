import asyncio
import contextvars

from ctld.commands.operation import OperationTable
from ctld.ownership import Owner, current_owner
from ctld.peer import Peer


def operation() -> Owner:
    return OperationTable().start("x", Peer.DAEMON)


def test_outside_of_commands_nobody_is_at_work():
    assert contextvars.Context().run(current_owner.get) is None


def test_an_operation_is_an_owner():
    owner = operation()
    assert (owner.command, owner.holder, owner.peer, owner.finished) == ("x", "x", Peer.DAEMON, False)
    assert owner.id
    assert owner.started > 0


async def test_tasks_inherit_the_owner_and_cannot_change_the_parents():
    mine, theirs = operation(), operation()
    token = current_owner.set(mine)
    seen = []

    async def child():
        seen.append(current_owner.get())
        current_owner.set(theirs)
        seen.append(current_owner.get())

    try:
        await asyncio.create_task(child())
        assert seen == [mine, theirs]
        assert current_owner.get() is mine
    finally:
        current_owner.reset(token)
