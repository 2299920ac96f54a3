from pathlib import Path

import ctld
from ctld.commands import fitting as module
from ctld.commands.fitting import fitting
from tests.native import serving


def test_as_many_as_fit_and_one_at_least():
    assert fitting([]) == []
    assert fitting(["a" * 100, "b"], 10) == ["a" * 100]
    assert fitting(["aa", "bb", "cc"], 10) == ["aa", "bb"]
    assert fitting(["aa", "bb", "cc"], 15) == ["aa", "bb", "cc"]


def test_nothing_is_taken_after_what_does_not_fit():
    taken = iter(["aa", "bb", "cc", "dd"])
    assert fitting(taken, 6) == ["aa"]
    assert list(taken) == ["cc", "dd"]


async def test_the_history_and_the_events_come_in_pages(tmp_path: Path):
    commands: ctld.CommandRegistry = ctld.CommandRegistry()

    @commands.command("keep", role="admin")
    async def keep(ctx: ctld.Context, text: str) -> None:
        """Is told and kept with its options."""

    async with serving(tmp_path, commands) as served:
        client = await served.connect()
        for number in range(100):
            await client.ask("keep", {"text": f"{number:03d}" + "x" * 60_000})
        first = (await client.ask("history_list", {"limit": 10_000}))["response"]
        assert 60 < len(first) < 75
        rest = (await client.ask("history_list", {"limit": 10_000, "before": first[-1]["id"]}))["response"]
        assert [entry["options"][9:12] for entry in (*first, *rest)] == [
            f"{number:03d}" for number in range(99, -1, -1)
        ]
        assert module.MAX_ANSWER == 4 * 1024 * 1024


async def test_of_the_events_the_newest_come_unless_one_goes_on_from_a_number(tmp_path: Path):
    async with serving(tmp_path) as served:
        client = await served.connect()
        begin = served.server.events.last_seq
        for number in range(100):
            served.server.events.publish("big", n=number, text="x" * 60_000)
        newest = (await client.ask("event_list", {"limit": 4096}))["response"]
        assert 60 < len(newest) < 75
        assert newest[-1]["opts"]["n"] == 99
        onwards = (await client.ask("event_list", {"limit": 4096, "since": begin}))["response"]
        assert [event["opts"]["n"] for event in onwards] == list(range(len(onwards)))
