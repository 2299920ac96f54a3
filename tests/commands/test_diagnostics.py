import asyncio
from collections.abc import Coroutine

from tests.commands.stage import BOB, stage
from tests.commands.test_service import NOBODY, ask


async def test_connection_list():
    assert await ask(BOB, "connection_list") == [{"peer": "alice"}]
    assert (await ask(NOBODY, "connection_list")).code == "denied"


async def test_task_list():
    async def stuck():
        await asyncio.Event().wait()

    tasks = [asyncio.create_task(stuck(), name=name) for name in ("b task", "a task")]
    await asyncio.sleep(0)
    tasks[0].cancel()
    listed = await ask(BOB, "task_list", on=stage())
    by_name = {entry["name"]: entry for entry in listed}
    assert [entry["name"] for entry in listed] == sorted(by_name)
    assert by_name["a task"]["where"].startswith("test_diagnostics.py:")
    assert by_name["a task"]["where"].endswith(" stuck")
    assert by_name["a task"]["cancelling"] is False
    assert by_name["b task"]["cancelling"] is True
    assert "/" not in by_name["a task"]["where"]
    assert (await ask(NOBODY, "task_list")).code == "denied"
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


class Compiled(Coroutine):
    """A coroutine without a frame, as compiled code has it."""

    def send(self, value):
        return None

    def throw(self, *error):
        raise asyncio.CancelledError

    def __await__(self):
        return self


async def test_a_task_that_shows_no_frame():
    task = asyncio.create_task(Compiled(), name="compiled")
    await asyncio.sleep(0)
    (listed,) = [entry for entry in await ask(BOB, "task_list") if entry["name"] == "compiled"]
    assert listed == {"name": "compiled", "where": "", "cancelling": False}
    task.cancel()
    await asyncio.wait([task])
