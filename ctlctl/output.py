"""What goes to the terminal: results as text, and nothing that steers a terminal; pure.

A daemon passes on names and messages that others chose.  Whatever is not printable is
shown as its escape, so that no byte from outside moves a cursor, sets a title or reverses
the direction of writing.  In JSON the same escapes mean the very same text.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds at start-up
if TYPE_CHECKING:
    from typing import Any

    from ctld.client import Update
    from ctld.errors import CtldError

__all__ = ["error_line", "json_line", "neutral", "one_line", "plain", "progress_line"]

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
    unit = f" {one_line(update.unit)}" if update.unit else ""
    total = "" if update.total is None else f"/{update.total:g}"
    return f"{line} [{update.current:g}{total}{unit}]".lstrip()


def error_line(error: CtldError) -> str:
    """Return an error as one line that says what to do about it, where the daemon knows that."""
    line = one_line(str(error)) or error.code
    fields = getattr(error, "fields", {})
    for key, form in (("remedy", "{}: {}"), ("ref", "{} (reference {})")):
        more = fields.get(key)
        if isinstance(more, str) and more and more not in line:
            line = form.format(line, one_line(more))
    return line
