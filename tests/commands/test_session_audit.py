"""Start and end of every session are events and history (B43), and tell no secret."""

import asyncio

import ctld
from ctld.server import Server


async def test_events_and_history(tmp_path):
    async with Server(listen=[f"unix:{tmp_path}/s"], state_dir=tmp_path / "state") as server:
        with server.events.subscribe("session") as events:
            async with ctld.AsyncClient(f"unix:{tmp_path}/s") as client:
                opts = {"cmd": ["sh", "-c", "cat; exit 3"], "env": {"TOKEN": "s3cret"}}
                async with client.session("exec", opts, env={"OTHER": "s3cret"}) as run:
                    await run.write(b"s3cret")
                    await run.close_stdin()
                    assert await run.exit_status == 3
                start, end = await anext(events), await anext(events)
                history = await client.call("history_list")
                everything = [*await client.call("event_list"), *history]
    assert (start.opts["state"], start.opts["id"], start.opts["cmd"]) == ("start", run.id, opts["cmd"])
    assert (end.opts["state"], end.opts["exitstatus"], end.opts["bytes_in"], end.opts["bytes_out"]) == ("end", 3, 6, 6)
    assert start.opts["operation"] == end.opts["operation"]
    kept = [entry["command"] for entry in history]
    assert sorted(kept) == ["exec", "session_end", "session_start"]
    assert "s3cret" not in str(everything)


async def test_one_that_never_started_is_no_session(tmp_path):
    async with Server(listen=[f"unix:{tmp_path}/s"]) as server:
        with server.events.subscribe("session") as events:
            async with ctld.AsyncClient(f"unix:{tmp_path}/s") as client:
                for cmd in (["/no/such"], ["true"]):
                    await asyncio.wait([asyncio.ensure_future(_try(client, cmd))])
            assert (await anext(events)).opts["cmd"] == ["true"]


async def _try(client, cmd):
    try:
        async with client.session("exec", {"cmd": cmd}) as run:
            await run.exit_status
    except ctld.NotFound:
        return
