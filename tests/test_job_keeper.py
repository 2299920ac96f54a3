"""The jobs of a real `ctld serve`: orderly ends, reloads by signal, `kill -9` and the next daemon."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctld.client import Client
from ctld.errors import CommandFailed
from tests.procfs import alive
from tests.test_main import PATIENCE, ROOT, Daemon, folder

__all__ = ["folder"]

IGNORES_TERM = "sh -c 'trap \"\" TERM; while :; do sleep 0.05; done'"


class Site:
    """A configuration with jobs, and what is asked of its daemon."""

    def __init__(self, folder: Path, **settings) -> None:
        self.folder = folder
        self.jobs = folder / "jobs"
        self.jobs.mkdir()
        self.config = folder / "ctld.toml"
        lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
        self.config.write_text(
            f"[daemon]\nruntime_dir = '{folder}'\n[jobs]\ndirectory = '{self.jobs}'\n" + "\n".join(lines)
        )

    def file(self, name: str, cmd: str, **keys) -> None:
        (self.jobs / f"{name}.tm.json").write_text(json.dumps({"cmd": cmd, "dir": str(self.folder), **keys}))

    def serve(self) -> Daemon:
        (self.folder / "notify").unlink(missing_ok=True)
        return Daemon(self.folder, "--config", self.config)

    def call(self, command: str, **opts):
        with Client(f"unix:{self.folder}/ctld.sock") as client:
            return client.call(command, opts)

    def pids(self) -> dict[str, list[int]]:
        return {job["name"]: [process["pid"] for process in job["processes"]] for job in self.call("job_list")}

    def running(self, *names: str) -> dict[str, list[int]]:
        for name in names:
            self.call("job_wait", name=name, state="running")
        return self.pids()


@pytest.fixture
def site(folder):
    made = Site(folder)
    yield made
    for entry in os.listdir("/proc"):  # whatever went wrong, nothing of a test alive on
        if entry.isdigit() and is_of(int(entry), made.folder):
            os.kill(int(entry), signal.SIGKILL)


def is_of(pid: int, folder: Path) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/cwd") == str(folder)
    except OSError:
        return False


def until(condition) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_jobs_run_with_the_daemon_and_stop_with_it(site):
    site.file("web", "sleep 1000", procNr=2)
    site.file("idle", "sleep 1000", autoStart=False)
    with site.serve() as daemon:
        pids = site.running("web")
        assert pids["idle"] == [None]
        assert all(map(alive, pids["web"]))
        assert daemon.stop() == 0
    assert not any(map(alive, pids["web"]))
    assert "the jobs have stopped" in daemon.log
    assert os.listdir(site.folder / "state" / "jobs") == []


def test_sighup_reads_the_files_again(site):
    site.file("old", "sleep 1000")
    with site.serve() as daemon:
        old = site.running("old")["old"][0]
        (site.jobs / "old.tm.json").unlink()
        site.file("new", "sleep 1000")
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: set(site.pids()) == {"new"})
        assert not alive(old)
        site.running("new")
        assert daemon.stop() == 0


def test_jobs_survive_kill_9_and_the_next_daemon_takes_them_over(site):
    site.file("web", "sh -c 'while :; do echo tick; sleep 0.05; done'", stdout="out")
    site.file("two", "sleep 1000", procNr=2)
    files = {path.name: path.read_bytes() for path in site.jobs.iterdir()}
    with site.serve() as daemon:
        before = site.running("web", "two")
        daemon.stop(signal.SIGKILL)
    assert all(alive(pid) for pids in before.values() for pid in pids)
    log = site.folder / "0_out"
    size = log.stat().st_size
    until(lambda: log.stat().st_size > size)  # it writes on, without a daemon
    with site.serve() as daemon:
        assert site.running("web", "two") == before
        assert all(process["adopted"] for process in site.call("job_status", name="two")["processes"])
        assert {path.name: path.read_bytes() for path in site.jobs.iterdir()} == files
        assert daemon.stop() == 0
    assert not any(alive(pid) for pids in before.values() for pid in pids)


def test_a_job_that_changed_while_no_daemon_ran_is_stopped_and_started_anew(site):
    site.file("web", "sleep 1000")
    site.file("gone", "sleep 1000")
    with site.serve() as daemon:
        before = site.running("web", "gone")
        daemon.stop(signal.SIGKILL)
    site.file("web", "sleep 1001")
    (site.jobs / "gone.tm.json").unlink()
    with site.serve() as daemon:
        after = site.running("web")
        assert set(after) == {"web"}
        assert after["web"] != before["web"]
        until(lambda: not alive(before["web"][0]) and not alive(before["gone"][0]))
        assert daemon.stop() == 0


def test_jobs_are_left_running_where_that_is_wanted(folder):
    site = Site(folder, leave_running=True)
    site.file("web", "sleep 1000")
    with site.serve() as daemon:
        before = site.running("web")
        assert daemon.stop() == 0
    assert alive(before["web"][0])
    assert "the jobs are left running" in daemon.log
    site.config.write_text(site.config.read_text().replace("true", "false"))
    with site.serve() as daemon:
        assert site.running("web") == before
        assert daemon.stop() == 0
    assert not alive(before["web"][0])


def test_a_second_signal_waits_for_no_job(site):
    site.file("deaf", IGNORES_TERM, stopTime=1000)
    with site.serve() as daemon:
        pid = site.running("deaf")["deaf"][0]
        daemon.process.send_signal(signal.SIGTERM)
        while not daemon.process.stderr.readline().endswith("= stopped\n"):
            assert daemon.process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            daemon.process.wait(0.3)
        assert daemon.stop() == 0
    assert not alive(pid)


def test_a_second_daemon_touches_no_job_of_the_first(site):
    site.file("web", "sleep 1000")
    with site.serve() as daemon:
        before = site.running("web")
        second = subprocess.run(
            [sys.executable, "-m", "ctld", "serve", "--config", site.config],
            capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert second.returncode == 1
        assert site.pids() == before
        assert daemon.stop() == 0


def test_taskmasters_clients_are_served(site):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with site.config.open("a") as config:
        config.write(f"\n[[listen]]\naddress = 'unix:{site.folder}/ctld.sock'\n")
        config.write(f"[[listen]]\ndialect = 'taskmaster'\naddress = 'tcp:127.0.0.1:{port}'\nrole = 'admin'\n")

    def taskmaster(*words: str) -> tuple[str, int]:
        command = [sys.executable, "-m", "ctlctl", "taskmaster", "-c", f"127.0.0.1:{port}", *words]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, check=False, cwd=site.folder,
            env={**os.environ, "PYTHONPATH": ROOT},
        )  # fmt: skip
        assert done.stderr == ""
        return done.stdout, done.returncode

    with site.serve() as daemon:
        (site.folder / "web.tm.json").write_text('{"cmd": "sleep 1000", "autoStart": false}')
        assert taskmaster("push", "web.tm.json") == ("Success!\n", 0)
        assert taskmaster("list") == ("web\n", 0)
        assert taskmaster("start", "web") == ("Success!\n", 0)
        assert taskmaster("start", "web") == ("Already running.\n", 1)
        site.running("web")
        assert taskmaster("status", "web") == ('"web" running. 1 of 1 processes alive.\n', 0)
        assert taskmaster("pull", "web") == ('{"cmd": "sleep 1000", "autoStart": false}\n', 0)
        assert taskmaster("delete", "web") == ("Success!\n", 0)
        assert taskmaster("status", "web") == ('Error: Job "web" does not exist.\n', 1)
        assert daemon.stop() == 0


def test_no_directory_is_one_line(site):
    site.jobs.rmdir()
    done = subprocess.run(
        [sys.executable, "-m", "ctld", "serve", "--config", site.config],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"cannot read the job directory '{site.jobs}': No such file or directory"


def test_without_a_directory_there_are_no_commands_about_jobs(folder):
    with Daemon(folder, "--runtime-dir", folder) as daemon:
        with Client(f"unix:{folder}/ctld.sock") as client, pytest.raises(CommandFailed) as caught:
            client.call("job_list")
        assert caught.value.code == "unknown-command"
        assert daemon.stop() == 0
