"""A run of `ctlctl`: from the arguments to the exit status.

One word is sent as it is, and on that way nothing is imported that it does not need: not
the schema's side of things (`ctlctl.resolve`), no argparse, no asyncio.
"""

from __future__ import annotations

import signal
import sys

from ctlctl import exits
from ctlctl.arguments import help_text, parse_arguments, usage_text
from ctlctl.output import error_line, json_line, plain, progress_line
from ctld.client.conversation import Conversation
from ctld.errors import CtldError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from ssl import SSLContext
    from types import FrameType, TracebackType
    from typing import Self

    from ctlctl.arguments import Arguments

__all__ = ["run"]

_MAX_CLI = 500  # characters of the command line that locks and the history will show


class _OutputGone(Exception):
    """Nobody reads the standard output any more."""


def run(argv: Sequence[str] | None, prog: str, address: str | None) -> int:
    """Run a command line and return its exit status."""
    try:
        return _run(list(sys.argv[1:] if argv is None else argv), prog, address)
    except CtldError as error:
        _complain(prog, error_line(error))
        return exits.status_of(error)
    except KeyboardInterrupt:
        return exits.CANCELLED
    except _OutputGone:
        return exits.BROKEN_PIPE


def _run(argv: list[str], prog: str, address: str | None) -> int:
    arguments = parse_arguments(argv)
    if arguments.help:
        _print(help_text(prog).rstrip())
        return exits.OK
    if arguments.version:
        from ctld.version import VERSION

        _print(f"{prog} (ctld) {VERSION}")
        return exits.OK
    if not arguments.words:
        _complain("", f"{usage_text(prog)}\nTry '{prog} --help'.")
        return exits.USAGE
    where = arguments.address if arguments.address is not None else address
    conversation = Conversation(where, tls=_tls(arguments))
    try:
        _command(arguments, prog, conversation)
    finally:
        conversation.close()
    return exits.OK


def _command(arguments: Arguments, prog: str, conversation: Conversation) -> None:
    if arguments.bare:
        command, streams = arguments.words[0], True
        opts: dict[str, object] = {}
        shown = arguments.words
    else:
        from ctlctl.resolve import describe, resolve

        invocation = resolve(arguments.words, lambda: describe(conversation, arguments.timeout))
        command, streams, opts, shown = invocation.command, invocation.streams, invocation.opts, invocation.shown
    opts.setdefault("cli", _command_line(prog, shown))
    with _Interrupts(conversation, prog):
        _execute(conversation, command, opts, streams, arguments)


def _execute(
    conversation: Conversation, command: str, opts: Mapping[str, object], streams: bool, arguments: Arguments
) -> None:
    show = json_line if arguments.json else plain
    items = False
    for kind, value in conversation.run(command, opts, stream=streams, deadline=arguments.timeout):
        if kind == "progress":
            _complain("", progress_line(value))
        elif kind == "item":
            items = True
            _print(show(value))
        elif not (value is None and (items or not arguments.json)):
            # The end of a stream is null, which is no result.
            _print(show(value))


class _Interrupts:
    """What Ctrl-C does while a command runs: first it cancels, then it leaves."""

    def __init__(self, conversation: Conversation, prog: str) -> None:
        self._conversation = conversation
        self._prog = prog
        self._count = 0

    def __enter__(self) -> Self:
        # A shell starts background jobs with SIGINT ignored, and an embedding program may
        # have a handler of its own: both stay.
        self._installed = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            try:
                signal.signal(signal.SIGINT, self._interrupted)
                self._installed = True
            except ValueError:
                pass  # this is not the main thread, which alone hears of signals
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if not self._conversation.running:
            raise KeyboardInterrupt  # nothing is asked yet, or all is answered
        if self._count > 1:
            _complain(self._prog, "left; the command may still be running")
            raise KeyboardInterrupt
        if self._conversation.cancel():
            _complain(self._prog, "cancelling; press Ctrl-C again to leave at once")
        else:
            _complain(self._prog, "this daemon cannot cancel a command; press Ctrl-C again to leave it running")


def _tls(arguments: Arguments) -> SSLContext | None:
    if not (arguments.tls_ca or arguments.tls_certificate or arguments.tls_key):
        return None  # the environment may say something; that is looked at when it is needed
    from ctld.client import tls_context

    return tls_context(arguments.tls_ca, arguments.tls_certificate, arguments.tls_key)


def _command_line(prog: str, words: Sequence[str]) -> str:
    """Return the command line as the daemon's locks and history will name it."""
    quoted = [word if word.isidentifier() else _quote(word) for word in words]
    line = " ".join((prog.rpartition("/")[2], *quoted))
    line = line.encode(errors="replace").decode()
    return line if len(line) <= _MAX_CLI else f"{line[: _MAX_CLI - 3]}..."


def _quote(word: str) -> str:
    from shlex import quote

    return quote(word)


def _print(text: str) -> None:
    """Write a line to the standard output; a reader that went away ends the run, quietly."""
    out = sys.stdout
    if not text or out is None:
        return
    try:
        if not text.isascii():
            text = text.encode(out.encoding or "utf-8", "backslashreplace").decode(out.encoding or "utf-8")
        out.write(f"{text}\n")
        out.flush()
    except OSError as error:
        import os

        # What is left in the buffer goes nowhere, instead of into an error at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise _OutputGone from None
        raise CtldError(f"cannot write the result: {error.strerror}") from error


def _complain(prog: str, text: str) -> None:
    """Write a line to the standard error; also from within a signal handler."""
    import os

    if sys.stderr is None:
        return  # it was closed, and its number may be that of the connection by now
    line = f"{prog}: {text}\n" if prog else f"{text}\n"
    try:
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:
        return  # there is nobody to tell
