"""The freezer of cgroup v2, where processes are in a cgroup of their own and we may write it.

A cgroup that holds anything else, above all the daemon itself, is left alone: whoever asks
then stops the processes by signals.  Whether a cgroup is frozen is kept by the kernel alone,
so the next daemon knows it too.
"""

import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Freezer"]

_SWITCH = "cgroup.freeze"


@dataclass(frozen=True, slots=True)
class Freezer:
    """Freezes cgroups, and lets them go on.

    Attributes:
        proc: Where the kernel tells of processes.
        cgroups: Where it shows its cgroups.
        me: The process that asks; None: this one.
    """

    proc: Path = Path("/proc")
    cgroups: Path = Path("/sys/fs/cgroup")
    me: int | None = None

    def cgroups_of(self, pids: Collection[int]) -> list[Path]:
        """Return the cgroups that hold these processes and nothing else; none unless that is true of all.

        Args:
            pids: The processes; others of their process groups belong to them.
        """
        try:
            own = self._cgroup(os.getpid() if self.me is None else self.me)
            found = {self._cgroup(pid) for pid in pids}
            groups = {os.getpgid(pid) for pid in pids}
            for name in found:
                if name == "/" or f"{own}/".startswith(f"{name}/") or not _holds_only(self._folder(name), groups):
                    return []
        except (OSError, ValueError):  # ValueError: a line that is none of ours
            return []
        return [self._folder(name) for name in sorted(found)]

    def frozen(self, pids: Collection[int]) -> list[Path]:
        """Return those of `cgroups_of()` that are frozen."""
        # Mostly none is, and then a look into large cgroups of others is spared.
        if not any(_is_frozen(folder) for folder in self._folders(pids)):
            return []
        return [folder for folder in self.cgroups_of(pids) if _is_frozen(folder)]

    def freeze(self, folders: Collection[Path]) -> bool:
        """Freeze cgroups; tell whether that worked for all (else it is undone)."""
        done = [folder for folder in folders if _switch(folder, "1")]
        if len(done) == len(folders):
            return bool(done)
        self.thaw(done)
        return False

    def thaw(self, folders: Collection[Path]) -> bool:
        """Let cgroups go on; tell whether that worked for all."""
        done = [folder for folder in folders if _switch(folder, "0")]
        return bool(done) and len(done) == len(folders)

    def _folders(self, pids: Collection[int]) -> set[Path]:
        """Return the cgroups of those processes of which one can be told."""
        folders = set()
        for pid in pids:
            try:
                folders.add(self._folder(self._cgroup(pid)))
            except (OSError, ValueError):
                continue  # it is gone, or in no cgroup of this version
        return folders

    def _folder(self, name: str) -> Path:
        return self.cgroups / name[1:]

    def _cgroup(self, pid: int) -> str:
        for line in (self.proc / str(pid) / "cgroup").read_text().splitlines():
            if line.startswith("0::/") and ".." not in line.split("/"):
                return line.removeprefix("0::")
        raise ValueError("no cgroup v2")


def _switch(folder: Path, value: str) -> bool:
    try:
        (folder / _SWITCH).write_text(value)
    except OSError:
        return False
    return True


def _is_frozen(folder: Path) -> bool:
    try:
        return (folder / _SWITCH).read_text().strip() == "1"
    except OSError:
        return False


def _holds_only(folder: Path, groups: set[int]) -> bool:
    """Whether every process in and below a cgroup belongs to these process groups."""
    for listing in folder.glob("**/cgroup.procs"):
        if any(os.getpgid(int(pid)) not in groups for pid in listing.read_text().split()):
            return False
    return True
