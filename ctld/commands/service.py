"""Built-in commands about the daemon itself: what it is, what it can do, who may, and its end."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

import msgspec

from ctld.commands.context import Context
from ctld.commands.options import Option
from ctld.commands.registry import Command, CommandRegistry
from ctld.errors import Denied
from ctld.peer import Role
from ctld.version import VERSION
from ctld.wire.native import PROTOCOL

__all__ = ["Description", "Permission", "VersionInfo", "service_commands"]

# Among the options of another command there may be secrets.
_Unknown: TypeAlias = Annotated[Any, msgspec.Meta(extra_json_schema={"format": "password", "writeOnly": True})]


class VersionInfo(msgspec.Struct):
    """The answer of `version`."""

    version: str | None
    ctld: str
    protocol: int


class Description(msgspec.Struct):
    """The answer of `describe`: one command."""

    name: str
    doc: str
    role: Role
    allowed: bool
    options: Mapping[str, Any]
    result: Mapping[str, Any]
    streams: bool
    session: bool
    endless: bool
    on_disconnect: Literal["continue", "cancel"]
    aliases: tuple[str, ...]
    since: str
    deprecated: str


class Permission(msgspec.Struct):
    """The answer of `can_i`."""

    allowed: bool
    role: Role
    remedy: str


def service_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("ping", role="anyone")
    async def ping(ctx: Context) -> str:
        """Answer "pong": the daemon is there and its loop turns."""
        return "pong"

    @commands.command("version", role="anyone")
    async def version(ctx: Context) -> VersionInfo:
        """Tell the versions of the daemon, of ctld and of the protocol."""
        return VersionInfo(ctx.server_version, VERSION, PROTOCOL)

    @commands.command("status", role="observe")
    async def status(ctx: Context) -> dict[str, Any]:
        """Tell how the daemon is: since when it runs, where it listens, how much it does."""
        return {"version": ctx.server_version, **ctx.server.status()}

    @commands.command("describe", role="anyone")
    async def describe(
        ctx: Context, cmd: Annotated[str | None, Option("only this command", complete="describe.name")] = None
    ) -> Description | list[Description]:
        """Describe what can be asked for: documentation, options and result as JSON Schema, roles."""
        if cmd is not None:
            return await _description(ctx, ctx.dispatcher.find(cmd))
        unique = {command.name: command for command in ctx.dispatcher.commands.values()}
        return [await _description(ctx, unique[name]) for name in sorted(unique)]

    @commands.command("can_i", role="anyone")
    async def can_i(
        ctx: Context,
        cmd: Annotated[str, Option("the command", complete="describe.name")],
        opts: Annotated[dict[str, _Unknown] | None, Option("the options it would be given")] = None,
    ) -> Permission:
        """Tell whether you may run a command, without running it; and if not, what would help."""
        command = ctx.dispatcher.find(cmd)
        decision = ctx.runtime.policy.decide(ctx.peer, command.role)
        if not decision.allowed:
            return Permission(False, command.role, decision.remedy)
        try:
            if ctx.authorize is not None:
                await ctx.authorize(command, opts or {})
        except Denied as exc:
            return Permission(False, command.role, str(exc.fields.get("remedy") or exc.message))
        return Permission(True, command.role, "")

    @commands.command("shutdown", role="admin")
    async def shutdown(ctx: Context) -> str:
        """Stop the daemon in order: what runs gets a while to end."""
        ctx.server.close()
        return "shutting down"

    return commands


async def _description(ctx: Context, command: Command) -> Description:
    return Description(
        name=command.name,
        doc=command.doc,
        role=command.role,
        allowed=await _is_allowed(ctx, command),
        options=command.options_schema,
        result=command.result_schema,
        streams=command.streams,
        session=command.session,
        endless=command.endless,
        on_disconnect=command.on_disconnect,
        aliases=command.aliases,
        since=command.since,
        deprecated=command.deprecated,
    )


async def _is_allowed(ctx: Context, command: Command) -> bool:
    if not ctx.runtime.policy.decide(ctx.peer, command.role).allowed:
        return False
    try:
        if ctx.authorize is not None:
            await ctx.authorize(command, {})
    except Denied:
        return False
    return True
