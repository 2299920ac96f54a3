import resource
import sys
from pathlib import Path

import pytest

from ctld.config import load_config
from ctld.errors import ConfigError
from ctld.gatherer.profile import GathererSettings, Profile
from ctld.processes import PIPE

EVERYTHING = """
[profiles.plain]

[profiles.full]
workers = 4
user = "nobody"
group = 65534
groups = ["adm", 5]
nice = 10
ionice = "best-effort:7"
memory = 1073741824
forbid = ["/etc/shadow*", "*.key"]
owner = [1000, 100]
max_output = 1000
max_response = 100000
max_requests = 10
max_resident = 100000000
max_waiting = 5
timeout = 2.5
python = "/usr/bin/python3"
"""


def load(tmp_path: Path, text: str) -> GathererSettings:
    path = tmp_path / "gatherer.toml"
    path.write_text(text)
    return load_config(path, GathererSettings)


def test_a_profile_comes_from_the_configuration(tmp_path: Path) -> None:
    profiles = load(tmp_path, EVERYTHING).profiles
    assert profiles["plain"] == Profile()
    full = profiles["full"].spawn()
    assert (full.user, full.group, full.extra_groups, full.nice) == ("nobody", 65534, ("adm", 5), 10)
    assert full.argv[:6] == ("ionice", "-c", "2", "-n", "7", "/usr/bin/python3")
    assert full.argv[-5:] == (
        "--sigint=v2",
        "--forbid=/etc/shadow*",
        "--forbid=*.key",
        "--owner=1000:100",
        "--max-output=1000",
    )
    assert full.limits == {resource.RLIMIT_CORE: (0, 0), resource.RLIMIT_AS: (2**30, 2**30)}


def test_the_defaults() -> None:
    spawn = Profile().spawn()
    assert spawn.argv[:4] == (sys.executable, "-I", "-S", "-c")
    assert (spawn.stdin, spawn.stdout, spawn.stderr) == (PIPE, PIPE, PIPE)
    assert (spawn.cwd, spawn.umask, spawn.user) == ("/", 0o077, None)
    assert spawn.limits == {resource.RLIMIT_CORE: (0, 0)}
    assert set(spawn.env) == {"PATH", "LC_ALL"}
    assert Profile(max_output=None).arguments() == ("--sigint=v2",)
    assert Profile(ionice="idle").spawn().argv[:3] == ("ionice", "-c", "3")


@pytest.mark.parametrize(
    "line",
    [
        "workers = 0",
        "workers = 65",
        'user = ""',
        "nice = 20",
        'ionice = "fast"',
        'ionice = "realtime:8"',
        'ionice = "idle\\n"',
        "memory = 1000",
        'forbid = [""]',
        'forbid = ["a\\u0000b"]',
        "owner = [1]",
        "owner = [-1, 1]",
        "timeout = 0",
        "max_output = -1",
        'frobid = ["/etc/shadow"]',
    ],
)
def test_mistakes_name_the_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match=r"gatherer\.toml:2: profiles\.p\."):
        load(tmp_path, f"[profiles.p]\n{line}\n")
