"""Which operation is ours: asked over a second connection, while the first one waits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ctld.errors import CtldError

if TYPE_CHECKING:
    from ctlctl.caller import Caller

__all__ = ["find_operation"]

_PATIENCE = 2.0  # seconds for each question: somebody has just pressed Ctrl-C a second time


def find_operation(caller: Caller, command: str, cli: str) -> str | None:
    """Return the id of the operation that a request of ours runs as, if it would go on without us.

    Nothing of the daemon is certain here: that it knows operations, that we may list them,
    that ours can be told from others.  Whatever is missing makes it None.
    """
    try:
        with caller.lines() as lines:
            entry = lines.ask("describe", {"cmd": command}, _PATIENCE)
            if not isinstance(entry, dict) or entry.get("on_disconnect") != "continue" or entry.get("session"):
                return None
            running = _mine(lines.ask("connection_list", {}, _PATIENCE))
            operations = lines.ask("op_list", {}, _PATIENCE)
    except CtldError:
        return None
    found = [
        str(operation.get("id"))
        for operation in _dicts(operations)
        if operation.get("state") == "running"
        and operation.get("command") == entry.get("name")
        and operation.get("cli") == cli
        and (running is None or operation.get("id") in running)
    ]
    return found[0] if len(found) == 1 else None


def _mine(connections: object) -> set[object] | None:
    """Return what runs for this process; None where the daemon cannot tell processes apart."""
    rows = [row for row in _dicts(connections) if row.get("transport") == "unix" and row.get("pid") == os.getpid()]
    running = {each for row in rows if isinstance(row.get("running"), list) for each in row["running"]}
    return running or None


def _dicts(value: object) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
