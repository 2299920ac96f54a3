"""Typed results: what JSON left open becomes the type that the caller asked for."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from ctld.errors import RemoteProtocolError

__all__ = ["as_type"]

T = TypeVar("T")


def as_type(value: object, wanted: type[T], command: str) -> T:
    """Return a decoded result as the wanted type, by msgspec's rules.

    Raises:
        RemoteProtocolError: It is not of that type: the two sides disagree about the command.
    """
    try:
        return msgspec.convert(value, wanted, str_keys=True)
    except msgspec.ValidationError as error:
        raise RemoteProtocolError(f"the result of {command} is not as expected: {error}") from error
