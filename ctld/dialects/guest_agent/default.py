"""One monitor for the whole process, as the original's package has it."""

import os
from collections.abc import Mapping
from typing import Any, Final

from ctld.dialects.guest_agent.getoption import GET_OPTION, answer_get_option
from ctld.dialects.guest_agent.monitor import Monitor
from ctld.dialects.guest_agent.paths import DEFAULT_DIRECTORY, KnownListener, pipe_name
from ctld.dialects.guest_agent.settings import MonitorSettings
from ctld.errors import CtldError

__all__ = ["MonitorRunning", "close", "current_monitor", "setup"]


class MonitorRunning(CtldError):
    """The monitor of this process has been set up already."""

    code = "monitor-running"


_MONITOR: Final = Monitor(pipe_name(KnownListener.GUEST_AGENT, DEFAULT_DIRECTORY))


def current_monitor() -> Monitor:
    """Return the monitor of this process, to register handlers with; also before `setup()`."""
    return _MONITOR


async def setup(
    listener: int, settings: MonitorSettings | None = None, *, options: Mapping[str, Any] | None = None
) -> None:
    """Let the monitor of this process listen; where the settings do not enable it, do nothing.

    A setup that fails leaves nothing behind.

    Args:
        listener: A `KnownListener`.
        settings: How; None: the defaults, enabled.
        options: The configuration that `agent.config.getoption` answers from.

    Raises:
        MonitorRunning: It has been set up.
        ListenFailed: The socket cannot be made.
    """
    settings = settings or MonitorSettings()
    if not settings.enabled:
        return
    if _MONITOR.started:
        raise MonitorRunning("command monitor is already running")
    known = {} if options is None else options

    async def answer(request: bytes) -> bytes:
        return answer_get_option(request, known)

    _MONITOR.path = pipe_name(listener, os.fspath(settings.directory))
    _MONITOR.timeout, _MONITOR.mode, _MONITOR.group = settings.timeout, settings.mode, settings.group
    _MONITOR.register(GET_OPTION, answer)
    try:
        await _MONITOR.start()
    except BaseException:
        _MONITOR.unregister(GET_OPTION)
        raise


def close() -> None:
    """Undo `setup()`; handlers that run end, and still answer."""
    if _MONITOR.handles(GET_OPTION):
        _MONITOR.unregister(GET_OPTION)
    _MONITOR.close()
