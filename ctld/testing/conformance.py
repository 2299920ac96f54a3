"""What every codec must do, whatever its dialect: checks for those who write one.

Bytes arrive cut at any place, and the peer may send anything at all.  A codec that keeps
something it should not between two messages (where its search stopped, what it was in the
middle of) shows it only for certain pairs of messages at certain cuts, so all are tried.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias, cast, get_args

from ctld.errors import RemoteProtocolError
from ctld.wire.codec import END_OF_INPUT, NEED_DATA, BatchCodec, Codec
from ctld.wire.messages import Incoming, Request

__all__ = ["Case", "check_codec", "check_garbage", "events_of"]

Case: TypeAlias = tuple[bytes, Sequence[Incoming]]
"""Complete messages of a peer, and the events that they stand for."""

# More requests than come together in any check.
_ALL: Final = 1_000_000

_DOCUMENTED: Final[tuple[type[Any], ...]] = get_args(Incoming)


def events_of(codec: Codec, pieces: Iterable[bytes], *, eof: bool = False) -> list[Incoming]:
    """Feed a codec piece by piece, and return the events that come of it.

    Args:
        codec: The codec.
        pieces: What arrives.
        eof: Whether the peer then sends no more.

    Raises:
        RemoteProtocolError: The codec ends the connection.
        AssertionError: It gives what is no event, or waits for more after the end.
    """
    events: list[Incoming] = []
    for piece in pieces:
        codec.receive_data(piece)
        _drain(codec, events)
    if eof:
        codec.receive_eof()
        _drain(codec, events)
        assert codec.next_event() is END_OF_INPUT, "after the end of input a codec waits for nothing"
    return events


def _events_together(codec: BatchCodec, pieces: Iterable[bytes], most: int) -> list[Incoming]:
    """Feed a codec as a connection does, which takes requests together, up to one that may take the connection.

    Args:
        codec: The codec.
        pieces: What arrives.
        most: How many requests are taken of those that come together.
    """
    events: list[Incoming] = []

    def take(requests: list[Request]) -> int:
        events.extend(requests[:most])
        return min(most, len(requests))

    for piece in filter(None, pieces):
        requests = codec.receive_requests(piece)
        if requests is not None:
            taken = take(requests)
            if taken < len(requests):
                codec.return_requests(piece, taken)
        while codec.hand_out(take):
            continue
        _drain(codec, events)
    return events


def check_codec(make: Callable[[], Codec], cases: Sequence[Case]) -> None:
    """Check that messages mean the same however they are cut: every ordered pair, at every place.

    Those of a `BatchCodec` also mean the same when they are taken together, all or some of them.

    Args:
        make: Makes a new codec.
        cases: Messages that end by themselves, as short as they can be: the work grows with
            the square of their number and of their length.

    Raises:
        AssertionError: They do not; the message holds the pieces that show it.
    """
    for first, first_events in cases:
        for second, second_events in cases:
            wire = first + second
            expected = [*first_events, *second_events]
            for pieces in _slicings(wire):
                for codec, found, way in _ways(make, pieces):
                    assert found == expected, f"{pieces}{way} means {found}, not {expected}"
                    assert codec.pending == 0, f"{pieces}{way} leaves {codec.pending} bytes pending"
                    trailing = codec.trailing_data()
                    assert trailing == b"", f"{pieces}{way} leaves {trailing!r} for the next owner of the socket"


def check_garbage(make: Callable[[], Codec], junk: bytes, *, also: Iterable[Sequence[bytes]] = ()) -> list[Incoming]:
    """Check that a codec takes anything: it gives events, or ends the connection, and nothing else.

    What the bytes mean must not depend on how they were cut, and the codec must come to an
    end after them.

    Args:
        make: Makes a new codec.
        junk: What the peer sends before it hangs up.
        also: Further ways to cut it, beside byte by byte and in halves.

    Returns:
        The events, for checks of one's own.

    Raises:
        AssertionError: The codec does otherwise; so does any exception that is not documented.
    """
    events, ending = _outcome(make(), [junk])
    half = len(junk) // 2
    for pieces in ([junk[i : i + 1] for i in range(len(junk))], [junk[:half], junk[half:]], *also):
        other_events, other_ending = _outcome(make(), pieces)
        assert (other_events, other_ending) == (events, ending), (
            f"{junk!r} means {events} {ending}, but cut into {pieces} it means {other_events} {other_ending}"
        )
    return events


def _ways(make: Callable[[], Codec], pieces: list[bytes]) -> Iterator[tuple[Codec, list[Incoming], str]]:
    """Read pieces in each way that a codec has; yields the codec, the events, and how."""
    codec = make()
    yield codec, events_of(codec, pieces), ""
    if hasattr(codec, "receive_requests"):
        for most, how in ((_ALL, "together"), (1, "one by one")):
            together = cast("BatchCodec", make())
            yield together, _events_together(together, pieces, most), f" when requests are taken {how}"


def _slicings(wire: bytes) -> Iterable[list[bytes]]:
    yield [wire]
    yield [wire[i : i + 1] for i in range(len(wire))]
    for cut in range(len(wire) + 1):
        yield [wire[:cut], wire[cut:]]


def _outcome(codec: Codec, pieces: Iterable[bytes]) -> tuple[list[Incoming], str]:
    """Return the events, and the text of the error that ended the connection, or ""."""
    events: list[Incoming] = []
    try:
        for piece in pieces:
            codec.receive_data(piece)
            _drain(codec, events)
        codec.receive_eof()
        _drain(codec, events)
    except RemoteProtocolError as exc:
        return events, f"{type(exc).__name__}: {exc}"
    assert codec.next_event() is END_OF_INPUT, "after the end of input a codec waits for nothing"
    return events, ""


def _drain(codec: Codec, events: list[Incoming]) -> None:
    while True:
        event = codec.next_event()
        if event is NEED_DATA or event is END_OF_INPUT:
            return
        assert isinstance(event, _DOCUMENTED), f"{event!r} is no event that a codec may give"
        events.append(event)
