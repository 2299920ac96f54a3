"""The monitor of the process: set up once, and closed (specification A8; A12 row 5)."""

import os

import pytest

from ctld.dialects import guest_agent
from ctld.dialects.guest_agent import KnownListener, MonitorRunning, MonitorSettings, asend_command, current_monitor
from ctld.errors import ListenFailed

GET = b'{"Command":"agent.config.getoption","Option":"Core.LogLevel"}'


@pytest.fixture
def settings(path):
    return MonitorSettings(directory=os.path.dirname(path))


@pytest.fixture
def where(settings):
    return os.path.join(settings.directory, "coreplugin")


async def test_a12_5_set_up_and_close(settings, where):
    await guest_agent.setup(KnownListener.CORE_PLUGIN, settings, options={"Core": {"LogLevel": 3}})
    try:
        assert b'"Value":"3"' in await asend_command(GET, where)
        with pytest.raises(MonitorRunning, match=r"^command monitor is already running$"):
            await guest_agent.setup(KnownListener.CORE_PLUGIN, settings)
    finally:
        guest_agent.close()
        await current_monitor().wait_closed()
    assert not os.path.exists(where)
    guest_agent.close()


async def test_disabled_is_a_success_and_nothing_is_done(settings, where):
    await guest_agent.setup(KnownListener.CORE_PLUGIN, MonitorSettings(enabled=False, directory=settings.directory))
    assert not os.path.exists(where)
    assert not current_monitor().started


async def test_a_setup_that_fails_leaves_nothing_behind(settings, where):
    os.mkdir(where)
    with pytest.raises(ListenFailed):
        await guest_agent.setup(KnownListener.CORE_PLUGIN, settings)
    os.rmdir(where)
    await guest_agent.setup(KnownListener.CORE_PLUGIN, settings)
    assert b'"Status":1' in await asend_command(GET, where)
    guest_agent.close()
    await current_monitor().wait_closed()


async def test_handlers_may_be_registered_before(settings, where):
    async def mine(request):
        return b"mine"

    current_monitor().register("mine", mine)
    try:
        await guest_agent.setup(KnownListener.CORE_PLUGIN, settings)
        assert await asend_command(b'{"Command":"mine"}', where) == b"mine"
    finally:
        guest_agent.close()
        current_monitor().unregister("mine")
        await current_monitor().wait_closed()


def test_names_are_exported_lazily():
    for name in guest_agent.__all__:
        assert getattr(guest_agent, name) is not None
    assert dir(guest_agent) == sorted(guest_agent.__all__)
    with pytest.raises(AttributeError):
        _ = guest_agent.nothing
