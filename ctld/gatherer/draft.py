"""A report while it is made: a directory with copies, outputs and a manifest; every function may block.

`files/` belongs to the user of the workers, who fill it; `commands/` and the manifest belong to
the daemon.  The directory around them lets others pass through it, and only until the report
is finished: then it is the daemon's alone.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from ctld.errors import CommandFailed
from ctld.gatherer.beneath import TreeReader, closing, open_directory
from ctld.gatherer.manifest import FileEntry, Manifest
from ctld.gatherer.names import as_text, output_name
from ctld.gatherer.paths import split_components
from ctld.gatherer.replies import Copied, Executed
from ctld.processes.accounts import Account

__all__ = ["COMMANDS", "FILES", "Draft", "digest_of"]

FILES: Final = "files"
COMMANDS: Final = "commands"

_CHUNK: Final = 256 * 1024


class Draft:
    """A new report.

    Args:
        parent: A descriptor of the directory of all reports.
        directory: The path of that directory.
        name: The report's name.
        owner: Whose the copies are.
        head: What the manifest begins with.

    Raises:
        CommandFailed: There is a report of that name, or no room for one.
    """

    def __init__(self, parent: int, directory: str, name: str, owner: Account, head: Mapping[str, object]) -> None:
        self.path = Path(directory, name)
        self.root = self.path / FILES
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            raise CommandFailed(f"there is a report {name!r} already", destination=name) from None
        self._descriptors: list[int] = []
        try:
            self._top = self._keep(open_directory(name, parent))
            self._files = self._make(FILES)
            self._commands = self._make(COMMANDS)
            if owner.uid is not None or owner.gid is not None:
                os.fchown(self._files, -1 if owner.uid is None else owner.uid, -1 if owner.gid is None else owner.gid)
                os.fchmod(self._top, 0o711)  # nosec B103 # workers of another user pass through, and see no names
            self.manifest = Manifest(self._top, head)
        except OSError as exc:
            self._close_all()
            shutil.rmtree(name, ignore_errors=True, dir_fd=parent)
            raise CommandFailed(f"cannot make the report {name!r}: {exc.strerror}") from None

    def keep_output(self, index: int, wish: str, executed: Executed) -> tuple[FileEntry, ...]:
        """Keep what a command has printed; an empty standard error is not.

        Args:
            index: The item's position.
            wish: What to call the output, as far as that can be.
            executed: What became of the command.
        """
        name = output_name(index, wish)
        outputs = [(f"{name}.out", executed.output)]
        if executed.errors:
            outputs.append((f"{name}.err", executed.errors))
        return tuple(self._keep_one(name, data) for name, data in outputs)

    def describe_copies(self, copied: Sequence[Copied]) -> tuple[FileEntry, ...]:
        """Look at what a worker has copied."""
        reader = TreeReader(self._files)
        try:
            return tuple(_describe(reader, result) for result in copied)
        finally:
            reader.close()

    def abandon(self) -> None:
        """Close it as it is."""
        self.manifest.close()
        self._close_all()

    def finish(self, tail: Mapping[str, object]) -> None:
        """End the manifest, and shut the directory.

        Raises:
            CommandFailed: That cannot be written.
        """
        try:
            os.fchmod(self._top, 0o700)
            self.manifest.finish(tail)
        except OSError as exc:
            raise CommandFailed(f"cannot finish the report {self.path.name!r}: {exc.strerror}") from None
        finally:
            self._close_all()

    def _keep_one(self, name: str, data: bytes) -> FileEntry:
        try:
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=self._commands)
            try:
                with os.fdopen(descriptor, "wb", buffering=0) as file:
                    written = 0
                    while written < len(data):
                        written += file.write(data[written : written + _CHUNK])
            except OSError:
                os.unlink(name, dir_fd=self._commands)
                raise
        except OSError as exc:
            return FileEntry(path=name, outcome="FAIL", detail=_errno_name(exc))
        digest = hashlib.sha256(data).hexdigest()
        return FileEntry(path=name, outcome="FILE", bytes=len(data), sha256=digest, stored=f"{COMMANDS}/{name}")

    def _make(self, name: str) -> int:
        os.mkdir(name, 0o700, dir_fd=self._top)
        return self._keep(open_directory(name, self._top))

    def _keep(self, descriptor: int) -> int:
        self._descriptors.append(descriptor)
        return descriptor

    def _close_all(self) -> None:
        while self._descriptors:
            os.close(self._descriptors.pop())


def digest_of(files: Sequence[FileEntry]) -> str:
    """Return one digest for many files: that of theirs, each as hexadecimal and an end of line."""
    return hashlib.sha256("".join(f"{file.sha256}\n" for file in files if file.sha256).encode()).hexdigest()


def _describe(reader: TreeReader, copied: Copied) -> FileEntry:
    path, exact = as_text(copied.path)
    if copied.outcome not in ("FILE", "TAIL"):
        detail = copied.detail if copied.outcome in ("SKIP", "FAIL") else ""
        return FileEntry(path=path, base64=exact, outcome=copied.outcome, detail=detail)
    names = split_components(copied.path)
    if copied.outcome == "TAIL":
        names[-1] += b".tailed"
    try:
        with closing(reader.open(names)) as descriptor:
            size, digest = _digest(descriptor)
    except OSError as exc:  # somebody took it away, or made something else of it
        return FileEntry(path=path, base64=exact, outcome="FAIL", detail=_errno_name(exc))
    stored = f"{FILES}/{as_text(b'/'.join(names))[0]}"
    return FileEntry(path=path, base64=exact, outcome=copied.outcome, bytes=size, sha256=digest, stored=stored)


def _digest(descriptor: int) -> tuple[int, str]:
    sha256, size = hashlib.sha256(), 0
    while piece := os.read(descriptor, _CHUNK):
        sha256.update(piece)
        size += len(piece)
    return size, sha256.hexdigest()


def _errno_name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, "EIO")
