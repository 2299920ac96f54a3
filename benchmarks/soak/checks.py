"""What has to be true after a soak, and whether it is."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from benchmarks.soak.latency import Latency
from benchmarks.soak.settle import Footprint

__all__ = ["Check", "latency_check", "log_checks", "unchanged"]

# Beside the daemon's own and the audit log's: asyncio and libuv start threads for what blocks when
# several are wanted at once, up to these bounds, and keep them.
_OWN_THREADS: Final = 2
_POOLED_THREADS: Final = min(32, (os.cpu_count() or 1) + 4) + 4

# The one thing that goes wrong on purpose and is an error: it is the disk's, and it is said once.
_EXPECTED: Final = re.compile(r"history entries are (kept in memory|lost)")

_BAD_LEVELS: Final = (" ERROR ", " CRITICAL ")

_SHOWN: Final = 5


class Check(NamedTuple):
    """One thing that has to be true.

    Attributes:
        what: What.
        wrong: What is not as it has to be; nothing if all is.
        found: What was found, where that is worth a word.
    """

    what: str
    wrong: Sequence[str]
    found: str = ""

    def __str__(self) -> str:
        """Say it in a line, and what is wrong below it."""
        found = f" ({self.found})" if self.found else ""
        lines = [
            f"{'FAILED' if self.wrong else 'ok':6}  {self.what}{found}",
            *(f"          {text}" for text in self.wrong),
        ]
        return "\n".join(lines)


def unchanged(before: Footprint, after: Footprint, *, room: float) -> list[Check]:
    """Check that a daemon at rest consists of no more than it did.

    Args:
        before: What it consisted of.
        after: What it consists of now.
        room: By which part its memory may grow.
    """
    total = before.descriptors.total(), after.descriptors.total()
    threads = max(before.threads, _OWN_THREADS + _POOLED_THREADS)
    resident = before.resident * (1 + room)
    mega = 1024 * 1024
    grown = [f"{after.resident / mega:.1f} MiB"] if after.resident > resident else []
    return [
        Check("no descriptor more", _more(before.descriptors, after.descriptors), f"{total[0]}, {total[1]} now"),
        Check("no task more", _more(before.tasks, after.tasks), f"{after.tasks.total()} now"),
        Check("no process more", _more(before.family, after.family), f"{after.family.total()} now"),
        Check(
            "no thread more than the pools may have",
            [f"{after.threads}"] if after.threads > threads else [],
            f"{before.threads}, {after.threads} now",
        ),
        Check("no memory more", grown, f"{before.resident / mega:.1f} MiB, {after.resident / mega:.1f} MiB now"),
    ]


def latency_check(before: Latency, after: Latency, room: float) -> Check:
    """Check that the 99th percentile is what it was, measured against the yardstick."""
    found = (
        f"{before.daemon * 1e6:.0f} us, {after.daemon * 1e6:.0f} us now; "
        f"{before.ratio:.2f} and {after.ratio:.2f} times the yardstick's"
    )
    slower = after.ratio > before.ratio * room
    return Check("99 of 100 answers take no longer than before", ["slower"] if slower else [], found)


def log_checks(lines: Iterable[str]) -> list[Check]:
    """Check that the log holds no error but those that were to be expected, and no traceback."""
    errors = [line for line in lines if any(level in line for level in _BAD_LEVELS) or "Traceback" in line]
    unexpected = [line for line in errors if not _EXPECTED.search(line)]
    return [Check("no unexpected error in the log", _some(unexpected), f"{len(errors) - len(unexpected)} expected")]


def _more(before: Counter[str], after: Counter[str]) -> list[str]:
    return [f"{kind}: {before[kind]}, {count} now" for kind, count in sorted(after.items()) if count > before[kind]]


def _some(lines: Sequence[str]) -> list[str]:
    more = [f"... and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return [*(line[:300] for line in lines[:_SHOWN]), *more]
