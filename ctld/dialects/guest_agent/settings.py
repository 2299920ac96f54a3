"""The settings of a monitor, as the original's configuration file has them (`[Unstable]`)."""

import configparser
import re
from dataclasses import dataclass
from typing import Final

from ctld.dialects.guest_agent.paths import DEFAULT_DIRECTORY

__all__ = ["MonitorSettings", "read_settings", "seconds_of"]

_DEFAULT_MODE: Final = 0o770
_DEFAULT_TIMEOUT: Final = 10.0

_DURATION: Final = re.compile(r"[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0", re.ASCII)
_PART: Final = re.compile(r"(?P<number>\d+\.?\d*|\.\d+)(?P<unit>ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_UNITS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """How a monitor listens.

    Attributes:
        enabled: Whether it does at all.
        mode: The permission bits of the socket.
        directory: The folder of the socket.
        group: Its group; empty: whoever's it is.
        timeout: Seconds for each connection.
    """

    enabled: bool = True
    mode: int = _DEFAULT_MODE
    directory: str = DEFAULT_DIRECTORY
    group: str = ""
    timeout: float = _DEFAULT_TIMEOUT


def read_settings(text: str) -> MonitorSettings:
    """Read the settings out of the text of an `instance_configs.cfg`; there a monitor is off by default.

    Values that are not understood are as good as none, as they are for the original.
    """
    parser = configparser.ConfigParser(interpolation=None, strict=False, allow_no_value=True)
    try:
        parser.read_string(text)
    except (configparser.Error, AttributeError):  # the latter for a line that goes on with a key without a value
        return MonitorSettings(enabled=False)
    values = dict(parser["Unstable"]) if parser.has_section("Unstable") else {}

    def value(name: str) -> str:
        return (values.get(name) or "").strip()

    return MonitorSettings(
        enabled=value("command_monitor_enabled").lower() in ("1", "t", "true"),
        mode=_mode_of(value("command_pipe_mode")),
        directory=value("command_pipe_path") or DEFAULT_DIRECTORY,
        group=value("command_pipe_group"),
        timeout=seconds_of(value("command_request_timeout")),
    )


def seconds_of(duration: str) -> float:
    """Return the seconds of a duration as Go writes it (`1m30s`); what is none is the default."""
    if not _DURATION.fullmatch(duration):
        return _DEFAULT_TIMEOUT
    seconds = sum(float(part["number"]) * _UNITS[part["unit"]] for part in _PART.finditer(duration))
    return -seconds if duration.startswith("-") else seconds


def _mode_of(text: str) -> int:
    """Return the mode that octal digits say; what is none is the default."""
    return int(text, 8) & 0o777 if re.fullmatch("[0-7]{1,6}", text) else _DEFAULT_MODE
