"""The monitor: every vector, every case of A12 to A14, on real sockets."""

import asyncio
import contextlib
import json
import logging
import os
import socket

import pytest

from ctld.dialects.guest_agent import Monitor, asend_command
from ctld.dialects.guest_agent.getoption import answer_get_option
from ctld.dialects.guest_agent.requests import field
from ctld.errors import AddressInUse, ListenFailed
from tests.dialects.guest_agent.vectors import VECTORS, converse, deadline_of

OK = b'{"Status":0,"StatusMessage":"OK"}'
UNKNOWN = b'{"Status":101,"StatusMessage":"Could not find a handler for the requested command"}'
LOST = b'{"Status":103,"StatusMessage":"Connection error"}'
OPTIONS = {"Core": {"LogLevel": 3}, "InstanceSetup": {"NetworkEnabled": True}, "Unstable": {"CommandPipeMode": "0770"}}


async def fail(request):
    raise RuntimeError("always fail")


async def fail_with(request):
    raise RuntimeError(json.loads(request)["Data"])


async def raw(request):
    return json.loads(request)["Data"].encode()


async def nothing(request):
    return b""


async def doze(request):
    await asyncio.sleep(json.loads(request)["Ms"] / 1000)
    return OK


async def big(request):
    return b"x" * 3_000_000


async def get(request):
    return answer_get_option(request, OPTIONS)


HANDLERS = {
    "fail": fail, "failwith": fail_with, "raw": raw, "nil": nothing, "sleep": doze, "big": big,
    "agent.config.getoption": get,
}  # fmt: skip


def register_all(monitor):
    for name, handler in HANDLERS.items():
        monitor.register(name, handler)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: case["name"])
async def test_a13_vectors(case, monitoring, peer):
    async with monitoring(timeout=deadline_of(case)) as monitor, peer() as one:
        register_all(monitor)
        await converse(case, one)


async def test_a12_6_extra_keys_reach_the_handler_whole(monitoring, path):
    seen = []

    async def listen(request):
        seen.append(request)
        return OK

    async with monitoring() as monitor:
        monitor.register("TestListen", listen)
        request = b'{"ArbitraryData":1234,"Command":"TestListen"}'
        assert await asend_command(request, path) == OK
        assert seen == [request]


async def test_a12_8_a_peer_that_sends_nothing_reads_the_end(monitoring, peer):
    async with monitoring(timeout=0.001), peer() as one:
        assert await one.read() == b""


async def test_a12_9_register_and_unregister(path):
    monitor = Monitor(path)
    monitor.register("a", nothing)
    with pytest.raises(ValueError, match=r"^cmd a is already handled$"):
        monitor.register("a", nothing)
    assert monitor.handles("a")
    monitor.unregister("a")
    with pytest.raises(ValueError, match=r"^cmd a is not registered$"):
        monitor.unregister("a")


async def test_white_space_around_a_request_reaches_the_handler(monitoring, path):
    request = b' \r\n\t{"Command":"echo"} \n'
    async with monitoring():
        assert await asend_command(request, path) == request


async def test_the_empty_name_may_have_a_handler(monitoring, path):
    async with monitoring() as monitor:
        assert await asend_command(b"null", path) == UNKNOWN
        monitor.register("", nothing)
        assert await asend_command(b"{}", path) == b""


async def test_a12_7_the_text_of_an_exception_is_the_message(monitoring, path):
    async with monitoring() as monitor:
        monitor.register("fail", fail)
        assert await asend_command(b'{"Command":"fail"}', path) == b'{"Status":105,"StatusMessage":"always fail"}'


async def vm_event(request):
    """What the original's own command of that name checks (A10)."""
    event = field(request, "event")
    if event not in ("startup", "shutdown", "specialize"):
        raise ValueError(f'unknown event "{event}", handler only supports [startup shutdown specialize]')
    return b"[]"


@pytest.mark.parametrize("event", ["startup", "shutdown", "specialize"])
async def test_a12_12_vm_events_reach_their_handler_and_an_array_is_an_answer(monitoring, path, event):
    async with monitoring() as monitor:
        monitor.register("VmEvent", vm_event)
        request = json.dumps({"Command": "VmEvent", "Event": event}).encode()
        assert await asend_command(request, path) == b"[]"


async def test_a12_12_what_is_no_vm_event(monitoring, path, peer):
    async with monitoring(timeout=0.2) as monitor, peer() as one:
        monitor.register("VmEvent", vm_event)
        unknown = await asend_command(b'{"Command":"VmEvent","Event":"lunch"}', path)
        assert json.loads(unknown) == {
            "Status": 105,
            "StatusMessage": 'unknown event "lunch", handler only supports [startup shutdown specialize]',
        }
        assert await asend_command(b'{"Command":"VMEvent","Event":"startup"}', path) == UNKNOWN
        await one.send(b'{"Command":123}')
        assert await one.read() == b""


async def test_a12_7_an_exception_without_text_has_the_default_one_and_a_wrong_answer_is_an_error(monitoring, path):
    async def bare(request):
        raise RuntimeError

    async def wrong(request):
        return "text"

    async with monitoring() as monitor:
        monitor.register("bare", bare)
        monitor.register("wrong", wrong)
        assert b"encountered an error processing" in await asend_command(b'{"Command":"bare"}', path)
        assert (await asend_command(b'{"Command":"wrong"}', path)).startswith(b'{"Status":105')


async def test_it_listens_while_it_has_handlers(path):
    monitor = Monitor(path)
    await monitor.start()
    assert monitor.started
    assert not monitor.listening
    monitor.register("a", nothing)
    assert monitor.listening
    assert await asend_command(b'{"Command":"a"}', path) == b""
    monitor.unregister("a")
    assert not os.path.exists(path)
    assert await asend_command(b'{"Command":"a"}', path) == LOST
    monitor.register("b", nothing)
    assert await asend_command(b'{"Command":"b"}', path) == b""
    monitor.close()
    monitor.close()
    await monitor.wait_closed()
    assert not os.path.exists(path)


async def test_a14_two_servers_on_one_path(monitoring, path):
    async with monitoring():
        second = Monitor(path)
        await second.start()
        with pytest.raises(AddressInUse):
            second.register("a", nothing)
        assert not second.handles("a")
        third = Monitor(path)
        third.register("a", nothing)
        with pytest.raises(ListenFailed):
            await third.start()
        assert not third.started
        assert await asend_command(b'{"Command":"ok"}', path) == OK


async def test_a14_handlers_run_side_by_side_and_may_register_and_unregister(monitoring, path):
    meet = asyncio.Barrier(2)

    async with monitoring() as monitor:

        async def together(request):
            await meet.wait()
            return OK

        async def change(request):
            monitor.register("new", nothing)
            monitor.unregister("change")
            return OK

        monitor.register("together", together)
        monitor.register("change", change)
        both = [asend_command(b'{"Command":"together"}', path) for _ in range(2)]
        assert await asyncio.gather(*both) == [OK, OK]
        assert await asend_command(b'{"Command":"change"}', path) == OK
        assert await asend_command(b'{"Command":"change"}', path) == UNKNOWN
        assert await asend_command(b'{"Command":"new"}', path) == b""


async def test_a14_unregistering_does_not_wait_for_calls_that_run(monitoring, path):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request):
        begun.set()
        await go_on.wait()
        return OK

    async with monitoring() as monitor:
        monitor.register("slow", slow)
        asking = asyncio.create_task(asend_command(b'{"Command":"slow"}', path))
        await begun.wait()
        monitor.unregister("slow")
        assert await asend_command(b'{"Command":"slow"}', path) == UNKNOWN
        go_on.set()
        assert await asking == OK


async def test_a14_close_lets_handlers_answer_and_ends_peers_that_wait(monitoring, path, peer):
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request):
        begun.set()
        await go_on.wait()
        return OK

    async with monitoring() as monitor, peer() as waiting:
        monitor.register("slow", slow)
        await waiting.send(b'{"Comm')
        asking = asyncio.create_task(asend_command(b'{"Command":"slow"}', path))
        await begun.wait()
        monitor.close()
        assert not os.path.exists(path)
        assert await waiting.read() == b""
        go_on.set()
        assert await asking == OK


async def test_a14_byte_at_a_time_also_within_a_character_and_an_escape(monitoring, peer):
    request = '{"x":"é\\u00e9\\"","Command":"echo"}'.encode()
    async with monitoring(), peer() as one:
        for i in range(len(request)):
            await one.send(request[i : i + 1])
            await asyncio.sleep(0)
        assert await one.read() == request


async def test_a14_what_follows_the_request_does_not_cost_the_answer(monitoring, peer):
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(request):
        begun.set()
        await go_on.wait()
        return OK

    async with monitoring() as monitor, peer() as one:
        monitor.register("slow", slow)
        await one.send(b'{"Command":"slow"}')
        await begun.wait()
        await one.send(b"\n", b'{"Command":"ok"}', b"x" * 100_000)
        go_on.set()
        assert await one.read() == OK


async def test_a14_a_newline_after_the_answer_does_no_harm(monitoring, peer):
    async with monitoring(), peer() as one:
        await one.send(b'{"Command":"ok"}')
        await asyncio.get_running_loop().sock_recv(one.sock, 1)
        await one.send(b"\n")
        assert await one.read() == OK[1:]


async def test_a14_a_client_that_vanishes_does_not_end_its_handler(monitoring, peer):
    begun, go_on, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(request):
        begun.set()
        await go_on.wait()
        ended.set()
        return b"x" * 1_000_000

    async with monitoring() as monitor:
        monitor.register("slow", slow)
        async with peer() as one:
            await one.send(b'{"Command":"slow"}')
            await begun.wait()
        go_on.set()
        await ended.wait()


async def test_a14_a_large_answer_to_a_slow_reader_and_a_large_request(monitoring, path, peer):
    async with monitoring() as monitor, peer() as one:
        register_all(monitor)
        await one.send(b'{"Command":"big"}')
        got = 0
        while part := await asyncio.get_running_loop().sock_recv(one.sock, 10_000):
            got += len(part)
        assert got == 3_000_000
        request = b'{"Command":"echo","Data":"' + b"x" * 500_000 + b'"}'
        assert await asend_command(request, path) == request


async def test_a14_a_peer_that_never_reads_is_dropped_at_the_deadline(monitoring, peer):
    async with monitoring(timeout=0.2) as monitor:
        register_all(monitor)
        async with peer() as one:
            await one.send(b'{"Command":"big"}')
            while not monitor._connections:
                await asyncio.sleep(0)
            (connection,) = monitor._connections
            await asyncio.wait_for(connection.wait_closed(), 5)


async def test_a_request_that_is_too_long_ends_the_connection(monitoring, peer):
    async with monitoring(max_request=100), peer() as one:
        await one.send(b'{"x":"' + b"y" * 200)
        assert await one.read() == b""


async def test_connections_are_bounded(monitoring, peer):
    async with monitoring(max_connections=1), peer() as first, peer() as second:
        assert await second.read() == b""
        await first.send(b'{"Command":"ok"}')
        assert await first.read() == OK


@pytest.mark.parametrize("timeout", [0.0, -1.0])
async def test_a3_without_time_nothing_is_served(monitoring, peer, timeout):
    async with monitoring(timeout=timeout), peer() as one:
        with contextlib.suppress(ConnectionResetError):
            assert await one.read() == b""


async def test_strict_errors_say_what_the_original_lets_one_guess(monitoring, peer):
    async with monitoring(timeout=0.2, strict_errors=True):
        async with peer() as garbage:
            await garbage.send(b"garbage")
            assert await garbage.read() == b'{"Status":102,"StatusMessage":"Could not parse valid JSON from request"}'
        async with peer() as silent:
            await silent.send(b"{")
            assert (await silent.read()).startswith(b'{"Status":104,')


async def test_a_last_word_that_nobody_fetches_ends_too(monitoring, peer):
    async with monitoring(timeout=0.05, strict_errors=True) as monitor, peer():
        while not monitor._connections:
            await asyncio.sleep(0)
        (connection,) = monitor._connections
        await asyncio.wait_for(connection.wait_closed(), 5)


async def test_a_handler_that_is_cancelled_answers_an_internal_error(monitoring, path):
    begun = asyncio.Event()

    async def slow(request):
        begun.set()
        await asyncio.Event().wait()

    async with monitoring() as monitor:
        monitor.register("slow", slow)
        asking = asyncio.create_task(asend_command(b'{"Command":"slow"}', path))
        await begun.wait()
        for task in asyncio.all_tasks():
            if "Monitor._handle" in repr(task.get_coro()):
                task.cancel()
        assert (await asking).startswith(b'{"Status":106,')


async def test_a14_the_umask_is_as_before(monitoring):
    before = os.umask(0o022)
    os.umask(before)
    async with monitoring() as monitor:
        now = os.umask(before)
        second = Monitor(monitor.path)
        second.register("a", nothing)
        with pytest.raises(AddressInUse):
            await second.start()
        after_a_failure = os.umask(before)
    assert (now, after_a_failure) == (before, before)


async def test_a_socket_of_somebody_else_is_no_monitor(path):
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        monitor = Monitor(path)
        monitor.register("a", nothing)
        with pytest.raises(AddressInUse):
            await monitor.start()


async def test_a_peer_that_is_lost_at_once_is_told_and_costs_nothing(monitoring, path, peer, caplog, monkeypatch):
    loop = asyncio.get_running_loop()

    class Broken:
        """A loop that makes no transports."""

        def __getattr__(self, name):
            return getattr(loop, name)

        async def connect_accepted_socket(self, factory, sock):
            factory()
            raise ConnectionResetError("gone")

    with caplog.at_level(logging.INFO):
        async with monitoring() as monitor, peer() as one:
            monkeypatch.setattr("ctld.dialects.guest_agent.monitor.asyncio.get_running_loop", Broken)
            assert await one.read() == b""
            monkeypatch.undo()
            assert not monitor._connections
    assert "a peer is lost: gone" in caplog.text


async def test_a_lack_of_descriptors_is_told(monitoring, caplog):
    async with monitoring() as monitor:
        monitor._on_exhausted(True)
        monitor._on_exhausted(False)
    assert "out of: file descriptors" in caplog.text
    assert "again enough: file descriptors" in caplog.text
