"""The status codes of FSS: names on the wire; numbers are understood too."""

from functools import cache
from importlib.resources import files
from typing import Final

__all__ = [
    "ACCESS_DENIED",
    "BUSY",
    "DONE",
    "EMPTY",
    "FAILURE",
    "HEADER_NOT",
    "KNOWN_NOT",
    "MEMORY_NOT",
    "PACKET_NOT",
    "PAYLOAD_NOT",
    "SUCCESS",
    "SUPPORTED_NOT",
    "TIME_OUT",
    "TOO_LARGE",
    "TOO_SMALL",
    "VALID_NOT",
    "status_name",
    "status_number",
]

ACCESS_DENIED: Final = "F_access_denied"
BUSY: Final = "F_busy"
DONE: Final = "F_done"
EMPTY: Final = "F_empty"
FAILURE: Final = "F_failure"
HEADER_NOT: Final = "F_header_not"
KNOWN_NOT: Final = "F_known_not"
MEMORY_NOT: Final = "F_memory_not"
PACKET_NOT: Final = "F_packet_not"
PAYLOAD_NOT: Final = "F_payload_not"
SUCCESS: Final = "F_success"
SUPPORTED_NOT: Final = "F_supported_not"
TIME_OUT: Final = "F_time_out"
TOO_LARGE: Final = "F_too_large"
TOO_SMALL: Final = "F_too_small"
VALID_NOT: Final = "F_valid_not"

# Numbers have at most four digits; longer ones are not even looked up.
_MAX_DIGITS: Final = 5


@cache
def _names() -> dict[int, str]:
    """Read the table; only those need it who meet a number."""
    table = files(__package__).joinpath("status_codes.tsv").read_text("ascii")
    return {int(number): name for number, name in (line.split("\t") for line in table.splitlines())}


def status_name(word: str) -> str | None:
    """Return the name that a word on the wire stands for: itself, or what its number means; None if nothing."""
    if word.isascii() and word.isdigit():
        return _names().get(int(word)) if len(word) <= _MAX_DIGITS else None
    return word if word.startswith("F_") and word.isascii() and word.replace("_", "").isalnum() else None


def status_number(name: str) -> int | None:
    """Return the number of a status, for people who know it by that; None if the table has none."""
    return next((number for number, known in _names().items() if known == name), None)
