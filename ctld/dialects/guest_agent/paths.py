"""Where command monitors listen."""

import os
from enum import IntEnum
from typing import Final

__all__ = ["DEFAULT_DIRECTORY", "KnownListener", "pipe_name", "windows_pipe_name"]

DEFAULT_DIRECTORY: Final = "/run/google-guest-agent/cmd-monitors/"

_WINDOWS_BASE: Final = r"\\.\pipe\cmd_monitor"


class KnownListener(IntEnum):
    """The monitors that guest agents have."""

    GUEST_AGENT = 0
    CORE_PLUGIN = 1


_NAMES: Final = {KnownListener.GUEST_AGENT: "guestagent", KnownListener.CORE_PLUGIN: "coreplugin"}


def _name_of(listener: int) -> str:
    return _NAMES[KnownListener(listener)] if listener in _NAMES else str(int(listener))


def pipe_name(listener: int, directory: str | os.PathLike[str] = DEFAULT_DIRECTORY) -> str:
    """Return the path of a monitor's socket; a listener that is not known is named by its number."""
    return os.path.join(os.fspath(directory), _name_of(listener))


def windows_pipe_name(listener: int, base: str = _WINDOWS_BASE) -> str:
    """Return what the same pipe is called on Windows, for tools that write configurations."""
    return f"{base}_{_name_of(listener)}"
