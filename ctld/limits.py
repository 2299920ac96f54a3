"""Every bound on what a peer can make the daemon hold, each with its reason."""

from typing import Annotated

import msgspec

__all__ = ["Limits"]

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bounds of one server; sizes in bytes, times in seconds.

    Attributes:
        max_line: The longest line of a request, and of a collected stream.  QMP clients take
            10 MiB and asyncio's streams 64 KiB; a whole configuration pushed in one option fits.
        max_queued_per_connection: Input read and not served yet.  Twice `max_line`, so that a
            full line waits while another one is served.
        max_queued: The same for the whole server: eight connections at their own bound.
        high_water: Output that a peer has not read; above it nothing more is made for it.
        max_in_flight: Requests with an id that one connection runs at once.
        max_connections: Clients at once; one uid may have half of them, so that no user locks
            out the others.
        idle_timeout: Seconds without a request after which a connection is closed; 0: never.
        write_timeout: Seconds for which a peer may read nothing while a message waits for it.
        handshake_timeout: Seconds for a TLS handshake.
        drain_timeout: Seconds that a closing connection waits for the peer to take its last
            message and hang up.
        stop_grace: Seconds that running commands get to end by themselves at shutdown.
        cancel_grace: Seconds that they get after that, once cancelled.
        session_grace: Seconds between SIGHUP and SIGKILL for the program of a session that is to end.
        max_sessions: Sessions at once; each holds a process and a few descriptors.
        max_detached: Operations without a client at once; one uid may have half of them.
        operations_kept: Results of ended operations that are kept for those who ask later.
        result_retention: Seconds for which they are kept.
        progress_kept: Progress messages per operation kept for those who watch later.
    """

    max_line: _Count = 16 * 1024 * 1024
    max_queued_per_connection: _Count = 32 * 1024 * 1024
    max_queued: _Count = 256 * 1024 * 1024
    high_water: _Count = 256 * 1024
    max_in_flight: _Count = 64
    max_connections: _Count = 1024
    idle_timeout: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    write_timeout: _Seconds = 60.0
    handshake_timeout: _Seconds = 10.0
    drain_timeout: _Seconds = 2.0
    stop_grace: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    cancel_grace: _Seconds = 5.0
    session_grace: Annotated[float, msgspec.Meta(ge=0)] = 10.0
    max_sessions: _Count = 1024
    max_detached: _Count = 1024
    operations_kept: _Count = 1024
    result_retention: _Seconds = 15 * 60.0
    progress_kept: _Count = 256

    def __post_init__(self) -> None:
        """Refuse bounds with which a line could never become complete.

        Raises:
            ValueError: As said.
        """
        if self.max_queued_per_connection < self.max_line:
            raise ValueError(
                f"max_queued_per_connection ({self.max_queued_per_connection}) must be at least max_line "
                f"({self.max_line}): reading would stop for good in the middle of a long line"
            )
