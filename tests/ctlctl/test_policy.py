"""ctlctl.policy: roles as a picture."""

from ctlctl.policy import picture
from tests.ctlctl.running import Run, answering, entry

ROLES = [
    {"role": "anyone", "commands": ["ping", "op_wait"], "callers": [], "listeners": []},
    {"role": "observe", "commands": [], "callers": ["group:staff", "uid:7"], "listeners": ["unix:/s"]},
    "nonsense",
    {"role": "\x1b", "commands": None},
]


def test_the_picture() -> None:
    assert picture(ROLES).splitlines() == [
        "Each role may do what those above it may, and more.",
        "",
        "anyone",
        "  who       -",
        "  commands  ping, op wait",
        "",
        "observe",
        "  who       group:staff, uid:7, everyone on unix:/s",
        "  commands  -",
        "",
        "\\u001b",
        "  who       -",
        "  commands  -",
    ]
    assert "\x1b[1mobserve\x1b[0m" in picture(ROLES[:2], colour=True)
    assert picture(None).count("\n") == 0


def test_it_keeps_to_the_width() -> None:
    role = {"role": "admin", "commands": [f"vm_{number}" for number in range(100)], "callers": [], "listeners": []}
    lines = picture([role], width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert lines[6].startswith(" " * 12)


def test_the_command(run: Run) -> None:
    address = run.serve(answering({"policy_list": ROLES[:2], "describe": [entry("policy_list")]})).address
    assert run("-s", address, "policy") == (0, picture(ROLES[:2]) + "\n", "")
    assert run("-s", address, "--json", "policy")[1].startswith('[{"role":"anyone"')
    assert run("-s", address, "policy", "--json-seq")[1].startswith('{"role":"anyone"')
    assert run("-s", address, "policy", "list")[1].startswith("ROLE ")
    assert run("-s", address, "--", "policy")[::2] == (2, "ctlctl: policy needs a further word: list\n")
