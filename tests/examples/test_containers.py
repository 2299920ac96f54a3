"""`examples/containers.py`: locks on resources, and a deadlock that is reported."""

import asyncio
from pathlib import Path

import pytest

from ctld.client import AsyncClient, Client
from ctld.errors import Deadlock, Locked, NotFound

EXAMPLE = Path(__file__).parents[2] / "examples" / "containers.py"


@pytest.fixture
def address(folder):
    return f"unix:{folder}/containers.sock"


@pytest.fixture
def daemon(folder, start, address):
    with start(EXAMPLE, address) as daemon:
        yield daemon


async def until_listed(client, **wanted):
    while True:
        for row in await client.call("lock_list"):
            if wanted.items() <= row.items():
                return


@pytest.mark.usefixtures("daemon")
def test_a_container_is_stopped_and_its_state_told(address):
    with Client(address) as client:
        client.call("ct_stop", {"name": "web"})
        states = {container["name"]: container["running"] for container in client.call("ct_list")}
        assert states == {"web": False, "db": True, "mail": True}
        client.call("ct_copy", {"source": "web", "target": "mail"})
        assert [container["running"] for container in client.call("ct_list")] == [False, True, False]
        [event] = client.call("event_list", {"type": "state"})
        assert event["opts"] == {"container": "web", "running": False}
        with pytest.raises(NotFound, match="there is no container 'nix'"):
            client.call("ct_stop", {"name": "nix"})


@pytest.mark.usefixtures("daemon")
async def test_what_somebody_works_on_is_locked_and_readers_do_not_wait(address):
    async with AsyncClient(address) as client:
        copying = client.call("ct_copy", {"source": "db", "target": "web", "takes": 60})
        await until_listed(client, name="web", state="held", type="manipulation")
        with pytest.raises(Locked, match="container web is held by ct_copy"):
            await client.call("ct_stop", {"name": "web"})
        assert len(await client.call("ct_list")) == 3
        copying.cancel()


async def test_the_bug_is_reported_and_nobody_hangs(daemon, address):
    async with AsyncClient(address) as client:
        addresses = [container["address"] for container in await client.call("ct_list")]
        first = client.call("ct_swap", {"one": "web", "other": "db", "takes": 2, "cli": "swap web db"})
        await until_listed(client, name="web", state="held")
        second = client.call("ct_swap", {"one": "db", "other": "web", "takes": 0, "cli": "swap db web"})
        await until_listed(client, name="web", state="waiting", holder="'swap db web'")
        assert '[label="container web (exclusive)"]' in await client.call("lock_graph")
        with pytest.raises(Deadlock) as refused:
            await first
        assert str(refused.value) == (
            "deadlock: 'swap web db' would wait for container db (exclusive), blocked by 'swap db web'; "
            "'swap db web' waits for container web (exclusive), blocked by 'swap web db'"
        )
        assert [party["resource"] for party in refused.value.fields["cycle"]] == ["container db", "container web"]
        async with asyncio.timeout(20):
            await second
        swapped = [container["address"] for container in await client.call("ct_list")]
        assert swapped == [addresses[1], addresses[0], addresses[2]]
        assert await client.call("lock_list") == []
    daemon.terminate()
    log = await asyncio.to_thread(daemon.stderr.read)
    assert "deadlock: 'swap web db' would wait" in log
    assert "container web: exclusive held by 'swap web db'" in log
    assert "containers.py:" in log, "the lines to mend are named"
