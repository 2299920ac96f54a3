import pytest

from ctld.commands.permission import denial, require_role
from ctld.errors import Denied
from ctld.peer import Peer
from tests.commands.stage import ALICE, BOB, stage

ROLES = ("anyone", "observe", "operate", "admin")


@pytest.mark.parametrize("has", ROLES)
@pytest.mark.parametrize("needs", ROLES)
def test_a_role_includes_those_below_it(has, needs):
    peer = Peer(name="x", role=has, uid=4242, transport="unix")
    if ROLES.index(has) >= ROLES.index(needs):
        require_role(stage().runtime, peer, needs, "it")
        return
    with pytest.raises(Denied):
        require_role(stage().runtime, peer, needs, "it")


def test_n3_a_denial_names_the_role_and_how_to_get_it():
    error = denial(stage().runtime, BOB, "operate", "vm_start")
    assert error.fields["role"] == "operate"
    assert error.fields["remedy"]
    assert error.message == f"vm_start needs the role operate, and you have observe: {error.fields['remedy']}"
    assert "\n" not in denial(stage().runtime, ALICE, "admin", "x").message
