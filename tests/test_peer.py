import dataclasses
from typing import get_args

import pytest

from ctld.peer import Peer, Role


def test_roles_stand_in_order():
    assert get_args(Role) == ("anyone", "observe", "operate", "admin")


def test_nobody_is_anyone():
    assert Peer().role == "anyone"
    assert Peer().uid is None


def test_the_daemon_itself():
    assert (Peer.DAEMON.name, Peer.DAEMON.role, Peer.DAEMON.transport) == ("daemon", "admin", "internal")
    assert not dataclasses.is_dataclass(dataclasses.fields(Peer)[0].default)
    assert "DAEMON" not in {field.name for field in dataclasses.fields(Peer)}


@pytest.mark.parametrize(
    ("peer", "shown"),
    [
        (Peer(name="alice", uid=1000, transport="unix"), "alice"),
        (Peer(uid=1000, transport="unix"), "uid 1000"),
        (Peer(uid=0), "uid 0"),
        (Peer(transport="tcp"), "tcp"),
        (Peer(), "unknown"),
    ],
)
def test_how_a_peer_is_named(peer, shown):
    assert str(peer) == shown


def test_a_peer_is_a_frozen_value():
    alice = Peer(name="alice", groups=frozenset({4, 27}))
    with pytest.raises(dataclasses.FrozenInstanceError):
        alice.role = "admin"
    with pytest.raises((AttributeError, TypeError)):
        alice.anything = 1
    promoted = dataclasses.replace(alice, role="operate")
    assert (promoted.role, alice.role) == ("operate", "anyone")
    assert {alice, Peer(name="alice", groups=frozenset({27, 4}))} == {alice}
