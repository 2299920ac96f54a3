"""Which processes run for which job, on disk: what a daemon that was killed leaves to the next.

Theory of operation.  Each process has one small file.  It is written twice: before the
start, with a random token that the child gets in its environment, and after it, with pid and
start time.  A daemon killed in between leaves a file with a token only, and the next one
looks for the token in `/proc` (`search.py`): whatever the moment, no process is lost, so none
is doubled.
A file is replaced atomically but not synced: it has to outlive the daemon, not the machine,
as the boot id in it says.
"""

import hashlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from ctld.directories import make_directory
from ctld.processes import ProcessIdentity

__all__ = ["TOKEN_VARIABLE", "Entry", "Ledger"]

logger = logging.getLogger("ctld.jobs")

TOKEN_VARIABLE: Final = "CTLD_TOKEN"  # noqa: S105 - it names a process and protects nothing


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one process.

    Attributes:
        job: The job's name.
        index: The number of the process within the job.
        token: What the child has in its environment.
        digest: What it runs, so that a changed job is noticed.
        stop_signal: What asks it to stop.
        stop_time: Seconds that it gets to stop.
        identity: Which process it is; None: it was about to be started.
        stopping: Whether it had been asked to stop.
        again: Whether it was to start again after that.
        budget: How many restarts were left.
        restarts: How many there had been.
        daemon: Which process started it.
        daemon_command: What that process ran, as a digest.
    """

    job: str
    index: int
    token: str
    digest: str
    stop_signal: int
    stop_time: float
    identity: ProcessIdentity | None = None
    stopping: bool = False
    again: bool = False
    budget: int = 0
    restarts: int = 0
    daemon: ProcessIdentity | None = None
    daemon_command: str = ""


class Ledger:
    """The directory of the entries; nobody but the daemon's user may write there."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def open(self) -> None:
        """Make the directory if need be.

        Raises:
            OSError: It cannot be made.
        """
        make_directory(str(self._directory))
        self._directory.chmod(0o700)

    def write(self, entry: Entry) -> None:
        """Note what is known of a process.

        Raises:
            OSError: It cannot be written.
        """
        path = self._path(entry.job, entry.index)
        draft = path.with_suffix(".new")
        draft.write_bytes(msgspec.json.encode(entry))
        draft.replace(path)

    def forget(self, job: str, index: int) -> None:
        """Drop the entry of a process that is gone."""
        self._path(job, index).unlink(missing_ok=True)

    def entries(self) -> list[Entry]:
        """Return what an earlier daemon has noted; what cannot be read is logged and dropped."""
        found = []
        for path in sorted(self._directory.glob("*.json")):
            try:
                found.append(msgspec.json.decode(path.read_bytes(), type=Entry))
            except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                logger.warning("the record of a process cannot be read: %s: %s", path, error)
                path.unlink(missing_ok=True)
        return found

    def _path(self, job: str, index: int) -> Path:
        # A job's name may be longer than a file's.
        name = hashlib.sha256(f"{job} {index}".encode()).hexdigest()[:32]
        return self._directory / f"{name}.json"
