"""Receiver: what a connection expects of whoever gets its events."""

from typing import Protocol

from ctld.errors import RemoteProtocolError
from ctld.wire.messages import Incoming, Request

__all__ = ["Receiver"]


class Receiver(Protocol):
    """Who gets the events of a connection."""

    def on_event(self, event: Incoming) -> None:
        """Take an event; must not block."""
        ...

    def on_requests(self, requests: list[Request]) -> int:
        """Take requests that arrived together, without id or deadline; must not block.

        Returns:
            How many it takes: what follows a request that may take the connection may be none.
        """
        ...

    def on_end_of_input(self) -> None:
        """The peer sends no more; it may still read."""
        ...

    def on_protocol_error(self, error: RemoteProtocolError) -> None:
        """The peer broke the rules so that nothing more can be understood."""
        ...

    def on_vanished(self) -> None:
        """The peer is gone: nobody reads any more what is sent; told once."""
        ...

    def on_drained(self) -> None:
        """The peer has read what was piled up for it."""
        ...
