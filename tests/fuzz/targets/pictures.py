"""What ctlctl draws of a daemon's answers: help, completion, locks, roles, events, logs, rows."""

import time
from typing import Any

from ctlctl.arguments import Arguments
from ctlctl.candidates import candidates
from ctlctl.completion import formatted
from ctlctl.exits import UsageError
from ctlctl.help import command_help, overview
from ctlctl.jobs import LogLines, process_rows
from ctlctl.lock_graph import picture as lock_picture
from ctlctl.look import Rows, result
from ctlctl.monitor import event_line
from ctlctl.policy import picture as policy_picture
from ctlctl.raw import frame_line
from ctld.client.wire import decode_line
from ctld.errors import RemoteProtocolError
from tests.fuzz.targets.target import Target
from tests.fuzz.targets.terminal import PAINT, harmless

__all__ = ["TARGETS"]


def _value(data: bytes) -> Any:
    try:
        return decode_line(b'{"x":%b}' % data)["x"]
    except (RemoteProtocolError, KeyError):
        return None


def fuzz_pictures(data: bytes) -> None:
    """Whatever an answer holds, its picture is text that steers no terminal."""
    value = _value(data)
    harmless(lock_picture(value), "\n")
    for colour in (False, True):
        harmless(PAINT.sub("", policy_picture(value, width=60, colour=colour)), "\n")
    for direction in "<>":
        harmless(frame_line(time.time(), direction, data))
    harmless(result(process_rows(value), Arguments()), "\n\t")
    log, rows = LogLines(), Rows(Arguments())
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            harmless(PAINT.sub("", event_line(item, colour=True)))
            harmless(log.text(item) or "", "\n\t")
            if item:
                harmless(rows.next(item), "\n")


class _Caller:
    """Asks a daemon that says the same to everything."""

    def __init__(self, described: list[dict[str, Any]], answer: Any) -> None:
        self._described = described
        self._answer = answer

    def commands(self) -> list[dict[str, Any]]:
        return self._described

    def ask(self, command: str) -> Any:
        assert isinstance(command, str)
        return self._answer


def fuzz_help(data: bytes) -> None:
    """Whatever a daemon says of its commands, help and completion are printable, or a usage error."""
    described, _, rest = data.partition(b"\n")
    value = _value(described)
    entries = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    entries += [value] if isinstance(value, dict) else []
    for colour in (False, True):
        harmless(PAINT.sub("", overview("p", entries, width=60, colour=colour)), "\n\t")
        for entry in entries:
            harmless(PAINT.sub("", command_help("p", entry, colour=colour)), "\n\t")
    words = rest.decode("utf-8", "replace").split(" ")
    try:
        found = candidates(_Caller(entries, value), words[:-1], words[-1])
    except UsageError:
        return
    assert len(found) <= 500
    for shell in ("bash", "zsh", "fish"):
        for line in formatted(shell, found, words[-1], words[-1]):
            harmless(line, "\t")


TARGETS = (
    Target("pictures", fuzz_pictures),
    Target("help", fuzz_help),
)
