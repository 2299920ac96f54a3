"""`examples/subclassed.py`: a handler of its own, and a second socket."""

import stat
from pathlib import Path

import pytest

from ctld.client import Client
from ctld.errors import Denied, NotFound, UnknownCommand

EXAMPLE = Path(__file__).parents[2] / "examples" / "subclassed.py"


@pytest.fixture
def vmd(folder, start):
    with start(EXAMPLE, folder / "vmd") as daemon:
        yield daemon


@pytest.fixture
def admin(folder, vmd):
    with Client(f"unix:{folder}/vmd/admin.sock") as client:
        yield client


@pytest.fixture
def visitor(folder, vmd):
    with Client(f"unix:{folder}/vmd/public.sock") as client:
        yield client


def test_the_version_is_the_handlers(admin, visitor):
    for client in (admin, visitor):
        client.call("ping")
    assert admin.banner["version"] == "2.3"
    assert visitor.banner["version"] == "2.3 (read only)"


def test_commands_act_on_the_daemons_own_object(admin, visitor):
    assert admin.call("vm_start", {"name": "web1"})["running"] is True
    # The other socket has the same app behind it.
    assert {vm["name"]: vm["running"] for vm in visitor.call("vm_list")} == {"web1": True, "db1": True}
    with pytest.raises(NotFound) as missing:
        admin.call("vm_stop", {"name": "nope"})
    assert missing.value.fields == {"kind": "vm", "name": "nope"}


def test_authorize_says_more_than_roles_can(admin):
    with pytest.raises(Denied, match="db1 is protected"):
        admin.call("vm_stop", {"name": "db1"})
    assert admin.call("can_i", {"cmd": "vm_stop", "opts": {"name": "db1"}})["allowed"] is False
    assert admin.call("can_i", {"cmd": "vm_stop", "opts": {"name": "web1"}})["allowed"] is True


def test_the_second_socket_has_fewer_commands_and_another_mode(folder, visitor):
    with pytest.raises(UnknownCommand):
        visitor.call("vm_start", {"name": "web1"})
    assert stat.S_IMODE((folder / "vmd/public.sock").stat().st_mode) == 0o666
    assert stat.S_IMODE((folder / "vmd/admin.sock").stat().st_mode) == 0o660


def test_handle_cmd_surrounds_every_request(folder, start):
    with start(EXAMPLE, folder / "vmd") as daemon, Client(f"unix:{folder}/vmd/admin.sock") as client:
        client.call("vm_list")
        with pytest.raises(UnknownCommand):
            client.call("nothing")
    assert "vm_list took " in daemon.log
    assert "nothing took " in daemon.log
