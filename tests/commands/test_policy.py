"""Explainable policy over real sockets: who has which role, denials, and remedies that are true."""

import asyncio
import grp
import os
import re
import socket
import ssl
import tempfile
import tomllib
from contextlib import contextmanager

import pytest

import ctld
from ctld.commands.policy import policy_commands
from ctld.settings import RoleSettings
from tests.certificates import Authority
from tests.native import RawClient, serving

STRANGER = 54321
GROUP = 54322

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")


def registry():
    commands = ctld.CommandRegistry()

    @commands.command("ct_start", role="operate")
    async def ct_start(ctx: ctld.Context, name: str = "") -> str:
        """Needs operate."""
        return "started"

    @commands.command("wipe", role="admin")
    async def wipe(ctx: ctld.Context) -> str:
        """Needs admin."""
        return "wiped"

    return commands


@contextmanager
def acting_as(uid, groups=()):
    """Be somebody else while connecting: the kernel notes who connects."""
    before = os.getgroups()
    os.setgroups(list(groups))
    os.setegid(uid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(before)


async def ask_as(served, uid, *asking, groups=()):
    """Connect as somebody and ask."""
    sock = socket.socket(socket.AF_UNIX)
    with acting_as(uid, groups):
        sock.connect(served.path)
    client = RawClient(*await asyncio.open_unix_connection(sock=sock))
    assert (await client.receive())["protocol"] == 2
    try:
        return await client.ask(*asking)
    finally:
        client.close()
        await client.writer.wait_closed()


@pytest.fixture
def place():
    """A folder that strangers may enter; those of pytest are private."""
    with tempfile.TemporaryDirectory(prefix="ctld-") as folder:
        os.chmod(folder, 0o755)
        yield folder


class Daemon:
    """A server whose roles a remedy can change."""

    def __init__(self, place, role="anyone", **roles):
        self.roles = {name: list(principals) for name, principals in roles.items()}
        self.path = f"{place}/s"
        self.listen = ctld.Listen(address=f"unix:{self.path}", mode="0666", role=role)

    def server(self):
        return ctld.Server(commands=registry(), listen=[self.listen], roles=self.roles)

    def apply(self, remedy):
        """Do what a remedy says to the configuration."""
        change = re.match(r'(?:add|move) (".*?")(?: from (\w+))? to (\w+) under \[roles\]', remedy)
        assert change, remedy
        principal = tomllib.loads(f"p = {change[1]}")["p"]
        if change[2]:
            self.roles[change[2]].remove(principal)
        self.roles.setdefault(change[3], []).append(principal)


def test_there_is_one_command():
    assert [(command.name, command.role) for command in policy_commands()] == [("policy_list", "observe")]


# Who has what.


async def test_it_lists_commands_by_role_and_who_has_it(tmp_path):
    roles = {"observe": ["group:users"], "operate": ["user:nobody", "cert:robot"], "anyone": [], "admin": ["gid:0"]}
    async with serving(tmp_path, registry(), roles=roles) as served:
        listener = await served.server.listen(ctld.Listen(address=f"unix:{tmp_path}/open", mode="0600", role="observe"))
        answer = (await (await served.connect()).ask("policy_list"))["response"]
        anyone, observe, operate, admin = answer
        assert [entry["role"] for entry in answer] == ["anyone", "observe", "operate", "admin"]
        assert {"ping", "can_i", "describe"} <= set(anyone["commands"])
        assert {"policy_list", "lock_list", "history_list", "event_subscribe"} <= set(observe["commands"])
        assert operate["commands"] == ["ct_start"] + [name for name in operate["commands"] if name != "ct_start"]
        assert {"wipe", "shutdown"} <= set(admin["commands"])
        assert observe["callers"] == ["group:users"]
        assert operate["callers"] == ["user:nobody", "cert:robot"]
        assert admin["callers"][0] == "gid:0"
        assert "uid:0" in admin["callers"], "root has it by an unwritten rule"
        assert observe["listeners"] == [f"unix:{tmp_path}/open"]
        assert anyone["listeners"] == [f"unix:{served.path}"]
        await listener.close()


async def test_a_rule_about_root_stands_in_the_place_of_the_unwritten_one(tmp_path):
    roles = {"observe": ["uid:0"]} | ({"admin": [f"uid:{os.geteuid()}"]} if os.geteuid() else {})
    async with serving(tmp_path, registry(), roles=roles) as served:
        answer = (await (await served.connect()).ask("policy_list"))["response"]
        assert answer[1]["callers"] == ["uid:0"]
        assert "uid:0" not in answer[3]["callers"]


# Denials that help: the remedy is applied, and the same caller asks again.


@as_root
@pytest.mark.parametrize("cmd", ["ct_start", "wipe"])
async def test_a_strangers_remedy_is_true(place, cmd):
    daemon = Daemon(place)
    async with daemon.server():
        answer = await ask_as(daemon, STRANGER, cmd)
        assert answer["code"] == "denied"
        assert answer["role"] == ("operate" if cmd == "ct_start" else "admin")
        assert answer["remedy"] in answer["message"]
        can_i = await ask_as(daemon, STRANGER, "can_i", {"cmd": cmd})
        assert can_i["response"] == {"allowed": False, "role": answer["role"], "remedy": answer["remedy"]}
    daemon.apply(answer["remedy"])
    async with daemon.server():
        assert (await ask_as(daemon, STRANGER, cmd))["status"] is True
        can_i = await ask_as(daemon, STRANGER, "can_i", {"cmd": cmd})
        assert can_i["response"]["allowed"] is True
    assert answer["remedy"].endswith("or run it as root")
    async with Daemon(place).server():
        assert (await ask_as(daemon, 0, cmd))["status"] is True


@as_root
async def test_the_remedy_of_somebody_whom_a_rule_pins_down_is_true(place):
    daemon = Daemon(place, observe=[f"uid:{STRANGER}"], operate=[f"gid:{GROUP}"])
    async with daemon.server():
        answer = await ask_as(daemon, STRANGER, "ct_start", groups=[GROUP])
        assert answer["remedy"].startswith("move")
    daemon.apply(answer["remedy"])
    async with daemon.server():
        assert (await ask_as(daemon, STRANGER, "ct_start"))["status"] is True


@as_root
async def test_to_join_a_group_is_a_remedy_that_is_true(place):
    daemon = Daemon(place, operate=["group:daemon"])
    async with daemon.server():
        answer = await ask_as(daemon, STRANGER, "ct_start")
        assert answer["remedy"].startswith("join the group daemon and log in again")
        gid = grp.getgrnam("daemon").gr_gid
        assert (await ask_as(daemon, STRANGER, "ct_start", groups=[gid]))["status"] is True


@as_root
async def test_a_listener_gives_its_role_to_those_whom_no_rule_names(place):
    daemon = Daemon(place, role="operate", observe=[f"gid:{GROUP}"])
    async with daemon.server():
        assert (await ask_as(daemon, STRANGER, "ct_start"))["status"] is True
        answer = await ask_as(daemon, STRANGER, "ct_start", groups=[GROUP])
        assert answer["code"] == "denied", "the most specific rule wins"


async def test_can_i_runs_nothing_and_asks_the_handler(tmp_path):
    class Picky(ctld.ClientHandler):
        async def authorize(self, command, opts, /):
            if opts.get("name") == "mine":
                raise ctld.Denied("hands off", remedy="take another one")

    async with serving(tmp_path, registry(), handler=Picky) as served:
        client = await served.connect()
        refused = await client.ask("can_i", {"cmd": "ct_start", "opts": {"name": "mine"}})
        assert refused["response"] == {"allowed": False, "role": "operate", "remedy": "take another one"}
        assert (await client.ask("can_i", {"cmd": "ct_start"}))["response"]["allowed"] is True
        assert (await client.ask("can_i", {"cmd": "none"}))["code"] == "unknown-command"
        described = (await client.ask("describe", {"cmd": "wipe"}))["response"]
        assert (described["role"], described["allowed"]) == ("admin", True)


def test_the_roles_of_a_file_are_the_roles_of_the_policy():
    assert list(RoleSettings().mapping()) == ["anyone", "observe", "operate", "admin"]


async def test_the_remedy_of_somebody_with_a_certificate_is_true(tmp_path):
    authority = Authority(tmp_path)
    certificate, key = authority.issue("server")
    context = ssl.create_default_context(cafile=str(authority.file))
    context.load_cert_chain(*authority.issue("robot"))
    daemon = Daemon(tmp_path, observe=["cert:other"])
    daemon.listen = ctld.Listen(
        address="tls:127.0.0.1:0", tls_certificate=certificate, tls_key=key, tls_ca=str(authority.file)
    )

    async def start_container():
        async with daemon.server() as server:
            [(address, role)] = server.listeners()
            assert role == "anyone"
            async with ctld.AsyncClient(address, tls=context) as client:
                return await client.call("ct_start")

    with pytest.raises(ctld.Denied) as denied:
        await start_container()
    assert denied.value.fields["remedy"] == 'add "cert:robot" to operate under [roles]'
    daemon.apply(denied.value.fields["remedy"])
    assert await start_container() == "started"
