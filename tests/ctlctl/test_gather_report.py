"""`ctlctl gather report`: a file that is complete, or none."""

import asyncio
import base64
import hashlib
import json
import os
import signal
import sys
import tarfile
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import ctld
from ctlctl.exits import UsageError
from ctlctl.gather_report import ReportFile, read_spec
from ctld.commands.gather import gather_commands
from ctld.errors import Cancelled, CtldError
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore
from tests.gatherer.actors import QUICK, eventually
from tests.native import serving

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as name:
        yield Path(name)


class Shell:
    def __init__(self, folder: Path, address: str) -> None:
        self.folder = folder
        self._address = address

    async def start(self, *argv: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ctlctl",
            "-s",
            self._address,
            *argv,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    async def run(self, *argv: str) -> tuple[int, str, str]:
        return await ended(await self.start(*argv))

    def spec(self, text: str) -> str:
        (self.folder / "spec.toml").write_text(text)
        return "spec.toml"


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str, str]:
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def shell_in(folder: Path) -> AsyncIterator[Shell]:
    async with (
        Pool({"p": Profile()}, QUICK) as pool,
        serving(folder, gather_commands(pool, ReportStore(folder / "reports"))) as served,
    ):
        yield Shell(folder, f"unix:{served.path}")


def left(folder: Path) -> set[str]:
    return set(os.listdir(folder)) - {"s", "s.lock", "spec.toml", "reports"}


SPEC = """
profile = "p"
[[items]]
exec = "uname -a"
[[items]]
copy = "/proc/version"
[[items]]
copy = "/no/such/file"
"""


async def test_a_report(folder: Path) -> None:
    async with shell_in(folder) as shell:
        status, out, err = await shell.run("gather", "report", shell.spec(SPEC), "-o", "out.tar.xz")
        assert (status, out.partition(" files, ")[0]) == (0, "out.tar.xz: 2")
        assert "1 item failed: see manifest.json" in err
        assert "fetching" in err
        with tarfile.open(folder / "out.tar.xz") as tar:
            top = tar.getnames()[0]
            manifest = tar.extractfile(f"{top}/manifest.json")
            assert manifest is not None
            assert json.load(manifest)["complete"] is True
            assert f"{top}/files/proc/version" in tar.getnames()
        assert os.listdir(folder / "reports") == []
        assert left(folder) == {"out.tar.xz"}
        assert (folder / "out.tar.xz").stat().st_mode & 0o777 == 0o600


async def test_as_json_and_quietly_over_an_old_file(folder: Path) -> None:
    (folder / "out.tar.xz").write_text("old")
    async with shell_in(folder) as shell:
        words = ("gather", "report", "--output=out.tar.xz", shell.spec(SPEC), "--json", "--quiet")
        status, out, err = await shell.run(*words)
    assert status == 0
    done: dict[str, Any] = json.loads(out)
    assert (done["output"], done["files"], done["outcomes"]) == ("out.tar.xz", 2, {"failed": 1, "ok": 2})
    assert done["archive"]["bytes"] == (folder / "out.tar.xz").stat().st_size
    assert err == ""


async def test_ctrl_c_fetches_what_there_is(folder: Path) -> None:
    marker = folder / "reports/begun"
    async with shell_in(folder) as shell:
        spec = shell.spec(
            f'profile = "p"\n[[items]]\ncopy = "/proc/version"\n[[items]]\nexec = "touch {marker}; sleep 1000"\n'
        )
        process = await shell.start("gather", "report", spec, "-o", "out.tar.xz")
        await eventually(marker.exists)
        process.send_signal(signal.SIGINT)
        status, out, err = await ended(process)
        assert status == 6, err
        assert out.startswith("out.tar.xz: ")
        assert "what was collected until then is fetched" in err
        with tarfile.open(folder / "out.tar.xz") as tar:
            top = tar.getnames()[0]
            manifest = tar.extractfile(f"{top}/manifest.json")
            assert manifest is not None
            read = json.load(manifest)
        assert read["complete"] is False
        assert {item["outcome"] for item in read["items"]} <= {"ok", "cancelled"}
        assert os.listdir(folder / "reports") == ["begun"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("spec.toml", "-o"), "-o needs the name of a file"),
        (("-o", "x"), "usage: gather report SPEC -o FILE"),
        (("spec.toml", "other.toml", "-o", "x"), "usage: gather report"),
        (("spec.toml", "--color", "-o", "x"), "usage: gather report"),
        (("none.toml", "-o", "x"), "cannot read none.toml: No such file or directory"),
    ],
)
async def test_words_that_make_no_sense(folder: Path, words: tuple[str, ...], complaint: str) -> None:
    async with shell_in(folder) as shell:
        shell.spec(SPEC)
        status, out, err = await shell.run("gather", "report", *words)
    assert (status, out) == (2, "")
    assert complaint in err
    assert left(folder) == set()


async def test_what_the_daemon_refuses_leaves_no_file(folder: Path) -> None:
    async with shell_in(folder) as shell:
        spec = shell.spec('profile = "none"\n[[items]]\nexec = "true"\n')
        status, _, err = await shell.run("gather", "report", spec, "-o", "out.tar.xz")
    assert status == 1
    assert "there is no gatherer profile 'none'" in err
    assert left(folder) == set()


async def test_a_place_where_nothing_can_be_written_is_told_at_once(folder: Path) -> None:
    async with shell_in(folder) as shell:
        status, _, err = await shell.run("gather", "report", shell.spec(SPEC), "-o", "none/out.tar.xz")
        assert (status, "cannot write none/out.tar.xz: No such file or directory" in err) == (1, True)
        (folder / "dir").mkdir()
        status, _, err = await shell.run("gather", "report", "spec.toml", "-o", "dir")
        assert (status, "cannot write dir: Is a directory" in err) == (1, True)
    assert left(folder) == {"dir"}


async def test_without_a_file_it_is_the_daemons_command(folder: Path) -> None:
    async with shell_in(folder) as shell:
        items = '{"items": [{"exec": "true"}]}'
        words = ("gather", "report", "--profile", "p", "--destination", "mine", "--opts", items)
        status, _, err = await shell.run(*words)
    assert status == 0, err
    assert (folder / "reports/mine/manifest.json").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("items = []", "profile is missing"),
        ("profile = 'p'", "items is missing"),
        ("profile = 1\nitems = []", "profile is missing"),
        ("profile = 'p'\nitems = []\ndestination = '/'", "there is no such key: destination"),
        ("profile = ", "cannot read "),
    ],
)
def test_specifications_that_are_none(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "spec.toml").write_text(text)
    with pytest.raises(UsageError, match=complaint):
        read_spec(str(tmp_path / "spec.toml"))


def test_a_specification_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "spec.toml").write_bytes(b"\xff")
    with pytest.raises(UsageError, match="cannot read"):
        read_spec(str(tmp_path / "spec.toml"))


DATA = b"an archive"


@pytest.mark.parametrize(
    ("pieces", "complaint"),
    [
        ([(0, DATA + b"!")], "does not come in one piece"),
        ([(1, DATA)], "does not come in one piece"),
        ([(0, DATA[:5]), (0, DATA[:5])], "does not come in one piece"),
        ([(0, DATA[:5])], "the report is damaged; it is still on the daemon's machine as"),
        ([(0, DATA[::-1])], "the report is damaged"),
        ([], "the report is damaged"),
    ],
)
async def test_a_daemon_that_hands_over_something_else(
    folder: Path, pieces: list[tuple[int, bytes]], complaint: str
) -> None:
    commands = ctld.CommandRegistry[Any]()

    @commands.command("gather_report", role="admin")
    async def gather_report(ctx: ctld.Context, **opts: Any) -> dict[str, Any]:
        """Pretend."""
        archive = {"path": "/x", "bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
        return {"archive": archive, "files": 1, "outcomes": {"ok": 1}}

    @commands.command("gather_fetch", role="admin")
    async def gather_fetch(ctx: ctld.Context, name: str) -> AsyncIterator[dict[str, Any]]:
        """Pretend."""
        for offset, data in pieces:
            yield {"offset": offset, "data": base64.b64encode(data).decode()}

    async with serving(folder, commands) as served:
        shell = Shell(folder, f"unix:{served.path}")
        status, out, err = await shell.run("gather", "report", shell.spec(SPEC), "-o", "out.tar.xz")
    assert status == 8
    assert out == ""
    assert complaint in err
    assert left(folder) == set()


@pytest.mark.parametrize(
    ("result", "piece"),
    [
        (None, None),
        ({"archive": {"bytes": "10", "sha256": "x"}}, None),
        ({"archive": {"bytes": 10}}, None),
        ({"archive": {"bytes": 10, "sha256": "x"}}, 5),
        ({"archive": {"bytes": 10, "sha256": "x"}}, {"offset": 0}),
        ({"archive": {"bytes": 10, "sha256": "x"}}, {"offset": 0, "data": "*"}),
    ],
)
async def test_a_daemon_whose_words_make_no_sense(folder: Path, result: Any, piece: Any) -> None:
    status, out, err = await told(folder, result, piece)
    assert (status, out) == (8, "")
    assert "what the daemon says of the report cannot be understood" in err
    assert left(folder) == set()


async def test_nothing_of_a_result_steers_the_terminal(folder: Path) -> None:
    archive = {"bytes": 1, "sha256": hashlib.sha256(b"a").hexdigest()}
    result = {"archive": archive, "files": "\x1b[2J", "outcomes": {"\x1b[3J": "\x1b]0;x\x07"}}
    status, out, err = await told(folder, result, {"offset": 0, "data": "YQ=="})
    assert status == 0
    assert out == "out.tar.xz: \\u001b[2J files, 1 B\n"
    assert "\x1b" not in err.replace("\x1b[K", "")


async def told(folder: Path, result: Any, piece: Any) -> tuple[int, str, str]:
    """Fetch a report from a daemon that says this of it."""
    commands = ctld.CommandRegistry[Any]()

    @commands.command("gather_report", role="admin")
    async def gather_report(ctx: ctld.Context, **opts: Any) -> Any:
        """Pretend."""
        return result

    @commands.command("gather_fetch", role="admin")
    async def gather_fetch(ctx: ctld.Context, name: str) -> AsyncIterator[Any]:
        """Pretend."""
        yield piece

    @commands.command("gather_forget", role="admin")
    async def gather_forget(ctx: ctld.Context, name: str) -> None:
        """Pretend."""

    async with serving(folder, commands) as served:
        shell = Shell(folder, f"unix:{served.path}")
        answer = await shell.run("gather", "report", shell.spec(SPEC), "-o", "out.tar.xz")
    (folder / "out.tar.xz").unlink(missing_ok=True)
    return answer


async def test_a_report_that_never_began_has_nothing_to_fetch(folder: Path) -> None:
    commands = ctld.CommandRegistry[Any]()

    @commands.command("gather_report", role="admin")
    async def gather_report(ctx: ctld.Context, **opts: Any) -> None:
        """Pretend."""
        raise Cancelled("somebody else has cancelled it")

    async with serving(folder, commands) as served:
        shell = Shell(folder, f"unix:{served.path}")
        status, _, err = await shell.run("gather", "report", shell.spec(SPEC), "-o", "out.tar.xz")
    assert (status, "somebody else has cancelled it" in err) == (6, True)
    assert left(folder) == set()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full here")
def test_a_file_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ReportFile(str(tmp_path / "out")) as file:
        full = os.open("/dev/full", os.O_WRONLY)
        monkeypatch.setattr(file, "_descriptor", os.dup2(full, file._descriptor))
        os.close(full)
        with pytest.raises(CtldError, match=r"cannot write .*/out: No space left on device"):
            file.write(b"x")
    assert os.listdir(tmp_path) == []
