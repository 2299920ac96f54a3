"""The command that belongs to this dialect: the daemon's configuration, one option at a time."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import CommandRegistry
from ctld.dialects.guest_agent.getoption import get_option
from ctld.errors import CommandFailed
from ctld.secret import enc_hook

__all__ = ["OPTION_COMMAND", "NoSuchOption", "OptionValue", "agent_commands", "camel_case"]

OPTION_COMMAND: Final = "agent_config_getoption"
"""The name of the command; on the wire, its underscores are dots."""


class NoSuchOption(CommandFailed):
    """The configuration has no such option; `fields["status"]` is what guest agents call that."""

    code = "agent.option"


class OptionValue(msgspec.Struct, kw_only=True):
    """One option of the configuration.

    Attributes:
        option: Its name.
        value: Its value as text.
    """

    option: str
    value: str


def agent_commands(settings: msgspec.Struct) -> CommandRegistry[Any]:
    """Make the registry of this command.

    Args:
        settings: The configuration: `Daemon.RuntimeDir` is the `runtime_dir` of its `daemon`.  A `Secret` in it is
            told as three stars; what is in an array, such as `[[listen]]`, has no name.
    """
    commands = CommandRegistry[Any]()
    options = camel_case(msgspec.to_builtins(settings, enc_hook=enc_hook))

    @commands.command(OPTION_COMMAND, role="observe")
    async def agent_config_getoption(
        ctx: Context, option: Annotated[str, Option("such as Daemon.RuntimeDir")]
    ) -> OptionValue:
        """Tell one option of the configuration, named as guest agents name theirs."""
        status, message, value = get_option(option, options)
        if status:
            raise NoSuchOption(message, status=status)
        return OptionValue(option=option, value=value)

    return commands


def camel_case(tables: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables with their keys as guest agents spell them."""
    return {
        "".join(word.capitalize() for word in key.split("_")): camel_case(value)
        if isinstance(value, Mapping)
        else value
        for key, value in tables.items()
    }
