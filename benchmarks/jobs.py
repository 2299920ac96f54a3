"""How long 200 jobs take to start and to stop, and what they cost while nothing happens: `python -m benchmarks.jobs`.

The goals: started in 5 s, stopped in 5 s on two processors, below 1 % of one while idle.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ctld.client import Client

ROOT = Path(__file__).parents[1]


def write_jobs(folder: Path, count: int) -> None:
    """Write the files of so many jobs, and the daemon's."""
    (folder / "jobs").mkdir()
    for number in range(count):
        job = {"cmd": "sleep 1000", "autoStart": False, "dir": str(folder), "stdout": f"out{number}"}
        (folder / f"jobs/job{number:03}.tm.json").write_text(json.dumps(job))
    (folder / "ctld.toml").write_text(
        f"[daemon]\nruntime_dir = '{folder}'\nlog_level = 'warning'\n[jobs]\ndirectory = '{folder}/jobs'\n"
    )


def cpu_time(pid: int) -> float:
    """Return the seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def all_of(client: Client, command: str, names: list[str], **opts: object) -> None:
    """Ask one command for each job."""
    for name in names:
        client.call(command, {"name": name, **opts})


def measure(client: Client, pid: int, idle: float) -> None:
    """Start, look, wait and stop, and print how long that took."""
    names = [job["name"] for job in client.call("job_list")]
    begun, used = time.monotonic(), cpu_time(pid)
    all_of(client, "job_start", names, wait=False)
    all_of(client, "job_wait", names, state="running")
    print(f"start  {time.monotonic() - begun:6.2f} s, of which startTime is 1 s; {cpu_time(pid) - used:.2f} s of CPU")
    begun = time.monotonic()
    client.call("job_list")
    print(f"list   {(time.monotonic() - begun) * 1000:6.0f} ms, with CPU and memory")
    used = cpu_time(pid)
    time.sleep(idle)
    print(f"idle   {(cpu_time(pid) - used) / idle * 100:6.2f} % of one processor, over {idle:g} s")
    begun = time.monotonic()
    all_of(client, "job_stop", names, wait=False)
    all_of(client, "job_wait", names, state="stopped")
    print(f"stop   {time.monotonic() - begun:6.2f} s")


def main() -> None:
    """Measure on a daemon of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--idle", type=float, default=10.0, metavar="S")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ctld-") as scratch:
        folder = Path(scratch)
        write_jobs(folder, arguments.jobs)
        command = [sys.executable, "-m", "ctld", "serve", "--config", f"{folder}/ctld.toml"]
        with subprocess.Popen(command, cwd=ROOT) as daemon:
            try:
                while not (folder / "ctld.sock").exists() and daemon.poll() is None:
                    time.sleep(0.05)
                with Client(f"unix:{folder}/ctld.sock") as client:
                    measure(client, daemon.pid, arguments.idle)
            finally:
                daemon.terminate()


if __name__ == "__main__":
    main()
