"""What the kernel says of processes, of ours and of others."""

from pathlib import Path


def state_of(pid: int) -> str:
    """The letter of its state: R, S, T, Z and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def alive(pid: int) -> bool:
    """Whether it runs: a zombie does not."""
    try:
        return state_of(pid) != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
