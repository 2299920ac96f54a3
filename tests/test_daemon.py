"""The reference daemon: where it listens, what it makes, and its `sleep`."""

import asyncio
import os
import stat
import tempfile
from pathlib import Path

import pytest

from ctld.client import AsyncClient
from ctld.daemon import make_pool, make_runtime_dir, make_server
from ctld.endpoint import Listen
from ctld.errors import Cancelled, ConfigError, Denied, InvalidOptions, ShuttingDown, UnknownCommand
from ctld.gatherer.profile import GathererSettings, Profile
from ctld.limits import Limits
from ctld.settings import DaemonSettings, EventSettings, HistorySettings, RoleSettings, Settings


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        yield Path(folder)


def settings_in(folder, **tables):
    return Settings(daemon=DaemonSettings(runtime_dir=str(folder)), **tables)


async def test_without_listen_it_listens_on_a_socket_in_its_runtime_dir(folder):
    async with make_server(settings_in(folder / "run"), {}), AsyncClient(f"unix:{folder}/run/ctld.sock") as client:
        assert await client.call("ping") == "pong"
    assert not (folder / "run/ctld.sock").exists()


async def test_with_listen_it_listens_there_and_nowhere_else(folder):
    settings = settings_in(folder / "run", listen=(Listen(address=f"unix:{folder}/other.sock"),))
    async with make_server(settings, {}), AsyncClient(f"unix:{folder}/other.sock") as client:
        assert await client.call("ping") == "pong"
        assert not (folder / "run" / "ctld.sock").exists()


async def test_a_relative_runtime_dir_is_taken_from_here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    async with make_server(settings_in("run"), {}), AsyncClient(f"unix:{folder}/run/ctld.sock") as client:
        assert await client.call("ping") == "pong"


async def test_roles_and_limits_reach_the_server(folder):
    me = f"uid:{os.geteuid()}"
    settings = settings_in(folder, roles=RoleSettings(observe=(me,)), limits=Limits(max_line=4096))
    async with make_server(settings, {}), AsyncClient(f"unix:{folder}/ctld.sock") as client:
        with pytest.raises(Denied) as denied:
            await client.call("sleep", {"seconds": 0})
        assert denied.value.fields["role"] == "operate"
        assert client.banner["max_line"] == 4096


async def test_history_and_events_reach_the_server(folder):
    settings = settings_in(
        folder, history=HistorySettings(max_rows=7, record_all=True), events=EventSettings(publish_all=True)
    )
    async with make_server(settings, {}) as server, AsyncClient(f"unix:{folder}/ctld.sock") as client:
        await client.call("ping")
        assert {event["opts"]["cmd"] for event in await client.call("event_list")} == {"ping", "event_list"}
        assert [entry["command"] for entry in await client.call("history_list")] == ["event_list", "ping"]
        assert server.state_dir == f"{folder}/state"
    assert (folder / "state" / "history.sqlite3").exists()
    assert settings.history.bounds().max_rows == 7


async def test_gatherers_come_with_their_profiles(folder):
    settings = settings_in(folder, gatherer=GathererSettings(profiles={"support": Profile()}))
    async with (
        make_pool(settings) as pool,
        make_server(settings, {}, None, pool),
        AsyncClient(f"unix:{folder}/ctld.sock") as client,
    ):
        done = await client.call("gather_exec", {"profile": "support", "line": "echo hello"})
        assert done == {"status": 0, "stdout": "hello\n", "stderr": ""}
        items = [{"exec": "uname"}]
        report = await client.call("gather_report", {"profile": "support", "items": items, "destination": "r"})
        assert report["path"] == f"{folder}/state/reports/r"
    assert (folder / "state/reports/r/manifest.json").exists()


async def test_reports_go_where_the_file_says(folder):
    gatherer = GathererSettings(profiles={"support": Profile()}, reports=str(folder / "elsewhere"))
    settings = settings_in(folder, gatherer=gatherer)
    async with (
        make_pool(settings) as pool,
        make_server(settings, {}, None, pool),
        AsyncClient(f"unix:{folder}/ctld.sock") as client,
    ):
        items = [{"exec": "uname"}]
        await client.call("gather_report", {"profile": "support", "items": items, "destination": "r"})
    assert (folder / "elsewhere/r/manifest.json").exists()


async def test_without_profiles_there_are_no_gatherers(folder):
    assert make_pool(settings_in(folder)) is None
    async with make_server(settings_in(folder), {}), AsyncClient(f"unix:{folder}/ctld.sock") as client:
        with pytest.raises(UnknownCommand):
            await client.call("gather_pool")


async def test_sleep_reports_progress_and_how_long_it_slept(folder):
    async with make_server(settings_in(folder), {}), AsyncClient(f"unix:{folder}/ctld.sock") as client:
        call = client.call("sleep", {"seconds": 0.02, "steps": 4})
        updates = [(update.current, update.total, update.unit) async for update in call]
        assert await call == 0.02
    assert updates == [(0.005, 0.02, "s"), (0.01, 0.02, "s"), (0.015, 0.02, "s"), (0.02, 0.02, "s")]


async def test_sleep_is_cancelled(folder):
    async with make_server(settings_in(folder), {}), AsyncClient(f"unix:{folder}/ctld.sock") as client:
        call = client.call("sleep", {"seconds": 3600, "steps": 100_000})
        async for _ in call:
            call.cancel()
            break
        with pytest.raises(Cancelled):
            await call


@pytest.mark.parametrize("opts", [{"seconds": -1}, {"seconds": 86_401}, {"seconds": 1, "steps": 0}, {}])
async def test_sleep_has_bounds(folder, opts):
    async with make_server(settings_in(folder), {}), AsyncClient(f"unix:{folder}/ctld.sock") as client:
        with pytest.raises(InvalidOptions):
            await client.call("sleep", opts)


async def test_sleep_wakes_up_when_the_daemon_stops(folder):
    server = make_server(settings_in(folder), {})
    async with server, AsyncClient(f"unix:{folder}/ctld.sock") as client:
        call = client.call("sleep", {"seconds": 3600, "steps": 100_000})
        async for _ in call:
            server.close()
            break
        with pytest.raises(ShuttingDown, match="woken up"):
            await asyncio.wait_for(_result(call), 10)


async def _result(call):
    return await call


def test_inherited_sockets_are_taken_where_nothing_else_is_configured(folder):
    environ = {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
    make_server(settings_in(folder / "run"), environ)
    assert not (folder / "run").exists()


def test_sockets_that_were_passed_to_another_process_are_not(folder):
    make_server(settings_in(folder / "run"), {"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    assert (folder / "run").is_dir()


def test_the_runtime_dir_can_be_reached_whatever_the_umask(folder):
    before = os.umask(0o077)
    try:
        make_runtime_dir(str(folder / "run"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o755


def test_a_runtime_dir_that_is_there_is_left_as_it_is(folder):
    (folder / "run").mkdir(mode=0o700)
    make_runtime_dir(str(folder / "run"))
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700


def test_a_runtime_dir_that_cannot_be_made(folder):
    (folder / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot make the runtime directory '.*/file/run': Not a directory"):
        make_runtime_dir(str(folder / "file/run"))
    with pytest.raises(ConfigError, match="embedded null"):
        make_runtime_dir("a\0b")
