"""Names that come from outside: of reports, of outputs, of paths that JSON has to carry.  Pure."""

import base64
import re
from typing import Final

from ctld.errors import InvalidOptions

__all__ = ["ARCHIVE_SUFFIX", "as_text", "check_report_name", "output_name"]

ARCHIVE_SUFFIX: Final = ".tar.xz"

# No slash, no dot in front, nothing that a shell or a terminal could take for something else.
_REPORT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")

_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9_.-]+")

# Enough to recognise a command by.
_MAX_OUTPUT_NAME: Final = 60


def check_report_name(name: str) -> str:
    """Return the name of a report.

    Raises:
        InvalidOptions: It is more, or less, than a plain name.
    """
    if not _REPORT_NAME.fullmatch(name) or name.endswith(ARCHIVE_SUFFIX):
        raise InvalidOptions(
            "a report's name has at most 100 letters, digits, dots, dashes and underscores, "
            f"begins with a letter or digit, and does not end in {ARCHIVE_SUFFIX}",
            path="destination",
        )
    return name


def output_name(index: int, wish: str) -> str:
    """Return what to call the output of an item: unlike that of any other, and harmless.

    Args:
        index: The item's position.
        wish: What to make it of: a name, or the command line.
    """
    plain = _NOT_PLAIN.sub("_", wish).strip("._-")[:_MAX_OUTPUT_NAME]
    return f"{index:04d}-{plain}" if plain else f"{index:04d}"


def as_text(data: bytes) -> tuple[str, str]:
    """Return bytes as text, with U+FFFD for what is no UTF-8, and as base64 if there is such."""
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        return data.decode(errors="replace"), base64.b64encode(data).decode("ascii")
