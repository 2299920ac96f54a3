"""A run's one connection, and commands asked over it: from words to what is printed.

One word is sent as it is, and on that way nothing is imported that it does not need: not
the schema's side of things (`ctlctl.resolve`), no tables, no progress bars.
"""

from __future__ import annotations

from ctlctl import exits
from ctlctl.interrupts import Interrupts
from ctlctl.output import complain, is_terminal, json_line, plain, progress_line, write_line, write_text
from ctld.client.conversation import Conversation

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ssl import SSLContext
    from typing import Any

    from ctlctl.arguments import Arguments
    from ctlctl.jobs import LogLines
    from ctlctl.lines import Lines
    from ctlctl.look import Rows
    from ctlctl.progress import Bars
    from ctlctl.values import Schema
    from ctld.client import Update

__all__ = ["Caller", "Printer", "command_line"]

_MAX_CLI = 500  # characters of the command line that locks and the history will show


class Caller:
    """Asks one daemon for commands, and prints what it answers.

    Args:
        arguments: What the command line says before COMMAND.
        prog: The program's name.
        address: Where the daemon listens if the arguments do not say; None: the default.
    """

    def __init__(self, arguments: Arguments, prog: str, address: str | None) -> None:
        self.arguments = arguments
        self.prog = prog
        self.address = arguments.address if arguments.address is not None else address
        self._conversation: Conversation | None = None
        self._commands: list[Schema] | None = None

    @property
    def conversation(self) -> Conversation:
        """The connection; made when first used.

        Raises:
            ConfigError: The address is none.
        """
        if self._conversation is None:
            self._conversation = Conversation(self.address, tls=self.tls(), remote=self.prog)
        return self._conversation

    @property
    def banner(self) -> Mapping[str, Any]:
        """What the daemon said of itself, as far as that is known."""
        return (self._conversation and self._conversation.banner) or {}

    @property
    def protocol(self) -> int:
        """The version of the protocol that the daemon speaks; 0 while that is not known."""
        return self._conversation.protocol if self._conversation else 0

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._conversation is not None:
            self._conversation.close()

    def lines(self) -> Lines:
        """Return a further connection, as lines.

        Raises:
            ConnectFailed: It did not work; the message says what to do about it.
        """
        from ctlctl.lines import Lines

        return Lines(self.conversation.address, self.tls(), remote=self.prog)

    def tls(self) -> SSLContext | None:
        """Return what the TLS options say; None: it is left to the environment.

        Raises:
            ConfigError: A file cannot be used.
        """
        arguments = self.arguments
        if not (arguments.tls_ca or arguments.tls_certificate or arguments.tls_key):
            return None
        from ctld.client import tls_context

        return tls_context(arguments.tls_ca, arguments.tls_certificate, arguments.tls_key)

    def commands(self) -> list[Schema]:
        """Return what the daemon says it can do; it is asked once.

        Raises:
            UsageError: It cannot say.
        """
        if self._commands is None:
            from ctlctl.resolve import describe

            self._commands = describe(self.conversation, self.arguments.timeout)
        return self._commands

    def forget_commands(self) -> None:
        """Ask again next time: the daemon may be another one."""
        self._commands = None

    def ask(self, command: str, opts: Mapping[str, object] | None = None) -> Any:
        """Return the result of a command that is only a means to an end."""
        answer = None
        for kind, value in self.conversation.run(command, opts or {}, deadline=self.arguments.timeout):
            answer = value if kind == "response" else answer
        return answer

    def run(self, words: Sequence[str]) -> int:
        """Run a command of the daemon and print its result.

        Raises:
            HelpWanted: The command is to be explained instead.
            CtldError: It could not be done; the message says why.
        """
        arguments = self.arguments
        if len(words) == 1 and not words[0].startswith("-"):
            command, streams, shown = words[0], True, list(words)
            opts: dict[str, object] = {}
        else:
            from ctlctl.resolve import resolve

            # Options about output may stand among those of the command, and hold for it alone.
            arguments = arguments.copy()
            invocation = resolve(words, self.commands, take=arguments.take)
            for warning in invocation.warnings:
                complain(self.prog, warning)
            command, streams, opts, shown = invocation.command, invocation.streams, invocation.opts, invocation.shown
        opts.setdefault("cli", command_line(self.prog, shown))
        if arguments.watch:
            from ctlctl.watch import watch

            return watch(self, arguments, command, opts, shown)
        self.execute(arguments, command, opts, streams)
        return exits.OK

    def execute(self, arguments: Arguments, command: str, opts: Mapping[str, object], streams: bool) -> None:
        """Send a request, and print what is said about it until its end."""
        printer = Printer(self.prog, arguments, command)
        # One document can only be made by the daemon: a list that is empty is no null.
        stream = streams and not arguments.json and not arguments.detach
        conversation = self.conversation
        with Interrupts(conversation, self.prog, lambda: self._operation(command, opts), printer.say):
            news = conversation.run(command, opts, stream=stream, deadline=arguments.timeout, detach=arguments.detach)
            try:
                for kind, value in news:
                    if kind == "progress":
                        printer.progress(value)
                    elif kind == "item":
                        printer.item(value)
                    else:
                        printer.response(value)
            finally:
                printer.close()
                news.close()

    def _operation(self, command: str, opts: Mapping[str, object]) -> str | None:
        from ctlctl.detaching import find_operation

        return find_operation(self, command, str(opts.get("cli", "")))


class Printer:
    """Prints what comes of one request.

    Args:
        prog: The program's name.
        arguments: How it is wanted.
        command: What was asked for.
    """

    def __init__(self, prog: str, arguments: Arguments, command: str) -> None:
        self._prog = prog
        self._arguments = arguments
        self._command = command
        self._items = False
        self._rows: Rows | None = None
        self._log: LogLines | None = None
        self._bars: Bars | None = None

    def progress(self, update: Update) -> None:
        """Show a progress message."""
        if self._arguments.quiet:
            return
        if self._bars is None:
            if not is_terminal(2):
                complain("", progress_line(update))
                return
            from ctlctl.progress import Bars

            self._bars = Bars()
        self._bars.update(update)

    def item(self, value: Any) -> None:
        """Print one item of a stream."""
        self._items = True
        arguments = self._arguments
        if self._command == "op_watch" and isinstance(value, dict) and not (arguments.json or arguments.json_seq):
            self._watched(value)
            return
        self._clear()
        if arguments.json or arguments.json_seq:
            write_line(json_line(self._chosen(value)))
        elif self._command == "job_tail" and isinstance(value, dict) and self._logged(value):
            pass
        elif isinstance(value, dict):
            if self._rows is None:
                from ctlctl.look import Rows

                self._rows = Rows(arguments)
            write_line(self._rows.next(value))
        else:
            write_line(plain(value))

    def response(self, value: Any) -> None:
        """Print the final result."""
        self._clear()
        arguments = self._arguments
        if arguments.detach and isinstance(value, dict) and not (arguments.json or arguments.json_seq):
            self._detached(value)
        elif value is None and (self._items or not arguments.json):
            pass  # the end of a stream is null, which is no result
        elif arguments.json_seq and isinstance(value, list):
            for element in self._chosen(value):
                write_line(json_line(element))
        elif arguments.json or arguments.json_seq:
            write_line(json_line(self._chosen(value)))
        elif isinstance(value, dict | list):
            from ctlctl.look import result, tell_nothing

            if self._command == "job_list":
                from ctlctl.jobs import process_rows

                value = process_rows(value)
            if value == []:
                tell_nothing(arguments)
            else:
                write_line(result(value, arguments))
        else:
            write_line(plain(value))

    def say(self, text: str) -> None:
        """Tell a person something, beside the bars and not under them."""
        self._clear()
        complain(self._prog, text)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.close()

    def _clear(self) -> None:
        if self._bars is not None:
            self._bars.clear()

    def _logged(self, value: dict[str, Any]) -> bool:
        """Print a line of a log; False if it is none."""
        if self._log is None:
            from ctlctl.jobs import LogLines

            self._log = LogLines()
        text = self._log.text(value)
        if text is not None:
            write_text(text)
        return text is not None

    def _chosen(self, value: Any) -> Any:
        arguments = self._arguments
        if not (arguments.columns or arguments.sort):
            return value
        from ctlctl.table import choose

        return choose(value, arguments.columns, arguments.sort)

    def _detached(self, value: dict[str, Any]) -> None:
        operation = plain(str(value.get("operation", "")))
        write_line(operation)
        if not self._arguments.quiet:
            complain(self._prog, f"it runs on: {self._prog} op watch {operation}")

    def _watched(self, value: dict[str, Any]) -> None:
        """Show what `op_watch` tells as if the operation were ours."""
        if "progress" in value:
            from ctld.client import Update

            self.progress(Update(value))
        else:
            self.response(value.get("result"))


def command_line(prog: str, words: Sequence[str]) -> str:
    """Return the command line as the daemon's locks and history will name it."""
    quoted = [word if word.isidentifier() else _quote(word) for word in words]
    line = " ".join((prog.rpartition("/")[2], *quoted))
    line = line.encode(errors="replace").decode()
    return line if len(line) <= _MAX_CLI else f"{line[: _MAX_CLI - 3]}..."


def _quote(word: str) -> str:
    from shlex import quote

    return quote(word)
