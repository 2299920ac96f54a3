"""What /proc tells of the daemon and of everything that has come out of it."""

import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

__all__ = ["Process", "below", "descriptors", "family", "resident", "threads"]

_PROC: Final = Path("/proc")


class Process(NamedTuple):
    """A process that has come out of the daemon.

    Attributes:
        pid: Its id.
        kind: `worker`, `job`, `program`, or `zombie`; with `stray ` before it if it has lost its parent.
        command: Its command line.
    """

    pid: int
    kind: str
    command: str


def family(daemon: int, own: Collection[int]) -> list[Process]:
    """Find what has come out of a daemon: its descendants, and those of them that this process had to adopt.

    Args:
        daemon: Its pid.
        own: Further children of this process, which are not the daemon's.
    """
    parents = _parents()
    found = dict.fromkeys(below({daemon}, parents), "")
    adopted = {pid for pid, parent in parents.items() if parent == os.getpid() and pid not in {daemon, *own}}
    found |= dict.fromkeys((*adopted, *below(adopted, parents)), "stray ")
    return [Process(pid, prefix + kind, command) for pid, prefix in found.items() for kind, command in _look(pid)]


def below(roots: Collection[int], parents: Mapping[int, int]) -> set[int]:
    """Return the descendants of some processes, given the parent of every process."""
    found: set[int] = set()
    level = set(roots)
    while level:
        level = {pid for pid, parent in parents.items() if parent in level} - found
        found |= level
    return found


def descriptors(pid: int) -> Counter[str]:
    """Count the open descriptors of a process, by what they are."""
    kinds: Counter[str] = Counter()
    folder = _PROC / str(pid) / "fd"
    for name in os.listdir(folder):
        try:
            target = os.readlink(folder / name)
        except FileNotFoundError:
            continue  # closed meanwhile
        kinds[target.rstrip("0123456789") if target.startswith("/") else target.partition(":[")[0]] += 1
    return kinds


def threads(pid: int) -> int:
    """Count the threads of a process."""
    return len(os.listdir(_PROC / str(pid) / "task"))


def resident(pid: int) -> int:
    """Tell how many bytes of memory a process has."""
    pages = (_PROC / str(pid) / "statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _parents() -> dict[int, int]:
    found = {}
    for pid in (int(name) for name in os.listdir(_PROC) if name.isdigit()):
        try:
            # Behind the name, which may hold anything: the state, the parent.
            found[pid] = int((_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:
            continue  # gone meanwhile
    return found


def _look(pid: int) -> Iterator[tuple[str, str]]:
    """Say of what kind a process is, and what it runs; nothing if it has gone."""
    folder = _PROC / str(pid)
    try:
        state = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        environ = (folder / "environ").read_bytes().split(b"\0") if state != "Z" else []
    except OSError:
        return
    if state == "Z":
        yield "zombie", command
    elif any(variable.startswith(b"CTLD_JOB=") for variable in environ):
        yield "job", command
    else:
        yield "worker" if "ctld.gatherer.worker" in command else "program", command
