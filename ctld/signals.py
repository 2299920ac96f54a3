"""What signals mean to a serving daemon: stop in order, stop now, or run a command."""

import asyncio
import logging
import signal
from collections.abc import Callable, Mapping
from signal import Signals
from typing import Protocol

__all__ = ["SignalHandlers", "Stoppable"]

logger = logging.getLogger("ctld.server")


class Stoppable(Protocol):
    """What signals stop."""

    def close(self) -> None:
        """Stop in order."""
        ...

    def hurry(self) -> None:
        """Stop without waiting for what runs."""
        ...


class SignalHandlers:
    """The signal handlers of one server, while it serves.

    Args:
        server: What SIGTERM and SIGINT stop: the first in order, the second at once.
    """

    def __init__(self, server: Stoppable) -> None:
        self._server = server
        self._installed: list[Signals] = []
        self._stopping = False

    def install(self, commands: Mapping[Signals, str], run: Callable[[str], None]) -> None:
        """Handle signals from now on.

        Args:
            commands: The commands that signals run; one for SIGTERM or SIGINT wins over stopping.
            run: Runs a command.
        """
        self._add(signal.SIGTERM, self._stop, "SIGTERM")
        self._add(signal.SIGINT, self._stop, "SIGINT")
        for number, command in commands.items():
            self._add(number, run, command)

    def remove(self) -> None:
        """Leave signals to their defaults again."""
        loop = asyncio.get_running_loop()
        for number in self._installed:
            loop.remove_signal_handler(number)
        self._installed.clear()

    def _add(self, number: Signals, callback: Callable[[str], None], argument: str) -> None:
        try:
            asyncio.get_running_loop().add_signal_handler(number, callback, argument)
        except (ValueError, RuntimeError) as exc:  # a loop in another thread than the main one gets no signals
            logger.debug("cannot handle %s: %s", number.name, exc)
            return
        if number not in self._installed:
            self._installed.append(number)

    def _stop(self, name: str) -> None:
        if self._stopping:
            logger.warning("= %s again: not waiting for what runs", name)
            self._server.hurry()
        else:
            self._stopping = True
            logger.info("= %s: stopping", name)
            self._server.close()
