"""The daemon's wall clock, which this soak can set; the machine's stays as it is."""

import mmap
import shutil
import struct
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final, Self

__all__ = ["DAY", "Clock", "step_of"]

DAY: Final = 86_400

_SOURCE: Final = Path(__file__).with_name("clock.c")
_LONG: Final = struct.Struct("l")

# Not so far that anything the audit log keeps for its 92 days would have to go.
_FARTHEST: Final = 30 * DAY


def step_of(choice: float) -> int:
    """Return the offset of a clock, in seconds, for a number from 0 to 1: a month either way, more often little."""
    signed = 2 * choice - 1
    return round(_FARTHEST * signed**3)


class Clock:
    """A clock in a file, and the library that has programs read it.

    Args:
        folder: Where both go.

    Attributes:
        environ: What makes a program and its children use it; empty: there is no compiler, and
            the clock cannot be set.
    """

    def __init__(self, folder: Path) -> None:
        self.environ: dict[str, str] = {}
        path = folder / "clock"
        path.write_bytes(_LONG.pack(0))
        self._file = path.open("r+b")
        self._page = mmap.mmap(self._file.fileno(), _LONG.size)
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is not None:
            library = folder / "clock.so"
            subprocess.run(
                [compiler, "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl"], check=True
            )
            self.environ = {"LD_PRELOAD": str(library), "SOAK_CLOCK": str(path)}

    def set(self, offset: int) -> None:
        """Put it so many seconds before or after the machine's."""
        _LONG.pack_into(self._page, 0, offset)

    def close(self) -> None:
        """Let go of the file."""
        self._page.close()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
