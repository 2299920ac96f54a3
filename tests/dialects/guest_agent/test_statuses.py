"""The bodies that a monitor writes by itself (specification A4)."""

import pytest

from ctld.dialects.guest_agent.statuses import Status, failure_body, json_string

A4 = {
    101: b'{"Status":101,"StatusMessage":"Could not find a handler for the requested command"}',
    102: b'{"Status":102,"StatusMessage":"Could not parse valid JSON from request"}',
    103: b'{"Status":103,"StatusMessage":"Connection error"}',
    104: b'{"Status":104,"StatusMessage":"Connection timeout before reading valid request"}',
    105: b'{"Status":105,"StatusMessage":"The command handler encountered an error processing your request"}',
    106: b'{"Status":106,"StatusMessage":"The command server encountered an internal error trying to respond'
    b' to your request"}',
}


@pytest.mark.parametrize("status", Status)
def test_exact_bytes(status):
    assert failure_body(status) == A4[status]


def test_there_are_six():
    assert sorted(Status) == sorted(A4)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<a>&\"'", r'"\u003ca\u003e\u0026\"' + "'\""),
        ("\u2028\u2029", r'"\u2028\u2029"'),
        ("\b\f\n\r\t\x00\x1f", r'"\b\f\n\r\t\u0000\u001f"'),
        ("é/\x7f\U0001f600", '"é/\x7f\U0001f600"'),
        ("\udcff\ud800", r'"\ufffd\ufffd"'),
        ("\\", r'"\\"'),
    ],
)
def test_strings_as_go_writes_them(text, written):
    assert json_string(text) == written


def test_the_text_of_an_error():
    assert failure_body(105, "always fail") == b'{"Status":105,"StatusMessage":"always fail"}'
