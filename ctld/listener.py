"""Listener: one `Server.listen()`, which may be several sockets."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ctld.acceptor import Acceptor
from ctld.client_handler import ClientHandler, Site
from ctld.endpoint import Endpoint, Listen
from ctld.errors import ConfigError
from ctld.listeners import open_endpoints
from ctld.peer import Role
from ctld.reception import Reception
from ctld.systemd import InheritedSocket

__all__ = ["Listener", "handler_for"]

logger = logging.getLogger("ctld.server")


class Listener:
    """Accepts clients at one address, from construction until `close()`.

    Args:
        where: The address.
        inherited: The sockets that a service manager passed; those used are removed from it.
        reception: Who takes the clients in.
        site: The socket's share of the server.
        handler: The class of its conversations.
        on_closed: Told once it is closed.

    Raises:
        ListenFailed: The address cannot be listened on.
        ConfigError: The address is mistaken.
    """

    def __init__(
        self,
        where: str | Listen,
        inherited: list[InheritedSocket],
        reception: Reception,
        site: Site,
        handler: type[ClientHandler[Any]],
        *,
        on_closed: Callable[["Listener"], None],
    ) -> None:
        self._endpoints = open_endpoints(where, inherited)
        self._reception = reception
        self._site = site
        self._handler = handler
        self._on_closed = on_closed
        self._closed = False
        self._waits = False  # for descriptors: only then it matters that a client goes
        self._acceptors = [self._accept_on(endpoint) for endpoint in self._endpoints]

    @property
    def address(self) -> str:
        """Where clients reach it; of several sockets the first."""
        return str(self._endpoints[0].address)

    @property
    def addresses(self) -> list[str]:
        """Where clients reach it, each socket."""
        return [str(endpoint.address) for endpoint in self._endpoints]

    @property
    def role(self) -> Role:
        """The role of callers whom no rule names."""
        return self._endpoints[0].listen.role

    @property
    def exhausted(self) -> bool:
        """Whether clients have to wait because there are no descriptors."""
        return any(acceptor.exhausted for acceptor in self._acceptors)

    async def close(self) -> None:
        """Take no more clients here, and let those who are here end what they began."""
        self.stop_accepting()
        for client in self._reception.clients:
            if client.site is self._site:
                client.conversation.stop()

    def stop_accepting(self) -> None:
        """Take no more clients here; once or more often."""
        if self._closed:
            return
        self._closed = True
        for acceptor in self._acceptors:
            acceptor.stop()
        for endpoint in self._endpoints:
            endpoint.close()
        self._wait_for_descriptors(False)
        self._on_closed(self)

    def _accept_on(self, endpoint: Endpoint) -> Acceptor:
        loop = self._reception.loop
        accept = partial(self._reception.accept, self._site, self._handler, endpoint)
        refuse = partial(self._reception.refuse_for_lack_of_descriptors, self._site, self._handler, endpoint)
        return Acceptor(loop, endpoint, accept, self._on_exhausted, refuse=refuse)

    def _on_exhausted(self, exhausted: bool) -> None:
        logger.warning("! %s: file descriptors", "out of" if exhausted else "again enough")
        self._wait_for_descriptors(self.exhausted)

    def _wait_for_descriptors(self, waits: bool) -> None:
        if waits == self._waits:
            return
        self._waits = waits
        if waits:
            self._reception.on_client_gone(self._descriptor_freed)
        else:
            self._reception.forget_client_gone(self._descriptor_freed)

    def _descriptor_freed(self) -> None:
        for acceptor in self._acceptors:
            acceptor.descriptor_freed()


def handler_for(
    where: str | Listen, default: type[ClientHandler[Any]], dialects: Mapping[str, type[ClientHandler[Any]]]
) -> type[ClientHandler[Any]]:
    """Return the class of the conversations at an address.

    Args:
        where: The address; one that is only text does not say in which dialect.
        default: The class where it is not said.
        dialects: The classes that there are, by the name of their dialect.

    Raises:
        ConfigError: The server does not speak that dialect.
    """
    if isinstance(where, str):
        return default
    if where.dialect not in dialects:
        known = ", ".join(sorted(dialects))
        raise ConfigError(f"listen {where.address}: dialect: {where.dialect!r} is none of {known}")
    return dialects[where.dialect]
