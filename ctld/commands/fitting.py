"""Answers that are lists of what others wrote: as much of them as one message should carry.

An entry of the history may have 64 KiB that a caller chose, and ten thousand may be asked for;
encoding them all would keep the loop from everybody else, for a line that no client takes.
"""

from collections.abc import Iterable
from typing import TypeVar

from ctld.wire.jsontext import encode

__all__ = ["MAX_ANSWER", "fitting"]

T = TypeVar("T")

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of JSON, about: some ten milliseconds of encoding."""


def fitting(items: Iterable[T], limit: int = MAX_ANSWER) -> list[T]:
    """Return as many from the beginning as fit; one at least.

    Args:
        items: What is asked for; nothing is taken of it after what does not fit.
        limit: The bytes that they may have as JSON.
    """
    found: list[T] = []
    size = 0
    for item in items:
        size += len(encode(item)) + 1
        if found and size > limit:
            break
        found.append(item)
    return found
