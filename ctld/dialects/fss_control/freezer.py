"""The freezer of cgroup v2, where processes are in a cgroup of their own and we may write it.

A cgroup that holds anything else, above all the daemon itself, is left alone: whoever asks
then stops the processes by signals.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

__all__ = ["cgroups_of", "freeze"]

_PROC: Final = Path("/proc")
_CGROUPS: Final = Path("/sys/fs/cgroup")


def cgroups_of(
    pids: Collection[int], *, proc: Path = _PROC, cgroups: Path = _CGROUPS, me: int | None = None
) -> list[Path]:
    """Return the cgroups that hold these processes and nothing else; none unless that is true of all.

    Args:
        pids: The processes; others of their process groups belong to them.
        proc: Where the kernel tells of processes.
        cgroups: Where it shows its cgroups.
        me: The process that asks; None: this one.
    """
    try:
        own = _cgroup(os.getpid() if me is None else me, proc)
        found = {_cgroup(pid, proc) for pid in pids}
        groups = {os.getpgid(pid) for pid in pids}
        for name in found:
            if name == "/" or f"{own}/".startswith(f"{name}/") or not _holds_only(cgroups / name[1:], groups):
                return []
    except (OSError, ValueError):  # ValueError: a line that is none of ours
        return []
    return [cgroups / name[1:] for name in sorted(found)]


def freeze(folders: Collection[Path], *, frozen: bool) -> bool:
    """Freeze cgroups, or let them go on; tell whether that worked for all (else it is undone)."""
    done: list[Path] = []
    try:
        for folder in folders:
            (folder / "cgroup.freeze").write_text("1" if frozen else "0")
            done.append(folder)
    except OSError:
        for folder in done:
            (folder / "cgroup.freeze").write_text("0" if frozen else "1")
        return False
    return bool(done)


def _cgroup(pid: int, proc: Path) -> str:
    for line in (proc / str(pid) / "cgroup").read_text().splitlines():
        if line.startswith("0::/") and ".." not in line.split("/"):
            return line.removeprefix("0::")
    raise ValueError("no cgroup v2")


def _holds_only(folder: Path, groups: set[int]) -> bool:
    """Whether every process in and below a cgroup belongs to these process groups."""
    for listing in folder.glob("**/cgroup.procs"):
        if any(os.getpgid(int(pid)) not in groups for pid in listing.read_text().split()):
            return False
    return True
