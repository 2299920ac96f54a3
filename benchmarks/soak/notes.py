"""A client's notes: one line per fact, appended at once, so that its death takes nothing back."""

import os
import time
from pathlib import Path

from benchmarks.soak.ledger import TAG, Key

__all__ = ["Notes"]


class Notes:
    """The notes of one client.

    Args:
        path: The file.
        name: What tells its tags from those of others.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._name = name
        self._count = 0

    def tag(self) -> str:
        """Return a new tag."""
        self._count += 1
        return f"{TAG}{self._name}_{self._count}"

    def sent(self, key: Key) -> None:
        """Note a request, before it is sent."""
        self._write("sent", *key)

    def answered(self, key: Key, slug: str) -> None:
        """Note an answer."""
        self._write("answered", *key, slug)

    def trouble(self, key: Key, what: str) -> None:
        """Note that there will be no answer, though one was waited for."""
        self._write("trouble", f"{time.time():.3f}", what, *key)

    def did(self, kind: str) -> None:
        """Note that a kind of load was done."""
        self._write("did", kind)

    def close(self) -> None:
        """Note nothing more."""
        os.close(self._file)

    def _write(self, *fields: str) -> None:
        os.write(self._file, ("\t".join(fields) + "\n").encode())
