"""Which process it is: a pid alone may be used again, a pid and its start time may not."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["ProcessIdentity"]


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """One process, recognisable later and by another daemon of the same boot.

    Attributes:
        pid: The process id.
        started: When it started, in clock ticks since boot (`/proc/PID/stat`, field 22).
        boot: The kernel's id of this boot: ticks and pids of another one mean nothing.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Identify the process that has this pid now; None when there is none.

        A zombie still counts: it keeps its pid until it is reaped.
        """
        try:
            # The name in parentheses may hold anything, spaces and parentheses too.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return cls(pid, int(fields[19]), _boot_id())

    def is_current(self) -> bool:
        """Tell whether that very process still exists."""
        return ProcessIdentity.of(self.pid) == self


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
