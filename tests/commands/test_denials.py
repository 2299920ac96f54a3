"""A stranger does not wash out the audit log by being denied."""

import logging

import pytest

import ctld
from ctld.commands.denials import BURST, MAX_CALLERS, SECONDS_PER_DENIAL, DenialBudget
from ctld.peer import Peer
from tests.clock import Clock
from tests.native import serving

MALLORY = Peer(name="mallory", uid=4711, transport="unix")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def budget(clock):
    return DenialBudget(clock)


def spend(budget, peer=MALLORY):
    admitted = 0
    while budget.admits(peer):
        admitted += 1
    return admitted


def test_a_burst_is_written_down_whole(budget):
    assert spend(budget) == BURST


def test_it_comes_back_slowly_and_not_beyond_the_burst(budget, clock):
    spend(budget)
    clock.now += SECONDS_PER_DENIAL * 2.5
    assert spend(budget) == 2
    clock.now += SECONDS_PER_DENIAL * 0.5
    assert spend(budget) == 1, "asking in vain costs nothing"
    clock.now += SECONDS_PER_DENIAL * BURST * 10
    assert spend(budget) == BURST


def test_each_caller_has_his_own(budget):
    spend(budget)
    for other in (
        Peer(uid=4712, transport="unix"),
        Peer(name="mallory", transport="tls"),
        Peer(name="robot", transport="tls"),
        Peer(transport="tcp"),
    ):
        assert budget.admits(other)
    assert not budget.admits(Peer(name="renamed", uid=4711, transport="unix")), "a login does not change who it is"


def test_it_is_reported_once_until_it_has_passed(budget, clock, caplog):
    with caplog.at_level(logging.WARNING, "ctld.commands"):
        spend(budget)
        spend(budget)
        assert caplog.messages == ["! mallory is denied so often that the history leaves it out for now"]
        clock.now += SECONDS_PER_DENIAL
        spend(budget)
        assert len(caplog.messages) == 2


def test_it_does_not_grow_without_bound(budget):
    for uid in range(MAX_CALLERS * 2):
        budget.admits(Peer(uid=uid, transport="unix"))
    assert len(budget._left) <= MAX_CALLERS


async def test_over_a_socket_the_flood_ends_and_the_rest_stays(tmp_path):
    class Strangers(ctld.ClientHandler):
        async def on_connect(self):
            self.peer = MALLORY

    async with serving(tmp_path, handler=Strangers) as served:
        client = await served.connect()
        client.send(*[{"cmd": "shutdown"}] * (BURST + 500))
        codes = [(await client.receive())["code"] for _ in range(BURST + 500)]
        assert set(codes) == {"denied"}
        assert len(await served.server.history.query(limit=5000)) == BURST
