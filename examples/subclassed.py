"""A daemon with a handler of its own: who may connect, who may do what, and a second socket.

python examples/subclassed.py /tmp/vmd
ctlctl -s /tmp/vmd/admin.sock vm start web1
ctlctl -s /tmp/vmd/public.sock vm list
"""

import logging
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ctld

logger = logging.getLogger("vmd")


@dataclass
class Vm:
    """One virtual machine."""

    name: str
    running: bool = False
    protected: bool = False


@dataclass
class Vmd:
    """The daemon's own object: commands find it as `ctx.app`."""

    vms: dict[str, Vm] = field(default_factory=lambda: {"web1": Vm("web1"), "db1": Vm("db1", True, protected=True)})

    def find(self, name: str) -> Vm:
        """Return the machine of that name."""
        try:
            return self.vms[name]
        except KeyError:
            raise ctld.NotFound(f"there is no VM {name!r}", kind="vm", name=name) from None


viewing = ctld.CommandRegistry[Vmd]()
acting = ctld.CommandRegistry[Vmd]()
acting.include(viewing)


@viewing.command("vm_list", role="observe")
async def vm_list(ctx: ctld.Context[Vmd]) -> list[Vm]:
    """List the virtual machines."""
    return list(ctx.app.vms.values())


@acting.command("vm_start", role="operate")
async def vm_start(ctx: ctld.Context[Vmd], name: str) -> Vm:
    """Start a virtual machine."""
    vm = ctx.app.find(name)
    vm.running = True
    return vm


@acting.command("vm_stop", role="operate")
async def vm_stop(ctx: ctld.Context[Vmd], name: str) -> Vm:
    """Stop a virtual machine."""
    vm = ctx.app.find(name)
    vm.running = False
    return vm


class LocalUsers(ctld.ClientHandler[Vmd]):
    """Talks to local users, guards protected machines, and logs how long each request takes."""

    def server_version(self) -> str:
        """Tell the daemon's version, not that of ctld."""
        return "2.3"

    async def on_connect(self) -> None:
        """Refuse whom the kernel cannot vouch for."""
        if self.peer.uid is None:
            raise ctld.Denied("vmd only talks to local users", role="operate", remedy="log in to this machine")

    async def authorize(self, command: ctld.Command, opts: Mapping[str, Any], /) -> None:
        """Say no to more than roles can express; `can_i` asks here, too."""
        await super().authorize(command, opts)
        vm = self.app.vms.get(str(opts.get("name")))
        if command.name == "vm_stop" and vm is not None and vm.protected:
            raise ctld.Denied(f"{vm.name} is protected", role="admin", remedy="take the protection away first")

    async def handle_cmd(self, request: ctld.Request, /) -> ctld.Reply | ctld.Failure:
        """Surround every request."""
        started = time.monotonic()
        answer = await super().handle_cmd(request)
        logger.info("%s: %s took %.1f ms", self.peer, request.cmd, (time.monotonic() - started) * 1000)
        return answer


class Visitors(ctld.ClientHandler[Vmd]):
    """The second socket's handler: anybody may look."""

    def server_version(self) -> str:
        """Tell the same version, and where the client is."""
        return f"2.3 ({self.opts})"


async def main(folder: Path) -> None:
    """Open both sockets and serve until told to stop."""
    server = ctld.Server(LocalUsers, app=Vmd(), commands=acting, listen=[f"unix:{folder}/admin.sock"])
    async with server:
        visitors = ctld.Listen(address=f"unix:{folder}/public.sock", mode="0666", role="observe")
        await server.listen(visitors, handler=Visitors, commands=viewing, opts="read only")
        await server.serve_forever()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    place = Path(sys.argv[1])
    place.mkdir(exist_ok=True)
    ctld.run(main(place))
