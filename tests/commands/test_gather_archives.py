"""Reports that are there: packed, listed, handed over in pieces, removed."""

import asyncio
import base64
import hashlib
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from ctld.client import AsyncClient
from ctld.commands.gather_archives import archive_commands
from ctld.errors import CommandFailed, NotFound
from ctld.gatherer.report_store import ReportStore
from ctld.processes.accounts import Account
from tests.native import serving


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as name:
        yield Path(name)


@pytest.fixture
def store(folder: Path) -> ReportStore:
    return ReportStore(folder / "reports")


@pytest_asyncio.fixture
async def client(folder: Path, store: ReportStore) -> AsyncIterator[AsyncClient]:
    async with serving(folder, archive_commands(store)) as served, AsyncClient(f"unix:{served.path}") as client:
        yield client


def make(store: ReportStore, name: str, content: bytes = b"") -> None:
    draft = store.create(name, Account(None, None, None), {"report": name})
    (draft.root / "content").write_bytes(content)
    draft.finish({"complete": True})


async def test_a_large_report_in_pieces(client, store):
    make(store, "large", os.urandom(1_000_000))
    archive = await client.call("gather_pack", {"name": "large"})
    pieces = [piece async for piece in client.stream("gather_fetch", {"name": "large"})]
    data = b"".join(base64.b64decode(piece["data"]) for piece in pieces)
    assert len(pieces) >= 6
    assert [piece["offset"] for piece in pieces] == [min(n * 196_608, len(data)) for n in range(len(pieces))]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (archive["bytes"], archive["sha256"])
    assert pieces[-1]["sha256"] == archive["sha256"]
    assert all("sha256" not in piece for piece in pieces[:-1])


async def test_a_fetch_that_is_left_early_closes_the_file(client, store):
    make(store, "large", os.urandom(1_000_000))
    await client.call("gather_pack", {"name": "large"})
    async for _ in client.stream("gather_fetch", {"name": "large"}):
        break
    assert [row["name"] for row in await client.call("gather_reports")] == [
        "large"
    ]  # and the fixture counts descriptors


async def test_lists(client, store):
    make(store, "b")
    make(store, "a")
    await client.call("gather_pack", {"name": "a"})
    rows = await client.call("gather_reports")
    assert [(row["name"], row["kind"]) for row in rows] == [("a", "archive"), ("b", "directory")]


async def test_packing_twice(client, store):
    make(store, "a")
    await client.call("gather_pack", {"name": "a"})
    with pytest.raises(NotFound):
        await client.call("gather_pack", {"name": "a"})


async def test_a_directory_cannot_be_fetched(client, store):
    make(store, "a")
    with pytest.raises(NotFound, match="no packed report 'a'"):
        await client.call("gather_fetch", {"name": "a"})


async def test_forgetting(client, store):
    make(store, "a")
    make(store, "b")
    await client.call("gather_pack", {"name": "b"})
    for name in ("a", "b"):
        await client.call("gather_forget", {"name": name})
        with pytest.raises(NotFound):
            await client.call("gather_forget", {"name": name})
    assert await client.call("gather_reports") == []


async def test_two_who_pack_one_report(client, store):
    make(store, "a", os.urandom(3_000_000))
    async with AsyncClient(client.address) as other:
        results = await asyncio.gather(
            *(_pack(one) for one in (client, other)),
            return_exceptions=True,
        )
    assert sorted(isinstance(result, CommandFailed) for result in results) == [False, True]


async def _pack(client):
    return await client.call("gather_pack", {"name": "a"})
