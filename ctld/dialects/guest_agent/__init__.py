"""The guest agent's command monitor: a library for authors of agents, and a dialect of the daemon.

The names here are imported when they are first used: a client needs no asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False  # typing costs milliseconds, and `ctlctl guest` comes through here
if TYPE_CHECKING:
    from typing import Any

    from ctld.dialects.guest_agent.asynchronous import asend_command
    from ctld.dialects.guest_agent.client import send_command
    from ctld.dialects.guest_agent.default import MonitorRunning, close, current_monitor, setup
    from ctld.dialects.guest_agent.monitor import Handler, Monitor
    from ctld.dialects.guest_agent.paths import KnownListener, pipe_name
    from ctld.dialects.guest_agent.settings import MonitorSettings, read_settings
    from ctld.dialects.guest_agent.statuses import Status

__all__ = [
    "Handler",
    "KnownListener",
    "Monitor",
    "MonitorRunning",
    "MonitorSettings",
    "Status",
    "asend_command",
    "close",
    "current_monitor",
    "pipe_name",
    "read_settings",
    "send_command",
    "setup",
]

_MODULES = {
    "asynchronous": ("asend_command",),
    "client": ("send_command",),
    "default": ("MonitorRunning", "close", "current_monitor", "setup"),
    "monitor": ("Handler", "Monitor"),
    "paths": ("KnownListener", "pipe_name"),
    "settings": ("MonitorSettings", "read_settings"),
    "statuses": ("Status",),
}

_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    module = _HOME.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
