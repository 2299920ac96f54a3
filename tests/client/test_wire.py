"""ctld.client.wire: what a client writes, and what it makes of anything that comes back."""

import datetime
import json
import pathlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctld.address import parse_address
from ctld.client.wire import (
    MAX_LINE,
    LineReader,
    Update,
    check_connectable,
    check_deadline,
    check_size,
    classify,
    decode_line,
    encode_cancel,
    encode_request,
    failure_to_error,
    is_banner,
    protocol_of,
    shortened,
)
from ctld.errors import (
    CommandFailed,
    ConfigError,
    Denied,
    LocalProtocolError,
    Locked,
    RemoteProtocolError,
    TooLarge,
)

# -- requests


def test_n1_a_plain_request_has_the_keys_of_version_1_only() -> None:
    assert encode_request("ping", {}) == b'{"cmd":"ping","opts":{}}\n'


def test_n4_the_keys_of_version_2_appear_where_they_are_used() -> None:
    line = encode_request("x", {"a": 1}, request_id=7, deadline=1.5, stream=True, detach=True)
    assert json.loads(line) == {
        "cmd": "x",
        "opts": {"a": 1},
        "id": 7,
        "deadline": 1.5,
        "stream": True,
        "detach": True,
    }


def test_n4_cancel() -> None:
    assert encode_cancel() == b'{"cancel":null}\n'
    assert encode_cancel(7) == b'{"cancel":7}\n'


def test_options_that_only_msgspec_knows_are_written_by_its_rule() -> None:
    opts = {"when": datetime.date(2026, 1, 2), "raw": b"hi", "path": pathlib.Path("/x"), "set": {1}}
    assert json.loads(encode_request("x", opts))["opts"] == {
        "when": "2026-01-02",
        "raw": "aGk=",
        "path": "/x",
        "set": [1],
    }


def test_text_stays_readable() -> None:
    assert "é\\n".encode() in encode_request("x", {"name": "é\n"})
    assert encode_request("x", {"name": "a\nb\r\u2028"}).count(b"\n") == 1


def deep(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), float("inf"), "\ud800", {b"key": 1}, deep(100_000), {"a": "\udcff"}],
    ids=["object", "nan", "inf", "surrogate", "bytes key", "deep", "undecodable name"],
)
def test_what_json_cannot_carry_is_refused_before_anything_is_sent(value: object) -> None:
    with pytest.raises(LocalProtocolError, match="cannot be sent") as caught:
        encode_request("x", {"value": value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan")])
def test_a_deadline_is_a_number_above_0(deadline: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        check_deadline(deadline)


def test_good_deadlines() -> None:
    assert check_deadline(None) is None
    assert check_deadline(0.5) == 0.5


def test_a_request_is_held_against_the_max_line_of_the_banner() -> None:
    line = encode_request("x", {"a": "y" * 100})
    check_size(line, None)
    check_size(line, {"max_line": len(line) - 1})
    check_size(line, {"max_line": "nonsense"})
    check_size(line, {"max_line": 0})
    with pytest.raises(TooLarge, match="the daemon takes 50"):
        check_size(line, {"max_line": 50})


def test_only_a_server_listens_on_descriptors() -> None:
    for text in ("fd:3", "systemd:"):
        with pytest.raises(ConfigError, match="a client cannot connect"):
            check_connectable(parse_address(text))
    assert str(check_connectable(parse_address("/x"))) == "unix:/x"


# -- lines


def lines_of(pieces: list[bytes], max_line: int = MAX_LINE) -> list[bytes]:
    reader = LineReader(max_line)
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (line := reader.next_line()) is not None:
            found.append(bytes(line))
    return found


WIRE = b'{"a":1}\n\n \r\n{"b":2}\r\n{"c":3}\n'


def test_lines_come_whole_wherever_the_bytes_are_cut() -> None:
    expected = lines_of([WIRE])
    assert [json.loads(line) for line in expected] == [{"a": 1}, {"b": 2}, {"c": 3}]
    for cut in range(len(WIRE) + 1):
        assert lines_of([WIRE[:cut], WIRE[cut:]]) == expected
    assert lines_of([WIRE[at : at + 1] for at in range(len(WIRE))]) == expected


@pytest.mark.parametrize("data", [b"x" * 11, b"x" * 11 + b"\n"])
def test_a_line_is_bounded_before_and_after_its_end_comes(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="more than 10 bytes"):
        lines_of([data], max_line=10)
    assert lines_of([b"x" * 10 + b"\n"], max_line=10) == [b"x" * 10]


def test_the_rest_can_be_taken_over() -> None:
    reader = LineReader()
    reader.feed(b'{"a":1}\n\x00{raw\n')
    assert reader.next_line() == b'{"a":1}'
    assert reader.take_rest() == b"\x00{raw\n"
    assert reader.next_line() is None


# -- messages


@pytest.mark.parametrize(
    "line",
    [b"nonsense", b"\xff", b"{", b"[1]", b"5", b"null", b'"x"', b'{"a":NaN}', b"[" * 100_000, b"9" * 5000, b"{} {}"],
)
def test_what_is_no_json_object_ends_the_connection(line: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"the server sent no (JSON|message): ") as caught:
        decode_line(line)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200


def test_shortened_text_is_printable() -> None:
    assert shortened(b"\x1b[2J\n") == r"'\x1b[2J\n'"
    assert shortened(b"x" * 100).endswith("...")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"status": True, "progress": None}, "progress"),
        ({"status": True, "progress": 1, "response": 1}, "progress"),
        ({"status": True, "item": None}, "item"),
        ({"status": True, "response": None}, "response"),
        ({"status": True, "response": 1, "more": 2}, "response"),
        ({"status": False}, "failure"),
        ({"status": False, "response": {}}, "failure"),
    ],
)
def test_kinds(message: dict[str, Any], kind: str) -> None:
    assert classify(message) == kind


@pytest.mark.parametrize(
    "message", [{}, {"status": 1, "response": 2}, {"status": "true"}, {"status": None}, {"status": True}]
)
def test_n2_status_is_true_or_false_and_nothing_else(message: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="does not know"):
        classify(message)


@pytest.mark.parametrize(
    ("banner", "protocol"),
    [({}, 1), ({"protocol": 2}, 2), ({"protocol": "2"}, 1), ({"protocol": True}, 1), ({"protocol": 0}, 1)],
)
def test_n4_the_banner_says_which_protocol(banner: dict[str, Any], protocol: int) -> None:
    assert is_banner(banner)
    assert protocol_of(banner) == protocol
    assert not is_banner({"status": False})


def test_n3_a_failure_becomes_the_class_of_its_slug() -> None:
    error = failure_to_error(
        {"status": False, "message": "held", "code": "locked", "id": 1, "holder": "x", "resource": "ct a"}
    )
    assert type(error) is Locked
    assert str(error) == "held"
    assert error.fields == {"holder": "x", "resource": "ct a"}
    assert type(failure_to_error({"status": False, "message": "no", "code": "denied"})) is Denied


def test_n3_a_slug_of_its_own_is_kept() -> None:
    error = failure_to_error({"status": False, "message": "paused", "code": "vm.paused"})
    assert type(error) is CommandFailed
    assert error.code == "vm.paused"


@pytest.mark.parametrize(
    ("message", "text"),
    [(None, "the command failed"), (["a", 1], '["a", 1]'), (5, "5"), ("", "")],
)
@pytest.mark.parametrize("code", [None, 5, "", []])
def test_n1_the_message_of_version_1_may_be_anything(message: Any, text: str, code: Any) -> None:
    error = failure_to_error({"status": False, "message": message, "code": code})
    assert (str(error), error.code) == (text, "failed")


def test_n4_progress() -> None:
    update = Update({"progress": "x", "current": 1, "total": 2.5, "unit": "items", "data": [1], "seq": 3})
    assert (update.message, update.current, update.total, update.unit, update.data, update.seq) == (
        "x",
        1,
        2.5,
        "items",
        [1],
        3,
    )
    assert repr(update) == "Update('x', current=1, total=2.5)"
    # No float holds them, or the result of reckoning with them: JSON has 1e999, too, and Python reads it.
    for endless in (10**400, -(10**400), float("inf"), float("-inf"), float("nan"), 1.7e308):
        huge = Update({"progress": "x", "current": endless, "total": endless})
        assert (huge.current, huge.total) == (None, None)
    odd = Update({"progress": None, "current": True, "total": "9", "unit": 5, "seq": "1"})
    assert (odd.message, odd.current, odd.total, odd.unit, odd.data, odd.seq) == (None, None, None, "", None, 0)


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_a_documented_error(junk: bytes) -> None:
    try:
        for line in lines_of([junk, b"\n"], max_line=64):
            message = decode_line(line)
            assert is_banner(message) or classify(message)
    except RemoteProtocolError:
        pass


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5)
KEYS = st.sampled_from(["status", "message", "code", "id", "progress", "item", "response", "current", "unit"])


@given(st.dictionaries(KEYS, VALUES))
def test_objects_of_any_shape_are_understood_or_refused(message: dict[str, Any]) -> None:
    try:
        kind = classify(decode_line(json.dumps(message).encode()))
    except RemoteProtocolError:
        return
    if kind == "failure":
        assert isinstance(failure_to_error(message), CommandFailed)
    elif kind == "progress":
        assert Update(message).unit is not None


@pytest.mark.parametrize("protocol", [3, 9, 10**30])
def test_n1_a_newer_protocol_is_refused_naming_both_versions(protocol: int) -> None:
    with pytest.raises(RemoteProtocolError, match=rf"version {protocol} .* client version 2"):
        protocol_of({"version": "9.0", "protocol": protocol})
