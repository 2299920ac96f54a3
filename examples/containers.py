"""Resources with locks, and a bug in the order of locks that the daemon finds by itself.

    python examples/containers.py /tmp/containers.sock
    ctlctl -s /tmp/containers.sock ct stop web
    ctlctl -s /tmp/containers.sock ct swap web db & ctlctl -s /tmp/containers.sock ct swap db web

One of the last two is told at once that it would wait for ever, for whom, and why.  Waiting
for each other is a mistake in this program, and the report names the lines to mend.
"""

import asyncio
import sys
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec

import ctld

Seconds = Annotated[float, msgspec.Meta(ge=0, le=60)]


class Container(ctld.Manipulable, ctld.Lockable):
    """One container.

    Attributes:
        name: Its name.
        running: Whether it runs.
        address: Where it is reached.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.running = True
        self.address = address

    def lock_resource(self) -> tuple[str, str]:
        """Name it: this is how locks, errors and reports call it."""
        return ("container", self.name)


class Host:
    """The daemon's own object."""

    def __init__(self, names: Iterable[str] = ("web", "db", "mail")) -> None:
        self._containers = {name: Container(name, f"192.0.2.{number}") for number, name in enumerate(names, 1)}

    def __iter__(self) -> Iterator[Container]:
        return iter(self._containers.values())

    def find(self, name: str) -> Container:
        """Return the container of that name."""
        try:
            return self._containers[name]
        except KeyError:
            raise ctld.NotFound(f"there is no container {name!r}", kind="container", name=name) from None


class ContainerInfo(msgspec.Struct):
    """One container, in the answer of `ct_list`."""

    name: str
    running: bool
    address: str


commands = ctld.CommandRegistry[Host]()


@commands.command("ct_list", role="observe")
async def ct_list(ctx: ctld.Context[Host]) -> list[ContainerInfo]:
    """List the containers, each in a consistent state."""
    found = []
    for container in ctx.app:
        async with container.inclusively():
            found.append(ContainerInfo(container.name, container.running, container.address))
    return found


@commands.command("ct_stop", role="operate")
async def ct_stop(ctx: ctld.Context[Host], name: str, takes: Seconds = 0) -> None:
    """Stop a container: one long operation at a time works on it, and readers wait only for the last moment."""
    container = ctx.app.find(name)
    async with ctx.manipulate(container):
        await ctx.progress(f"stopping {name}")
        await asyncio.sleep(takes)
        async with container.exclusively():
            container.running = False
    ctx.events.publish("state", container=name, running=False)


@commands.command("ct_copy", role="operate")
async def ct_copy(ctx: ctld.Context[Host], source: str, target: str, takes: Seconds = 0) -> None:
    """Copy one container over another: named together, both are held or none, in an order that never fails."""
    one, other = ctx.app.find(source), ctx.app.find(target)
    async with ctx.manipulate(one, other):
        await asyncio.sleep(takes)
        async with other.exclusively():
            other.running = one.running


@commands.command("ct_swap", role="operate")
async def ct_swap(ctx: ctld.Context[Host], one: str, other: str, takes: Seconds = 1) -> None:
    """Swap the addresses of two containers.  Here is the bug: the order of the locks is the caller's."""
    first, second = ctx.app.find(one), ctx.app.find(other)
    async with first.exclusively():
        await ctx.progress(f"holding {one}")
        await asyncio.sleep(takes)
        async with second.exclusively():  # somebody who swaps them the other way round holds it, and waits for us
            first.address, second.address = second.address, first.address


async def main(address: str) -> None:
    """Serve until told to stop."""
    await ctld.Server(commands=commands, app=Host(), listen=[address]).serve_forever()


if __name__ == "__main__":
    ctld.run(main(sys.argv[1]))
