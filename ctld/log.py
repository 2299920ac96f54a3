"""The reference daemon's log: one line per record, for people, the journal or programs.

What a message quotes may come from anybody, so control characters are escaped: nobody
forges a line of the log or speaks to the terminal of whoever reads it.  A traceback has
lines of its own, indented, so that they cannot be taken for records.
"""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, Literal, TextIO, TypeAlias

__all__ = ["LogFormat", "LogLevel", "escape", "is_journal", "set_up_logging"]

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]
LogFormat: TypeAlias = Literal["text", "json"]

_INDENT: Final = "    "

# What syslog calls them; the journal reads `<N>` at the beginning of a line.
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG_PRIORITY: Final = 7


def set_up_logging(stream: TextIO, level: LogLevel, form: LogFormat, *, journal: bool = False) -> None:
    """Send every record of this process to a stream; what was set up before is replaced.

    Args:
        stream: Where to, usually stderr.
        level: The least severe records that are written.
        form: Lines for people, or one JSON object per line.
        journal: Whether the stream ends in the journal, which has its own clock and reads priorities.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter() if form == "json" else _JournalFormatter() if journal else _TextFormatter())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)


def is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether a stream is the one that systemd connected with the journal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):  # no descriptor behind it, or closed
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def escape(text: str) -> str:
    r"""Write what cannot be printed as `\n`, `\x1b` or `\u202e`."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        first = f"{self._prefix(record)}{record.name}: {escape(record.getMessage())}"
        return "\n".join([first, *(f"{self._continuation(record)}{line}" for line in self._details(record))])

    def _prefix(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created, UTC).astimezone()
        return f"{when:%Y-%m-%d %H:%M:%S} {record.levelname} "

    def _continuation(self, record: logging.LogRecord) -> str:
        return _INDENT

    def _details(self, record: logging.LogRecord) -> list[str]:
        text = self.formatException(record.exc_info) if record.exc_info else ""
        return [escape(line) for line in f"{text}\n{record.stack_info or ''}".split("\n") if line]


class _JournalFormatter(_TextFormatter):
    def _prefix(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), _DEBUG_PRIORITY)
        return f"<{priority}>"

    def _continuation(self, record: logging.LogRecord) -> str:
        return f"{self._prefix(record)}{_INDENT}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line)
