"""The manifest of a report: written item by item, so that neither memory nor a full disk ends it.

Theory of operation.  The file is one JSON object whose list of items grows while they are
collected, a line for each, in the order in which they end.  Space is reserved before it is
needed: there is always room for the end of the object, so that a report on a disk that has
become full, too, has a manifest that can be read.  Entries for which there is no room are
counted instead.
"""

import os
import threading
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import msgspec

from ctld.gatherer.replies import Outcome

__all__ = ["MANIFEST_NAME", "FileEntry", "ItemEntry", "ItemKind", "ItemOutcome", "Manifest"]

MANIFEST_NAME: Final = "manifest.json"

ItemKind: TypeAlias = Literal["copy", "pattern", "exec"]

ItemOutcome: TypeAlias = Literal["ok", "partial", "failed", "timeout", "cancelled", "limit"]

# Grows when a reader of the old manifests could not read the new ones.
_FORMAT: Final = 1

# What is reserved at a time; more than the entries of some hundred files take.
_STEP: Final = 256 * 1024

# What the end of the object takes at most.
_ENDING: Final = 4096


class FileEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One path of an item.

    Attributes:
        path: Where it comes from; U+FFFD stands for what is no UTF-8.
        base64: Its bytes, if they are not all UTF-8.
        outcome: What became of it.
        detail: Why, for `SKIP` and `FAIL`.
        bytes: How many were written.
        sha256: Their SHA-256.
        stored: Where in the report they are; U+FFFD as above.
    """

    path: str
    base64: str = ""
    outcome: Outcome
    detail: str = ""
    bytes: int = 0
    sha256: str = ""
    stored: str = ""


class ItemEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One item.

    Attributes:
        item: Its position in the request, from 0.
        kind: What was to be done.
        what: With what: the path, the pattern or the command line.
        outcome: `ok`; `partial` if only some paths failed; `failed`, `timeout`, `cancelled`, or
            `limit` if it was not begun because the report was large enough already.
        detail: Why it is not `ok`.
        seconds: How long it took.
        bytes: How many were written.
        digest: The SHA-256 of the digests of its files, each as hexadecimal and an end of line.
        status: The exit status of a command, or minus the signal that killed it.
        files: What it consists of.
    """

    item: int
    kind: ItemKind
    what: str
    outcome: ItemOutcome
    detail: str = ""
    seconds: float
    bytes: int
    digest: str
    status: int | None = None
    files: tuple[FileEntry, ...] = ()


class Manifest:
    """A manifest that is being written; every method may block, and be called from any thread.

    Args:
        directory: A descriptor of where it shall be.
        head: What is known beforehand.

    Raises:
        OSError: It cannot be made; `ENOSPC` if there is no room for it.
    """

    def __init__(self, directory: int, head: Mapping[str, object]) -> None:
        self._lock = threading.Lock()
        self._size = self._reserved = 0
        self._first = True
        self._omitted = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._descriptor = os.open(MANIFEST_NAME, flags, 0o600, dir_fd=directory)
        try:
            self._write(msgspec.json.encode({"format": _FORMAT, **head})[:-1] + b',\n"items": [')
        except BaseException:
            self.close()
            raise

    def add(self, entry: ItemEntry) -> None:
        """Write an entry; one for which there is no room is only counted."""
        data = msgspec.json.encode(entry)
        with self._lock:
            try:
                self._write((b"\n" if self._first else b",\n") + data)
            except OSError:
                self._omitted += 1
            else:
                self._first = False

    def finish(self, tail: Mapping[str, object]) -> None:
        """Write the end, and close it.

        Args:
            tail: What is known now; not longer than a few hundred characters.

        Raises:
            OSError: It cannot be written.
        """
        end = msgspec.json.encode({"items_omitted": self._omitted, **tail})
        try:
            os.pwrite(self._descriptor, b"\n],\n" + end[1:] + b"\n", self._size)
            os.ftruncate(self._descriptor, self._size + len(end) + 4)
        finally:
            self.close()

    def close(self) -> None:
        """Close it as it is; once or more often."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _write(self, data: bytes) -> None:
        needed = self._size + len(data) + _ENDING
        if needed > self._reserved:
            wanted = -(-needed // _STEP) * _STEP
            os.posix_fallocate(self._descriptor, self._reserved, wanted - self._reserved)
            self._reserved = wanted
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._size + written)
        self._size += len(data)
