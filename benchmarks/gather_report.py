"""Compare `gather_report` with a plain serial shell script that does the same work.

2,000 small files and 50 commands, once with commands that compute and once with commands that
wait; one file per item, and all files by one pattern.  Both sides copy, keep outputs, and note
size and SHA-256 of each file.  Rounds alternate; what is printed is the median of the ratios.
"""

import argparse
import asyncio
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import uvloop

from ctld import testing
from ctld.client import AsyncClient
from ctld.commands.gather import gather_commands
from ctld.gatherer.pool import Pool
from ctld.gatherer.profile import Profile
from ctld.gatherer.report_store import ReportStore

FILES = 2000
COMMANDS = 50
GOAL = 1.5

COMPUTING = "cat /proc/self/status | sort"
WAITING = "sleep 0.05; cat /proc/self/status"

# One process per step, as such scripts are written; digests are made at the end, by one.
ONE_BY_ONE = """
set -eu; mkdir -p "$2/files$1" "$2/commands"
for file in "$1"/*; do cp -p "$file" "$2/files$file"; done
i=0; while [ $i -lt {commands} ]; do
    sh -c '{line}' </dev/null >"$2/commands/$i.out" 2>"$2/commands/$i.err" || true; i=$((i + 1))
done
cd "$2"; find files commands -type f -exec sha256sum {{}} + >manifest
"""

# The best that can be done: one process copies all.
AT_ONCE = ONE_BY_ONE.replace(
    'for file in "$1"/*; do cp -p "$file" "$2/files$file"; done',
    'find "$1" -type f -exec cp -p -t "$2/files$1" {{}} +',
)


def run_script(script: str, line: str, source: Path, target: Path) -> float:
    """Return how many seconds the script takes."""
    text = script.format(commands=COMMANDS, line=line)
    started = time.perf_counter()
    subprocess.run(["sh", "-c", text, "sh", str(source), str(target)], check=True)
    return time.perf_counter() - started


async def run_report(client: AsyncClient, items: list[dict[str, Any]], name: str) -> float:
    """Return how many seconds the report takes."""
    started = time.perf_counter()
    done = await client.call("gather_report", {"profile": "p", "items": items, "destination": name})
    seconds = time.perf_counter() - started
    if (done["outcomes"], done["files"]) != ({"ok": len(items)}, FILES + COMMANDS):
        raise SystemExit(f"not everything was collected: {done}")
    return seconds


async def compare(rounds: int, workers: int) -> bool:
    """Print the ratios, and tell whether they reach the goals."""
    met = True
    with tempfile.TemporaryDirectory(prefix="ctld-bench-") as name:
        folder = Path(name)
        source = folder / "source"
        source.mkdir()
        for number in range(FILES):
            (source / f"file-{number}").write_text(f"{number}\n" * 40)
        one_by_one = [{"copy": str(path)} for path in sorted(source.iterdir())]
        at_once = [{"pattern": f"{source}/*"}]
        store = ReportStore(folder / "reports")
        async with (
            Pool({"p": Profile(workers=workers)}) as pool,
            testing.serving(gather_commands(pool, store)) as client,
        ):
            await client.call("gather_exec", {"profile": "p", "line": "true"})
            for label, files, script, line, goal in (
                ("an item for each file, commands that compute", one_by_one, ONE_BY_ONE, COMPUTING, GOAL),
                ("an item for each file, commands that wait", one_by_one, ONE_BY_ONE, WAITING, 1.0),
                ("one pattern, commands that compute", at_once, AT_ONCE, COMPUTING, GOAL),
                ("one pattern, commands that wait", at_once, AT_ONCE, WAITING, 1.0),
            ):
                items = [*files, *({"exec": line} for _ in range(COMMANDS))]
                pairs = []
                for _ in range(rounds):
                    ours = await run_report(client, items, "r")
                    theirs = await asyncio.to_thread(run_script, script, line, source, folder / "script")
                    pairs.append((ours, theirs))
                    await client.call("gather_forget", {"name": "r"})
                    shutil.rmtree(folder / "script")
                ratio = statistics.median(ours / theirs for ours, theirs in pairs)
                met = met and ratio <= goal
                ours, theirs = (statistics.median(column) for column in zip(*pairs, strict=True))
                print(f"{label}: {ratio:.2f} (goal {goal}; report {ours:.2f} s, script {theirs:.2f} s)")
    return met


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=4)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        met = runner.run(compare(arguments.rounds, arguments.workers))
    raise SystemExit(0 if met else "a goal is missed")


if __name__ == "__main__":
    main()
