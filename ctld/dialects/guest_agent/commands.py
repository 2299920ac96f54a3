"""The command that belongs to this dialect: the daemon's configuration, one option at a time."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.dialects.guest_agent.getoption import option_answer

__all__ = ["agent_commands", "camel_case"]


def agent_commands(settings: msgspec.Struct) -> CommandRegistry[Any]:
    """Make the registry of this command.

    Args:
        settings: The configuration: `Daemon.RuntimeDir` is the `runtime_dir` of its `daemon`.
    """
    commands = CommandRegistry[Any]()
    options = camel_case(msgspec.to_builtins(settings))

    @commands.command("agent_config_getoption", role="observe")
    async def agent_config_getoption(
        ctx: Context, option: Annotated[str, Option("such as Daemon.RuntimeDir")] = ""
    ) -> str:
        """Tell one option of the configuration, in the words of a guest agent."""
        return option_answer(option, options)

    return commands


def camel_case(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with their keys as guest agents spell them."""
    return {
        "".join(word.capitalize() for word in key.split("_")): camel_case(value)
        if isinstance(value, Mapping)
        else value
        for key, value in tables.items()
    }
