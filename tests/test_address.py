"""ctld.address: every kind of text, its canonical form, and what is refused and why."""

import copy
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.address import Address, default_address, parse_address
from ctld.errors import ConfigError

ACCEPTED = {
    "unix:/run/ctld.sock": Address("unix", path="/run/ctld.sock"),
    "/run/ctld.sock": Address("unix", path="/run/ctld.sock"),
    "./ctld.sock": Address("unix", path="./ctld.sock"),
    "../ctld.sock": Address("unix", path="../ctld.sock"),
    "unix:ctld.sock": Address("unix", path="ctld.sock"),
    "unix:/a:b c": Address("unix", path="/a:b c"),
    "unix:@ctld": Address("unix", path="@ctld"),
    "tcp:localhost:7000": Address("tcp", host="localhost", port=7000),
    "tcp:127.0.0.1:0": Address("tcp", host="127.0.0.1", port=0),
    "tcp:[::1]:65535": Address("tcp", host="::1", port=65535),
    "tcp:[fe80::1%eth0]:1": Address("tcp", host="fe80::1%eth0", port=1),
    "tls:control.example:443": Address("tls", host="control.example", port=443),
    "ssh://host": Address("ssh", host="host"),
    "ssh://me@host:22/run/x": Address("ssh", name="me", host="host", port=22, path="/run/x"),
    "ssh://[::1]:22": Address("ssh", host="::1", port=22),
    "ssh://me@[::1]/a@b:c": Address("ssh", name="me", host="::1", path="/a@b:c"),
    "fd:3": Address("fd", port=3),
    "systemd:": Address("systemd"),
    "systemd:control": Address("systemd", name="control"),
    "unix:" + "x" * 107: Address("unix", path="x" * 107),
    "unix:@" + "x" * 107: Address("unix", path="@" + "x" * 107),
}

REFUSED = {
    "": "write unix:PATH",
    "ctld.sock": "write unix:PATH",
    "http:localhost:80": "write unix:PATH",
    "UNIX:/run/x": "write unix:PATH",
    "unix:": "the path is missing",
    "unix:@": "the path is missing",
    "unix:/a\0b": "NUL",
    "unix:@\0": "NUL",
    "unix:" + "x" * 108: "at most 107 bytes, this one has 108",
    "/" + "é" * 54: "at most 107 bytes, this one has 109",
    "unix:/\ud800": "cannot be encoded",
    "ssh:host": "write ssh://",
    "ssh://": "the host is missing",
    "ssh://me@": "the host is missing",
    "ssh:///path": "the host is missing",
    "ssh://-oProxyCommand=x": "no host has such a name",
    "ssh://-l@host": "no user has such a name",
    "ssh://@host": "no user has such a name",
    "ssh://a b@host": "no user has such a name",
    "ssh://a@b@host": "no user has such a name",
    "ssh://host:": "the port is a number",
    "ssh://::1": "stands in brackets: ssh:",
    "ssh://[host]": "no IPv6 address",
    "ssh://host/" + "x" * 107: "at most 107 bytes",
    "tcp:": "the port is missing",
    "tcp:localhost": "the port is missing",
    "tcp:[::1]": "the port is missing",
    "tcp::80": "the host is missing",
    "tcp:[]:80": "no IPv6 address",
    "tcp:[localhost]:80": "no IPv6 address",
    "tcp:[::1%a/b]:80": "no IPv6 address",
    "tcp:::1:80": "stands in brackets: tcp:",
    "tls:::1:80": "stands in brackets: tls:",
    "tcp://localhost:80": "no host has such a name",
    "tcp:a b:80": "no host has such a name",
    "tcp:a\x1b:80": "no host has such a name",
    "tcp:" + "a" * 256 + ":80": "no host has such a name",
    "tcp:localhost:": "the port is a number",
    "tcp:localhost:65536": "from 0 to 65535",
    "tcp:localhost:-1": "the port is a number",
    "tcp:localhost:+1": "the port is a number",
    "tcp:localhost:1_0": "the port is a number",
    "tcp:localhost:٣": "the port is a number",
    "tcp:localhost:" + "9" * 5000: "the port is a number",
    "fd:": "the descriptor is a number",
    "fd:x": "the descriptor is a number",
    "fd:2147483648": "the descriptor is a number",
    "systemd:a:b": "systemd never names",
    "systemd:\n": "systemd never names",
    "systemd:é": "systemd never names",
    "systemd:" + "x" * 256: "systemd never names",
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepted(text: str) -> None:
    address = parse_address(text)
    assert address == ACCEPTED[text]
    assert parse_address(str(address)) == address


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: ascii(text[:30]))
def test_refused(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_address(text)
    assert REFUSED[text] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    ("text", "canonical"),
    [("/run/x", "unix:/run/x"), ("tcp:[::1]:07", "tcp:[::1]:7"), ("fd:03", "fd:3"), ("systemd:", "systemd:")],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(parse_address(text)) == canonical
    assert repr(parse_address(text)) == f"Address({canonical!r})"


@given(st.text(max_size=130))
def test_any_text_is_accepted_or_refused_and_round_trips(text: str) -> None:
    for candidate in (text, f"unix:{text}", f"tcp:{text}:1", f"tls:[{text}]:1", f"fd:{text}", f"systemd:{text}"):
        try:
            address = parse_address(candidate)
        except ConfigError:
            continue
        assert parse_address(str(address)) == address


def test_sockaddr() -> None:
    assert parse_address("/run/x").sockaddr == "/run/x"
    assert parse_address("unix:@x").sockaddr == "\0x"
    assert parse_address("unix:./@x").sockaddr == "./@x"
    assert parse_address("tcp:[::1]:5").sockaddr == ("::1", 5)
    assert parse_address("unix:@x").abstract
    assert not parse_address("/x").abstract


def test_an_address_is_a_frozen_value() -> None:
    address = parse_address("tcp:localhost:1")
    with pytest.raises(AttributeError, match="port"):
        address.port = 2
    with pytest.raises(AttributeError, match="host"):
        del address.host
    assert address == parse_address("tcp:localhost:1")
    assert address != parse_address("tls:localhost:1")
    assert address != "tcp:localhost:1"
    assert len({address, parse_address("tcp:localhost:1"), parse_address("tcp:localhost:2")}) == 2
    assert pickle.loads(pickle.dumps(address)) == copy.deepcopy(address) == address


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"CTLD_SOCKET": "tcp:localhost:1", "XDG_RUNTIME_DIR": "/run/user/1"}, 1, "tcp:localhost:1"),
        ({"CTLD_SOCKET": "/x"}, 0, "unix:/x"),
        ({"CTLD_SOCKET": "", "XDG_RUNTIME_DIR": "/run/user/1/"}, 1, "unix:/run/user/1/ctld/ctld.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "unix:/run/ctld/ctld.sock"),
        ({}, 0, "unix:/run/ctld/ctld.sock"),
    ],
)
def test_default_address(environ: dict[str, str], uid: int, expected: str) -> None:
    assert str(default_address(environ, uid)) == expected


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "set CTLD_SOCKET"),
        ({"XDG_RUNTIME_DIR": "relative"}, "set CTLD_SOCKET"),
        ({"CTLD_SOCKET": "nonsense"}, "CTLD_SOCKET: 'nonsense' is no address"),
        ({"XDG_RUNTIME_DIR": "/" + "x" * 120}, "at most 107 bytes"),
    ],
)
def test_no_default_address(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        default_address(environ, 1000)


def test_the_module_is_light() -> None:
    code = "import sys; before = set(sys.modules); import ctld.address; print(*sorted(set(sys.modules) - before))"
    added = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert set(added) <= {"__future__", "ctld", "ctld.address", "ctld.errors", "ctld.version"}
