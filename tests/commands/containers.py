"""A daemon with resources, for the tests of locks, events and history over real sockets."""

import asyncio
from typing import Any

import ctld


class Container(ctld.Manipulable, ctld.Lockable):
    def __init__(self, name: str) -> None:
        self.name = name

    def lock_resource(self) -> tuple[str, str]:
        return ("container", self.name)


class Host:
    """The app: containers, and gates at which commands wait until the test opens them."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self._gates: dict[str, asyncio.Event] = {}
        self.reached: set[str] = set()
        self.leftovers: list[Any] = []

    def container(self, name: str) -> Container:
        return self._containers.setdefault(name, Container(name))

    async def gate(self, name: str) -> None:
        if name:
            self.reached.add(name)
            await self._gate(name).wait()

    def open(self, *names: str) -> None:
        for name in names:
            self._gate(name).set()

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())


def host_commands() -> ctld.CommandRegistry[Host]:
    commands = ctld.CommandRegistry[Host]()

    @commands.command("ct_stop", role="operate")
    async def ct_stop(ctx: ctld.Context[Host], names: list[str], gate: str = "") -> str:
        """Manipulate containers until the gate opens."""
        async with ctx.manipulate(*map(ctx.app.container, names)):
            await ctx.app.gate(gate)
        return "stopped"

    @commands.command("ct_nested", role="operate")
    async def ct_nested(ctx: ctld.Context[Host], name: str) -> str:
        """Have a part of the work done by another command, which wants the same lock."""
        async with ctx.manipulate(ctx.app.container(name)):
            return await ctx.call(ct_stop, [name])

    @commands.command("ct_steps", role="operate")
    async def ct_steps(
        ctx: ctld.Context[Host], first: str, second: str, gate: str = "", how: str = "manipulate"
    ) -> str:
        """Take two locks one after the other, with a gate between."""

        def take(name: str) -> Any:
            container = ctx.app.container(name)
            if how == "manipulate":
                return ctx.manipulate(container)
            return container.inclusively() if how == "inclusively" else container.exclusively()

        async with take(first):
            await ctx.app.gate(gate)
            async with take(second):
                return "both"

    @commands.command("ct_wait_for", role="operate")
    async def ct_wait_for(ctx: ctld.Context[Host], name: str, gate: str = "", by: str = "wait") -> Any:
        """Launch a command that wants a lock that this one holds, and wait for its end."""
        async with ctx.app.container(name).exclusively():
            other = ctx.launch(ct_touch, name)
            await ctx.app.gate(gate)
            if by == "follow":
                return await ctx.follow(other)
            return await ctx.call("op_wait", id=other.id) if by == "op_wait" else await other.wait()

    @commands.command("ct_touch", role="operate")
    async def ct_touch(ctx: ctld.Context[Host], name: str) -> str:
        """Take a state lock for a moment."""
        async with ctx.app.container(name).exclusively():
            return "touched"

    @commands.command("ct_leave", role="operate")
    async def ct_leave(ctx: ctld.Context[Host], name: str) -> str:
        """Forget to give a lock back."""
        block = ctx.app.container(name).exclusively()
        await block.__aenter__()
        ctx.app.leftovers.append(block)
        return "left"

    return commands
