"""`ctlctl shell`: many commands over one connection, with history and completion.

What is typed is what would follow `ctlctl` on a command line.  A line that holds a secret is
not kept in the history.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from ctlctl import exits
from ctlctl.arguments import parse_arguments
from ctlctl.candidates import candidates
from ctlctl.cli import guarded
from ctlctl.exits import UsageError
from ctlctl.output import complain, write_line
from ctlctl.resolve import by_name, find_command, is_secret
from ctlctl.shell_words import split_line
from ctld.errors import CtldError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ctlctl.caller import Caller
    from ctlctl.values import Schema

__all__ = ["history_path", "holds_secret", "run"]

_MOST_LINES = 2000  # of the history that are kept
_LEAVING = (["exit"], ["quit"])


def run(caller: Caller, words: Sequence[str]) -> int:
    """Read lines and run them, until the input ends.

    Returns:
        The exit status of the last one.
    """
    caller.conversation.connect()  # better now than after the first line was typed
    on_terminal = sys.stdin is not None and os.isatty(0)
    shell = _Shell(caller)
    if not on_terminal:
        return shell.run(lambda: sys.stdin.readline() if sys.stdin else "", lambda: None)
    with _Readline(caller):
        return shell.run(lambda: input(f"{caller.prog}> ") + "\n", _forget_last)


class _Shell:
    """Runs the lines of one shell.

    Args:
        caller: Whose connection it uses.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def run(self, read: Callable[[], str], forget: Callable[[], None]) -> int:
        """Run what is read, until there is nothing more.

        Args:
            read: Returns the next line; "" at the end.
            forget: Called for a line that is not to be kept.
        """
        status = exits.OK
        while True:
            try:
                line = read()
                if not line or line.split()[:1] in _LEAVING:
                    return status
                status = self._line(line, status, forget)
            except EOFError:
                write_line(" ")
                return status
            except KeyboardInterrupt:
                complain("", "")  # a line that is not wanted after all, or a stroke too many

    def _line(self, line: str, status: int, forget: Callable[[], None]) -> int:
        try:
            words = split_line(line)
        except UsageError as error:
            complain(self._caller.prog, str(error))
            return exits.USAGE
        if not words:
            return status
        if self._is_secret(words):
            forget()
        status = self._run(words)
        if status == exits.NO_DAEMON:
            self._caller.forget_commands()  # the next one may know others
        return status

    def _is_secret(self, words: list[str]) -> bool:
        if len(words) == 1:
            return False
        try:
            return holds_secret(words, self._caller.commands())
        except CtldError:
            return True  # nobody can tell

    def _run(self, words: list[str]) -> int:
        caller = self._caller
        try:
            arguments = parse_arguments(words)
        except CtldError as error:
            complain(caller.prog, str(error))
            return exits.status_of(error)
        if arguments.address or arguments.tls_ca or arguments.tls_certificate or arguments.tls_key:
            complain(caller.prog, "a shell has one connection: leave it to go elsewhere")
            return exits.USAGE
        before = caller.arguments
        for name in ("json", "json_seq", "quiet"):
            setattr(arguments, name, getattr(arguments, name) or getattr(before, name))
        arguments.timeout = arguments.timeout or before.timeout
        caller.arguments = arguments
        try:
            if arguments.words[:1] == ["shell"]:
                complain(caller.prog, "this is the shell already")
                return exits.USAGE
            return guarded(caller, ["help"] if arguments.help or not arguments.words else arguments.words)
        finally:
            caller.arguments = before


def holds_secret(words: Sequence[str], commands: Sequence[Schema]) -> bool:
    """Tell whether words give a command a secret that should not be kept."""
    try:
        words = parse_arguments(words).words
    except CtldError:
        return True
    entry, length = find_command(words, by_name(list(commands)))
    if entry is None:
        return False
    options = entry.get("options")
    schema = options if isinstance(options, dict) else {}
    return len(words) > length and is_secret(schema.get("properties"), schema.get("$defs"))


def history_path(prog: str) -> str:
    """Return where the history of a program's shell is kept, as the XDG rules have it."""
    home = os.environ.get("XDG_STATE_HOME", "")
    home = home if home.startswith("/") else os.path.expanduser("~/.local/state")
    return os.path.join(home, "ctld", f"{prog}_history")


def _forget_last() -> None:
    import readline

    if length := readline.get_current_history_length():
        readline.remove_history_item(length - 1)


class _Readline:
    """What readline does for a shell: editing, completion, and a history in a file."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._path = history_path(caller.prog)
        self._found: list[str] = []

    def __enter__(self) -> None:
        import readline

        readline.set_completer(self._complete)
        readline.set_completer_delims(" \t\n=")
        readline.parse_and_bind("tab: complete")
        readline.clear_history()
        readline.set_history_length(_MOST_LINES)
        with contextlib.suppress(OSError):  # the first time there is none
            readline.read_history_file(self._path)

    def __exit__(self, *exc: object) -> None:
        import readline

        readline.set_completer(None)
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            readline.write_history_file(self._path)
        except OSError as error:
            complain(self._caller.prog, f"the history is not kept: {error.strerror}")

    def _complete(self, text: str, state: int) -> str | None:
        import readline

        if state == 0:
            try:
                words = split_line(readline.get_line_buffer()[: readline.get_begidx()])
                self._found = [word for word, _ in candidates(self._caller, words, text)]
            except (CtldError, UsageError):
                self._found = []  # an error in the middle of a line would help nobody
        return f"{self._found[state]} " if state < len(self._found) else None
