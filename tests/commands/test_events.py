"""Events over real sockets (native protocol, N6), and the ancestor's defects (1.6)."""

import asyncio
import contextlib
import json

import pytest

import ctld
from ctld.commands.events import event_commands
from ctld.limits import Limits
from tests.commands.containers import Host, host_commands
from tests.native import DEFAULT_LIMITS, RawClient, serving, until


@pytest.fixture
async def host():
    return Host()


@pytest.fixture
async def served(tmp_path, host):
    async with serving(tmp_path, host_commands(), app=host) as served:
        yield served


async def subscribed(served, opts=None, **members) -> RawClient:
    client = await served.connect()
    client.send({"cmd": "event_subscribe", "opts": opts or {}, **members})
    wanted = {"status": True, "response": "subscribed"}
    assert await client.receive() == (wanted | {"id": members["id"]} if "id" in members else wanted)
    return client


async def event(client) -> dict:
    message = await client.receive()
    assert message["status"] is True
    return message["response"]


def test_there_are_two_commands():
    assert [command.name for command in event_commands()] == ["event_subscribe", "event_list"]
    assert all(command.role == "observe" for command in event_commands())


# What a subscription sends.


async def test_n6_a_subscription_answers_subscribed_and_then_every_event(served):
    client = await subscribed(served)
    before = served.server.events.last_seq
    served.server.events.publish("state", pool="tank", ct="ct1")
    line = json.loads(await client.reader.readline())
    time = line["response"].pop("time")
    assert line == {
        "status": True,
        "response": {"type": "state", "opts": {"pool": "tank", "ct": "ct1"}, "seq": before + 1},
    }
    assert isinstance(time, float)


async def test_n6_with_an_id_every_message_carries_it(served):
    client = await subscribed(served, id="mon")
    served.server.events.publish("state")
    message = await client.receive()
    assert (message["id"], message["response"]["type"]) == ("mon", "state")
    assert (await client.ask("ping"))["response"] == "pong", "the connection serves other requests beside it"


async def test_n6_cancel_ends_it_and_the_connection_goes_on(served):
    client = await subscribed(served)
    client.send({"cancel": None})
    assert (await client.receive())["code"] == "cancelled"
    assert (await client.ask("ping"))["response"] == "pong"
    assert len(served.server.events) == 0


async def test_n6_at_shutdown_it_ends_with_a_word(tmp_path):
    async with serving(tmp_path) as served:
        client = await subscribed(served)
        served.server.events.publish("last")
        served.server.close()
        assert (await event(client))["type"] == "last"
        assert (await client.receive())["code"] == "shutting-down"
        assert await client.at_end()


async def test_n6_management_events_tell_the_course_of_commands(served, host):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    assert (await client.ask("ct_stop", {"names": ["a"], "cli": "ctlctl ct stop a"}))["response"] == "stopped"
    run, done = await event(monitor), await event(monitor)
    assert run["opts"] == {
        "id": run["opts"]["id"],
        "cmd": "ct_stop",
        "opts": {"names": ["a"]},
        "peer": run["opts"]["peer"],
        "state": "run",
    }
    assert done["opts"] == run["opts"] | {"state": "done"}


async def test_n6_failed_and_cancelled_commands_say_so(served, host):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    client.send({"cmd": "ct_stop", "opts": {"names": ["a"], "gate": "g"}, "id": 1})
    await until(lambda: "g" in host.reached)
    assert (await client.ask("ct_stop", {"names": ["a"]}))["code"] == "locked"
    client.send({"cancel": 1})
    assert (await client.receive())["code"] == "cancelled"
    states = [((await event(monitor))["opts"]["state"]) for _ in range(4)]
    assert states == ["run", "run", "failed", "cancelled"]


async def test_n6_commands_up_to_observe_make_no_events(served):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    seq = served.server.events.last_seq
    for cmd in ("ping", "status", "op_list", "lock_list", "event_list", "no-such-command"):
        await client.ask(cmd)
    assert served.server.events.last_seq == seq
    await client.ask("ct_touch", {"name": "a"})
    assert (await event(monitor))["opts"]["cmd"] == "ct_touch"


async def test_n6_unless_configured_so_and_never_its_own(tmp_path):
    async with serving(tmp_path, publish_all=True) as served:
        monitor, client = await subscribed(served), await served.connect()
        other = await subscribed(served)
        await client.ask("ping")
        seen = [(await event(monitor))["opts"] for _ in range(3)]
        assert [(opts["cmd"], opts["state"]) for opts in seen] == [
            ("event_subscribe", "run"),
            ("ping", "run"),
            ("ping", "done"),
        ]
        assert [(await event(other))["opts"]["cmd"] for _ in range(2)] == ["ping", "ping"], "its own `run` is not there"


async def test_n6_not_even_when_it_is_replayed(tmp_path):
    async with serving(tmp_path, publish_all=True) as served:
        start = served.server.events.last_seq
        monitor = await subscribed(served, {"since": start})
        await (await served.connect()).ask("ping")
        assert (await event(monitor))["opts"]["cmd"] == "ping"


async def test_a_nested_command_is_a_part_of_the_outer_one(served):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    await client.ask("ct_nested", {"name": "a"})
    assert [(await event(monitor))["opts"]["cmd"] for _ in range(2)] == ["ct_nested", "ct_nested"]
    await client.ask("ct_touch", {"name": "a"})
    assert (await event(monitor))["opts"]["cmd"] == "ct_touch"


async def test_a_launched_command_is_one_of_its_own(served, host):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    answer = await client.ask("ct_stop", {"names": ["a"]}, detach=True)
    run, done = await event(monitor), await event(monitor)
    assert run["opts"]["id"] == done["opts"]["id"] == answer["response"]["operation"]
    launched = served.server.launch(host_launch(served), "b")
    await launched.wait()
    run = await event(monitor)
    assert (run["opts"]["opts"], run["opts"]["peer"]) == ({"name": "b"}, "daemon")


def host_launch(served):
    return served.server._dispatcher.commands["ct_touch"].function


async def test_an_operation_that_is_cancelled_before_it_begins_ends_all_the_same(served):
    monitor = await subscribed(served, {"type": "management"})
    operation = served.server.launch(host_launch(served), "b")
    operation.cancel()
    with pytest.raises(ctld.Cancelled):
        await operation.wait()
    assert [(await event(monitor))["opts"]["state"] for _ in range(2)] == ["run", "cancelled"]
    assert [entry.outcome for entry in await served.server.history.query()] == ["cancelled"]


@pytest.mark.parametrize(("size", "shown"), [(16 * 1024 - 100, True), (17 * 1024, False), (200_000, False)])
async def test_long_options_are_left_out(served, size, shown):
    monitor, client = await subscribed(served, {"type": "management"}), await served.connect()
    assert (await client.ask("ct_touch", {"name": "x" * size}))["response"] == "touched"
    run = await event(monitor)
    assert ("opts" in run["opts"]) is shown


# Filters and replay.


async def test_a_filter_by_several_types(served):
    """1.6: a list of types never filtered."""
    client = await subscribed(served, {"type": ["a", "c"]})
    for type in "abcabc":
        served.server.events.publish(type)
    assert [(await event(client))["type"] for _ in range(4)] == ["a", "c", "a", "c"]


async def test_a_filter_by_details(served):
    client = await subscribed(served, {"type": "state", "opts": {"ct": ["a", "b"], "pool": "tank"}})
    for pool, ct in (("tank", "a"), ("other", "a"), ("tank", "c"), ("tank", "b")):
        served.server.events.publish("state", pool=pool, ct=ct)
    assert [(await event(client))["opts"]["ct"] for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize(
    ("opts", "path"),
    [({"type": 5}, "$.type"), ({"opts": {"a": {"b": 1}}}, "$.opts.a"), ({"since": "x"}, "$.since"), ({"x": 1}, "$.x")],
)
async def test_a_filter_that_is_none_is_refused(served, opts, path):
    answer = await (await served.connect()).ask("event_subscribe", opts)
    assert (answer["code"], answer["path"]) == ("invalid-options", path)


async def test_since_replays_what_came_after(served):
    events = served.server.events
    events.publish("n", n=0)
    since = events.last_seq
    for n in (1, 2, 3):
        events.publish("n", n=n)
    client = await subscribed(served, {"since": since})
    events.publish("n", n=4)
    assert [(await event(client))["opts"]["n"] for _ in range(4)] == [1, 2, 3, 4]


async def test_since_of_an_earlier_life_begins_with_a_gap(served):
    served.server.events.publish("n", n=1)
    client = await subscribed(served, {"since": 5})
    gap = await event(client)
    assert (gap["type"], gap["opts"]["from"], gap["opts"]["count"]) == ("gap", 6, None)
    assert (await event(client))["opts"] == {"n": 1}


async def test_a_slow_reader_is_told_how_much_it_missed(served):
    served.server.events.queue_size = 8
    client = await subscribed(served)
    for n in range(100):
        served.server.events.publish("n", n=n)
    gap = await event(client)
    assert (gap["type"], gap["opts"]["count"]) == ("gap", 92)
    assert [(await event(client))["opts"]["n"] for _ in range(8)] == list(range(92, 100))


async def test_detached_there_is_nobody_to_tell(served):
    answer = await (await served.connect()).ask("event_subscribe", detach=True)
    done = await (await served.connect()).ask("op_wait", {"id": answer["response"]["operation"]})
    assert done["code"] == "bad-request"


async def test_an_event_that_json_cannot_carry_costs_nobody_the_subscription(served, caplog):
    client = await subscribed(served)
    served.server.events.publish("broken", what=object())
    served.server.events.publish("fine")
    assert (await event(client))["type"] == "fine"
    assert "of type 'broken' cannot be sent" in caplog.text


# The list of late events.


async def test_the_list_shows_the_newest(served):
    client = await served.connect()
    for n in range(5):
        served.server.events.publish("odd" if n % 2 else "even", n=n)
    assert [e["opts"]["n"] for e in (await client.ask("event_list", {"limit": 2}))["response"]] == [3, 4]
    evens = (await client.ask("event_list", {"type": "even", "opts": {"n": [0, 2]}}))["response"]
    assert [e["opts"]["n"] for e in evens] == [0, 2]
    assert set(evens[0]) == {"type", "opts", "seq", "time"}


async def test_the_list_goes_on_from_a_number(served):
    client = await served.connect()
    events = served.server.events
    since = events.last_seq
    for n in range(5):
        events.publish("n", n=n)
    page = (await client.ask("event_list", {"since": since, "limit": 2}))["response"]
    assert [e["opts"]["n"] for e in page] == [0, 1]
    page = (await client.ask("event_list", {"since": page[-1]["seq"]}))["response"]
    assert [e["opts"]["n"] for e in page] == [2, 3, 4]
    assert (await client.ask("event_list", {"since": 1}))["response"][0]["type"] == "gap"
    assert (await client.ask("event_list", {"limit": 0}))["code"] == "invalid-options"


# Those who leave, and those who do not read.


@pytest.mark.parametrize("leave", ["close", "reset"])
async def test_one_that_leaves_is_noticed_although_no_event_matches(served, leave):
    """1.6: a vanished subscriber whose filter never matched stayed for good."""
    clients = [await subscribed(served, {"type": "never"}) for _ in range(20)]
    assert len(served.server.events) == 20
    for client in clients:
        getattr(client, leave)()
    await until(lambda: len(served.server.events) == 0 and not served.server.connections())


async def test_a_half_closed_one_goes_on_listening(served):
    """`echo '{"cmd": "event_subscribe"}' | socat - UNIX:...` is a monitor, too."""
    client = await subscribed(served)
    client.half_close()
    served.server.events.publish("state")
    assert (await event(client))["type"] == "state"


@pytest.mark.parametrize("before", [False, True])
async def test_over_tcp_the_end_of_input_is_as_good_as_gone(tmp_path, before):
    """There a client that has gone cannot be told from one that only sends no more."""
    async with serving(tmp_path) as served:
        listener = await served.server.listen(ctld.Listen(address="tcp:127.0.0.1:0", role="observe"))
        _, host, port = listener.address.split(":")
        client = RawClient(*await asyncio.open_connection(host, int(port)))
        try:
            await client.receive()
            client.send({"cmd": "event_subscribe", "opts": {"type": "never"}})
            if before:
                client.half_close()
            assert (await client.receive())["response"] == "subscribed"
            if not before:
                client.half_close()
            assert (await client.receive())["code"] == "cancelled"
            assert await client.at_end()
            assert len(served.server.events) == 0
        finally:
            client.close()
            await client.writer.wait_closed()
        await listener.close()


async def test_nobody_misses_an_event_because_another_one_leaves(served):
    """1.6: with one leaving, 19 of 50 missed an event."""
    clients = [await subscribed(served) for _ in range(50)]
    seen: dict[int, list[int]] = {}

    async def listen(number: int) -> None:
        for _ in range(200):
            seen.setdefault(number, []).append((await event(clients[number]))["opts"]["n"])
        clients[number].close()

    async def leave(number: int) -> None:
        await event(clients[number])
        clients[number].reset()

    async with asyncio.TaskGroup() as tasks:
        for number in range(50):
            tasks.create_task(listen(number) if number % 5 else leave(number))
        for n in range(200):
            served.server.events.publish("n", n=n)
            await asyncio.sleep(0)
    assert len(seen) == 40
    assert all(numbers == list(range(200)) for numbers in seen.values())


async def test_subscribers_that_never_read_cost_bounded_memory(tmp_path):
    """1.6: they grew the server without bound.  10,000 subscriptions, as many as 160 connections carry."""
    async with serving(tmp_path) as served:
        events = served.server.events
        events.queue_size = 8
        clients = [await RawClient.connect(served.path) for _ in range(160)]
        try:
            for client in clients:
                client.send(*[{"cmd": "event_subscribe", "id": n} for n in range(63)])
            await until(lambda: len(events) == 160 * 63)
            for client in clients:
                client.stop_reading()
            for n in range(64):
                events.publish("n", n=n, text="x" * 500)
                await asyncio.sleep(0)
            for _ in range(3):
                await asyncio.sleep(0)
            unread = [row["unread_bytes"] for row in served.server.connections()]
            # At the high-water mark everybody stops, each with at most one more event on its way.
            assert max(unread) <= DEFAULT_LIMITS.high_water + 64 * 1024 + 63 * 700
            queued = [len(some._queue) for some in events._of_all_types]
            assert max(queued) <= 8
            assert min(queued) == 8, "they do not read, and have not been forgotten"
        finally:
            for client in clients:
                client.reset()
                with contextlib.suppress(OSError):
                    await client.writer.wait_closed()
        await until(lambda: len(events) == 0)


async def test_one_that_does_not_read_does_not_hold_up_the_end_of_the_daemon(tmp_path):
    limits = Limits(stop_grace=3600.0, cancel_grace=3600.0, drain_timeout=0.1)
    async with serving(tmp_path, limits=limits) as served:
        client = await subscribed(served)
        client.stop_reading()
        connection = served.server._reception.clients[0].conversation.connection
        while not connection.congested:
            served.server.events.publish("n", text="x" * 50_000)
            await asyncio.sleep(0)
        served.server.close()
        await served.server.wait_closed()


async def test_a_password_is_not_told_to_monitors(tmp_path):
    """1.6: management events carried the password of `ct_passwd` to every monitor."""
    commands = ctld.CommandRegistry()

    @commands.command("ct_passwd", role="operate")
    async def ct_passwd(ctx: ctld.Context, user: str, password: ctld.Secret) -> str:
        return password.reveal()[:1]

    async with serving(tmp_path, commands) as served:
        monitor, client = await subscribed(served), await served.connect()
        opts = {"user": "root", "password": "hunter2", "cli": "osctl ct passwd ct1 root hunter2"}
        assert (await client.ask("ct_passwd", opts))["response"] == "h"
        for state in ("run", "done"):
            told = (await event(monitor))["opts"]
            assert (told["state"], told["opts"]) == (state, {"user": "root", "password": "***"})
