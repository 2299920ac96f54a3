"""A collection by itself: side by side, nothing twice, and everything in the manifest."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from ctld.errors import CommandFailed, InvalidOptions
from ctld.gatherer.collection import Collection, Item, Tally, check_items
from ctld.gatherer.draft import Draft
from ctld.gatherer.manifest import ItemEntry
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore
from ctld.processes.accounts import Account
from tests.gatherer.actors import QUICK, eventually


@pytest_asyncio.fixture
async def pool() -> AsyncIterator[Pool]:
    async with Pool({"p": Profile(workers=2)}, QUICK) as pool:
        yield pool


@pytest.fixture
def draft(tmp_path: Path) -> Iterator[Draft]:
    draft = ReportStore(tmp_path / "reports").create("r", Account(None, None, None), {})
    yield draft
    draft.abandon()


class Told:
    def __init__(self) -> None:
        self.entries: list[ItemEntry] = []
        self.done: list[int] = []

    async def __call__(self, entry: ItemEntry, tally: Tally) -> None:
        self.entries.append(entry)
        self.done.append(tally.done)


def test_what_an_item_is() -> None:
    items = (Item(copy="/a"), Item(pattern="/b*", limit=5), Item(exec="c", name="d"))
    check_items(items)
    assert [(item.kind, item.what) for item in items] == [("copy", "/a"), ("pattern", "/b*"), ("exec", "c")]
    for wrong in (Item(), Item(copy="/a", pattern="/b"), Item(exec="a", limit=1), Item(pattern="a", name="b")):
        with pytest.raises(InvalidOptions) as caught:
            check_items((items[0], wrong))
        assert str(caught.value.fields["path"]).startswith("items[1]")


async def test_items_run_side_by_side(pool: Pool, draft: Draft, tmp_path: Path) -> None:
    # Each waits for the other: one after the other they would never end.
    items = [
        Item(exec=f"touch {tmp_path}/{mine}; until test -e {tmp_path}/{other}; do sleep 0.01; done", timeout=20)
        for mine, other in (("a", "b"), ("b", "a"))
    ]
    told = Told()
    await Collection(pool, "p", items, draft).run(told)
    assert [entry.outcome for entry in told.entries] == ["ok", "ok"]


async def test_what_is_told(pool: Pool, draft: Draft, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("hello")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir/b").write_text("x")
    items = [Item(copy=f"{tmp_path}/a"), Item(copy=f"{tmp_path}/dir"), Item(exec="echo x"), Item(copy="/none")]
    told = Told()
    collection = Collection(pool, "p", items, draft)
    await collection.run(told)
    assert max(told.done) == 4
    assert len(told.done) == 4
    assert collection.tally.outcomes == {"ok": 3, "failed": 1}
    assert (collection.tally.files, collection.tally.bytes) == (3, 8)
    draft.finish({})
    written = json.loads((draft.path / "manifest.json").read_bytes())["items"]
    assert sorted(item["item"] for item in written) == [0, 1, 2, 3]


async def test_a_copy_of_which_a_part_fails(pool: Pool, draft: Draft, tmp_path: Path) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("content")
    place = draft.root / str(tmp_path)[1:]
    place.mkdir(parents=True)
    (place / "y").write_text("in the way")
    told = Told()
    await Collection(pool, "p", [Item(pattern=f"{tmp_path}/?/*")], draft).run(told)
    [entry] = told.entries
    assert (entry.outcome, entry.detail) == ("partial", "ENOTDIR")
    assert [file.outcome for file in entry.files] == ["FILE", "FAIL"]
    assert (place / "y").read_text() == "in the way"


async def test_workers_that_cannot_write(pool: Pool, draft: Draft) -> None:
    os.rmdir(draft.root)
    told = Told()
    with pytest.raises(CommandFailed, match="cannot write to"):
        await Collection(pool, "p", [Item(copy="/etc/os-release")], draft).run(told)
    assert told.entries == []
    await Collection(pool, "p", [Item(exec="true")], draft).run(told)  # which needs no copies


async def test_nothing_is_begun_past_the_limit(pool: Pool, draft: Draft) -> None:
    told = Told()
    await Collection(pool, "p", [Item(exec="echo 12345")] * 20, draft, max_bytes=6).run(told)
    outcomes = [entry.outcome for entry in told.entries]
    assert 1 <= outcomes.count("ok") <= 4  # as many as had begun
    assert outcomes.count("limit") == 20 - outcomes.count("ok")


async def test_cancelled_it_notes_what_was_under_way(pool: Pool, draft: Draft, tmp_path: Path) -> None:
    items = [Item(exec=f"touch {tmp_path}/{number}; sleep 1000") for number in range(10)]
    collection = Collection(pool, "p", items, draft)
    task = asyncio.create_task(collection.run(Told()))
    await eventually(lambda: (tmp_path / "0").exists() and (tmp_path / "1").exists())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert set(collection.tally.outcomes) == {"cancelled"}
    assert 2 <= collection.tally.done <= 4
    draft.finish({})
    written = json.loads((draft.path / "manifest.json").read_bytes())["items"]
    assert {item["outcome"] for item in written} == {"cancelled"}
