"""`ctld` as a process: what it says, how it ends, and how it starts."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ctld.__main__ import main
from ctld.client import Client
from ctld.version import VERSION

PATIENCE = 20
ROOT = str(Path(__file__).parents[1])


@pytest.fixture
def folder():
    # Not tmp_path: the path of a UNIX socket has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        yield Path(folder)


def ctld(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "ctld", *map(str, words)], capture_output=True, text=True, timeout=PATIENCE, **options
    )


class Daemon:
    """`ctld serve` as a child, ready when the block is entered."""

    def __init__(self, folder, *words):
        self.folder, self.words = folder, words

    def __enter__(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
            notifications.bind(f"{self.folder}/notify")
            notifications.settimeout(PATIENCE)
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ctld", "serve", *map(str, self.words)],
                env={**os.environ, "NOTIFY_SOCKET": f"{self.folder}/notify"},
                stderr=subprocess.PIPE,
                text=True,
            )
            assert b"READY=1" in notifications.recv(4096)
        return self

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        _, self.log = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode

    def __exit__(self, *exc):
        if self.process.returncode is None:
            self.process.kill()
            self.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_with_defaults_until_a_signal(folder, number):
    with Daemon(folder, "--runtime-dir", folder / "run") as daemon:
        with Client(f"unix:{folder}/run/ctld.sock") as client:
            assert client.call("ping") == "pong"
        assert daemon.stop(number) == 0
    assert "listening on" in daemon.log
    assert not (folder / "run/ctld.sock").exists()


def test_serve_a_configuration_and_log_as_it_says(folder):
    config = folder / "ctld.toml"
    config.write_text(
        f"[daemon]\nruntime_dir = '{folder}/run'\nlog_format = 'json'\n"
        f"[[listen]]\naddress = 'unix:{folder}/a.sock'\n[[listen]]\naddress = 'unix:{folder}/b.sock'\n"
    )
    with Daemon(folder, f"--config={config}") as daemon:
        for name in "ab":
            with Client(f"unix:{folder}/{name}.sock") as client:
                assert client.call("ping") == "pong"
        assert daemon.stop() == 0
    messages = [json.loads(line)["message"] for line in daemon.log.splitlines()]
    assert any(f"{folder}/b.sock" in message for message in messages)


def test_the_shutdown_command_ends_it(folder):
    with Daemon(folder, "--runtime-dir", folder) as daemon:
        with Client(f"unix:{folder}/ctld.sock") as client:
            client.call("shutdown")
        assert daemon.process.wait(PATIENCE) == 0
        assert daemon.stop() == 0


def test_runtime_dir_wins_over_the_configuration(folder):
    config = folder / "ctld.toml"
    config.write_text("[daemon]\nruntime_dir = '/nowhere'\nlog_level = 'error'\n")
    with Daemon(folder, "--config", config, "--runtime-dir", folder / "run") as daemon:
        assert (folder / "run/ctld.sock").is_socket()
        assert daemon.stop() == 0
    assert daemon.log == ""


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ("[daemon]\nlog_levl = 'x'", "{config}:2: daemon.log_levl: there is no such key; did you mean log_level?"),
        ("[[listen]]\naddress = 'unix:{folder}/missing/x.sock'", "cannot listen on {folder}/missing/x.sock"),
        ("[[listen]]\naddress = 'tls:127.0.0.1:0'", "listen[0].tls_certificate: is missing"),
        ("[daemon]\nruntime_dir = '{config}/run'", "cannot make the runtime directory"),
    ],
)
def test_a_daemon_that_cannot_start_says_why_in_one_line(folder, config, complaint):
    path = folder / "ctld.toml"
    path.write_text(config.format(folder=folder, config=path))
    done = ctld("serve", "--config", path)
    assert done.returncode == 1
    assert complaint.format(folder=folder, config=path) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


def test_a_second_daemon_on_the_same_socket(folder):
    with Daemon(folder, "--runtime-dir", folder) as daemon:
        done = ctld("serve", "--runtime-dir", folder)
        assert done.returncode == 1
        assert f"cannot listen on {folder}/ctld.sock: another daemon listens there" in done.stderr
        with Client(f"unix:{folder}/ctld.sock") as client:
            assert client.call("ping") == "pong"
        assert daemon.stop() == 0


@pytest.mark.interop
def test_socket_activation(folder):
    activate = shutil.which("systemd-socket-activate")
    if activate is None:
        assert os.environ.get("CTLD_INTEROP") != "required", "systemd-socket-activate is missing"
        pytest.skip("systemd-socket-activate is not installed")
    address = folder / "active.sock"
    process = subprocess.Popen(
        [
            activate,
            f"--listen={address}",
            "-E",
            "PYTHONPATH",
            sys.executable,
            "-m",
            "ctld",
            "serve",
            f"--runtime-dir={folder}/run",
        ],
        env={**os.environ, "PYTHONPATH": ROOT},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stderr:
            if "Listening on" in line:
                break
        with Client(f"unix:{address}") as client:
            assert client.call("ping") == "pong"
        process.terminate()
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
    assert address.exists(), "an inherited socket is not ours to remove"


def test_check_config_is_content(folder):
    path = folder / "ctld.toml"
    path.write_text("[roles]\nadmin = ['user:no-such-user-here']\n")
    done = ctld("check-config", path)
    assert (done.returncode, done.stdout) == (0, f"{path}: fine\n")
    assert "no-such-user-here" in done.stderr


def test_check_config_names_file_line_and_key(folder):
    path = folder / "ctld.toml"
    path.write_text("[limits]\n\nmax_connections = 'many'\n")
    done = ctld("check-config", path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{path}:3: limits.max_connections: expected integer, got string\n"


# In this process, where that is enough.


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], ["serve", "--help"], ["check-config", "-h"]])
def test_help(words, capsys):
    assert main(words) == 0
    assert "usage: ctld serve" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"ctld {VERSION}\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "a command is missing"),
        (["dance"], "there is no command 'dance'"),
        (["check-config"], "check-config needs one FILE"),
        (["check-config", "a", "b"], "check-config needs one FILE"),
        (["serve", "now"], "there is no option 'now'"),
        (["serve", "--confg", "x"], "there is no option '--confg'"),
        (["serve", "--config"], "--config needs a value"),
        (["serve", "--runtime-dir="], "--runtime-dir needs a value"),
    ],
)
def test_misuse_is_explained_and_ends_with_2(words, complaint, capsys):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"ctld: {complaint}\nusage: ")
    assert captured.out == ""


def test_the_command_line_is_read_from_the_process(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ctld", "--version"])
    assert main() == 0
    assert VERSION in capsys.readouterr().out


def test_a_gatherers_worker_starts_light():
    # Without `site` there are no installed packages, and nothing that coverage would start.
    code = (
        f"import sys; sys.path.insert(0, {ROOT!r}); from ctld.__main__ import main; status = main(['gatherer']);"
        "print(sorted({'asyncio', 'logging', 'ctld.server'} & set(sys.modules)), status)"
    )
    done = subprocess.run(
        [sys.executable, "-ESsc", code], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].endswith("[] 0")
