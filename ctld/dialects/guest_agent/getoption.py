"""`agent.config.getoption`: one value out of a configuration, as text."""

import re
from collections.abc import Mapping
from typing import Any, Final

from ctld.dialects.guest_agent.requests import field
from ctld.dialects.guest_agent.statuses import json_string

__all__ = ["GET_OPTION", "answer_get_option", "get_option", "option_answer"]

GET_OPTION: Final = "agent.config.getoption"
"""The name of the command."""

_NOT_THERE: Final = (1, "Option does not exist")
_NOT_SAID: Final = (2, "No option specified")
_NOT_A_NAME: Final = (3, "Invalid option, key names must start with uppercase")

_KEY: Final = re.compile("[A-Z][a-zA-Z]+")


def answer_get_option(request: bytes, options: Mapping[str, Any]) -> bytes:
    """Answer a request for an option.

    Args:
        request: The request, complete.
        options: The configuration: tables of tables of values, keys in camel case.

    Raises:
        ValueError: The option's name is no string.
    """
    name = field(request, "option")
    if name is None:
        name = ""
    if not isinstance(name, str):
        raise ValueError("Option is no string")  # noqa: TRY004 - the peer's mistake, whose text it is told
    return option_answer(name, *get_option(name, options))


def option_answer(name: str, status: int, message: str, value: str) -> bytes:
    """Write the answer about an option."""
    return (
        f'{{"Status":{status},"StatusMessage":{json_string(message)},'
        f'"Option":{json_string(name)},"Value":{json_string(value)}}}'
    ).encode()


def get_option(name: str, options: Mapping[str, Any]) -> tuple[int, str, str]:
    """Look an option up; return the status, what it means, and the value."""
    if not name:
        return (*_NOT_SAID, "")
    value: object = options
    for key in name.split("."):
        if not _KEY.fullmatch(key):
            return (*_NOT_A_NAME, "")
        if not isinstance(value, Mapping) or key not in value:
            return (*_NOT_THERE, "")
        value = value[key]
    if isinstance(value, bool):
        return 0, "", "true" if value else "false"
    if isinstance(value, str | int | float):
        return 0, "", str(value)
    return (*_NOT_THERE, "")  # a table, or what no text stands for
