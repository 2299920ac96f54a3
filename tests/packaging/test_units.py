"""What the system manager is given: units, users, directories."""

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ctld.settings import load_settings

PACKAGING = Path(__file__).parents[2] / "packaging"

# `systemd-analyze security` counts from 0 (tight) to 10; a service without any of it has 9.6.
MOST_EXPOSED = 2.0


def program(name):
    """Find a program of systemd's, or skip the test."""
    if path := shutil.which(name):
        return path
    if os.environ.get("CTLD_INTEROP") == "required":
        pytest.fail(f"{name} is missing")
    pytest.skip(f"{name} is not installed")


def run(*words, **options):
    return subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options)


def settings_of(path):
    """Read a unit as lists of values, for a key may stand there more than once."""
    found = {}
    for line in path.read_text().splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path):
    """The units, as they would be verified on a machine where ctld is installed."""
    for path in (PACKAGING / "systemd").iterdir():
        text = path.read_text().replace("/usr/bin/ctld", sys.executable)
        (tmp_path / path.name).write_text(text)
    return tmp_path


@pytest.mark.interop
@pytest.mark.parametrize("name", ["ctld.socket", "ctld.service"])
def test_systemd_finds_nothing_to_say_about_the_units(units, name):
    done = run(program("systemd-analyze"), "--man=no", "verify", units / name)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.interop
def test_systemd_would_complain(units):
    unit = units / "ctld.service"
    unit.write_text(unit.read_text().replace("WatchdogSec=", "WatchdgoSec="))
    assert "WatchdgoSec" in run(program("systemd-analyze"), "--man=no", "verify", unit).stdout


@pytest.mark.interop
def test_the_service_is_not_exposed(units):
    done = run(program("systemd-analyze"), "security", "--no-pager", "--offline=true", units / "ctld.service")
    exposed = re.search(r"exposure level for ctld\.service: ([\d.]+)", done.stdout)
    assert exposed, done.stdout
    assert float(exposed[1]) <= MOST_EXPOSED, done.stdout


@pytest.mark.interop
def test_the_user_is_one_that_systemd_can_make(tmp_path):
    (tmp_path / "etc").mkdir()
    conf = PACKAGING / "sysusers.d" / "ctld.conf"
    done = run(program("systemd-sysusers"), "--dry-run", f"--root={tmp_path}", "-", input=conf.read_text())
    assert done.returncode == 0, done.stdout
    assert re.search(r"[Cc]reating user '?ctld'?", done.stdout), done.stdout


@pytest.mark.interop
def test_the_directories_are_ones_that_systemd_can_make(tmp_path):
    conf = tmp_path / "ctld.conf"
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    text = (PACKAGING / "tmpfiles.d" / "ctld.conf").read_text()
    conf.write_text(re.sub(r"(ctld ctld|root root) -", f"{user} {group} -", text))  # whoever runs this test
    done = run(program("systemd-tmpfiles"), "--create", f"--root={tmp_path}", conf)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "run" / "ctld").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc" / "ctld").is_dir()


def test_the_configuration_is_one_and_leaves_listening_to_the_socket_unit():
    settings = load_settings(PACKAGING / "ctld.toml")
    assert settings.listen == ()
    assert settings.roles.operate == ("group:ctld",)
    socket = settings_of(PACKAGING / "systemd" / "ctld.socket")
    assert socket["ListenStream"] == [f"{settings.daemon.runtime_dir}/ctld.sock"]
    assert (socket["SocketGroup"], socket["SocketMode"]) == (["ctld"], ["0660"])


def test_the_service_tells_when_it_is_ready_and_gets_the_time_to_stop():
    service = settings_of(PACKAGING / "systemd" / "ctld.service")
    limits = load_settings(PACKAGING / "ctld.toml").limits
    assert service["Type"] == ["notify"]
    assert float(service["TimeoutStopSec"][0].removesuffix("s")) > limits.stop_grace + limits.cancel_grace
    assert int(service["LimitNOFILE"][0]) > limits.max_connections


def test_no_core_file_holds_what_the_daemon_was_sent():
    """Soft 0; a job may still ask for one, as the hard limit is left alone."""
    assert settings_of(PACKAGING / "systemd/ctld.service")["LimitCORE"] == ["0:infinity"]
