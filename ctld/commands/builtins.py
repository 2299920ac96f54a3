"""The commands that every daemon has unless its author says otherwise."""

from typing import Any

from ctld.commands.diagnostics import diagnostic_commands
from ctld.commands.events import event_commands
from ctld.commands.history import history_commands
from ctld.commands.locks import lock_commands
from ctld.commands.operations import operation_commands
from ctld.commands.policy import policy_commands
from ctld.commands.registry import CommandRegistry
from ctld.commands.service import service_commands
from ctld.commands.sessions import session_commands

__all__ = ["builtin_commands"]


def builtin_commands() -> CommandRegistry[Any]:
    """Make a registry of all built-in commands."""
    commands = CommandRegistry[Any]()
    for part in (
        service_commands,
        diagnostic_commands,
        operation_commands,
        lock_commands,
        event_commands,
        history_commands,
        policy_commands,
        session_commands,
    ):
        commands.include(part())
    return commands
