"""What goes out: one write a turn, and no more than the peer reads."""

import asyncio
from typing import Any

import pytest

from ctld.limits import Limits
from ctld.outbox import Outbox
from ctld.outlet import Outlet
from ctld.wire.messages import Reply
from ctld.wire.native import NativeCodec


class Transport(asyncio.Transport):
    """Notes what is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.aborted = 0

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.aborted += 1

    def get_write_buffer_size(self) -> int:
        return 7

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return f"the {name}"


async def outlet() -> tuple[Outlet, Transport]:
    """Make one whose transport exists."""
    made = Outlet(NativeCodec(), Limits(), Outbox(asyncio.get_running_loop()))
    transport = Transport()
    made._transport = transport
    return made, transport


LINE = b'{"status":true,"response":%d}\n'


async def test_what_is_sent_in_one_turn_leaves_in_one_write():
    made, transport = await outlet()
    made.send(Reply(1))
    made.send(Reply(2))
    assert transport.written == []
    await asyncio.sleep(0)
    assert transport.written == [LINE % 1 + LINE % 2]
    assert made.patience.written == len(transport.written[0])
    made.send(Reply(3))
    await asyncio.sleep(0)
    assert transport.written[1:] == [LINE % 3]


async def test_what_nothing_follows_is_written_at_once_with_what_waits():
    made, transport = await outlet()
    made.send(Reply(1))
    made.send(Reply(2), None, False)
    assert transport.written == [LINE % 1 + LINE % 2]
    await asyncio.sleep(0)
    assert len(transport.written) == 1  # the look that was asked for before finds nothing


async def test_a_joint_does_not_grow_without_bound():
    made, transport = await outlet()
    for _ in range(3):
        made.send(Reply("x" * 40_000))
    assert [len(data) > 64 * 1024 for data in transport.written] == [True]


async def test_nothing_is_written_for_a_peer_that_is_gone():
    made, transport = await outlet()
    made.send(Reply(1))
    made.gone = True
    made.send(Reply(2))
    await asyncio.sleep(0)
    assert transport.written == []


async def test_before_there_is_a_transport_nothing_can_be_written():
    made = Outlet(NativeCodec(), Limits(), Outbox(asyncio.get_running_loop()))
    made.send(Reply(1), None, False)
    made.abort()
    assert (made.made, made.unread_output, made.transport_info("peercert")) == (False, 0, None)


async def test_who_waits_for_a_slow_peer_goes_on_when_it_has_caught_up():
    made, _ = await outlet()
    await made.drained()  # nothing to wait for
    made.pause_writing()
    first, second = asyncio.create_task(made.drained()), asyncio.create_task(made.drained())
    await asyncio.sleep(0)
    first.cancel()
    made.resume_writing()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_who_waits_longer_because_the_peer_is_slow_again_still_goes_on():
    made, _ = await outlet()
    made.pause_writing()
    waiting = asyncio.create_task(made.drained())
    await asyncio.sleep(0)
    made.resume_writing()
    made.pause_writing()
    await asyncio.sleep(0)
    assert not waiting.done()
    made.resume_writing()
    await waiting


async def test_abort_is_the_transport_s_unless_that_is_lost():
    made, transport = await outlet()
    made.abort()
    made.lost = True
    made.abort()
    assert transport.aborted == 1
    assert (made.transport, made.unread_output, made.transport_info("peercert")) == (transport, 7, "the peercert")
