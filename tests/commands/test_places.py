import contextlib

import pytest

from ctld.commands.places import Places
from ctld.errors import Busy
from ctld.peer import Peer

ALICE, BOB, CAROL, NETWORK = Peer(uid=1), Peer(uid=2), Peer(uid=3), Peer(transport="tcp")


def test_one_user_has_half_and_all_have_no_more_than_there_is():
    places = Places("things")
    with contextlib.ExitStack() as held:
        for peer in (ALICE, BOB):
            held.enter_context(places.hold(peer, 4, 2))
            with pytest.raises(Busy, match="in use" if peer is BOB else "one user has 2 things at most"):
                held.enter_context(places.hold(peer, 4))
        with pytest.raises(Busy, match="the daemon has 4 things at most, and they are in use"):
            held.enter_context(places.hold(CAROL, 4))
    with places.hold(CAROL, 4, 2):
        pass
    assert not places._held


def test_callers_without_identity_are_one_user():
    places = Places("things")
    with places.hold(NETWORK, 2), pytest.raises(Busy), places.hold(Peer(transport="tls", name="x"), 2):
        pass


def test_there_is_always_one_and_a_refusal_costs_nothing():
    places = Places("things")
    with places.hold(ALICE, 1):
        pass
    for _ in range(3):
        with pytest.raises(Busy), places.hold(ALICE, 4, 3):
            pass
    with places.hold(ALICE, 4, 2):
        pass
