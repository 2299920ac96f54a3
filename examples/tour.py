"""A short tour, as `make demo` takes it: a daemon in a scratch folder, driven by `ctlctl`.

It needs `ctld` and `ctlctl` on the PATH and nothing else.  It shows every command before it
runs it, checks what comes back, and leaves nothing behind.
"""

import json
import os
import select
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

PATIENCE = 30.0  # seconds for one step; each takes a few tenths

CONFIGURATION = """\
[daemon]
runtime_dir = "{folder}"
log_level = "warning"

[roles]
operate = ["uid:{uid}"]   # you may run things, but not stop the daemon

[jobs]
directory = "{folder}/jobs"   # what the daemon keeps running: a file for each
"""


def write_jobs(folder: Path, port: int) -> None:
    """Write the files of three jobs."""
    jobs: dict[str, dict[str, object]] = {
        "web": {"cmd": f"{sys.executable} -m http.server --bind 127.0.0.1 {port}", "dir": f"{folder}/site"},
        "ticker": {"cmd": "sh -c 'while date; do sleep 0.3; done'", "stdout": "ticker.log"},
        # It lives just long enough to count as started, and is restarted whenever it fails.
        "flaky": {"cmd": "sh -c 'sleep 1.2; exit 3'", "restartTimes": -1},
    }
    (folder / "jobs").mkdir()
    (folder / "site").mkdir()
    (folder / "site/index.html").write_text("hello from a job\n")
    for name, job in jobs.items():
        path = folder / f"jobs/{name}.tm.json"
        path.write_text(json.dumps({"dir": str(folder), **job}) + "\n")
        print(f"$ cat {path}\n{path.read_text()}", end="", flush=True)


def say(text: str) -> None:
    """Tell what comes next."""
    print(f"\n\033[1m# {text}\033[0m" if sys.stdout.isatty() else f"\n# {text}", flush=True)


def start_daemon(folder: Path) -> subprocess.Popen[bytes]:
    """Start the daemon and wait until it says that it is ready, as systemd would."""
    config = folder / "ctld.toml"
    config.write_text(CONFIGURATION.format(folder=folder, uid=os.geteuid()))
    print(config.read_text(), end="")
    print(f"$ ctld serve --config {config} &", flush=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notifications:
        notifications.bind(f"{folder}/notify")
        environ = {**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"}
        daemon = subprocess.Popen(["ctld", "serve", "--config", config], env=environ)
        end = os.pidfd_open(daemon.pid)
        try:
            ready, _, _ = select.select([notifications.fileno(), end], [], [], PATIENCE)
        finally:
            os.close(end)
        if notifications.fileno() not in ready or b"READY=1" not in notifications.recv(4096):
            daemon.kill()
            daemon.wait()
            raise SystemExit("the daemon did not start")
    return daemon


def run(*words: str, status: int = 0) -> None:
    """Run `ctlctl`, and insist on its exit status."""
    print(f"$ {shlex.join(['ctlctl', *words])}", flush=True)
    done = subprocess.run(["ctlctl", *words], timeout=PATIENCE, check=False)
    check(done.returncode, status)


def run_and_interrupt(*words: str, status: int) -> None:
    """Run `ctlctl`, and press Ctrl-C as soon as it shows progress."""
    print(f"$ {shlex.join(['ctlctl', *words])}", flush=True)
    with subprocess.Popen(["ctlctl", *words], stderr=subprocess.PIPE) as command:
        assert command.stderr is not None
        first = command.stderr.readline()
        command.send_signal(signal.SIGINT)
        _, rest = command.communicate(timeout=PATIENCE)
        sys.stdout.flush()
        sys.stderr.write(f"{first.decode()}^C\n{rest.decode()}")
    check(command.returncode, status)


def show_commands() -> None:
    """Show the schema that the daemon publishes, a line for each command."""
    print("$ ctlctl --json describe", flush=True)
    done = subprocess.run(["ctlctl", "--json", "describe"], timeout=PATIENCE, capture_output=True, check=False)
    check(done.returncode, 0)
    for command in json.loads(done.stdout):
        required = command["options"]["required"]
        words = [name.upper() if name in required else f"[--{name}]" for name in command["options"]["properties"]]
        call = " ".join([command["name"], *words])
        print(f"  {call:<28} {command['role']:<8} {command['doc'].splitlines()[0]}", flush=True)


def fetch(port: int) -> None:
    """Ask the web server, which may take a moment until it listens."""
    url = f"http://127.0.0.1:{port}/"
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                print(f"$ curl {url}\n{answer.read().decode()}", end="", flush=True)
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def wait_for_restart(job: str) -> None:
    """Wait until a job has been restarted, and is alive."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        asked = subprocess.run(["ctlctl", "--json", "job", "status", job], capture_output=True, check=True)
        process = json.loads(asked.stdout)["processes"][0]
        if process["restarts"] > 0 and process["state"] == "alive":
            return
        time.sleep(0.05)
    raise SystemExit(f"the tour ends here: {job} does not come back")


def tour_of_jobs(port: int) -> None:
    """Show what it means that the daemon keeps programs running."""
    say("It keeps programs running: a web server, a clock, and one that fails now and then.")
    run("job", "wait", "web", "running")
    wait_for_restart("flaky")
    run("job", "list")
    fetch(port)
    say("Break one, and it comes back.")
    run("job", "signal", "web", "--signal", "KILL")
    wait_for_restart("web")
    run("job", "list")
    fetch(port)
    say("What does the clock say?")
    run("job", "tail", "-n", "3", "ticker")
    say("Stop them all.")
    for job in ("web", "ticker", "flaky"):
        run("job", "stop", job)
    run("job", "list")


def check(status: int, expected: int) -> None:
    """Stop the tour where it does not go as announced."""
    if status != expected:
        raise SystemExit(f"the tour ends here: exit status {status} instead of {expected}")
    if status:
        print(f"(exit status {status})", flush=True)


def tour(folder: Path) -> None:
    """Show what a newcomer wants to see."""
    say("A daemon needs a place, a word on who may do what, and maybe jobs.")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    write_jobs(folder, port)
    daemon = start_daemon(folder)
    os.environ["CTLD_SOCKET"] = f"{folder}/ctld.sock"
    try:
        say("Is it there? Who is it?")
        run("ping")
        run("version")
        say("What can it do?")
        show_commands()
        say("A long command reports progress while it runs.")
        run("sleep", "0.5", "--steps", "5")
        say("Ctrl-C cancels it, in the daemon too.")
        run_and_interrupt("sleep", "3600", "--steps", "36000", status=CANCELLED)
        say("What you may not do is refused, with a reason and a way out.")
        run("shutdown", status=DENIED)
        say("A script wants JSON.")
        run("--json", "can_i", "shutdown")
        tour_of_jobs(port)
    finally:
        daemon.terminate()
        daemon.wait(PATIENCE)
    say("SIGTERM stopped the daemon in order.")
    check(daemon.returncode, 0)
    if leftovers := [path.name for path in folder.iterdir() if path.is_socket() and path.name != "notify"]:
        raise SystemExit(f"it has left something behind: {leftovers}")


DENIED = 3
CANCELLED = 6

if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="ctld-") as scratch:
        tour(Path(scratch))
