import gc
import os
import pwd
import socket
import subprocess
import sys
import tracemalloc

import pytest

from ctld import credentials
from ctld.accounts import Accounts
from ctld.credentials import Credentials, certificate_name, peer_with_certificate
from ctld.peer import Peer
from ctld.policy import Policy


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


class TestUnix:
    def test_the_kernel_says_who_connected(self, pair):
        peer = Credentials().peer_of(pair[0], "unix", Policy())
        assert peer == Peer(
            name=pwd.getpwuid(os.getuid()).pw_name,
            role="admin",
            uid=os.geteuid(),
            gid=os.getegid(),
            groups=frozenset(os.getgroups()),
            pid=os.getpid(),
            transport="unix",
        )

    @pytest.mark.parametrize("count", [0, 2, 256])
    def test_another_user_with_groups_of_his_own(self, count):
        peer, pid = self.become(range(5000, 5000 + count))
        groups = frozenset(range(5000, 5000 + count))
        assert peer == Peer(uid=4000, gid=4000, groups=groups, pid=pid, transport="unix")

    def test_more_groups_than_can_be_asked_for(self):
        peer, _ = self.become(range(5000, 5257))
        assert peer.groups == frozenset(), "the databases do not know this user"

    def become(self, groups):
        """Be connected to by another user; return the peer and the process id."""
        if os.geteuid() != 0:
            pytest.skip("only root can become somebody else")
        # An abstract name, since the other user may not enter the test's directory.
        name = f"ctld-test-{os.getpid()}"
        code = (
            "import os, socket, sys; os.setgroups(range(int(sys.argv[2]), int(sys.argv[3])))\n"
            "os.setgid(4000); os.setuid(4000)\n"
            "s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + sys.argv[1]); s.recv(1)"
        )
        command = [sys.executable, "-c", code, name, str(groups.start), str(groups.stop)]
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"\0{name}")
            server.listen()
            server.settimeout(30)
            with subprocess.Popen(command) as child:
                client, _ = server.accept()
                with client:
                    return Credentials().peer_of(client, "unix", Policy()), child.pid

    def test_connections_share_what_they_have_in_common(self, pair, monkeypatch):
        monkeypatch.setattr(credentials, "_SO_PEERGROUPS", socket.SO_PEERCRED)  # some groups that are not none
        made = Credentials()
        first, second = made.peer_of(pair[0], "unix", Policy()), made.peer_of(pair[1], "unix", Policy())
        assert len(first.groups) > 0
        assert first.groups is second.groups
        assert first.name is second.name

    def test_ten_thousand_peers_are_small(self, pair):
        made = Credentials()
        made.peer_of(pair[0], "unix", Policy())
        tracemalloc.start()
        try:
            peers = [made.peer_of(pair[0], "unix", Policy()) for _ in range(1000)]
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] / len(peers) < 250
        finally:
            tracemalloc.stop()

    def test_shared_groups_are_bounded(self, pair, monkeypatch):
        monkeypatch.setattr(credentials, "_MAX_SHARED", 2)

        class Sock:
            def getsockopt(self, level, option, size):
                return pair[0].getsockopt(level, option, size) if option == socket.SO_PEERCRED else self.groups

        made, sock = Credentials(), Sock()
        for gid in range(5):
            sock.groups = bytes([gid, 0, 0, 0])
            assert made.peer_of(sock, "unix", Policy()).groups == {gid}
        assert len(made._shared) == 2

    def test_without_the_kernel_s_groups_the_databases_answer(self, pair, monkeypatch):
        monkeypatch.setattr(credentials, "_SO_PEERGROUPS", 9999)

        class Known(Accounts):
            def groups_of(self, uid, gid):
                return frozenset({uid + 7, gid + 8})

        peer = Credentials(Known()).peer_of(pair[0], "unix", Policy())
        assert peer.groups == {os.geteuid() + 7, os.getegid() + 8}

    @pytest.mark.parametrize(
        ("pid", "uid", "gid", "expected"),
        [
            (0, 5, 6, Peer(uid=5, gid=6, transport="unix")),
            (9, 2**32 - 1, 6, Peer(transport="unix")),
            (9, 5, 2**32 - 1, Peer(transport="unix")),
        ],
    )
    def test_what_the_kernel_cannot_translate(self, pid, uid, gid, expected):
        class Nameless(Accounts):
            def user_name(self, uid):
                return ""

        class Sock:
            def getsockopt(self, level, option, size):
                return credentials._UCRED.pack(pid, uid, gid) if option == socket.SO_PEERCRED else b""

        assert Credentials(Nameless()).peer_of(Sock(), "unix", Policy()) == expected

    def test_a_socket_that_is_gone_has_nobody(self, pair):
        pair[0].close()
        assert Credentials().peer_of(pair[0], "unix", Policy()) == Peer(transport="unix")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_the_network_does_not_say(pair, transport):
    assert Credentials().peer_of(pair[0], transport, Policy()) == Peer(transport=transport)


def subject(*names):
    return {"subject": ((("countryName", "CZ"),), *((("commonName", name),) for name in names))}


class TestCertificates:
    @pytest.mark.parametrize(
        ("certificate", "name"),
        [
            (subject("alice"), "alice"),
            (subject("alice") | {"subjectAltName": (("DNS", "other"),)}, "alice"),
            (
                subject() | {"subjectAltName": (("IP Address", "1.2.3.4"), ("DNS", "a.example"), ("DNS", "b"))},
                "a.example",
            ),
            ({"subjectAltName": (("email", "alice@example.org"),)}, "alice@example.org"),
            ({"subjectAltName": (("URI", "spiffe://x/y"),)}, "spiffe://x/y"),
            (subject("žluťoučký kůň"), "žluťoučký kůň"),
            (subject("a" * 255), "a" * 255),
            (subject("alice", "root"), ""),
            (subject("a" * 256), ""),
            (subject("a\x1b[2J"), ""),
            (subject("a\0b"), ""),
            (subject("a\n"), ""),
            (subject(" alice"), ""),
            (subject(""), ""),
            (subject(), ""),
            ({}, ""),
        ],
    )
    def test_the_name_of_a_certificate(self, certificate, name):
        assert certificate_name(certificate) == name

    def test_names_the_peer(self):
        peer = Peer(transport="tls", role="observe")
        assert peer_with_certificate(peer, subject("alice")) == Peer(name="alice", transport="tls", role="observe")
        assert peer_with_certificate(peer, {}) is peer
        assert peer_with_certificate(peer, None) is peer
