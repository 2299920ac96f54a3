"""What goes out: values as text, nothing of which steers a terminal, and the two ways out.

A daemon passes on names and messages that others chose.  Whatever is not printable is
shown as its escape, so that no byte from outside moves a cursor, sets a title or reverses
the direction of writing.  In JSON the same escapes mean the very same text.
"""

from __future__ import annotations

import sys

from ctld.errors import CtldError

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from typing import Any

    from ctld.client import Update

__all__ = [
    "OutputGone",
    "complain",
    "error_line",
    "is_terminal",
    "json_line",
    "neutral",
    "one_line",
    "plain",
    "progress_line",
    "write_line",
    "write_text",
]

_KEPT = frozenset("\n\t")


def neutral(text: str, kept: frozenset[str] = _KEPT) -> str:
    """Return a text with everything escaped that is neither printable nor to be kept."""
    if text.isprintable():
        return text
    return "".join(letter if letter in kept or letter.isprintable() else _escape(letter) for letter in text)


def _escape(letter: str) -> str:
    code = ord(letter)
    if code > 0xFFFF:  # as JSON has it: a pair of surrogates
        code -= 0x10000
        return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"
    return f"\\u{code:04x}"


def one_line(value: Any) -> str:
    """Return a message as one line, whatever it is."""
    if isinstance(value, str):
        return neutral(" ".join(value.splitlines()), frozenset())
    return json_line(value)


def json_line(value: Any) -> str:
    """Return a value as JSON on one line."""
    import json

    return neutral(json.dumps(value, ensure_ascii=False, separators=(",", ":")), frozenset())


def plain(value: Any) -> str:
    """Return a result for people: a string as it is, nothing for null, else indented JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return neutral(value)
    import json

    return neutral(json.dumps(value, ensure_ascii=False, indent=2))


def progress_line(update: Update) -> str:
    """Return a progress message as one line: the message, and how far it is."""
    line = one_line(update.message) if update.message not in (None, "") else ""
    if update.current is None:
        return line
    if update.unit == "bytes":
        from ctlctl.human import size

        numbers = [size(each) for each in (update.current, update.total) if each is not None]
        return f"{line} [{'/'.join(numbers)}]".lstrip()
    unit = f" {one_line(update.unit)}" if update.unit else ""
    total = "" if update.total is None else f"/{update.total:.12g}"
    return f"{line} [{update.current:.12g}{total}{unit}]".lstrip()


def error_line(error: CtldError) -> str:
    """Return an error as one line that says what to do about it, where the daemon knows that."""
    line = one_line(str(error)) or one_line(error.code)
    fields = getattr(error, "fields", {})
    for key, form in (("remedy", "{}: {}"), ("ref", "{} (reference {})")):
        more = fields.get(key)
        if isinstance(more, str) and more and more not in line:
            line = form.format(line, one_line(more))
    return line


class OutputGone(Exception):
    """Nobody reads the standard output any more."""


def write_line(text: str) -> None:
    """Write a line to the standard output, and nothing for an empty text.

    Raises:
        OutputGone: Its reader went away; the run ends, quietly.
        CtldError: It cannot be written.
    """
    if text:
        write_text(f"{text}\n")


def write_text(text: str) -> None:
    """Write a text as it is to the standard output.

    Raises:
        OutputGone: Its reader went away; the run ends, quietly.
        CtldError: It cannot be written.
    """
    out = sys.stdout
    if out is None:
        return
    try:
        if not text.isascii():
            text = text.encode(out.encoding or "utf-8", "backslashreplace").decode(out.encoding or "utf-8")
        out.write(text)
        out.flush()
    except OSError as error:
        import os

        # What is left in the buffer goes nowhere, instead of into an error at exit.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, out.fileno())
        os.close(nowhere)
        if isinstance(error, BrokenPipeError):
            raise OutputGone from None
        raise CtldError(f"cannot write the result: {error.strerror}") from error


def complain(prog: str, text: str) -> None:
    """Write a line to the standard error; also from within a signal handler.

    Whatever is in the text, it stays one line of printable letters; without a name in front, it may have several.
    """
    import os

    if sys.stderr is None:
        return  # it was closed, and its number may be that of the connection by now
    line = f"{prog}: {one_line(text)}\n" if prog else f"{neutral(text)}\n"
    try:
        os.write(2, line.encode(errors="backslashreplace"))
    except OSError:
        return  # there is nobody to tell


def is_terminal(number: int) -> bool:
    """Tell whether a standard stream is a terminal that understands more than lines."""
    import os

    stream = (sys.stdin, sys.stdout, sys.stderr)[number]
    # A closed stream's number may be that of something else by now.
    return stream is not None and os.isatty(number) and os.environ.get("TERM", "dumb") not in ("", "dumb")
