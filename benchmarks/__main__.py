"""Print the request path as a ratio to LIMIT-B, and `ctlctl ping` as a ratio to `python -c pass`.

All servers are alive together; short slices in random order; a ratio per round; the median
of the ratios.  Absolute rates mean nothing on a shared machine.
"""

import argparse
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

HERE = Path(__file__).parent

PING = '{"cmd":"ping"}'
ECHO = '{"cmd":"echo","opts":{"text":"' + "x" * 200 + '"}}'

# Connections, requests in flight on each, and the request.
SCENARIOS = {
    "c50 ping": (50, 1, PING),
    "c50 echo": (50, 1, ECHO),
    "pipe64 ping": (1, 64, PING),
    "pipe64 echo": (1, 64, ECHO),
    "seq1 ping": (1, 1, PING),
    "seq1 echo": (1, 1, ECHO),
}

# What the ratios should reach; those of seq1 are goals on latency, turned over.
GOALS = {
    "bare": {"c50": 0.80, "pipe64": 0.80, "seq1": 1 / 1.10},
    "full": {"c50": 0.70, "pipe64": 0.60, "seq1": 1 / 1.20},
}
PING_GOAL = 2.5


@contextmanager
def serving(module: str, path: Path, *args: str) -> Iterator[None]:
    """Run a server on the first processor, where there are several."""
    command = [*pinned(0), sys.executable, "-m", module, str(path), *args]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit(f"{module} does not start")
            yield
        finally:
            process.kill()


def pinned(processor: int) -> list[str]:
    """Return what a command begins with to stay on one processor."""
    if shutil.which("taskset") and processor < len(os.sched_getaffinity(0)):
        return ["taskset", "-c", str(sorted(os.sched_getaffinity(0))[processor])]
    return []


def load_generator(folder: Path) -> list[str]:
    """Compile the load generator; fall back to the slow one, and say so."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("no C compiler: the load generator is Python and may be the bottleneck")
        return [sys.executable, str(HERE / "python_load.py")]
    subprocess.run([compiler, "-O2", "-o", str(folder / "load"), str(HERE / "load.c")], check=True)
    return [str(folder / "load")]


def rate(generator: list[str], path: Path, scenario: str, seconds: float) -> float:
    """Measure one slice: answers per second."""
    connections, depth, request = SCENARIOS[scenario]
    command = [*pinned(1), *generator, str(path), str(connections), str(depth), str(seconds), request]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(rounds: int, seconds: float, scenarios: list[str]) -> bool:
    """Print a table of ratios; tell whether all goals are reached."""
    passed = True
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        generator = load_generator(folder)
        servers = {"limit-b": folder / "b", "bare": folder / "bare", "full": folder / "full"}
        stack.enter_context(serving("benchmarks.limit_b", servers["limit-b"]))
        stack.enter_context(serving("benchmarks.ctld_server", servers["bare"], "bare"))
        stack.enter_context(serving("benchmarks.ctld_server", servers["full"], "full"))
        print(f"\n{'scenario':14} {'server':8} {'ratio':>6} {'spread':>13} {'goal':>6}")
        for scenario in scenarios:
            ratios: dict[str, list[float]] = {"bare": [], "full": []}
            for _ in range(rounds):
                rates = {}
                for name in random.sample(sorted(servers), len(servers)):
                    rates[name] = rate(generator, servers[name], scenario, seconds)
                for name, values in ratios.items():
                    values.append(rates[name] / rates["limit-b"])
            for name, values in ratios.items():
                goal = GOALS[name][scenario.split()[0]]
                middle = statistics.median(values)
                passed &= middle >= goal
                spread = f"{min(values):.2f} to {max(values):.2f}"
                verdict = "pass" if middle >= goal else "short"
                print(f"{scenario:14} {name:8} {middle:6.2f} {spread:>13} {goal:6.2f}  {verdict}")
    return passed


def start_up(rounds: int) -> bool:
    """Print how long `ctlctl ping` takes, as a ratio to an interpreter that does nothing."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s"
        with serving("benchmarks.ctld_server", path, "full"):
            ping = [sys.executable, "-m", "ctlctl", "-s", str(path), "ping"]
            nothing = [sys.executable, "-c", "pass"]
            ratios = []
            for number in range(rounds + 1):
                times = {}
                for command in random.sample([ping, nothing], 2):
                    begun = time.perf_counter()
                    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=HERE.parent)
                    times[command is ping] = time.perf_counter() - begun
                if number:  # the first one fills the caches
                    ratios.append(times[True] / times[False])
    middle = statistics.median(ratios)
    verdict = "pass" if middle <= PING_GOAL else "short"
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    print(f"\nctlctl ping / python -c pass: {middle:.2f} ({spread}), goal at most {PING_GOAL}  {verdict}")
    return middle <= PING_GOAL


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds per scenario (default 9)")
    parser.add_argument("--seconds", type=float, default=0.2, help="seconds per slice (default 0.2)")
    parser.add_argument("--only", choices=[*SCENARIOS, "start-up"], help="one scenario")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} processors")
    scenarios = [name for name in SCENARIOS if args.only in (None, name)]
    passed = not scenarios or measure(args.rounds, args.seconds, scenarios)
    if args.only in (None, "start-up"):
        passed &= start_up(args.rounds * 2)
    print("\nall goals reached" if passed else "\nsome goals are not reached")


if __name__ == "__main__":
    main()
