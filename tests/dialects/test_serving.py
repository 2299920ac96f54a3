"""The neighbours' wires on a real `ctld serve`: what `ctlctl`, socat and a `kill -9` make of them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ctld.dialects.fss_control.client import ask
from ctld.dialects.guest_agent import send_command
from tests.dialects.fss_control.test_codec import START, WRONG
from tests.test_job_keeper import Site, site, until
from tests.test_main import ROOT, ctld, folder

__all__ = ["folder", "site"]

LISTEN = """
[[listen]]
address = "unix:{folder}/ctld.sock"

[[listen]]
dialect = "fss-control"
address = "unix:{folder}/default.socket"
allow_shutdown = true
reboot_command = ["touch", "{folder}/rebooted"]

[[listen]]
dialect = "guest-agent"
address = "unix:{folder}/monitors/guestagent"
timeout = 5
"""


@pytest.fixture
def both(site):
    with site.config.open("a") as file:
        file.write(LISTEN.format(folder=site.folder))
    site.file("web", "sleep 1000", autoStart=False)
    (site.jobs / "svc").mkdir()
    site.file("svc/web", "sleep 1000", autoStart=False, startTime=1)
    return site


def control(site: Site, *words: str) -> str:
    response = ask(f"{site.folder}/default.socket", words)
    return f"{response.type} {response.status}"


def send(site: Site, **fields):
    return json.loads(send_command(json.dumps(fields).encode(), f"{site.folder}/monitors/guestagent"))


def ctlctl(*words: str):
    return subprocess.run(
        [sys.executable, "-m", "ctlctl", *words], capture_output=True, text=True, check=False, timeout=30, cwd=ROOT
    )


def running(site: Site) -> bool:
    return site.call("job_status", name="svc/web")["alive"] == 1


def test_one_daemon_speaks_all_of_them(both):
    with both.serve() as daemon:
        assert (both.folder / "monitors").stat().st_mode & 0o7777 == 0o770  # made: who may connect may pass
        assert control(both, "start", "svc", "web") == "controller F_success"
        assert send(both, Command="job.status", name="svc/web")["Response"]["alive"] == 1
        assert send(both, Command="job.stop", name="svc/web")["Status"] == 0
        assert not running(both)
        assert control(both, "reboot", "now") == "init F_done"
        assert (both.folder / "rebooted").exists()
        assert send(both, Command="agent.config.getoption", Option="Daemon.RuntimeDir")["Value"] == str(both.folder)
        entries = both.call("history_list")
        assert {(entry["dialect"], entry["command"]) for entry in entries} >= {
            ("fss-control", "job_start"), ("guest-agent", "job_stop"), ("fss-control", "control_reboot"),
        }  # fmt: skip
        assert control(both, "shutdown", "now") == "init F_done"
        assert daemon.stop(0) == 0


def test_ctlctl_asks_both(both):
    with both.serve() as daemon:
        done = ctlctl("control", "-R", "-k", str(both.folder), "start", "svc", "web")
        assert (done.returncode, done.stdout, done.stderr) == (0, "response controller start F_success\n", "")
        failed = ctlctl("control", "-k", str(both.folder), "start", "svc", "none")
        assert (failed.returncode, failed.stdout) == (1, "")
        assert failed.stderr == (
            "ERROR: Received error response for action 'start' with status 'F_known_not': there is no job 'svc/none'\n"
        )
        sent = ctlctl("guest", "send", "--dir", f"{both.folder}/monitors", '{"Command":"ping"}')
        assert (sent.returncode, sent.stdout) == (0, '{"Status":0,"StatusMessage":"","Response":"pong"}\n')
        assert daemon.stop() == 0


@pytest.mark.skipif(shutil.which("socat") is None, reason="socat is not installed")
def test_socat_asks_both(both):
    def socat(data: bytes, name: str) -> bytes:
        words = ["socat", "-t", "10", "-", f"UNIX-CONNECT:{both.folder}/{name}"]
        return subprocess.run(words, input=data, capture_output=True, check=True, timeout=30).stdout

    with both.serve() as daemon:
        assert b"action start\nstatus F_known_not\n" in socat(START, "default.socket")
        assert json.loads(socat(b'{"Command":"ping"}', "monitors/guestagent"))["Response"] == "pong"
        for name, wire, status, _ in WRONG:
            assert b"type error\n" in (answer := socat(wire, "default.socket")), name
            assert f"status {status}\n".encode() in answer, name
        assert daemon.stop() == 0


def test_what_is_scheduled_survives_kill_9_and_runs_when_its_time_has_come(both):
    with both.serve() as daemon:
        assert control(both, "stop", "svc", "web", "in", "1", "week") == "controller F_done"
        assert control(both, "start", "svc", "web", "in", "1", "second") == "controller F_done"
        daemon.stop(signal.SIGKILL)
    until_passed(both, "job_start")  # while no daemon runs
    with both.serve() as daemon:
        until(lambda: running(both))
        (left,) = both.call("job_schedule")
        assert (left["command"], left["options"]) == ("job_stop", {"name": "svc/web"})
        both.call("job_schedule_cancel", id=left["id"])
        assert both.call("job_schedule") == []
        (ran,) = [entry for entry in both.call("history_list") if entry["command"] == "job_start"]
        assert (ran["outcome"], ran["uid"]) == ("done", os.geteuid())
        assert daemon.stop() == 0


def test_what_is_scheduled_runs_once_however_often_the_daemon_dies(both):
    with both.serve() as daemon:
        assert control(both, "start", "svc", "web", "in", "0", "seconds") == "controller F_done"
        until(lambda: running(both))
        assert both.call("job_schedule") == []
        daemon.stop(signal.SIGKILL)
    with both.serve() as daemon:
        assert both.call("job_schedule") == []
        assert daemon.stop() == 0


def test_what_is_scheduled_waits_for_the_jobs(both):
    """The next daemon's first moment is when the entry is due: the jobs are not there yet."""
    state = both.folder / "state"
    state.mkdir(mode=0o700)
    entry = {"id": "a", "at": time.time(), "command": "job_start", "options": {"name": "svc/web"}, "uid": os.geteuid()}
    (state / "schedule.json").write_text(json.dumps([entry]))
    with both.serve() as daemon:
        until(lambda: running(both))
        assert daemon.stop() == 0
    assert "WARNING" not in daemon.log


def test_a_shutdown_that_is_scheduled_stops_one_daemon_and_not_the_next(both):
    with both.serve() as daemon:
        assert control(both, "shutdown", "in", "1", "second") == "init F_done"
        assert daemon.stop(0) == 0  # no signal: it ends by itself
    with both.serve() as daemon:
        assert both.call("job_schedule") == []
        assert daemon.stop() == 0


def test_a_schedule_that_is_not_understood_is_told_and_kept(both):
    state = both.folder / "state"
    state.mkdir(mode=0o700)
    (state / "schedule.json").write_text("[half")
    with both.serve() as daemon:
        until((state / "schedule.json.broken").exists)
        assert both.call("job_schedule") == []
        assert control(both, "stop", "svc", "web", "in", "1", "week") == "controller F_done"
        assert daemon.stop() == 0
    assert "the schedule is not understood, and nothing of it will run" in daemon.log
    assert (state / "schedule.json.broken").read_text() == "[half"
    assert len(json.loads((state / "schedule.json").read_text())) == 1


def test_a_second_daemon_runs_nothing_of_the_firsts_schedule(both):
    with both.serve() as daemon:
        assert control(both, "start", "svc", "web", "in", "1", "second") == "controller F_done"
        second = ctld("serve", "--config", both.config)
        assert second.returncode == 1
        assert "another daemon listens there" in second.stderr
        until(lambda: running(both))
        assert daemon.stop() == 0


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("init_replies = 'both'", "4: listen[0].init_replies: 'both' is none of controller, init"),
        ("allow_shutdown = 'yes'", "4: listen[0].allow_shutdown: expected boolean, got string"),
        ("reboot_command = 'reboot'", "4: listen[0].reboot_command: expected array, got string"),
        ("reboot_command = ['']", "4: listen[0].reboot_command: the name of the program is empty"),
        ("kexec_command = ['a', 'b\\u0000']", "4: listen[0].kexec_command: a word of a command line holds no NUL"),
        ("kexec_comand = ['a']", "4: listen[0].kexec_comand: there is no such key; did you mean kexec_command?"),
        ("role = 'boss'", "4: listen[0].role: 'boss' is none of admin, anyone, observe, operate"),
        (
            "reboot_command = ['a']\n[[listen]]\naddress = 'unix:/b'\n[[listen]]\ndialect = 'fss-control'\n"
            "address = 'unix:/c'\nreboot_command = ['b']",
            "10: listen[2].reboot_command: another [[listen]] table says 'a': there is one machine",
        ),
    ],
)
def test_check_config_knows_the_keys(folder, keys, complaint):
    config = folder / "c.toml"
    keys = keys.replace("'b\\u0000'", '"b\\u0000"')
    config.write_text(f"[[listen]]\ndialect = 'fss-control'\naddress = 'unix:/a'\n{keys}\n")
    done = ctld("check-config", config)
    assert (done.returncode, done.stderr) == (1, f"{config}:{complaint}\n")


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ("timeout = 0", "4: listen[0].timeout: expected float > 0.0"),
        ("strict_errors = 1", "4: listen[0].strict_errors: expected boolean, got integer"),
        ("allow_shutdown = true", "4: listen[0].allow_shutdown: there is no such key"),
    ],
)
def test_check_config_knows_the_keys_of_a_guest_agent(folder, keys, complaint):
    config = folder / "c.toml"
    config.write_text(f"[[listen]]\ndialect = 'guest-agent'\naddress = 'unix:/a'\n{keys}\n")
    done = ctld("check-config", config)
    assert done.returncode == 1
    assert done.stderr.startswith(f"{config}:{complaint}")


def until_passed(site: Site, command: str) -> None:
    """Wait until the time of an entry has passed."""
    entries = json.loads(Path(site.folder, "state/schedule.json").read_text())
    due = next(entry["at"] for entry in entries if entry["command"] == command)
    until(lambda: time.time() > due)


AS_NOBODY = """
import os, sys
from ctld.dialects.fss_control.client import ask
from ctld.dialects.guest_agent import send_command
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
fss, guest = sys.argv[1:]
response = ask(fss, ["start", "svc", "web"])
print(response.type, response.status)
print(send_command(b'{"Command":"job.start","name":"svc/web"}', guest).decode().partition(",")[0])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
@pytest.mark.parametrize(
    ("role", "answers"),
    [("observe", ["error F_access_denied", '{"Status":110']), ("operate", ["controller F_success", '{"Status":0'])],
)
def test_the_role_of_a_listener_is_for_those_whom_no_rule_names(both, role, answers):
    both.folder.chmod(0o711)
    (both.folder / "monitors").mkdir(mode=0o755)
    config = both.config.read_text()
    for name in ("fss-control", "guest-agent"):
        config = config.replace(f'dialect = "{name}"', f'dialect = "{name}"\nrole = "{role}"\nmode = "0666"')
    both.config.write_text(config)
    with both.serve() as daemon:
        sockets = [f"{both.folder}/default.socket", f"{both.folder}/monitors/guestagent"]
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *sockets],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            cwd=ROOT,
        )
        assert done.stdout.splitlines() == answers
        assert daemon.stop() == 0
