"""Reports over a real socket: whole, cancelled, with dead workers, on full disks, under evil names."""

import asyncio
import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ctld.client import AsyncClient
from ctld.commands.gather import gather_commands
from ctld.errors import Cancelled, CommandFailed, DeadlineExceeded, InvalidOptions, Locked, NotFound
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore
from tests.gatherer.actors import QUICK, eventually, usable_interpreter
from tests.native import serving

REPORTS = "reports"


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@asynccontextmanager
async def gathering(
    folder: Path, reports: Path | None = None, max_bytes: int | None = None, **profile: Any
) -> AsyncIterator[tuple[AsyncClient, Pool]]:
    store = ReportStore(reports or folder / REPORTS, max_bytes=max_bytes)
    async with (
        Pool({"p": Profile(**profile)}, QUICK) as pool,
        serving(folder, gather_commands(pool, store)) as served,
        AsyncClient(f"unix:{served.path}") as client,
    ):
        yield client, pool


def manifest(folder: Path, name: str = "r") -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / REPORTS / name / "manifest.json").read_bytes())
    read["items"] = {item["item"]: item for item in read["items"]}
    return read


def report(*items: dict[str, Any], **opts: Any) -> dict[str, Any]:
    return {"profile": "p", "items": items, "destination": "r", **opts}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Whole.


async def test_a_report(folder: Path) -> None:
    (folder / "a").write_text("hello")
    (folder / "logs").mkdir()
    for number in range(3):
        (folder / f"logs/{number}").write_text("x" * 10)
        os.utime(folder / f"logs/{number}", (number, number))
    async with gathering(folder) as (client, _):
        items = (
            {"copy": f"{folder}/a"},
            {"pattern": f"{folder}/logs/*", "limit": 15},
            {"exec": "echo out; echo err >&2; exit 3", "name": "../it's me"},
            {"copy": f"{folder}/none"},
            {"pattern": f"{folder}/nothing*"},
        )
        call = client.call("gather_report", report(*items))
        updates = [update async for update in call]
        done = await call
    assert done["outcomes"] == {"failed": 1, "ok": 4}
    assert (done["files"], done["bytes"], done["archive"]) == (5, 5 + 15 + 8, None)
    assert done["path"] == f"{folder}/{REPORTS}/r"
    by_task = {update.data["task"]: update for update in updates}
    assert (by_task["items"].current, by_task["items"].total, by_task["items"].unit) == (5, 5, "items")
    assert (by_task["bytes"].current, by_task["bytes"].unit) == (28, "bytes")
    read = manifest(folder)
    assert read["complete"] is True
    assert (read["items_total"], read["items_omitted"], read["bytes"]) == (5, 0, 28)
    assert read["outcomes"] == {"ok": 4, "failed": 1}
    item = read["items"][0]
    assert item["digest"] == sha256(f"{sha256(b'hello')}\n".encode())
    assert (item["kind"], item["outcome"], item["bytes"]) == ("copy", "ok", 5)
    assert item["seconds"] >= 0
    assert [file["outcome"] for file in read["items"][1]["files"]] == ["FILE", "TAIL", "SKIP"]
    assert (read["items"][2]["status"], read["items"][2]["outcome"]) == (3, "ok")
    assert (read["items"][3]["outcome"], read["items"][3]["detail"]) == ("failed", "ENOENT")
    assert read["items"][4]["outcome"] == "ok"
    for item in read["items"].values():
        for file in item.get("files", ()):
            if "stored" in file:
                assert sha256((folder / REPORTS / "r" / file["stored"]).read_bytes()) == file["sha256"]
    assert (folder / REPORTS / "r/commands/0002-it_s_me.out").read_text() == "out\n"


async def test_a_packed_report_is_fetched_and_forgotten(folder: Path) -> None:
    async with gathering(folder) as (client, _):
        done = await client.call("gather_report", report({"exec": "seq 200000 | sha256sum; seq 200000"}, archive=True))
        archive = done["archive"]
        assert done["path"] == ""
        assert [row["kind"] for row in await client.call("gather_reports")] == ["archive"]
        pieces = [piece async for piece in client.stream("gather_fetch", {"name": "r"})]
        data = b"".join(base64.b64decode(piece["data"]) for piece in pieces)
        assert (len(data), sha256(data)) == (archive["bytes"], archive["sha256"])
        assert pieces[-1] == {"offset": len(data), "data": "", "sha256": archive["sha256"]}
        assert Path(archive["path"]).read_bytes() == data
        await client.call("gather_forget", {"name": "r"})
        assert await client.call("gather_reports") == []
        with pytest.raises(NotFound):
            await client.call("gather_fetch", {"name": "r"})


async def test_names_with_line_breaks_and_without_utf8(folder: Path) -> None:
    (folder / "odd").mkdir()
    names = [b"new\nline", b"\xff\xfe", b"#5#", b"\x1b[2J"]
    for name in names:
        Path(os.fsdecode(os.fsencode(folder) + b"/odd/" + name)).write_bytes(name)
    async with gathering(folder) as (client, _):
        await client.call("gather_report", report({"copy": f"{folder}/odd"}, archive=True))
        rows = [row async for row in client.stream("gather_glob", {"profile": "p", "pattern": f"{folder}/odd/*"})]
    assert len(rows) == 3  # a name with a line break cannot be listed (C4)
    with tarfile.open(folder / REPORTS / "r.tar.xz") as tar:
        found = {os.fsencode(name).rpartition(b"/odd/")[2] for name in tar.getnames() if "/odd/" in name}
        stored = tar.extractfile("r/manifest.json")
        assert stored is not None
        files = json.load(stored)["items"][0]["files"]
    assert found == set(names)
    exact = {base64.b64decode(file["base64"]) for file in files if "base64" in file}
    assert exact == {os.fsencode(folder) + b"/odd/\xff\xfe"}
    assert f"{folder}/odd/new\nline" in {file["path"] for file in files}


async def test_two_at_once(folder: Path) -> None:
    async with gathering(folder, workers=2) as (client, _), AsyncClient(client.address) as other:
        items = [{"exec": f"echo {number}"} for number in range(20)]
        calls = (
            client.call("gather_report", report(*items, destination="one")),
            other.call("gather_report", report(*items, destination="two")),
        )
        for done in await asyncio.gather(*calls):
            assert done["outcomes"] == {"ok": 20}
    for name in ("one", "two"):
        outputs = sorted((folder / REPORTS / name / "commands").iterdir())
        assert [path.read_text() for path in outputs] == [f"{number}\n" for number in range(20)]


async def test_two_of_one_name(folder: Path) -> None:
    marker = folder / "begun"
    async with gathering(folder) as (client, _), AsyncClient(client.address) as other:
        call = asyncio.ensure_future(
            _result(client.call("gather_report", report({"exec": f"touch {marker}; sleep 60"})))
        )
        await eventually(marker.exists)
        for command, opts in (
            ("gather_report", report({"exec": "true"})),
            ("gather_forget", {"name": "r"}),
            ("gather_pack", {"name": "r"}),
        ):
            with pytest.raises(Locked):
                await other.call(command, opts)
        call.cancel()
        await asyncio.wait([call])
        with pytest.raises(CommandFailed, match="there is a report 'r' already"):
            await client.call("gather_report", report({"exec": "true"}))


async def _result(call: Any) -> Any:
    return await call


# What is refused.


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/x", "a/b", ".x", "x\n", "x\0", "x.tar.xz", "-x", "é"])
async def test_tricks_in_names(folder: Path, name: str) -> None:
    async with gathering(folder) as (client, _):
        for command, opts in (
            ("gather_report", report({"exec": "true"}, destination=name)),
            ("gather_copy", {"profile": "p", "source": "/etc/os-release", "destination": name}),
            ("gather_pack", {"name": name}),
            ("gather_fetch", {"name": name}),
            ("gather_forget", {"name": name}),
        ):
            with pytest.raises(InvalidOptions):
                await client.call(command, opts)
    assert not (folder / REPORTS).exists()


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({}, "exactly one of"),
        ({"copy": "/a", "exec": "b"}, "exactly one of"),
        ({"copy": "/a", "limit": 1}, "a limit needs a pattern"),
        ({"copy": "/a", "name": "x"}, "only the output of a command"),
        ({"run": "a"}, "run"),
        ({"exec": "a", "timeout": 0}, "timeout"),
        ({"pattern": "a", "limit": -1}, "limit"),
    ],
)
async def test_items_that_are_none(folder: Path, item: dict[str, Any], message: str) -> None:
    async with gathering(folder) as (client, _):
        with pytest.raises(InvalidOptions, match=message):
            await client.call("gather_report", report({"exec": "true"}, item))
        with pytest.raises(InvalidOptions):
            await client.call("gather_report", report())
    assert not (folder / REPORTS).exists()


async def test_a_profile_that_is_none(folder: Path) -> None:
    async with gathering(folder) as (client, _):
        with pytest.raises(NotFound, match="no gatherer profile 'root'"):
            await client.call("gather_report", report({"exec": "true"}, profile="root"))


async def test_requests_that_the_wire_cannot_carry_fail_alone(folder: Path) -> None:
    async with gathering(folder) as (client, _):
        items = ({"exec": "echo a\necho b"}, {"copy": "/a\nexit"}, {"copy": "relative"}, {"exec": "echo c"})
        done = await client.call("gather_report", report(*items))
    assert done["outcomes"] == {"failed": 3, "ok": 1}
    assert manifest(folder)["items"][2]["detail"] == "EINVAL"


# Ends that nobody wished for.


async def test_an_item_that_never_ends(folder: Path) -> None:
    async with gathering(folder) as (client, _):
        done = await client.call(
            "gather_report",
            report({"exec": "sleep 1000", "timeout": 0.2}, {"exec": "echo on"}, {"copy": "/proc/version"}),
        )
    assert done["outcomes"] == {"ok": 2, "timeout": 1}
    assert "longer than 0.2 s" in manifest(folder)["items"][0]["detail"]


async def test_a_worker_that_dies_fails_one_item(folder: Path) -> None:
    async with gathering(folder, workers=1) as (client, _pool):
        items = ({"exec": "echo a"}, {"exec": "kill -9 $PPID; sleep 60"}, {"exec": "echo b"})
        done = await client.call("gather_report", report(*items))
        rows = await client.call("gather_pool")
    assert done["outcomes"] == {"failed": 1, "ok": 2}
    assert manifest(folder)["items"][1]["outcome"] == "failed"
    assert (rows[0]["restarts"], rows[0]["state"]) == (1, "idle")


async def test_workers_killed_at_random_lose_no_item(folder: Path) -> None:
    async with gathering(folder, workers=2) as (client, pool):
        items = [{"exec": f"echo {number} >> {folder}/ran; echo {number}"} for number in range(60)]
        call = asyncio.ensure_future(_result(client.call("gather_report", report(*items))))
        ran = folder / "ran"
        for turn in range(6):
            before = ran.stat().st_size if ran.exists() else 0
            for crew in pool.snapshot():
                for worker in crew.workers[turn % 2 :]:
                    os.kill(worker.pid, signal.SIGKILL)
            await eventually(lambda before=before: call.done() or (ran.exists() and ran.stat().st_size > before))
        done = await call
    read = manifest(folder)
    assert sorted(read["items"]) == list(range(60))
    assert sum(done["outcomes"].values()) == 60
    numbers = ran.read_text().split()
    assert len(numbers) == len(set(numbers))  # none ran twice
    for number, item in read["items"].items():
        if item["outcome"] == "ok":
            assert (folder / REPORTS / "r" / item["files"][0]["stored"]).read_text() == f"{number}\n"


async def test_cancelled_while_it_collects(folder: Path) -> None:
    marker = folder / "begun"
    (folder / "a").write_text("hello")
    async with gathering(folder, workers=1) as (client, _pool):
        items = (
            {"copy": f"{folder}/a"},
            {"exec": f"touch {marker}; sleep 1000"},
            *({"exec": "true"} for _ in range(50)),
        )
        call = client.call("gather_report", report(*items))
        task = asyncio.ensure_future(_result(call))
        await eventually(marker.exists)
        call.cancel()
        with pytest.raises(Cancelled):
            await task
        read = manifest(folder)
        assert read["complete"] is False
        assert (read["items"][0]["outcome"], read["items"][1]["outcome"]) == ("ok", "cancelled")
        assert 2 <= len(read["items"]) < 52
        assert (folder / REPORTS / "r/files" / str(folder)[1:] / "a").read_text() == "hello"
        archive = await client.call("gather_pack", {"name": "r"})
        with tarfile.open(archive["path"]) as tar:
            assert f"r/files{folder}/a" in tar.getnames()
        assert (await client.call("gather_exec", {"profile": "p", "line": "echo on"}))["stdout"] == "on\n"


async def test_cancelled_while_it_packs(folder: Path) -> None:
    with (folder / "huge").open("wb") as huge:
        huge.truncate(3 << 30)  # a minute of packing
    async with gathering(folder) as (client, _):
        await client.call("gather_report", report({"exec": "true"}))
        (folder / "huge").rename(folder / REPORTS / "r/files/huge")
        call = client.call("gather_pack", {"name": "r"})
        task = asyncio.ensure_future(_result(call))
        await eventually((folder / REPORTS / ".r.tar.xz.part").exists)
        call.cancel()
        with pytest.raises(Cancelled):
            await task
        assert os.listdir(folder / REPORTS) == ["r"]


async def test_its_deadline(folder: Path) -> None:
    async with gathering(folder) as (client, _):
        with pytest.raises(DeadlineExceeded):
            await client.call("gather_report", report({"exec": "sleep 1000"}), deadline=0.3)
    assert manifest(folder)["items"][0]["outcome"] == "cancelled"


async def test_a_report_that_is_large_enough(folder: Path) -> None:
    async with gathering(folder, max_bytes=100, workers=1) as (client, _):
        items = [{"exec": "printf %0100d 0"} for _ in range(10)]
        done = await client.call("gather_report", report(*items))
    assert done["outcomes"]["limit"] >= 7
    assert manifest(folder)["complete"] is True


def can_mount() -> bool:
    return os.geteuid() == 0 and shutil.which("mount") is not None


@pytest.mark.skipif(not can_mount(), reason="only root can make a small file system")
async def test_a_full_disk(folder: Path) -> None:
    (folder / REPORTS).mkdir(mode=0o711)
    size = 2 * 1024 * 1024
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0711", "tmpfs", str(folder / REPORTS)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    try:
        async with gathering(folder) as (client, _):
            items = [{"exec": "head -c 700000 /dev/urandom"} for _ in range(5)]
            (folder / "big").write_bytes(os.urandom(3 * 1024 * 1024))
            done = await client.call("gather_report", report(*items, {"copy": f"{folder}/big"}))
            assert done["outcomes"]["failed"] >= 3
            read = manifest(folder)
            assert read["complete"] is True
            assert {item["detail"] for item in read["items"].values() if item["outcome"] == "failed"} == {"ENOSPC"}
            for item in read["items"].values():
                for file in item["files"]:
                    if "stored" in file:
                        assert (folder / REPORTS / "r" / file["stored"]).stat().st_size == file["bytes"]
            with pytest.raises(CommandFailed, match="cannot pack the report 'r': No space left on device"):
                await client.call("gather_pack", {"name": "r"})
            assert os.listdir(folder / REPORTS) == ["r"]
            await client.call("gather_forget", {"name": "r"})
            (folder / REPORTS / "fill").write_bytes(b"x" * (size - 64 * 1024))
            with pytest.raises(CommandFailed, match="cannot make the report 'r': No space left"):
                await client.call("gather_report", report({"exec": "true"}))
            assert os.listdir(folder / REPORTS) == ["fill"]
    finally:
        subprocess.run(["umount", str(folder / REPORTS)], check=True)


# Copies.


async def test_copies_without_a_report(folder: Path) -> None:
    (folder / "a").write_text("hello")
    async with gathering(folder) as (client, _):
        opts = {"profile": "p", "destination": "c", "source": f"{folder}/a"}
        assert await client.call("gather_copy", opts) == [
            {
                "path": f"{folder}/a",
                "outcome": "FILE",
                "bytes": 5,
                "sha256": sha256(b"hello"),
                "stored": f"files{folder}/a",
            }
        ]
        missing = await client.call("gather_copy", {**opts, "source": f"{folder}/none", "destination": "d"})
        assert [(row["outcome"], row["detail"]) for row in missing] == [("FAIL", "ENOENT")]
        with pytest.raises(InvalidOptions, match="exactly one of"):
            await client.call("gather_copy", {"profile": "p", "destination": "e"})
        with pytest.raises(CommandFailed, match=r"line break|NUL|newline|carry"):
            await client.call("gather_copy", {**opts, "source": "/a\nb", "destination": "f"})


# As root: somebody else's eyes.


async def test_workers_are_somebody_else(folder: Path) -> None:
    (folder / "mine").write_text("secret")
    (folder / "mine").chmod(0o600)
    (folder / "public").write_text("public")
    async with gathering(folder, user="nobody", python=usable_interpreter()) as (client, _):
        items = (
            {"exec": "id -un"},
            {"copy": f"{folder}/mine"},
            {"copy": f"{folder}/public"},
            {"exec": f"ls {folder}/{REPORTS}"},
        )
        done = await client.call("gather_report", report(*items))
        assert done["outcomes"] == {"failed": 1, "ok": 3}
    read = manifest(folder)
    top = folder / REPORTS / "r"
    assert (top / read["items"][0]["files"][0]["stored"]).read_text() == "nobody\n"
    assert read["items"][1]["detail"] == "EACCES"
    assert (top / read["items"][2]["files"][0]["stored"]).stat().st_uid != 0
    assert read["items"][3]["status"] != 0  # it passes through, and sees no names
    assert (top.stat().st_uid, top.stat().st_mode & 0o777) == (0, 0o700)


async def test_a_directory_that_workers_cannot_reach(folder: Path) -> None:
    profile = {"user": "nobody", "python": usable_interpreter()}
    (folder / "state").mkdir(mode=0o700)
    async with gathering(folder, reports=folder / "state/reports", **profile) as (client, _):
        with pytest.raises(CommandFailed, match="workers of the profile 'p' cannot write to"):
            await client.call("gather_report", report({"copy": "/etc/os-release"}))
        assert await client.call("gather_reports") == []
