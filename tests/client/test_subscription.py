"""Events as clients see them, from a real server."""

import asyncio
import threading

import pytest

import ctld
from ctld.client.subscription import subscription_options
from ctld.testing import serving


@pytest.fixture
def commands():
    registry = ctld.CommandRegistry()

    @registry.command("tell", role="operate", record=False)
    async def tell(ctx: ctld.Context, type: str = "state", n: int = 0) -> None:
        ctx.events.publish(type, n=n)

    return registry


def test_only_what_is_wanted_is_asked_for():
    assert subscription_options((), None, None) == {}
    assert subscription_options(("a", "b"), {"k": 1}, 0) == {"type": ["a", "b"], "opts": {"k": 1}, "since": 0}


async def test_events_come_beside_other_calls(commands):
    async with serving(commands) as client, client.events("state") as events:
        for n in range(3):
            await client.call("tell", {"n": n})
        seen = [await anext(events) for _ in range(3)]
        assert [(type(event), event.type, event.opts) for event in seen] == [
            (ctld.Event, "state", {"n": n}) for n in range(3)
        ]
        assert seen[0].seq < seen[1].seq
        async with client.events("state", opts={"n": [1, 2]}, since=seen[0].seq) as again:
            async for event in again:
                assert event == seen[1]
                break


async def test_leaving_the_block_ends_the_subscription(commands):
    async with serving(commands) as client:
        async with client.events():
            assert (await client.call("status"))["events"]["subscribers"] == 1
        while (await client.call("status"))["events"]["subscribers"]:
            await asyncio.sleep(0.001)
        assert await client.call("ping") == "pong"


async def test_a_time_out_costs_no_event(commands):
    async with serving(commands) as client, client.events("state") as events:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(events)
        await client.call("tell", {"n": 5})
        assert (await anext(events)).opts == {"n": 5}


async def test_a_refusal_is_raised_at_the_door(commands):
    async with serving(commands, peer=ctld.Peer(name="x", role="anyone", uid=1, transport="unix")) as client:
        with pytest.raises(ctld.Denied, match="observe"):
            async with client.events():
                raise AssertionError("entered")
        with ctld.Client(str(client.address)) as blocking, pytest.raises(ctld.Denied, match="observe"):
            await asyncio.to_thread(blocking.events)


async def test_a_server_that_stops_says_so(commands):
    async with serving(commands) as client, client.events("state") as events:
        await client.call("tell", {"n": 1})
        await client.call("shutdown")
        assert (await anext(events)).opts == {"n": 1}
        with pytest.raises(ctld.ShuttingDown):
            await anext(events)


async def test_a_closed_connection_ends_it(commands):
    async with serving(commands) as client, client.events() as events:
        client.close()
        with pytest.raises(ctld.ConnectionLost):
            await anext(events)


# The blocking client.


async def test_the_blocking_client_iterates(commands):
    async with serving(commands) as client:
        subscribed, seen = threading.Event(), []

        def listen():
            with ctld.Client(str(client.address)) as blocking:
                events = blocking.events("state")
                subscribed.set()
                for event in events:
                    seen.append(event)
                    if len(seen) == 3:
                        break
                del events
                assert blocking.call("ping") == "pong", "leaving the loop closed the connection; this makes another"

        listening = asyncio.create_task(asyncio.to_thread(listen))
        await asyncio.to_thread(subscribed.wait)
        for n in range(3):
            await client.call("tell", {"n": n})
        await listening
        assert [(type(event), event.opts) for event in seen] == [(ctld.Event, {"n": n}) for n in range(3)]


async def test_the_blocking_client_hears_the_end(commands):
    async with serving(commands) as client:

        def listen():
            with ctld.Client(str(client.address)) as blocking:
                events = blocking.events()
                loop.call_soon_threadsafe(subscribed.set)
                with pytest.raises(ctld.ShuttingDown):
                    list(events)

        loop, subscribed = asyncio.get_running_loop(), asyncio.Event()
        listening = asyncio.create_task(asyncio.to_thread(listen))
        await subscribed.wait()
        await client.call("shutdown")
        await listening
