"""Built-in commands that look inside of a daemon; they wait for nothing and take no locks."""

import asyncio
import os
from typing import Any

import msgspec

from ctld.commands.context import Context
from ctld.commands.registry import CommandRegistry

__all__ = ["TaskInfo", "diagnostic_commands"]


class TaskInfo(msgspec.Struct):
    """One task of the event loop, in the answer of `task_list`."""

    name: str
    where: str
    cancelling: bool


def diagnostic_commands() -> CommandRegistry[Any]:
    """Make the registry of these commands."""
    commands = CommandRegistry[Any]()

    @commands.command("connection_list", role="observe")
    async def connection_list(ctx: Context) -> list[dict[str, Any]]:
        """List who is connected: who, since when, what runs for them, what is queued."""
        return ctx.server.connections()

    @commands.command("task_list", role="observe")
    async def task_list(ctx: Context) -> list[TaskInfo]:
        """List the tasks of the event loop, and the line at which each one waits."""
        return sorted((_task_info(task) for task in asyncio.all_tasks()), key=lambda info: info.name)

    return commands


def _task_info(task: asyncio.Task[Any]) -> TaskInfo:
    stack = task.get_stack(limit=1)
    where = ""
    if stack:
        frame = stack[0]
        # The file's name and not its path: where a daemon is installed is nobody's business.
        where = f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno} {frame.f_code.co_name}"
    return TaskInfo(task.get_name(), where, bool(task.cancelling()))
