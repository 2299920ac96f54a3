"""agent.config.getoption (specification A9; A12 row 10)."""

import base64
import json
from pathlib import Path

import pytest

from ctld.dialects.guest_agent.getoption import answer_get_option, get_option

OPTIONS = {
    "Core": {"LogLevel": 3},
    "InstanceSetup": {"NetworkEnabled": True, "Off": False, "List": [1], "Deep": {"Leaf": "text"}},
    "Unstable": {"CommandPipeMode": "0770"},
}
VECTORS = json.loads((Path(__file__).parents[2] / "vectors/guestagent_server.json").read_text())["cases"]


@pytest.mark.parametrize(
    "case", [case for case in VECTORS if case["name"].startswith("getoption")], ids=lambda case: case["name"]
)
def test_a12_10_vectors(case):
    request = base64.b64decode(case["request_b64"])
    assert answer_get_option(request, OPTIONS) == base64.b64decode(case["response_b64"])


@pytest.mark.parametrize(
    ("name", "status", "value"),
    [
        ("", 2, ""),
        ("InstanceSetup.NetworkEnabled", 0, "true"),
        ("InstanceSetup.Off", 0, "false"),
        ("InstanceSetup.Deep.Leaf", 0, "text"),
        ("InstanceSetup", 1, ""),  # no leaf
        ("InstanceSetup.List", 1, ""),
        ("InstanceSetup.NetworkEnabled.Foo", 1, ""),  # this kills the original
        ("BadOption", 1, ""),
        ("BadOption.bad", 1, ""),  # from left to right
        ("bad.BadOption", 3, ""),
        ("A", 3, ""),
        ("Ab\n", 3, ""),
        ("Äb", 3, ""),
    ],
)
def test_options(name, status, value):
    assert get_option(name, OPTIONS)[::2] == (status, value)


def test_an_option_that_is_not_there_and_one_that_is_no_string():
    assert answer_get_option(b'{"Option":null}', {}) == (
        b'{"Status":2,"StatusMessage":"No option specified","Option":"","Value":""}'
    )
    with pytest.raises(ValueError, match="no string"):
        answer_get_option(b'{"Option":5}', {})
