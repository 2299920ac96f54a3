"""The built-in command about permissions: which commands a role may run, and who has it."""

from typing import Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry
from ctld.peer import Role
from ctld.policy import ROLES

__all__ = ["RoleInfo", "policy_commands"]


class RoleInfo(msgspec.Struct):
    """One role, in the answer of `policy_list`; each has what those before it have, and more.

    Attributes:
        role: Its name.
        commands: The commands of this socket that need it.
        callers: Who has it by a rule, written as under `[roles]`.
        listeners: Addresses that give it to callers whom no rule names.
    """

    role: Role
    commands: list[str]
    callers: list[str]
    listeners: list[str]


def policy_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("policy_list", role="observe")
    async def policy_list(ctx: Context) -> list[RoleInfo]:
        """List the roles, lowest first: the commands that need each, and who has it."""
        needed = {command.name: command.role for command in ctx.dispatcher.commands.values()}
        listeners = ctx.server.listeners()
        return [
            RoleInfo(
                role,
                sorted(name for name, needs in needed.items() if needs == role),
                ctx.runtime.policy.callers(role),
                [address for address, fallback in listeners if fallback == role],
            )
            for role in ROLES
        ]

    return commands
