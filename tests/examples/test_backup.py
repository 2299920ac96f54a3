"""`examples/backup.py`: progress, cancelling, and nothing left behind."""

from pathlib import Path

import pytest

from ctld.client import AsyncClient
from ctld.errors import Cancelled, CommandFailed, InvalidOptions, NotFound

EXAMPLE = Path(__file__).parents[2] / "examples" / "backup.py"
CHUNK = 1024 * 1024


@pytest.fixture
def pool(folder):
    source = folder / "home" / "alice"
    (source / "deep").mkdir(parents=True)
    (source / "a").write_bytes(b"a" * (CHUNK + 1))
    (source / "deep" / "b").write_bytes(b"b")
    (source / "link").symlink_to("/etc/passwd")
    (folder / "pool").mkdir()
    return folder / "pool"


@pytest.fixture
def address(folder, pool, start):
    address = f"unix:{folder}/backupd.sock"
    with start(EXAMPLE, folder / "home", pool, address):
        yield address


async def test_a_folder_is_copied_with_progress_in_bytes(pool, address):
    async with AsyncClient(address) as client:
        call = client.call("backup", {"name": "alice"})
        updates = [update async for update in call]
        assert await call == {"files": 2, "size": CHUNK + 2}
    assert (updates[-1].current, updates[-1].total, updates[-1].unit) == (CHUNK + 2, CHUNK + 2, "bytes")
    assert len(updates) == 3  # two chunks of a, one of b
    assert (pool / "alice/deep/b").read_bytes() == b"b"
    assert [path.name for path in pool.iterdir()] == ["alice"]
    assert not (pool / "alice/link").exists()


async def test_cancelled_it_leaves_nothing_behind(folder, pool, address):
    # Sparse, and far more than can be copied before the cancellation arrives.
    with (folder / "home/alice/huge").open("wb") as huge:
        huge.truncate(64 * 1024 * CHUNK)
    async with AsyncClient(address) as client:
        call = client.call("backup", {"name": "alice"})
        async for _ in call:
            call.cancel()
            break
        with pytest.raises(Cancelled):
            await call
        assert list(pool.iterdir()) == []


async def test_what_it_refuses(folder, pool, address):
    (pool / "bob").mkdir()
    (folder / "home/bob").mkdir()
    (folder / "home/carol").mkdir()
    (pool / ".carol.partial").mkdir()
    async with AsyncClient(address) as client:
        with pytest.raises(NotFound, match="there is no folder 'nobody'"):
            await client.call("backup", {"name": "nobody"})
        with pytest.raises(CommandFailed, match="in the pool already"):
            await client.call("backup", {"name": "bob"})
        with pytest.raises(CommandFailed, match="by somebody else"):
            await client.call("backup", {"name": "carol"})
        for name in ("../alice", "/etc", "", ".", "a/b", "a\n"):
            with pytest.raises(InvalidOptions):
                await client.call("backup", {"name": name})
    assert (pool / ".carol.partial").is_dir()
