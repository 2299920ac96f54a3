"""Reception: takes accepted sockets in, keeps their conversations, and sees them out."""

import asyncio
import logging
import socket
from collections.abc import Callable
from contextvars import Context
from dataclasses import replace
from typing import Any, Final

import msgspec

from ctld.admission import Admission
from ctld.budget import InputBudget
from ctld.client_handler import ClientHandler, Site
from ctld.commands.runtime import Runtime
from ctld.connection import Connection
from ctld.conversation import Conversation
from ctld.credentials import Credentials, peer_with_certificate
from ctld.endpoint import Endpoint
from ctld.hangup import HangupWatch
from ctld.outbox import Outbox
from ctld.peer import Peer
from ctld.refusal import Refusals, refuse_at_once
from ctld.wire.messages import Failure

__all__ = ["Client", "Reception"]

logger = logging.getLogger("ctld.server")

# How often peers that take or give nothing are looked for: a quarter of the shortest time
# they have, within these bounds, in seconds.
_SWEEPS_PER_TIMEOUT: Final = 4
_SWEEP_MIN: Final = 0.02
_SWEEP_MAX: Final = 15.0

# Seconds between two log lines about refused clients; `status` counts them all.
_QUIET: Final = 10.0


# A Struct, because one is made for every client: an `__init__` in Python would take four times as long.
class Client(msgspec.Struct, eq=False):
    """One connected client, as the server keeps it.

    Attributes:
        number: Its number, in the order of arrival.
        site: Its socket's share of the server.
        endpoint: Where it came in.
        conversation: What goes on with it.
        since: When it came, by the loop's clock.
        uid: The user that its admission was counted for.
        task: Its long-lived task.
    """

    number: int
    site: Site
    endpoint: Endpoint
    conversation: Conversation
    since: float
    uid: int | None
    task: asyncio.Task[None]

    # That of a Struct shows all that it holds, down to what clients have asked for.
    __repr__ = object.__repr__

    def describe(self, now: float) -> dict[str, Any]:
        """Return what `connection_list` tells of it.

        Args:
            now: The loop's time.
        """
        conversation = self.conversation
        connection, peer = conversation.connection, conversation.handler.peer
        return {
            "id": self.number,
            "peer": str(peer),
            "role": peer.role,
            "uid": peer.uid,
            "pid": peer.pid,
            "transport": peer.transport,
            "listener": str(self.endpoint.address),
            "age": round(now - self.since, 3),
            "requests": conversation.served,
            "running": [operation.id for operation in conversation.running()],
            "queued_bytes": connection.queued,
            "unread_bytes": connection.unread_output,
        }


class Reception:
    """All clients of one server.

    Args:
        runtime: What the daemon's parts share.
        context: The context that conversations begin in.
    """

    def __init__(self, runtime: Runtime, context: Context) -> None:
        self._runtime = runtime
        self._limits = runtime.limits
        self._context = context
        self.loop = self._loop = asyncio.get_running_loop()
        self._admission = Admission(runtime.limits.max_connections)
        self._budget = InputBudget(runtime.limits.max_queued)
        self._watch = HangupWatch(self._loop)
        self._outbox = Outbox(self._loop)
        self._refusals = Refusals(self._loop)
        self._credentials = Credentials()
        self._clients: dict[asyncio.Task[None], Client] = {}
        self._accepted = 0
        self._refused = 0
        self._quiet_until = 0.0
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._on_gone: list[Callable[[], None]] = []
        self._see_out = self._part_from  # one object for all clients

    def accept(
        self, site: Site, handler_type: type[ClientHandler[Any]], endpoint: Endpoint, sock: socket.socket
    ) -> None:
        """Take in a client, or tell it why not.

        Args:
            site: The socket's share of the server.
            handler_type: The author's side.
            endpoint: Where the client came in.
            sock: Its accepted socket.
        """
        peer = self._identify(endpoint, sock)
        try:
            handler = handler_type(site, sock, peer)
            codec = handler.make_codec()
        except Exception:
            sock.close()
            logger.exception("! a handler cannot be made")
            return
        if not self._admission.admit(peer.uid):
            self._refuse(peer, endpoint)
            self._refusals.refuse(sock, self.refusal(handler, endpoint, "too many connections"))
            return
        connection = Connection(sock, endpoint.transport, codec, self._limits, self._budget, self._watch, self._outbox)
        self._accepted += 1
        conversation = Conversation(connection, handler, site.dispatcher, self._limits, self._accepted)
        task = self._loop.create_task(
            conversation.converse(lambda: self._connect(endpoint, conversation)),
            name=f"client {self._accepted}",
            context=self._context.copy(),
        )
        self._clients[task] = Client(self._accepted, site, endpoint, conversation, self._loop.time(), peer.uid, task)
        task.add_done_callback(self._see_out, context=self._context)  # without one, it would keep a copy
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(self._sweep_interval, self._sweep)

    def refuse_for_lack_of_descriptors(
        self, site: Site, handler_type: type[ClientHandler[Any]], endpoint: Endpoint, sock: socket.socket
    ) -> None:
        """Turn a client away for whom there is no descriptor; its socket is closed at once."""
        self._refused += 1
        handler = handler_type(site, sock, self._identify(endpoint, sock))
        refuse_at_once(sock, self.refusal(handler, endpoint, "out of file descriptors"))

    def refusal(self, handler: ClientHandler[Any], endpoint: Endpoint, reason: str) -> bytes:
        """Return the only bytes that a client gets who is not admitted.

        Clients of version 1 take the first message for the banner, whatever it is.  To say
        something over TLS takes a handshake, which is more than a client gets who is refused.
        """
        if endpoint.transport == "tls":
            return b""
        codec = handler.make_codec()
        banner = handler.banner()
        if banner is not None:
            codec.send(banner)
        codec.send(Failure(f"the daemon is busy: {reason}", "busy"))
        return codec.data_to_send()

    def on_client_gone(self, callback: Callable[[], None]) -> None:
        """Call somebody whenever a client has gone, and so given back its descriptor."""
        self._on_gone.append(callback)

    def forget_client_gone(self, callback: Callable[[], None]) -> None:
        """Undo `on_client_gone()`."""
        self._on_gone.remove(callback)

    @property
    def clients(self) -> list[Client]:
        """Who is connected, in the order of arrival."""
        return list(self._clients.values())

    def counters(self) -> dict[str, int]:
        """Return what has been counted, for `status`."""
        return {
            "connections": len(self._clients),
            "max_connections": self._limits.max_connections,
            "accepted": self._accepted,
            "refused": self._refused,
            "queued_bytes": self._budget.used,
        }

    def end_handshakes(self) -> None:
        """Part from whoever is not connected yet: it has asked for nothing, and may never go on."""
        for client in self.clients:
            if not client.conversation.connection.made:
                client.task.cancel()

    def close(self) -> None:
        """Give back what is left, after the last client has gone."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        self._refusals.close_all()
        self._watch.close()

    def _refuse(self, peer: Peer, endpoint: Endpoint) -> None:
        """Count a client that is refused; log the first of a series, since a flood must not fill the log."""
        self._refused += 1
        now = self._loop.time()
        if now >= self._quiet_until:
            self._quiet_until = now + _QUIET
            logger.warning("! %s on %s refused: too many connections", peer, endpoint.address)

    def _identify(self, endpoint: Endpoint, sock: socket.socket) -> Peer:
        return self._credentials.peer_of(sock, endpoint.transport, self._runtime.policy, endpoint.listen.role)

    def _part_from(self, task: asyncio.Task[None]) -> None:
        """Forget a client whose conversation has ended."""
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("! a conversation failed", exc_info=error)
        self._admission.release(self._clients.pop(task).uid)
        if self._on_gone:
            for callback in list(self._on_gone):  # one that has its descriptor now wants no further call
                callback()

    async def _connect(self, endpoint: Endpoint, conversation: Conversation) -> bool:
        """Make a transport of the socket; tell whether that worked."""
        connection, handler = conversation.connection, conversation.handler
        sock = connection.sock
        timeout = None if endpoint.ssl_context is None else self._limits.handshake_timeout
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection, sock, ssl=endpoint.ssl_context, ssl_handshake_timeout=timeout
            )
        except (TimeoutError, OSError) as exc:  # ssl.SSLError is an OSError
            logger.info("! %s on %s: %s", handler.peer, endpoint.address, str(exc) or "the handshake took too long")
            sock.close()
            return False
        except BaseException:
            sock.close()
            raise
        if endpoint.transport == "tls":
            named = peer_with_certificate(handler.peer, connection.transport_info("peercert"))
            handler.peer = replace(named, role=self._runtime.policy.role_of(named, endpoint.listen.role).role)
        return True

    @property
    def _sweep_interval(self) -> float:
        shortest = min(self._limits.write_timeout, self._limits.idle_timeout or self._limits.write_timeout)
        return min(max(shortest / _SWEEPS_PER_TIMEOUT, _SWEEP_MIN), _SWEEP_MAX)

    def _sweep(self) -> None:
        """Drop whoever takes or gives nothing for too long; goes on as long as there are clients."""
        self._sweep_timer = None
        now = self._loop.time()
        for client in self.clients:
            conversation = client.conversation
            why = conversation.connection.tick(now, idle=conversation.idle)
            if why:
                conversation.expire(why)
        if self._clients:
            self._sweep_timer = self._loop.call_later(self._sweep_interval, self._sweep)
