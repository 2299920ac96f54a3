"""Values that do not stand on the command line: in files, the standard input, the environment.

Only here does the reading of a command line touch the world outside, so that the rest of it
stays a function of words and schemas.
"""

from __future__ import annotations

import os
import sys

from ctlctl.exits import UsageError
from ctld.client.wire import MAX_LINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

__all__ = ["Inputs"]


class Inputs:
    """Reads values from where the command line says that they are."""

    def __init__(self) -> None:
        self._stdin_read = False

    def value(self, word: str) -> str:
        """Return what a word stands for: `@FILE`, `-`, or itself; `@@x` is `@x`.

        Raises:
            UsageError: It cannot be read.
        """
        if word.startswith("@@"):
            return word[1:]
        if word == "-":
            return self._stdin()
        return self.file(word[1:]) if len(word) > 1 and word[0] == "@" else word

    def file(self, path: str) -> str:
        """Return the content of a file, without its last line break.

        Raises:
            UsageError: It cannot be read.
        """
        if path == "-":
            return self._stdin()
        try:
            with open(path, "rb") as file:
                return _text(file, path)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise UsageError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None

    def variable(self, name: str) -> str:
        """Return the value of an environment variable.

        Raises:
            UsageError: There is none.
        """
        if name not in os.environ:
            raise UsageError(f"there is no environment variable {name}")
        return os.environ[name]

    def secret(self, prompt: str) -> str | None:
        """Ask for a value that is not shown while it is typed; None if there is nobody to ask."""
        if sys.stdin is None or not sys.stdin.isatty():
            return None
        from getpass import getpass

        try:
            return getpass(prompt)
        except EOFError:
            raise UsageError("nothing was typed") from None

    def _stdin(self) -> str:
        if self._stdin_read:
            raise UsageError("the standard input can be only one value")
        if sys.stdin is None:
            raise UsageError("the standard input is closed")
        self._stdin_read = True
        try:
            return _text(sys.stdin.buffer, "the standard input")
        except OSError as error:
            raise UsageError(f"cannot read the standard input: {error.strerror}") from None


def _text(file: BinaryIO, name: str) -> str:
    data = file.read(MAX_LINE + 1)
    if len(data) > MAX_LINE:
        raise UsageError(f"{name} has more than {MAX_LINE} bytes")
    try:
        return data.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise UsageError(f"{name} is no UTF-8") from None
